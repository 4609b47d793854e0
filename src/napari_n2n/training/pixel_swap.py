"""Pixel swap: make many pairs out of one by randomly exchanging pixels between A and B.

If the noise of neighbouring pixels is independent, and both acquisitions show the same scene, input
and target may swap any of their pixels and still have independent noise. With only a few
acquisitions, overfitting of their noise then starts later. (Calvarons, CVPR Workshops 2021, swaps
in all patches.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from napari_n2n.noise.report import NoiseReport
from napari_n2n.training.losses import Loss

# The three limits below come from trials on real pairs (benchmarks/README.md, "What was tried").
# Largest noise correlation of neighbours along an axis at which they are swapped independently: it
# still helped at 0.08. If only one axis is above it, whole rows or columns are swapped.
_MOST_CORRELATION = 0.1
# Largest relative difference of the noise levels of A and B at which pixels are swapped in all
# patches: this helped below 1 %; at 5 % it was better to swap in half of them.
_MOST_NOISE_DIFFERENCE = 0.03
_SHARE_IF_NOISE_DIFFERS = 0.5
# Largest shift of B against A, in pixels: with more, swapped pixels would blur edges in the target.
_MOST_SHIFT = 0.25
_CHANGED = frozenset({"motion", "drift", "duplicate"})  # warnings that rule out a swap


@dataclass(frozen=True, slots=True)
class PixelSwap:
    """Which pixels are swapped: single pixels, whole columns or whole rows.

    Attributes
    ----------
    along_y, along_x
        True if neighbours along this axis are swapped independently. With `along_y` alone, whole
        rows are swapped; with `along_x` alone, whole columns.
    share
        Share of the patches in which pixels are swapped, 0 to 1.
    """

    along_y: bool
    along_x: bool
    share: float = 1.0

    def draw(self, grids: Sequence[Tensor], sides: tuple[int, int], seed: int) -> Tensor:
        """Draw which pixels are swapped, the same ones in all planes of a volume.

        Parameters
        ----------
        grids
            Source row and source column of each pixel of the patches, (N, [Z,] Y, X).
        sides
            Number of rows and columns.
        seed
            Seed of the draw.

        Returns
        -------
        Tensor
            True for swapped pixels, (N, [Z,] Y, X).
        """
        rows, columns = grids
        device, count = rows.device, len(rows)
        generator = torch.Generator(device).manual_seed(seed)
        draw = partial(torch.rand, generator=generator, device=device, dtype=torch.float32)
        chosen = draw(count, 1) < self.share
        swapped = draw(count, sides[0] * sides[1]) < 0.5
        index = rows * sides[1] * self.along_y + columns * self.along_x
        return (swapped & chosen).gather(1, index.flatten(1)).view(index.shape)


def allowed_swap(reports: Sequence[NoiseReport], loss: Loss) -> PixelSwap | None:
    """Return which pixels may be swapped, or None if no pixels may.

    The result is None if the noise is correlated along both axes or its correlation could not be
    determined, if something moved or changed between the acquisitions, and for losses that tolerate
    outliers: outliers come in clusters, and the part of a cluster in the input would show where the
    other part is in the target. If one acquisition is noisier than the other, no pixels are swapped
    in half of the patches, because the network must also be trained on images with the noise of
    each.
    """
    if loss.statistic != "mean":
        return None
    for report in reports:
        shifted = max(abs(along) for along in report.shift) > _MOST_SHIFT
        if shifted or _CHANGED & {warning.code for warning in report.warnings}:
            return None
    known = [report.noise_correlation for report in reports if report.noise_correlation]
    if len(known) < len(reports):
        return None
    along_y, along_x = (
        all(abs(along) < _MOST_CORRELATION for along in each) for each in zip(*known, strict=True)
    )
    if not along_y and not along_x:
        return None
    alike = all(
        abs(report.noise_b / (report.gain_ratio or 1.0) - report.noise_a)
        < _MOST_NOISE_DIFFERENCE * report.noise_a  # 0 if A was smoothed
        for report in reports
    )
    return PixelSwap(along_y, along_x, 1.0 if alike else _SHARE_IF_NOISE_DIFFERS)
