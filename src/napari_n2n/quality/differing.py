"""Find the fields of view that differ from the others, and give the reasons."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_n2n.quality.measured_field import Figure, MeasuredField
from napari_n2n.stats.statistics import MAD_TO_SIGMA

# Fewest fields of view for a comparison: among fewer, none can be called unusual.
_FEWEST = 5
# Distance from the median in standard deviations of the others beyond which a figure differs, and
# smallest standard deviation as a part of the median: figures of few pixels vary by chance.
_FAR, _SMALLEST = 5.0, 0.04
# Share of the fields of view with a warning above which it is usual.
_USUAL = 0.5


@dataclass(frozen=True)
class Difference:
    """How a field of view differs from the others.

    Attributes
    ----------
    size
        Size of the difference, in standard deviations of the others; 0 without a difference.
    reasons
        One sentence for each figure and each warning.
    keys
        Keys of the figures.
    """

    size: float
    reasons: tuple[str, ...]
    keys: frozenset[str] = frozenset()


def differences(fields: Sequence[MeasuredField], figures: Sequence[Figure]) -> list[Difference]:
    """Return for each field of view how it differs from the others."""
    usual = {one.key: _usual(fields, one) for one in figures}
    counts = Counter(code for field in fields for code in {one.code for one in field.warnings})
    return [_difference(field, figures, usual, counts, len(fields)) for field in fields]


def _usual(fields: Sequence[MeasuredField], figure: Figure) -> tuple[float, float] | None:
    """Return median and standard deviation of a figure; None if there are too few."""
    known = [field.figures.get(figure.key) for field in fields]
    values = np.array([value for value in known if value is not None], np.float64)
    values = values[np.isfinite(values)]
    if len(values) < _FEWEST:
        return None
    middle = float(np.median(values))
    spread = float(np.median(np.abs(values - middle))) * MAD_TO_SIGMA
    return middle, max(spread, _SMALLEST * abs(middle), figure.least / _FAR, 1e-12)


def _difference(
    field: MeasuredField,
    figures: Sequence[Figure],
    usual: dict[str, tuple[float, float] | None],
    counts: Counter[str],
    total: int,
) -> Difference:
    size, reasons, keys = 0.0, [], []
    if not field.figures:
        return Difference(float("inf"), tuple(one.message for one in field.warnings))
    for figure in figures:
        value, known = field.figures.get(figure.key), usual[figure.key]
        if value is None or known is None:
            continue
        middle, spread = known
        distance = abs(value - middle) / spread
        if distance > _FAR:
            size = max(size, distance)
            keys.append(figure.key)
            unit = f" {figure.unit}" if figure.unit else ""
            higher = "higher" if value > middle else "lower"
            name = figure.title[0].upper() + figure.title[1:]
            reasons.append(f"{name}: {value:.3g}{unit}, {higher} than in most ({middle:.3g}{unit})")
    for warning in field.warnings:
        if total >= _FEWEST and counts[warning.code] <= _USUAL * total:
            size = max(size, _FAR)
            reasons.append(warning.message)
    return Difference(size, tuple(reasons), frozenset(keys))
