"""What the noise of a pair is, and which loss it calls for."""

from napari_n2n.noise.measure import measure_noise
from napari_n2n.noise.report import NoiseReport

__all__ = ["NoiseReport", "measure_noise"]
