"""Two noisy acquisitions in, clean images out: Noise2Noise denoising.

>>> import napari_n2n as n2n
>>> pair = n2n.Pair.open("a.tif", "b.tif")
>>> denoiser = n2n.train(pair)
>>> n2n.denoise(denoiser, "long.tif", out="clean.ome.zarr")

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_n2n.denoising.denoise import denoise
    from napari_n2n.denoising.folder import denoise_folder
    from napari_n2n.errors import BadInput
    from napari_n2n.io.acquisition import Acquisition
    from napari_n2n.io.fields_of_view import fields_of_view
    from napari_n2n.model.denoiser import Denoiser, load
    from napari_n2n.noise.measure import measure_noise
    from napari_n2n.noise.report import NoiseReport
    from napari_n2n.pair.pair import Pair
    from napari_n2n.pair.recordings import open_pairs
    from napari_n2n.training.fit import TrainingStep, fit, train
    from napari_n2n.training.settings import TrainingSettings

_HOMES = {
    "Acquisition": "io.acquisition",
    "BadInput": "errors",
    "Denoiser": "model.denoiser",
    "NoiseReport": "noise.report",
    "Pair": "pair.pair",
    "TrainingSettings": "training.settings",
    "TrainingStep": "training.fit",
    "denoise": "denoising.denoise",
    "denoise_folder": "denoising.folder",
    "fields_of_view": "io.fields_of_view",
    "fit": "training.fit",
    "load": "model.denoiser",
    "measure_noise": "noise.measure",
    "open_pairs": "pair.recordings",
    "train": "training.fit",
}

__all__ = [
    "Acquisition",
    "BadInput",
    "Denoiser",
    "NoiseReport",
    "Pair",
    "TrainingSettings",
    "TrainingStep",
    "denoise",
    "denoise_folder",
    "fields_of_view",
    "fit",
    "load",
    "measure_noise",
    "open_pairs",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
