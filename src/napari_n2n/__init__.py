"""Noise2Noise denoising: train on two noisy acquisitions of one scene, then denoise.

>>> import napari_n2n as n2n
>>> pair = n2n.Pair.open("a.tif", "b.tif")
>>> denoiser = n2n.train(pair)
>>> n2n.denoise(denoiser, "long.tif", out="clean.ome.zarr")

Names are imported on first use: `import napari_n2n` loads neither torch nor napari.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_n2n.denoising.denoise import DenoisingStep as DenoisingStep
    from napari_n2n.denoising.denoise import denoise as denoise
    from napari_n2n.denoising.folder import denoise_folder as denoise_folder
    from napari_n2n.denoising.in_memory import DenoisingProgress as DenoisingProgress
    from napari_n2n.denoising.predictor import Cancelled as Cancelled
    from napari_n2n.denoising.to_address import denoise_to_address as denoise_to_address
    from napari_n2n.errors import BadInput as BadInput
    from napari_n2n.io.acquisition import Acquisition as Acquisition
    from napari_n2n.io.fields_of_view import fields_of_view as fields_of_view
    from napari_n2n.io.written_by import read_provenance as read_provenance
    from napari_n2n.model.bioimage_package import export_bioimage as export_bioimage
    from napari_n2n.model.denoiser import Denoiser as Denoiser
    from napari_n2n.model.denoiser import load as load
    from napari_n2n.noise.measure import measure_noise as measure_noise
    from napari_n2n.noise.report import NoiseReport as NoiseReport
    from napari_n2n.noise.report_file import read_noise_report as read_noise_report
    from napari_n2n.one_call import denoise_pair as denoise_pair
    from napari_n2n.pair.pair import Pair as Pair
    from napari_n2n.pair.recordings import open_pairs as open_pairs
    from napari_n2n.quality.spot_check import SpotCheck as SpotCheck
    from napari_n2n.training.fit import TrainingStep as TrainingStep
    from napari_n2n.training.fit import fit as fit
    from napari_n2n.training.fit import train as train
    from napari_n2n.training.settings import TrainingSettings as TrainingSettings

_MODULES = {
    "Acquisition": "io.acquisition",
    "BadInput": "errors",
    "Cancelled": "denoising.predictor",
    "Denoiser": "model.denoiser",
    "DenoisingProgress": "denoising.in_memory",
    "DenoisingStep": "denoising.denoise",
    "NoiseReport": "noise.report",
    "Pair": "pair.pair",
    "SpotCheck": "quality.spot_check",
    "TrainingSettings": "training.settings",
    "TrainingStep": "training.fit",
    "denoise": "denoising.denoise",
    "denoise_folder": "denoising.folder",
    "denoise_pair": "one_call",
    "denoise_to_address": "denoising.to_address",
    "export_bioimage": "model.bioimage_package",
    "fields_of_view": "io.fields_of_view",
    "fit": "training.fit",
    "load": "model.denoiser",
    "measure_noise": "noise.measure",
    "open_pairs": "pair.recordings",
    "read_noise_report": "noise.report_file",
    "read_provenance": "io.written_by",
    "train": "training.fit",
}

__all__ = list(_MODULES)


__version__: str


if not TYPE_CHECKING:  # type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return version("napari-n2n")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
