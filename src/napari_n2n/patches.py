"""Endless aligned batches out of a pair: what goes in, what should come out, which pixels count.

Every place is drawn for an ordered pair of acquisitions and for its reverse, so that each noisy
recording serves as input and as target. Inputs keep their own gain; targets are mapped to the gain
of their input, so that a network gives every recording back on its own scale. What is drawn is a
function of seed and step alone: a run can be repeated, and resumed, to the bit.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_n2n.acquisition import Acquisition, spread
from napari_n2n.affine import Affine
from napari_n2n.pair import Pair, held_out_mask, not_finite

MEMORY = 2 * 1024**3
_RIM = 2
_PLACE = 256
_PLACES = 8


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
        self.side = _whole(min(side, rows, columns), stride)
        fitting = memory // (4 * len(pair.acquisitions) * rows * columns)
        self.planes = spread(pair.first.plane_count, max(1, fitting))
        self._values = [self._load(acquisition) for acquisition in pair.acquisitions]
        self._saturation = [
            np.inf if acquisition.saturation is None else scale(acquisition.saturation - 0.5)
            for acquisition in pair.acquisitions
        ]
        mask = held_out_mask((rows, columns), seed)
        self._counts = torch.from_numpy(~mask).to(device)
        # Neighbours' noise may be correlated: a rim of each block is neither learned nor scored.
        core = ndimage.binary_erosion(mask, iterations=_RIM)
        self._scores = torch.from_numpy(core).to(device)

    def _load(self, acquisition: Acquisition) -> Tensor:
        kept = torch.empty(len(self.planes), *acquisition.plane_shape)
        for position, index in enumerate(self.planes):
            plane = acquisition.plane(index).astype(np.float32)
            if not np.isfinite(plane).all():
                raise not_finite(acquisition, index, 1 - np.isfinite(plane).mean())
            kept[position] = torch.from_numpy(self.scale(plane))
        return kept.to(self.device)

    @property
    def pixels(self) -> int:
        """Number of pixels in all acquisitions together."""
        return sum(values.numel() for values in self._values)

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
                square = (y, y + self.side), (x, x + self.side)
                part = self._cut(plane, *square, source, target, self._counts)
                parts.append(tuple(_turned(image, turns, flip) for image in part))  # type: ignore[arg-type]
        return Batch(*(torch.stack(images)[:, None] for images in zip(*parts, strict=True)))

    def _cut(
        self,
        plane: int,
        rows: tuple[int, int],
        columns: tuple[int, int],
        source: int,
        target: int,
        counts: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        where = (plane, slice(*rows), slice(*columns))
        raw = self._values[target][where]
        weight = counts[where[1:]] & (raw < self._saturation[target])
        return self._values[source][where], self.target_map(source, target)(raw), weight.float()

    def held_out_batches(self) -> list[Batch]:
        """Return batches of one large place each, where only held-out pixels count.

        Every acquisition is the input once and the target once at each place; places are spread
        evenly over the planes.
        """
        count = len(self._values)
        rows, columns = [
            [(start, start + _whole(min(_PLACE, length - start), self.stride)) for start in starts]
            for length in self.pair.first.plane_shape
            for starts in (range(0, max(1, length - _PLACE // 2), _PLACE),)
        ]
        places = list(product(range(len(self.planes)), rows, columns))
        return [
            Batch(
                *(
                    torch.stack(images)[:, None]
                    for images in zip(
                        *(
                            self._cut(*places[index], source, (source + 1) % count, self._scores)
                            for source in range(count)
                        ),
                        strict=True,
                    )
                )
            )
            for index in spread(len(places), _PLACES)
        ]


def _whole(length: int, stride: int) -> int:
    return length // stride * stride


def _turned(image: Tensor, turns: int, flip: bool) -> Tensor:
    return torch.rot90(image.flip(0) if flip else image, turns, (0, 1))
