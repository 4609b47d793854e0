"""Measure many fields of view, one row each: the noise of pairs, or the scores of results."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.io.acquisition import Acquisition
from napari_n2n.noise.measure import measure_pair
from napari_n2n.pair.checks import Finding, other_scenes
from napari_n2n.pair.pair import Pair
from napari_n2n.quality.score import Score
from napari_n2n.stats import image_quality

# Side of a thumbnail in pixels: wide enough to recognise a field of view.
_SIDE = 112
# Percentiles shown as black and white.
_SHOWN = 0.5, 99.8


@dataclass(frozen=True)
class Figure:
    """A figure that is measured in every field of view.

    Attributes
    ----------
    key, title, unit
        Name in tables, name in words, and unit; the unit is empty for a ratio.
    least
        Smallest difference from the other fields of view that matters, in the unit.
    """

    key: str
    title: str
    unit: str
    least: float


NOISE = (
    Figure("noise_a", "noise in A", "ADU", 0.0),
    Figure("noise_b", "noise in B", "ADU", 0.0),
    Figure("snr", "signal to noise", "", 0.2),
    Figure("psnr_raw", "PSNR of A as recorded", "dB", 1.0),
    Figure("photon_gain", "photon gain", "ADU/electron", 0.0),
    Figure("gain_ratio", "gain of B against A", "", 0.02),
    Figure("offset", "offset of B against A", "ADU", math.inf),  # the warning "gain" reports it
    Figure("shift_y", "shift in y", "pixels", 0.25),
    Figure("shift_x", "shift in x", "pixels", 0.25),
    Figure("outlier_share", "share of outliers", "", 1e-3),
    Figure("saturated_share", "share of saturated pixels", "", 1e-3),
)
"""The figures of a pair."""

SCORES = (
    Figure("psnr_reference_free", "PSNR without a clean image", "dB", 0.5),
    Figure("psnr_reference_free_se", "its standard error", "dB", 0.5),
    Figure("residual_correlation", "residual correlation", "", 0.02),
    Figure("resolution", "resolution of the raw data", "pixels", 1.0),
    Figure("psnr", "PSNR against the truth", "dB", 0.5),
    Figure("ssim", "SSIM against the truth", "", 0.02),
)
"""The figures of a result."""


@dataclass(frozen=True, eq=False)
class MeasuredField:
    """The figures of one field of view and channel.

    Attributes
    ----------
    name, file
        Name of the first image, and its path if it is a file.
    figures
        Value of each `Figure` by its key; None if it could not be determined.
    note
        The recommended loss in one or two words; or why a figure is missing.
    warnings
        Warnings about the field of view.
    thumbnail
        A small picture of it, 8 bit, shape (Y, X); None if it could not be read.
    """

    name: str
    file: str
    figures: dict[str, float | None]
    note: str = ""
    warnings: tuple[Finding, ...] = ()
    thumbnail: np.ndarray | None = None

    @classmethod
    def of_pair(cls, pair: Pair) -> "MeasuredField":
        """Measure the noise of a pair."""
        report, plane = measure_pair(pair), pair.first.sample_plane()
        scale = image_quality.data_range(plane.astype(pair.first.source_dtype))
        figures: dict[str, float | None] = {
            one.key: getattr(report, one.key) for one in NOISE if hasattr(report, one.key)
        }
        figures["shift_y"], figures["shift_x"] = report.shift
        figures["psnr_raw"] = 20 * math.log10(scale / report.noise_a) if report.noise_a else None
        others = other_scenes(report.warnings)
        return cls(
            name=pair.first.name,
            file=str(pair.first.path or ""),
            figures=dict.fromkeys(figures) if others else figures,
            note="no pair" if others else report.loss.upper(),
            warnings=tuple(others) or report.warnings,
            thumbnail=thumbnail(plane),
        )

    @classmethod
    def of_score(cls, result: Acquisition, score: Score) -> "MeasuredField":
        """Return the scores of a result."""
        return cls(
            name=result.name,
            file=str(result.path or ""),
            figures={one.key: getattr(score, one.key) for one in SCORES},
            note=score.reason or "",
            thumbnail=thumbnail(result.sample_plane()),
        )

    @classmethod
    def not_usable(cls, code: str, message: str) -> "MeasuredField":
        """Return a field of view that could not be measured."""
        file, _, reason = message.partition(": ")
        return cls(Path(file).stem, file, {}, "not usable", (Finding(code, reason),))

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON, without the picture."""
        return {
            "name": self.name,
            "file": self.file,
            **self.figures,
            "note": self.note,
            "warnings": [{"code": one.code, "message": one.message} for one in self.warnings],
        }


def thumbnail(plane: np.ndarray) -> np.ndarray:
    """Return a plane as a small 8-bit picture, averaged and stretched to its own contrast."""
    step = max(1, -(-max(plane.shape) // _SIDE))
    rows, columns = (length // step * step for length in plane.shape)
    blocks = plane[:rows, :columns].reshape(rows // step, step, columns // step, step)
    small = blocks.mean(axis=(1, 3), dtype=np.float64)
    low, high = np.percentile(small, _SHOWN)
    return np.asarray(((small - low) / max(high - low, 1e-30)).clip(0, 1) * 255, np.uint8)
