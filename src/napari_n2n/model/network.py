"""The networks: what they compute, how far they see, and on which grid they repeat themselves.

A network made of convolutions, pooling and up-sampling is translation-equivariant only by multiples
of its `stride`, and an output pixel depends on no input pixel farther away than its
`receptive_field`. `napari_n2n.denoising.tiles` turns these two numbers into tiles that give exactly
what the whole plane would give.
"""

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

Padding = Literal["zeros", "replicate"]


class _Block(nn.Sequential):
    """Two times convolution, batch norm, leaky ReLU.

    Parameters
    ----------
    channels_in, channels_out, dims
        Of the convolutions.
    padding
        What lies beyond the edges: "zeros", or "replicate" for the outermost values.
    norm
        False leaves the norms out: the convolutions have a bias instead.
    """

    def __init__(
        self, channels_in: int, channels_out: int, dims: int, padding: Padding, norm: bool
    ) -> None:
        convolution, batch_norm = (
            (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        )
        layers: list[nn.Module] = []
        for channels in (channels_in, channels_out):
            layers += [
                convolution(
                    channels, channels_out, 3, padding=1, bias=not norm, padding_mode=padding
                ),
                batch_norm(channels_out) if norm else nn.Identity(),
                nn.LeakyReLU(0.1, inplace=True),
            ]
        super().__init__(*layers)


def folded(network: nn.Module) -> nn.Module:
    """Return a copy for inference alone, its norms folded into the convolutions before them.

    What is left has the weights of a network that was built without norms.
    """
    ready = copy.deepcopy(network).eval()
    for block in ready.modules():
        if isinstance(block, _Block):
            for at in range(0, len(block), 3):
                if not isinstance(block[at + 1], nn.Identity):
                    block[at] = fuse_conv_bn_eval(block[at], block[at + 1])  # type: ignore[type-var, arg-type]
                    block[at + 1] = nn.Identity()
    return ready.requires_grad_(False)


class CompactUNet(nn.Module):
    """The U-Net of this project: small enough to learn one pair within half a minute on two cores.

    Space-to-depth by 2 first: at half resolution a convolution costs a quarter and sees twice as
    far. Batch normalisation, linear up-sampling, and no skip around the whole network: on noisy
    microscopy a residual starts from the noise and has to unlearn it.

    The coarse levels see farther than a patch is wide. Padded with zeros, they would learn that
    edges are always near, and overshoot in wide, even areas where none are: there the outermost
    values are repeated. At full detail, where it costs most and matters least, zeros do.

    Parameters
    ----------
    channels
        Input and output channels.
    width
        Features of every level.
    depth
        Number of poolings behind the space-to-depth.
    dims
        2 for planes, 3 for volumes.
    flat
        For volumes: number of first levels, the space-to-depth being one, that leave Z as it is,
        because a step along Z is still longer than one along X.
    norm
        False leaves the batch norms out, whose place is at the start from chance: weights that
        have been trained before do without them.
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        depth: int = 2,
        dims: int = 2,
        flat: int = 0,
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.width, self.depth = channels, width, depth
        along_z = [1 if level < flat else 2 for level in range(depth + 1)]
        self._steps = [(z, 2, 2)[-dims:] for z in along_z]
        cells = channels * math.prod(self._steps[0])
        self.down = nn.ModuleList(
            _Block(cells if level == 0 else width, width, dims, _padding(level), norm)
            for level in range(depth + 1)
        )
        self.up = nn.ModuleList(
            _Block(2 * width, width, dims, _padding(level), norm)
            for level in reversed(range(depth))
        )
        self.head = (nn.Conv2d if dims == 2 else nn.Conv3d)(width, cells, 1)
        self._pool = F.max_pool2d if dims == 2 else F.max_pool3d
        self._mode = "bilinear" if dims == 2 else "trilinear"

    @property
    def stride(self) -> tuple[int, ...]:
        """Shift in pixels along each axis under which the network repeats itself."""
        return tuple(math.prod(steps) for steps in zip(*self._steps, strict=True))

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Farthest distance along each axis from an output pixel to an input pixel it depends on.

        In pixels.
        """
        return tuple(_reach(steps) for steps in zip(*self._steps, strict=True))

    @property
    def bytes_per_pixel(self) -> float:
        """Memory that a pass takes for each pixel of its input: six maps of features."""
        return 6 * 4 * self.width / math.prod(self._steps[0]) + 8 * self.channels

    def forward(self, image: Tensor) -> Tensor:
        """Denoise `image` of shape (N, channels, [Z,] Y, X), sides multiples of `stride`."""
        features = self.down[0](space_to_depth(image, self._steps[0]))
        skips = []
        for block, steps in zip(list(self.down)[1:], self._steps[1:], strict=True):
            skips.append(features)
            features = block(self._pool(features, steps))
        for block, steps in zip(self.up, self._steps[:0:-1], strict=True):
            features = F.interpolate(
                features,
                scale_factor=[float(step) for step in steps],
                mode=self._mode,
                align_corners=False,
            )
            features = block(torch.cat([features, skips.pop()], dim=1))
        return depth_to_space(_in_full(self.head, features), self._steps[0])


def _in_full(layer: nn.Module, features: Tensor) -> Tensor:
    """Apply the last layer in the precision of its weights, also where the others get by with less.

    Rounded to bfloat16, values are off by up to 0.4 %: as much as the noise of a good recording.
    """
    with torch.autocast(features.device.type, enabled=False):
        return layer(features.to(layer.get_parameter("weight").dtype))


def _padding(level: int) -> Padding:
    return "zeros" if level == 0 else "replicate"


def _reach(steps: tuple[int, ...]) -> int:
    """Receptive field of a `CompactUNet` along an axis that its levels coarsen by `steps`."""
    reach, grid = steps[0] - 1, steps[0]
    for step in (*steps[1:], None):
        reach += 2 * grid  # two convolutions on the way down
        if step is not None:
            reach += (step - 1) * grid  # pooling
            reach += step * grid if step > 1 else 0  # linear up-sampling: the coarser neighbour
            reach += 2 * grid  # two convolutions on the way up
            grid *= step
    return reach


def space_to_depth(image: Tensor, steps: tuple[int, ...]) -> Tensor:
    """Turn every block of pixels, one of `steps` along each axis, into channels of one pixel."""
    if len(steps) == 2:
        return F.pixel_unshuffle(image, steps[0])
    count, channels, *sides = image.shape
    cut = [part for side, step in zip(sides, steps, strict=True) for part in (side // step, step)]
    blocks = image.reshape(count, channels, *cut).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return blocks.flatten(1, 4)


def depth_to_space(features: Tensor, steps: tuple[int, ...]) -> Tensor:
    """Undo `space_to_depth`."""
    if len(steps) == 2:
        return F.pixel_shuffle(features, steps[0])
    blocks = features.unflatten(1, (-1, *steps)).permute(0, 1, 5, 2, 6, 3, 7, 4)
    count, channels, *cut = blocks.shape
    sides = [cut[k] * cut[k + 1] for k in range(0, 6, 2)]
    return blocks.reshape(count, channels, *sides)


def flat_levels(scale: tuple[float, ...], depth: int) -> int:
    """Number of levels of a `CompactUNet` that should leave Z as it is, for voxels near cubic.

    Parameters
    ----------
    scale
        Size of a voxel along Z, Y, X, in one unit.
    depth
        Of the network.
    """
    ratio = scale[0] / scale[-1]
    return sum(ratio > 1.5 * 2**level for level in range(depth + 1))


class PaperUNet(nn.Module):
    """The U-Net of Lehtinen et al. 2018, table 2, for reproducing the paper.

    Five poolings, 48 features down, 96 up, nearest up-sampling, a 64-32 head, no normalisation;
    0.99 million weights for 3 channels.
    """

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.channels = channels

        def conv(channels_in: int, channels_out: int) -> nn.Module:
            return nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 3, padding=1),
                nn.LeakyReLU(0.1, inplace=True),
            )

        self.enter = conv(channels, 48)
        self.down = nn.ModuleList(conv(48, 48) for _ in range(6))
        self.up = nn.ModuleList(
            nn.Sequential(conv(inside, 96), conv(96, 96)) for inside in (96, 144, 144, 144)
        )
        self.top = nn.Sequential(conv(96 + channels, 64), conv(64, 32))
        self.head = nn.Conv2d(32, channels, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=0.1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    stride = (32, 32)
    bytes_per_pixel = 1600.0

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Farthest distance along each axis from an output pixel to an input pixel it depends on.

        In pixels.
        """
        reach = 1 + 1 + 3  # entry and first convolution, top and head
        for level in range(5):
            step = 2**level
            reach += step + 2 * step  # pooling, and nearest up-sampling from the coarser grid
            reach += 2 * step  # the convolution below the pooling, at twice the step
            reach += 2 * step if level > 0 else 0  # two convolutions on the way up
        return reach, reach

    def forward(self, image: Tensor) -> Tensor:
        """Denoise `image` of shape (N, channels, Y, X); Y and X are multiples of 32."""
        features = self.down[0](self.enter(image))
        skips = [image]
        for level, conv in enumerate(list(self.down)[1:]):
            features = F.max_pool2d(features, 2)
            if level < 4:
                skips.append(features)
            features = conv(features)
        for conv in self.up:
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            features = conv(torch.cat([features, skips.pop()], dim=1))
        features = F.interpolate(features, scale_factor=2.0, mode="nearest")
        return _in_full(self.head, self.top(torch.cat([features, skips.pop()], dim=1)))


NETWORKS: dict[str, Callable[..., nn.Module]] = {"compact": CompactUNet, "paper": PaperUNet}
"""The networks by the name that settings and model files use."""
