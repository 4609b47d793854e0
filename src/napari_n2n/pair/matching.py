"""Match the intensities of acquisitions of one scene, and measure the noise of each."""

import math
from collections.abc import Sequence

import numpy as np

from napari_n2n.stats.affine import Affine
from napari_n2n.stats.statistics import (
    GROUPS,
    balance,
    balanced,
    groups_of_blocks,
    groups_of_tiles,
    jackknife,
    mean_over_blocks,
    neighbourhood,
    noise_share,
    spaced,
)

# Number of intensity bins for the line. More: better resolved; fewer: less scatter of each mean.
_BINS = 40
# Fewest pixels of a bin, and fewest bins for a line: one more than it has parameters.
_FEWEST_IN_BIN, _FEWEST_BINS = 50, 3
# Percentiles of the surroundings that the bins cover: a few pixels are far above the others. They
# are taken from one in four pixels: the surroundings of adjacent pixels are nearly equal.
_ENDS, _STEP = (0.5, 99.9), 4
# Most rounds of the fit, and the relative change of the gain below which it ends.
_ROUNDS, _SETTLED = 4, 1e-3
# Most iterations of a robust line, and the relative change below which it has converged.
_MOST_ITERATIONS, _CONVERGED = 100, 1e-10
# Standard errors by which the covariance of two acquisitions that share a scene must exceed zero.
_SURE = 5.0
# Standard errors within which the line is taken as the identity.
_IDENTITY = 3
# Ratio of the standard errors from tiles and from blocks above which chance does not explain it:
# two such errors of the same scatter differ by 25 % (one standard deviation).
_LARGER = 1.5
# Change of the noise share used to measure its effect on the line: above rounding, still linear.
_SHARE_STEP = 0.02
# Largest standard error at which a gain is used, and at which it is replaced by 1 and reported.
VAGUE = 0.1
# Largest part of the scatter of the bins' means that may be noise in A: more hides the scene.
_MOSTLY_NOISE = 0.5
# Standard errors by which the noise shares must differ for the exposures to be taken as unequal.
_UNEQUAL = 4


def match_intensity(
    view_a: tuple[np.ndarray, np.ndarray],
    view_b: tuple[np.ndarray, np.ndarray],
    counted: np.ndarray | None = None,
) -> Affine:
    """Return the map from the intensities of A to those of B: ``B = gain A + offset``.

    Pixels are binned by a smoothed neighbourhood that leaves out the pixel itself, so that a
    pixel's own noise does not decide its bin (an instrumental variable); a line through the means
    of the bins is fitted with soft-L1 weights. The means of A are noisy too, which would flatten
    the line; this is corrected (errors in variables, Fuller 1987). If the line differs from the
    identity by less than three standard errors (from small parts of the plane, and from parts as
    large as a text), the identity is returned; if the acquisitions have no scene in common, the
    gain is 1. The weights of the two acquisitions in the neighbourhood depend on their noise, and
    so on the line itself: starting from the spread of the neighbourhoods, the fit is repeated until
    the gain no longer changes.

    Parameters
    ----------
    view_a, view_b
        Planes, and the `neighbourhood` of every pixel; shape (planes, Y, X) each.
    counted
        True for the pixels to use; shape (planes, Y, X); default all.
    """
    shape = view_a[0].shape
    a, around_a, b, around_b = (part.ravel() for part in (*view_a, *view_b))
    groups = (GROUPS * groups_of_blocks(shape) + groups_of_tiles(shape)).ravel()
    pixels = slice(None) if counted is None else counted.ravel()
    if _is_identity(*(part[pixels] for part in (a, b, around_a, around_b, groups))):
        return Affine()
    spread_a, spread_b = (
        float(np.std(values, dtype=np.float64)) for values in (around_a, around_b)
    )
    gain = spread_b / spread_a if spread_a and spread_b else 1.0
    line = Affine(gain, _mean_difference(gain * a, b))
    for _ in range(_ROUNDS):
        before = line
        scaled = before.inverse(b)
        around, share = balanced(a, scaled, around_a, before.inverse(around_b))
        found = _line(a[pixels], scaled[pixels], around[pixels], groups[pixels], share, before)
        line = found or Affine(1.0, _mean_difference(a[pixels], b[pixels]))
        if abs(line.gain - before.gain) < _SETTLED * before.gain:
            break
    if _share_a_scene(around_a.reshape(shape), line.inverse(around_b).reshape(shape)):
        return line
    return Affine() if line == Affine() else Affine(1.0, _mean_difference(a, b))


def _share_a_scene(around_a: np.ndarray, around_b: np.ndarray) -> bool:
    """Return whether surroundings vary together more than independent noise does by chance.

    The standard error for independent noise follows from their difference, in which no scene is
    left: for Gaussian noise of covariances C and C', ``var(mean(A B))`` is proportional to ``C C'``
    and so at most an eighth of ``var(mean((B - A)^2))``, which is proportional to ``2 (C + C')^2``.
    """
    deviation_a, deviation_b = (
        values - values.mean(dtype=np.float64) for values in (around_a, around_b)
    )
    every = np.ones(around_a.shape[1:])
    squares = (deviation_b - deviation_a) ** 2
    error = mean_over_blocks([(plane, every) for plane in squares]).error
    together = float(np.mean(deviation_a * deviation_b))
    return error is not None and together > _SURE * error / math.sqrt(8)


def _mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(b.mean(dtype=np.float64) - a.mean(dtype=np.float64))


def _is_identity(
    a: np.ndarray, b: np.ndarray, around_a: np.ndarray, around_b: np.ndarray, groups: np.ndarray
) -> bool:
    """Return whether B differs from A by less than the standard errors of a line.

    The line depends on the noise shares by which the surroundings are balanced. Their standard
    error counts too: a text may cover more of one acquisition than of the other.

    Parameters
    ----------
    a, b, around_a, around_b
        Pixels and their surroundings.
    groups
        For each pixel, `GROUPS` times the number of its block, plus that of its tile.
    """
    share, pulls = noise_share(a, b, around_a, around_b)
    share = min(max(share, 0.0), 1.0 - _SHARE_STEP)
    binned, moved = (
        _binned(a, b, balance(part, around_a, around_b), groups)
        for part in (share, share + _SHARE_STEP)
    )
    if binned is None or moved is None:
        return False
    sums, centre = binned
    parts = [_whole(sums), _whole(moved[0]), *map(_without_each, _over_groups(sums))]
    (whole, other, *without), _ = _fitted(np.concatenate(parts, axis=1), centre, share)
    slope = (other - whole) / _SHARE_STEP
    pull = np.bincount(groups, pulls, minlength=GROUPS**2).reshape(GROUPS, GROUPS)
    errors = np.zeros(2)
    for axis in (1, 0):  # blocks, then tiles
        shares = -pull.sum(axis=axis)
        lines = np.stack(without[:GROUPS] if axis else without[GROUPS:], axis=1)
        scatter = [jackknife(line + by * shares) for line, by in zip(lines, slope, strict=True)]
        errors = np.maximum(errors, scatter)
    return bool((np.abs(whole - (1, centre)) <= _IDENTITY * errors).all())


def _line(
    a: np.ndarray,
    b: np.ndarray,
    instrument: np.ndarray,
    groups: np.ndarray,
    share: float,
    scale: Affine,
) -> Affine | None:
    """Fit the line of ``scale(B)`` over A, where B has been brought near A's intensity scale.

    Returns
    -------
    Affine or None
        The identity if the line differs from it by less than three standard errors; None if the
        gain is too uncertain to be used.
    """
    binned = _binned(a, b, instrument, groups)
    if binned is None:
        return None
    sums, centre = binned
    parts = [_whole(sums), *map(_without_each, _over_groups(sums))]
    ((slope, level), *without), (errors, *_) = _fitted(np.concatenate(parts, axis=1), centre, share)
    for lines in (without[:GROUPS], without[GROUPS:]):
        errors = np.maximum(errors, [jackknife(part) for part in zip(*lines, strict=True)])
    gain, level = scale.gain * slope, scale(level)
    gain_error, level_error = scale.gain * errors
    if abs(gain - 1) <= _IDENTITY * gain_error and abs(level - centre) <= _IDENTITY * level_error:
        return Affine()
    if gain <= 0 or gain_error > VAGUE:
        return None
    return Affine(float(gain), float(level - gain * centre))


def line_errors(
    a: np.ndarray,
    b: np.ndarray,
    instrument: np.ndarray,
    groups: np.ndarray,
    share: float,
    taken: bool,
) -> tuple[float, float] | None:
    """Return the standard errors of gain and offset of the line that `match_intensity` fits.

    Parameters
    ----------
    a, b, instrument
        Pixels on one intensity scale, and their `balanced` surroundings; shape (pixels,).
    groups
        For each pixel, `GROUPS` times the number of its block, plus that of its tile.
    share
        B's share of the noise variance, 0 to 1.
    taken
        Whether the identity was used because the line was uncertain: the distance between the line
        through these pixels and the identity is then part of the error.

    Returns
    -------
    tuple or None
        The errors, by jackknife; None if no line could be fitted.
    """
    binned = _binned(a, b, instrument, groups)
    if binned is None:
        return None
    sums, centre = binned
    parts = [_whole(sums), *map(_without_each, _over_groups(sums))]
    ((gain, level), *without), ((independent, _), *_) = _fitted(
        np.concatenate(parts, axis=1), centre, share
    )
    of_blocks, of_tiles = (
        np.array((jackknife(gains), jackknife(levels - gains * centre)))
        for gains, levels in (np.transpose(without[:GROUPS]), np.transpose(without[GROUPS:]))
    )
    errors = np.where(of_tiles > _LARGER * of_blocks, of_tiles, of_blocks)
    if taken:
        errors = np.hypot(errors, (gain - 1, level - gain * centre))
    return (float(errors[0]), float(errors[1])) if math.isfinite(independent) else None


def _binned(
    a: np.ndarray, b: np.ndarray, instrument: np.ndarray, groups: np.ndarray
) -> tuple[np.ndarray, float] | None:
    """Return the sums that `_fitted` takes, and the mean of A.

    The sums have the shape (4, blocks, tiles, bins) if a group is `GROUPS` times the number of a
    block plus that of a tile.

    The result is None if there are too few bins for a line.
    """
    position = spaced(instrument, _STEP)
    low, high = np.percentile(position[::_STEP], _ENDS)
    if not high > low:
        return None
    where = ((position - low) * (_BINS / (high - low))).astype(int).clip(0, _BINS - 1)
    cell = groups * _BINS + where
    sums = np.stack(
        [
            np.bincount(cell, values, minlength=GROUPS**2 * _BINS).reshape(GROUPS, GROUPS, _BINS)
            for values in (None, a, b, (b - a).astype(np.float64) ** 2)
        ]
    )
    count, total = sums[:2].sum(axis=(1, 2))
    if (count >= _FEWEST_IN_BIN).sum() < _FEWEST_BINS:
        return None
    return sums, float(total.sum() / count.sum())


def _whole(sums: np.ndarray) -> np.ndarray:
    """Return the sums over all groups; shape (4, 1, bins)."""
    return sums.sum(axis=(1, 2))[:, None]


def _over_groups(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of each block, and those of each tile; shape (4, groups, bins)."""
    return sums.sum(axis=2), sums.sum(axis=1)


def _without_each(sums: np.ndarray) -> np.ndarray:
    """Return the sums over all groups but one, for each; shape (4, groups, bins)."""
    return np.asarray(sums.sum(axis=1, keepdims=True) - sums)


def _fitted(sums: np.ndarray, centre: float, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Fit lines through the means of bins, each by iterated weighted least squares.

    The sum of ``2 (sqrt(1 + r^2) - 1)`` over the residuals r, in standard errors, is minimised
    ("soft L1"): it has one minimum, and each iteration gets closer (Huber & Ronchetti 2009).

    Parameters
    ----------
    sums
        For each line and bin, number of pixels and sums of A, of B and of (B - A)^2; shape
        (4, lines, bins).
    centre
        Value of A at which the level of the line is given.
    share
        B's share of the noise variance: the rest is in A, and in the means of its bins.

    Returns
    -------
    lines, errors
        Gain, and level of B at the centre; and their standard errors for independent pixels; shape
        (lines, 2).
    """
    used = sums[0] >= _FEWEST_IN_BIN
    count = np.where(used, sums[0], 1.0)
    mean_a, mean_b = sums[1] / count, sums[2] / count
    variance = sums[3] / count - (mean_b - mean_a) ** 2
    precision = np.where(used, count / np.maximum(variance, 1e-12), 0.0)
    x = mean_a - centre
    lines, squares = np.zeros((len(x), 2)), np.zeros(x.shape)
    for _ in range(_MOST_ITERATIONS):
        before = lines
        # Noise of x and its residual vary together as the derivative of their pull (Stein's lemma).
        noise = (1 - share) * (used * (1 + squares) ** -1.5).sum(axis=1)
        lines = _weighted_line(x, mean_b, precision / np.sqrt(1 + squares), noise)[0]
        squares = precision * (mean_b - lines[:, :1] * x - lines[:, 1:]) ** 2
        if (np.abs(lines - before) <= _CONVERGED * np.abs(lines)).all():
            break
    curvature = (1 + squares) ** -1.5
    noise = (1 - share) * (used * curvature).sum(axis=1)
    covariance = _weighted_line(x, mean_b, precision * curvature, noise)[1]
    freedom = np.maximum(1, used.sum(axis=1) - 2)
    scatter = np.maximum(1.0, 2 * (np.sqrt(1 + squares) - 1).sum(axis=1) / freedom)
    errors = np.sqrt(covariance * scatter[:, None])
    too_few = used.sum(axis=1) < _FEWEST_BINS
    lines[too_few], errors[too_few] = (1.0, centre), math.inf
    return lines, errors


def _weighted_line(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, noise: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of weighted lines, and their variances; shape (lines, 2).

    `noise` is the part of the spread of each x, the weighted sum of squares, that its noise causes.
    If noise is most of the spread, the slope is unknown: 1 is returned, with an infinite variance.
    """
    total = weight.sum(axis=1)
    middle = (weight * x).sum(axis=1) / total
    apart = x - middle[:, None]
    seen = (weight * apart**2).sum(axis=1)
    hidden = noise >= _MOSTLY_NOISE * seen
    spread = np.where(hidden, 1.0, seen - noise)
    slope = np.where(hidden, 1.0, (weight * apart * y).sum(axis=1) / spread)
    intercept = (weight * y).sum(axis=1) / total - slope * middle
    variance = seen / spread**2
    of_slope = np.where(hidden, np.inf, variance)
    of_intercept = 1 / total + np.where(hidden, 0.0, middle**2 * variance)
    return np.stack([slope, intercept], 1), np.stack([of_slope, of_intercept], 1)


def noise_levels(
    sampled: Sequence[np.ndarray],
    matches: tuple[Affine, ...],
    counted: np.ndarray | None = None,
) -> tuple[float, ...]:
    """Return the standard deviation of each acquisition's noise, on its own intensity scale.

    With independent zero-mean noise and matched gains, A being one acquisition and B the mean of
    the others, ``E[(A - B)^2] = var(A) + var(B)``; `noise_share` gives B's share. If it differs
    from that of equal exposures by less than four standard errors, the exposures are taken as
    equal. Only pixels where `counted`, of shape (planes, Y, X), is True are used; default all.
    """
    views = np.stack(
        [match.inverse(planes) for match, planes in zip(matches, sampled, strict=True)]
    )
    count, mean = len(views), views.mean(axis=0)
    deviations = []
    for one in views:
        others = (count * mean - one) / (count - 1)
        values = one, others, neighbourhood(one), neighbourhood(others)
        share, pulls, weight = _noise_share(values, counted)
        number = int(weight.sum())
        error = mean_over_blocks(
            [(plane * number, every) for plane, every in zip(pulls, weight, strict=True)]
        ).error
        if error is None or abs(share - 1 / count) < _UNEQUAL * error:
            share = 1 / count
        squares = (one - others) ** 2
        total = float(np.mean(squares if counted is None else squares[counted], dtype=np.float64))
        deviations.append(math.sqrt(total * min(max(1 - share, 0.0), 1.0)))
    return tuple(
        deviation * match.gain for deviation, match in zip(deviations, matches, strict=True)
    )


def _noise_share(
    values: tuple[np.ndarray, ...], counted: np.ndarray | None
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return `noise_share` of the pixels that count, and their weights; (planes, Y, X)."""
    if counted is None:
        share, pulls = noise_share(*values)
        return share, pulls, np.ones(pulls.shape)
    share, inside = noise_share(*(part[counted] for part in values))
    pulls = np.zeros(counted.shape)
    pulls[counted] = inside
    return share, pulls, counted.astype(np.float64)
