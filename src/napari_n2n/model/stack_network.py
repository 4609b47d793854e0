"""The network for volumes and movies: the U-Net for planes, in which planes exchange features."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_n2n.model.network import (
    Block,
    CompactUNet,
    depth_to_space,
    in_full_precision,
    space_to_depth,
)

# Planes on either side that the first convolution sees. More: more noise is averaged where the
# sample changes slowly along Z; fewer: faster.
NEIGHBOURS = 2
# Pixels of the planes that are computed at once for a result. More: more memory; fewer: small
# planes are computed one by one, which is slower.
PIXELS_AT_ONCE = 2**18


class StackUNet(CompactUNet):
    """A `CompactUNet` for planes that also sees the planes before and after.

    The first convolution gets a plane with its `NEIGHBOURS` on either side as channels. Before each
    further block, and for each skip connection, a linear map of the features of the two adjacent
    planes is added to those of a plane (`_Exchange`). Nothing is pooled along Z, so a stack may
    have any number of planes and any step along Z, and a voxel takes little more time than a pixel
    of a plane. The first and last planes are repeated beyond the ends.

    Results are computed plane by plane: only the features of a few planes of each level are in
    memory, so that a tile can contain all planes of a long stack.

    Parameters
    ----------
    channels, width, depth, norm, stabilised
        As for `CompactUNet`.
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        depth: int = 2,
        norm: bool = True,
        stabilised: bool = False,
    ) -> None:
        super().__init__(channels, width, depth, norm=norm, stabilised=stabilised)
        cells = (2 * NEIGHBOURS + 1) * channels * 4
        self.down[0] = Block(cells, width, 2, "zeros", norm)
        self.before_down = nn.ModuleList(_Exchange(width) for _ in range(depth))
        self.before_up = nn.ModuleList(_Exchange(width) for _ in range(depth))
        self.before_skip = nn.ModuleList(_Exchange(width) for _ in range(depth))
        self.stride = (1, *self.stride)
        self.receptive_field = (NEIGHBOURS + 2 * depth, *self.receptive_field)

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of the stacks: (N, channels, Z, Y, X)."""
        return torch.contiguous_format

    @property
    def weights_format(self) -> torch.memory_format:
        """Layout of the weights: the convolutions are for planes."""
        return torch.channels_last

    def bytes_of(self, sides: tuple[int, ...]) -> float:
        """Return the memory of a forward pass in bytes; see `Network.bytes_of`."""
        planes, rows, columns = sides
        # In float32: six stacks (input and output in both units, the planes that are repeated, and
        # the sum of two), and eleven feature maps of the planes of a group at half resolution: of
        # six groups, and five of the group that is computed.
        group = max(rows * columns, min(PIXELS_AT_ONCE, planes * rows * columns))
        return 4 * (6 * planes * rows * columns + 11 * self._width / 4 * group)

    def _denoised(self, image: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.jit.is_tracing():
            return _Stream(self, image).result()
        planes, rows, columns = image.shape[2:]
        together = max(1, PIXELS_AT_ONCE // (rows * columns))
        stream = _Stream(self, image, together)
        result = torch.empty_like(image)
        for group, first in enumerate(range(0, planes, together)):
            result[:, :, first : first + together] = stream.result(group)
            stream.forget(group)
        return result


class _Exchange(nn.Module):
    """Add to the features of each plane a linear map of those of the planes before and after."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.maps = nn.Linear(width, 2 * width, bias=False, dtype=torch.float32)
        nn.init.zeros_(self.maps.weight)

    def forward(self, window: Tensor) -> Tensor:
        """Map features with one more plane on either side, (N, Z + 2, ...), to (N, Z, ...)."""
        before, after = self.maps(window).chunk(2, dim=-1)
        return window[:, 1:-1] + before[:, :-2] + after[:, 2:]


class _Stream:
    """Features of the planes of a stack, computed when they are needed: (N, Z, Y, X, width).

    Parameters
    ----------
    network
        The network.
    stack
        Shape (N, channels, Z, Y, X).
    together
        Planes of a group, which are computed at once; None for all.
    """

    def __init__(self, network: StackUNet, stack: Tensor, together: int | None = None) -> None:
        self._network, self._count, self._together = network, stack.shape[0], together
        self._stack = F.pad(stack, (0, 0, 0, 0, NEIGHBOURS, NEIGHBOURS), mode="replicate")
        self._groups = 1 if together is None else -(-stack.shape[2] // together)
        self._features: dict[tuple[str, int, int], Tensor] = {}

    def result(self, group: int = 0) -> Tensor:
        """Return the denoised planes of a group, (N, channels, Z, Y, X)."""
        cells = in_full_precision(self._network.head, _planes(self._get("up", 0, group)))
        planes = depth_to_space(cells, (2, 2))
        return planes.unflatten(0, (self._count, -1)).transpose(1, 2)

    def forget(self, group: int) -> None:
        """Free the features that no later group needs, once this one is finished."""
        for key in [key for key in self._features if key[2] < group]:
            del self._features[key]

    def _get(self, way: str, level: int, group: int) -> Tensor:
        """Return the features of a level and a stage: "down", "pooled" or "up"."""
        if way == "up" and level == len(self._network.up):
            way = "down"  # the coarsest level
        key = way, level, group
        if key not in self._features:
            compute = {"down": self._down, "pooled": self._pooled, "up": self._up}[way]
            self._features[key] = self._stacked(compute(level, group))
        return self._features[key]

    def _down(self, level: int, group: int) -> Tensor:
        """Compute the features of a level on the way down, (N * Z, width, Y, X)."""
        network = self._network
        if level == 0:
            given = self._cells(group)
        else:
            given = network.before_down[level - 1](self._window("pooled", level, group))
        return network.down[level](_planes(given))

    def _pooled(self, level: int, group: int) -> Tensor:
        """Pool the features of the level above."""
        return F.max_pool2d(_planes(self._get("down", level - 1, group)), 2)

    def _up(self, level: int, group: int) -> Tensor:
        """Compute the features of a level on the way up."""
        network = self._network
        coarse = _planes(network.before_up[level](self._window("up", level + 1, group)))
        finer = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        skip = _planes(network.before_skip[level](self._window("down", level, group)))
        block = network.up[len(network.up) - 1 - level]
        return block(torch.cat([finer, skip], dim=1))

    def _window(self, way: str, level: int, group: int) -> Tensor:
        """Return the features of a group with one plane before and one after it."""
        own = self._get(way, level, group)
        before = self._get(way, level, group - 1)[:, -1:] if group > 0 else own[:, :1]
        last = group + 1 == self._groups
        after = own[:, -1:] if last else self._get(way, level, group + 1)[:, :1]
        return torch.cat([before, own, after], dim=1)

    def _cells(self, group: int) -> Tensor:
        """Return the space-to-depth of each plane of a group and its neighbours, as channels."""
        planes = self._stack
        if self._together is not None:
            first = group * self._together
            planes = planes[:, :, first : first + self._together + 2 * NEIGHBOURS]
        cells = self._stacked(space_to_depth(planes.transpose(1, 2).flatten(0, 1), (2, 2)))
        count = cells.shape[1] - 2 * NEIGHBOURS
        near = [cells[:, step : step + count] for step in range(2 * NEIGHBOURS + 1)]
        return torch.cat(near, dim=-1)

    def _stacked(self, planes: Tensor) -> Tensor:
        """Turn (N * Z, width, Y, X) into (N, Z, Y, X, width); a view if channels are last."""
        return planes.permute(0, 2, 3, 1).unflatten(0, (self._count, -1))


def _planes(features: Tensor) -> Tensor:
    """Turn (N, Z, Y, X, width) into (N * Z, width, Y, X) with channels last."""
    return features.flatten(0, 1).permute(0, 3, 1, 2)
