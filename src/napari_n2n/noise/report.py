"""The noise report of a pair: figures and advice together, as JSON, one line or a table."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from napari_n2n.noise.advice import Advice, one_side, report_lines
from napari_n2n.noise.figures import NoiseFigures

# Share of outliers above which the one-line summary mentions them.
_NOTABLE_OUTLIERS = 0.001
# Share of common noise, and share of the field of view that moved, that can occur by chance: the
# table lists smaller shares as not detected.
_SHARED_BY_CHANCE, _MOVED_BY_CHANCE = 0.05, 5e-4


@dataclass(frozen=True)
class NoiseReport(NoiseFigures, Advice):
    """Noise figures of a pair and advice; see `NoiseFigures` and `Advice` for the attributes."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def line(self) -> str:
        """Summarise the noise in one line."""
        parts = [f"Noise {self.noise_a:.3g} and {self.noise_b:.3g} ADU in A and B"]
        if self.snr is not None:
            parts.append(f"SNR {self.snr:.2g}")
        if self.photon_gain is not None:
            parts.append(f"{self.photon_gain:.3g} ADU/electron")
        if (reach := max(self.correlation_length or (0.0,))) > 0:
            parts.append(f"correlated over {reach:.1f} px")
        if self.outlier_share > _NOTABLE_OUTLIERS:
            parts.append(f"{self.outlier_share:.1%} outliers")
        return ", ".join(parts)

    def lines(self) -> Iterator[str]:
        """Return the loss with its reason, a line for each figure, and the warnings."""
        return report_lines(self, self.rows())

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the text of each figure, with its standard error if known."""
        yield "noise in A", f"{self.with_error('noise_a')} ADU"
        yield "noise in B", f"{self.with_error('noise_b')} ADU"
        if self.snr is not None:
            yield "SNR", self.with_error("snr")
        if self.photon_gain is not None:
            yield "photon gain", f"{self.with_error('photon_gain')} ADU/electron"
        if self.read_noise is not None:
            yield "read noise", f"{self.with_error('read_noise')} ADU"
        if self.pedestal is not None:
            yield "black level", f"{self.with_error('pedestal')} ADU"
        yield "noise model", self.noise_model.in_words()
        below = "below" if self.median_shift >= 0 else "above"
        yield "skewness", self.with_error("skewness")
        yield "median", f"{self.with_error('median_shift').lstrip('-')} ADU {below} the mean"
        if self.gain_ratio is None:
            yield "B against A", "gain could not be determined"
        else:
            gain, offset = (self.with_error(name) for name in ("gain_ratio", "offset"))
            yield "B against A", f"gain {gain}, offset {offset} ADU"
        yield "shift", self._shift()
        if self.resolution is not None:
            yield "resolution", f"{self.with_error('resolution')} pixels"
        if self.depth_correlation is not None:
            alike = self.with_error("depth_correlation")
            yield "planes", f"correlation of neighbours {alike}"
        problems = dict(self._problems())
        yield from ((name, text) for name, text in problems.items() if text)
        for heading, text in (("not detected", ""), ("not determined", None)):
            names = [name for name, found in problems.items() if found == text]
            if names:
                yield heading, ", ".join(names)

    def _problems(self) -> Iterator[tuple[str, str | None]]:
        """Yield the name and the text of each problem that an acquisition may have.

        The text is empty if the problem was not detected, None if it could not be determined.
        """
        yield "outliers", self._outliers()
        yield "correlation", self._correlation()
        yield "common noise", self._share("shared_noise", _SHARED_BY_CHANCE, "in A and B alike")
        yield "hot pixels", self._hot_pixels()
        yield "column offsets", self._lines("column_offsets")
        yield "row offsets", self._lines("row_offsets")
        yield "motion", self._share("moved_share", _MOVED_BY_CHANCE, "of the field")
        yield "drift", self._share("drift", 0.0, "of the signal's spread")
        yield "saturation", self._share("saturated_share", 0.0, "of the pixels")
        raised = f", dark areas {self.with_error('clipping_shift')} ADU too bright"
        black = f"of the pixels{raised if self.clipping_shift else ''}"
        yield "lower limit", self._share("black_share", 0.0, black)

    def _outliers(self) -> str:
        where = " in patches" if self.outliers_clustered else ""
        side = one_side(self.outlier_brighter)
        sides = f"all {side}" if side else "bright and dark"
        return self._share("outlier_share", 0.0, f"of the pixels{where}, {sides}") or ""

    def _hot_pixels(self) -> str:
        if not self.hot_pixels + self.dead_pixels:
            return ""
        return f"{self.hot_pixels} ({self.hot_pixel_share:.2%}), and {self.dead_pixels} dead pixels"

    def _lines(self, name: str) -> str | None:
        rms = getattr(self, name)
        if rms is None:
            return None
        return f"{self.with_error(name)} ADU, root mean square" if rms else ""

    def _correlation(self) -> str | None:
        if self.correlation_length is None:
            return None
        y, x = self.correlation_length
        length = f"{y:.1f}, {x:.1f}{self._around('correlation_length')}"
        return f"over {length} pixels (y, x)" if max(y, x) > 0 else ""

    def _share(self, name: str, by_chance: float, of_what: str) -> str | None:
        """Return a share in percent; empty if chance alone explains it, None if unknown."""
        share = getattr(self, name)
        if share is None:
            return None
        if share <= by_chance:
            return ""
        error = 100 * self.errors.get(name, 0.0)
        return f"{_rounded(100 * share, error)} % {of_what}"

    def _shift(self) -> str:
        y, x = self.shift
        return f"{y:+.2f}, {x:+.2f}{self._around('shift')} pixels (y, x)"

    def _around(self, name: str) -> str:
        error = self.errors.get(name)
        return "" if error is None else f" ± {error:.2f}"

    def with_error(self, name: str) -> str:
        """Return a figure with its standard error, both rounded to the significant digits."""
        return _rounded(getattr(self, name), self.errors.get(name, 0.0))


def _rounded(value: float, error: float) -> str:
    """Return a figure and its standard error, rounded to the first digit of the error."""
    if not error > 0:
        return f"{value:.3g}"
    digits = max(0, -math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
