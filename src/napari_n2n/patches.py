"""Endless aligned batches out of a pair: what goes in, what should come out, which pixels count.

Every place is drawn for an ordered pair of acquisitions and for its reverse, so that each noisy
recording serves as input and as target. Inputs keep their own gain; targets are mapped to the gain
of their input, so that a network gives every recording back on its own scale. What is drawn is a
function of seed and step alone: a run can be repeated, and resumed, to the bit.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_n2n.acquisition import Acquisition, spread
from napari_n2n.affine import Affine
from napari_n2n.pair import Pair, held_out_mask, not_finite

MEMORY = 2 * 1024**3
_CONTEXT = 48


@dataclass(frozen=True, slots=True)
class Batch:
    """Aligned tensors of shape (N, 1, Y, X), in normalised units.

    Attributes
    ----------
    input, target
        Two noisy views of the same places.
    weight
        1 where a target pixel counts, 0 where it is held out or saturated.
    """

    input: Tensor
    target: Tensor
    weight: Tensor


def normalisation(pair: Pair) -> Affine:
    """Return the map from the first acquisition's intensities to those that the network sees.

    Black (the 1st percentile) becomes 0 and the standard deviation 1.
    """
    values = np.concatenate([plane.ravel()[::7] for _, plane in pair.first.spread_planes(8)])
    deviation = float(values.std())
    return Affine(1 / deviation, -float(np.percentile(values, 1)) / deviation)


class Patches:
    """The pair's pixels, normalised and ready on the device.

    Parameters
    ----------
    pair
        What to learn from. Where its planes do not fit `memory`, as many as fit are taken, spread
        evenly.
    scale
        Map from intensities to normalised units.
    side
        Of a patch in pixels; smaller where the planes are smaller.
    stride
        Patch sides are multiples of this.
    seed
        Decides the held-out blocks and every draw.
    device
        Where the batches are wanted.
    memory
        Limit for the pixels kept, in bytes.
    """

    def __init__(
        self,
        pair: Pair,
        scale: Affine,
        *,
        side: int,
        stride: int,
        seed: int,
        device: torch.device,
        memory: int = MEMORY,
    ) -> None:
        self.pair, self.scale, self.seed, self.device = pair, scale, seed, device
        rows, columns = pair.first.plane_shape
        self.stride = stride
        self.side = max(stride, min(side, rows // stride * stride, columns // stride * stride))
        fitting = memory // (4 * len(pair.acquisitions) * rows * columns)
        self.planes = spread(pair.first.plane_count, max(1, fitting))
        self._values = [self._load(acquisition) for acquisition in pair.acquisitions]
        self._saturation = [
            np.inf if acquisition.saturation is None else scale(acquisition.saturation) * (1 - 1e-6)
            for acquisition in pair.acquisitions
        ]
        mask = held_out_mask((rows, columns), seed)
        self._counts = torch.from_numpy(~mask).to(device)
        self.held_out = list(self._held_out_places(mask))

    def _load(self, acquisition: Acquisition) -> Tensor:
        kept = torch.empty(len(self.planes), *acquisition.plane_shape)
        for position, index in enumerate(self.planes):
            plane = acquisition.plane(index).astype(np.float32)
            if not np.isfinite(plane).all():
                raise not_finite(acquisition, index, 1 - np.isfinite(plane).mean())
            kept[position] = torch.from_numpy(self.scale(plane))
        return kept.to(self.device)

    def value_range(self) -> tuple[float, float]:
        """Return the smallest and largest intensity in the first acquisition, in ADU."""
        values = self._values[0]
        return tuple(float(self.scale.inverse(end)) for end in (values.min(), values.max()))  # type: ignore[return-value]

    def mean(self) -> float:
        """Return the mean of the first acquisition in normalised units."""
        return float(self._values[0].mean())

    def target_map(self, source: int, target: int) -> Affine:
        """Return the map of normalised pixels of `target` to the gain of `source`."""
        return self.scale.after(self.pair.match(target, source)).after(self.scale.inverse)

    def draw(self, step: int, count: int) -> Batch:
        """Draw the batch of a step: `count` places, each in both directions.

        Returns
        -------
        Batch
            Of 2 * `count` patches, flipped and rotated at random, input and target alike.
        """
        rng = np.random.default_rng((self.seed, step))
        rows, columns = self.pair.first.plane_shape
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(count):
            plane = int(rng.integers(len(self.planes)))
            y, x = (int(rng.integers(length - self.side + 1)) for length in (rows, columns))
            one, other = (int(k) for k in rng.permutation(len(self._values))[:2])
            turns, flip = int(rng.integers(4)), bool(rng.integers(2))
            for source, target in ((one, other), (other, one)):
                part = self._cut(
                    plane, source, target, (y, y + self.side), (x, x + self.side), self._counts
                )
                parts.append(tuple(_turned(image, turns, flip) for image in part))  # type: ignore[arg-type]
        return Batch(*(torch.stack(images)[:, None] for images in zip(*parts, strict=True)))

    def _cut(
        self,
        plane: int,
        source: int,
        target: int,
        rows: tuple[int, int],
        columns: tuple[int, int],
        counts: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        where = (plane, slice(*rows), slice(*columns))
        raw = self._values[target][where]
        weight = counts[where[1:]] & (raw < self._saturation[target])
        return self._values[source][where], self.target_map(source, target)(raw), weight.float()

    def _held_out_places(
        self, mask: np.ndarray
    ) -> list[tuple[int, tuple[int, int], tuple[int, int]]]:
        """Find the held-out blocks, with context around them: (plane, rows, columns)."""
        labels, _ = ndimage.label(mask)
        blocks = ndimage.find_objects(labels)
        planes = spread(len(self.planes), max(1, 64 // max(1, len(blocks))))
        places = []
        for plane in planes:
            for rows, columns in blocks:
                spans = (
                    self._with_context(part, length)
                    for part, length in zip((rows, columns), mask.shape, strict=True)
                )
                places.append((plane, *spans))
        return places  # type: ignore[return-value]

    def _with_context(self, part: slice, length: int) -> tuple[int, int]:
        start = max(0, part.start - _CONTEXT) // self.stride * self.stride
        stop = min(length, part.stop + _CONTEXT)
        size = (stop - start) // self.stride * self.stride
        return start, start + size

    def held_out_batches(self) -> list[Batch]:
        """Return batches of one place each, both directions, where only held-out pixels count."""
        directions = list(permutations(range(len(self._values)), 2))
        batches = []
        for plane, rows, columns in self.held_out:
            parts = [
                self._cut(plane, source, target, rows, columns, ~self._counts)
                for source, target in directions
            ]
            batches.append(
                Batch(*(torch.stack(images)[:, None] for images in zip(*parts, strict=True)))
            )
        return batches


def _turned(image: Tensor, turns: int, flip: bool) -> Tensor:
    return torch.rot90(image.flip(0) if flip else image, turns, (0, 1))
