"""Plots of the noise of a pair: four panels, described independently of the plotting library.

The command line (matplotlib) and the dock (pyqtgraph) show the same panels: `panels` describes
them, `draw_noise` draws them onto one page.
"""

import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_n2n.noise.measure import NoiseCurves
from napari_n2n.noise.report import NoiseReport
from napari_n2n.stats.image_quality import RESOLVED
from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Bins of the histogram: about 16 for each standard deviation of the noise.
_BINS = 80
# Number of points of the ring correlation: neighbouring rings are averaged.
_RINGS = 64
# Ratio of the standard error of the robust variance to that of the plain one: for Gaussian noise
# the median absolute difference has 37 % of the efficiency.
_ROBUST_ERROR = 1.65
# Half the range of the histogram: its limits in standard deviations, and the quantile of the noise
# that sets the range within these limits.
_NARROWEST, _WIDEST, _TAIL = 5, 15, 0.9999

Look = Literal["measured", "second", "model", "guide"]


@dataclass(frozen=True, eq=False)
class Series:
    """Points or a line; `error` is the standard error of y.

    `look` is "measured" or "second" (a second measurement) for points, which may be `joined`;
    "model" for a fitted or expected line; "guide" for a reference line.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    look: Look
    error: np.ndarray | None = None
    joined: bool = False

    @property
    def is_points(self) -> bool:
        """Whether each value has its own mark."""
        return self.look in ("measured", "second")


@dataclass(frozen=True, eq=False)
class Panel:
    """One plot; `legend` is a corner where no data are expected."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    y_range: tuple[float, float]
    legend: Literal["upper right", "lower right"] = "upper right"
    log_y: bool = False


def panels(report: NoiseReport, curves: NoiseCurves) -> tuple[Panel, ...]:
    """Return photon-transfer curve, histogram, autocorrelation and ring correlation."""
    return (
        _transfer(report, curves),
        _histogram(report, curves),
        _correlation(curves),
        _rings(report, curves),
    )


def draw_noise(report: NoiseReport, curves: NoiseCurves, path: Path) -> None:
    """Draw the panels onto one page, below the advice."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(11, 8.5), dpi=110, layout=layout)
    advice = f"{report.loss.upper()}: {report.reason}"
    lines = math.ceil(len(advice) / 90)
    figure.suptitle(textwrap.fill(advice, len(advice) // lines + 10), fontsize=13)
    for axes, panel in zip(figure.subplots(2, 2).flat, panels(report, curves), strict=True):
        for one in panel.series:
            line = {"linestyle": "", **_LOOKS[one.look]} | (
                {"linestyle": "-"} if one.joined else {}
            )
            axes.errorbar(one.x, one.y, one.error, label=one.name, **line)
        axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
        axes.set_yscale("log" if panel.log_y else "linear")
        axes.set_ylim(panel.y_range)
        axes.legend(loc=panel.legend, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


_LOOKS: dict[Look, dict[str, Any]] = {
    "measured": {"marker": "o", "markersize": 4, "color": "C0", "linewidth": 1, "zorder": 3},
    "second": {
        "marker": "D",
        "markersize": 6,
        "markerfacecolor": "none",
        "color": "C1",
        "linewidth": 1,
    },
    "model": {"linestyle": "-", "color": "black", "linewidth": 1.2},
    "guide": {"linestyle": "--", "color": "gray", "linewidth": 1.2},
}


def _transfer(report: NoiseReport, curves: NoiseCurves) -> Panel:
    curve = curves.transfer
    if report.photon_gain is None:
        name = "fitted line"
    else:
        name = f"{report.with_error('photon_gain')} ADU/electron"
    line = curve.gain * curve.mean + curve.intercept
    if curve.bent is not None:
        line = curve.variance_at(curve.mean)
    error = curve.variance_error
    return Panel(
        title="Photon-transfer curve",
        x_label="mean (ADU)",
        y_label="variance (ADU²)",
        series=(
            Series("variance", curve.mean, curve.variance, "measured", error),
            Series("robust", curve.mean, curve.robust_variance, "second", _ROBUST_ERROR * error),
            Series(name, curve.mean, line, "model"),
        ),
        y_range=(0.0, 1.1 * float(max(curve.variance.max(), curve.robust_variance.max()))),
        legend="lower right",
    )


def _histogram(report: NoiseReport, curves: NoiseCurves) -> Panel:
    """Return the histogram of the noise, in bins of whole steps if the pixels were integers."""
    noise = curves.differences.astype(np.float64)
    whole = bool(np.allclose(noise * math.sqrt(2), np.round(noise * math.sqrt(2)), atol=1e-3))
    quantum = math.sqrt(0.5) if whole else 0.0
    sigma = _width(report, curves, noise, quantum)
    reach = min(max(_NARROWEST * sigma, float(np.quantile(np.abs(noise), _TAIL))), _WIDEST * sigma)
    width = 2 * reach / _BINS
    width = max(1, round(width / quantum)) * quantum if quantum else width
    half = math.ceil(reach / width)
    edges = (np.arange(-half, half + 2) - 0.5) * width
    share = np.histogram(noise, edges)[0] / noise.size
    fine = np.linspace(edges[0], edges[-1], 400)
    bell = np.exp(-0.5 * (fine / sigma) ** 2) * width / (sigma * math.sqrt(2 * math.pi))
    bell *= (1 - report.outlier_share) ** 2
    lowest = 0.5 / noise.size
    shown, seen = bell > lowest, share > 0
    return Panel(
        title="Noise of single pixels",
        x_label="(A - B) / √2 (ADU)",
        y_label="share of pixels",
        series=(
            Series("measured", (edges[:-1] + width / 2)[seen], share[seen], "measured"),
            Series(f"Gaussian, width {sigma:.3g} ADU", fine[shown], bell[shown], "model"),
        ),
        # Space above the peak for the legend.
        y_range=(lowest, 12 * float(max(share.max(), bell.max()))),
        log_y=True,
    )


def _width(report: NoiseReport, curves: NoiseCurves, noise: np.ndarray, quantum: float) -> float:
    """Return the robust width of the noise without outliers; integers are spread over a step."""
    if report.outlier_share > 0:
        return float(np.sqrt(np.median(curves.transfer.robust_variance))) or float(noise.std())
    spread = noise + quantum * (np.random.default_rng(0).random(noise.size) - 0.5)
    return float(np.median(np.abs(spread))) * MAD_TO_SIGMA or float(noise.std())


def _correlation(curves: NoiseCurves) -> Panel:
    correlation = curves.correlation
    lags = np.arange(len(correlation.y))
    lowest = min(float(correlation.y.min()), float(correlation.x.min()), -0.05)
    return Panel(
        title="Correlation of the noise",
        x_label="distance (pixels)",
        y_label="correlation",
        series=(
            Series("independent", lags[[0, -1]], np.zeros(2), "guide"),
            Series("along y", lags, correlation.y, "measured", joined=True),
            Series("along x", lags, correlation.x, "second", joined=True),
        ),
        y_range=(lowest - 0.05, 1.1),
    )


def _rings(report: NoiseReport, curves: NoiseCurves) -> Panel:
    step = math.ceil(len(curves.frequency) / _RINGS)
    starts = np.arange(0, len(curves.frequency), step)
    counts = np.diff(np.append(starts, len(curves.frequency)))
    frequency, rings = (
        np.add.reduceat(values, starts) / counts
        for values in (curves.frequency, curves.ring_correlation)
    )
    lowest = min(float(rings.min()), 0.0) - 0.05
    series = [
        Series("1/7", np.array([0.0, 0.5]), np.full(2, RESOLVED), "guide"),
        Series("A and B", frequency, rings, "measured", joined=True),
    ]
    if report.resolution is not None:
        name, at = f"resolved: {report.resolution:.1f} pixels", 1 / report.resolution
        series.append(Series(name, np.full(2, at), np.array([lowest, 0.5]), "model"))
    return Panel(
        title="Fourier ring correlation",
        x_label="frequency (1/pixel)",
        y_label="correlation",
        series=tuple(series),
        y_range=(lowest, 1.1),
    )
