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
    from napari_n2n.acquisition import Acquisition
    from napari_n2n.denoising import denoise
    from napari_n2n.errors import BadInput
    from napari_n2n.fields import fields_of_view
    from napari_n2n.model import Denoiser, load
    from napari_n2n.noise import NoiseReport, measure_noise
    from napari_n2n.pair import Pair, open_pairs
    from napari_n2n.series import denoise_folder
    from napari_n2n.settings import TrainingSettings
    from napari_n2n.training import TrainingStep, fit, train

_HOMES = {
    "Acquisition": "acquisition",
    "BadInput": "errors",
    "Denoiser": "model",
    "NoiseReport": "noise",
    "Pair": "pair",
    "TrainingSettings": "settings",
    "TrainingStep": "training",
    "denoise": "denoising",
    "denoise_folder": "series",
    "fields_of_view": "fields",
    "fit": "training",
    "load": "model",
    "measure_noise": "noise",
    "open_pairs": "pair",
    "train": "training",
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
