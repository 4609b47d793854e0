"""One pair makes many: which of two acquisitions a pixel comes from may be drawn anew.

Where the noise of a pixel says nothing about that of its neighbours, and both acquisitions show
the same, input and target may swap any of their pixels and still have independent noise around one
scene. So few acquisitions last longer until a network knows their noise by heart. (Calvarons, CVPR
Workshops 2021, does so with all pixels.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from napari_n2n.noise.report import NoiseReport
from napari_n2n.training.losses import Loss

_CORRELATED = 0.1
_ALIKE = 0.03  # noise levels that differ by less
_SHARE_OF_UNLIKE = 0.5
_SHIFTED = 0.25
_CHANGED = frozenset({"motion", "drift", "duplicate"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """Whether single pixels, whole columns or whole rows are drawn for, as neighbours may differ.

    Attributes
    ----------
    along_y, along_x
        Whether neighbours along this axis are drawn for by themselves.
    share
        Of the patches whose pixels are exchanged. The others stay as they were taken.
    """

    along_y: bool
    along_x: bool
    share: float = 1.0

    def drawn(self, grids: Sequence[Tensor], sides: tuple[int, int], seed: int) -> Tensor:
        """Draw which pixels change places, the same ones in all planes of a volume.

        Parameters
        ----------
        grids
            Row and column that each pixel of the patches comes from, (N, [Z,] Y, X).
        sides
            Number of rows and columns.
        seed
            Decides what is drawn.

        Returns
        -------
        Tensor
            Booleans, (N, [Z,] Y, X).
        """
        rows, columns = grids
        device, count = rows.device, len(rows)
        generator = torch.Generator(device).manual_seed(seed)
        chosen = torch.rand(count, 1, generator=generator, device=device) < self.share
        table = torch.rand(count, sides[0] * sides[1], generator=generator, device=device) < 0.5
        place = rows * sides[1] * self.along_y + columns * self.along_x
        return (table & chosen).gather(1, place.flatten(1)).view(place.shape)


def exchange(reports: Sequence[NoiseReport], loss: Loss) -> Exchange | None:
    """Return how pixels may be exchanged; None where acquisitions must stay as they were taken.

    That is where the noise is correlated in both directions, or nobody knows; where something has
    moved or changed between the acquisitions; and where a loss stands up to outliers: those come in
    patches, and what is left of one in the input would tell where it is in the target. Where one
    acquisition is noisier than the other, a mixture of both is unlike either, and the network has
    to see them as they are, too.
    """
    if loss.statistic != "mean":
        return None
    for report in reports:
        shifted = max(abs(along) for along in report.shift) > _SHIFTED
        if shifted or _CHANGED & {warning.code for warning in report.warnings}:
            return None
    shared = [report.noise_correlation for report in reports if report.noise_correlation]
    if len(shared) < len(reports):  # nobody knows
        return None
    along_y, along_x = (
        all(abs(along) < _CORRELATED for along in each) for each in zip(*shared, strict=True)
    )
    if not along_y and not along_x:
        return None
    alike = all(
        abs(report.noise_b / report.gain_ratio / report.noise_a - 1) < _ALIKE for report in reports
    )
    return Exchange(along_y, along_x, 1.0 if alike else _SHARE_OF_UNLIKE)
