"""The networks, and the two numbers that exact tiling needs: stride and receptive field.

A network made of convolutions, pooling and up-sampling is translation-equivariant only by multiples
of its `stride`, and an output pixel depends on no input pixel farther away than its
`receptive_field`. `napari_n2n.denoising.tiles` uses both to cut tiles that give exactly the result
of the whole plane.
"""

import copy
import math
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_n2n.model.device import out_of_memory

Padding = Literal["zeros", "replicate"]


class Network(nn.Module):
    """Base class of the networks, with what tiling and memory limits need.

    `forward` maps images of shape (N, channels, [Z,] Y, X), sides multiples of `stride`, to images
    of the same shape.

    Attributes
    ----------
    channels
        Number of input and output channels.
    stride
        Shift in pixels along each axis under which the network is equivariant.
    receptive_field
        Largest distance in pixels along each axis from an output pixel to an input pixel that it
        depends on.
    """

    channels: int
    stride: tuple[int, ...]
    receptive_field: tuple[int, ...]

    @property
    def dims(self) -> int:
        """2 for planes, 3 for volumes."""
        return len(self.stride)

    def bytes_of(self, sides: tuple[int, ...]) -> float:
        """Return the memory in bytes of a forward pass on an image with these sides in pixels."""
        raise NotImplementedError

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout in which convolutions are fastest: channels last."""
        return torch.channels_last if self.dims == 2 else torch.channels_last_3d

    @property
    def weights_format(self) -> torch.memory_format:
        """Layout of the weights."""
        return self.memory_format

    def moved_to(self, device: torch.device | str) -> Self:
        """Move the weights to a device, in `weights_format`, and return self.

        Raises
        ------
        BadInput
            If they do not fit into its memory.
        """
        try:
            return self.to(device=device, memory_format=self.weights_format)  # type: ignore[call-overload]
        except torch.OutOfMemoryError as error:
            raise out_of_memory(device) from error


class Block(nn.Sequential):
    """Convolution, batch norm and leaky ReLU, twice.

    Parameters
    ----------
    channels_in, channels_out, dims
        Input and output channels, and dimensions (2 or 3), of the convolutions.
    padding
        Values beyond the edges: "zeros", or "replicate" to repeat the outermost values.
    norm
        False leaves out the norms and gives the convolutions a bias instead.
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
                    channels,
                    channels_out,
                    3,
                    padding=1,
                    bias=not norm,
                    padding_mode=padding,
                    dtype=torch.float32,
                ),
                batch_norm(channels_out, dtype=torch.float32) if norm else nn.Identity(),
                nn.LeakyReLU(0.1, inplace=True),
            ]
        super().__init__(*layers)


def folded(network: Network) -> Network:
    """Return a copy for inference only, each batch norm folded into the convolution before it.

    Its weights can be loaded into a network built with ``norm=False``.
    """
    ready = copy.deepcopy(network).eval()
    for block in ready.modules():
        if isinstance(block, Block):
            for at in range(0, len(block), 3):
                convolution, norm = block[at], block[at + 1]
                if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d):
                    assert isinstance(convolution, nn.Conv2d | nn.Conv3d)
                    block[at] = fuse_conv_bn_eval(convolution, norm)
                    block[at + 1] = nn.Identity()
    return ready.requires_grad_(False)


class CompactUNet(Network):
    """The U-Net of this project: small enough to train on a pair in half a minute on two cores.

    Space-to-depth by 2 comes first: at half resolution a convolution costs a quarter and covers
    twice the distance. There is no skip connection around the whole network: its output would start
    as the noisy input, and training would first have to remove this noise.

    The receptive field of the coarse levels is wider than a patch. With zero padding the network
    would adapt to edges that are always near, and overshoot in large uniform areas. These levels
    therefore repeat the outermost values. The finest level, where this costs most and matters
    least, is padded with zeros.

    Parameters
    ----------
    channels
        Input and output channels.
    width
        Features of every level.
    depth
        Number of poolings after the space-to-depth.
    dims
        2 for planes, 3 for volumes.
    flat
        For volumes: number of the first levels, including the space-to-depth, that do not pool
        along Z, because voxels are longer along Z than along X.
    norm
        False leaves out the batch norms. Training needs them from random weights, but not from
        pretrained ones.
    stabilised
        True to compute in variance-stabilised intensities: see `Stabilisation`.

    Attributes
    ----------
    noise_curve
        The `Stabilisation` as a tensor of shape (3,); None if it is not used.
    """

    def __init__(
        self,
        channels: int = 1,
        width: int = 32,
        depth: int = 2,
        dims: int = 2,
        flat: int = 0,
        norm: bool = True,
        stabilised: bool = False,
    ) -> None:
        super().__init__()
        curve = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float32) if stabilised else None
        self.noise_curve: Tensor | None
        self.register_buffer("noise_curve", curve)
        self._steps = [(1 if level < flat else 2, 2, 2)[-dims:] for level in range(depth + 1)]
        along_axes = list(zip(*self._steps, strict=True))
        cells = channels * math.prod(self._steps[0])
        self.channels = channels
        self.stride = tuple(math.prod(steps) for steps in along_axes)
        self.receptive_field = tuple(_reach(steps) for steps in along_axes)
        self._width = width
        self.down = nn.ModuleList(
            Block(cells if level == 0 else width, width, dims, _padding(level), norm)
            for level in range(depth + 1)
        )
        self.up = nn.ModuleList(
            Block(2 * width, width, dims, _padding(level), norm) for level in reversed(range(depth))
        )
        head = nn.Conv2d if dims == 2 else nn.Conv3d
        self.head = head(width, cells, 1, dtype=torch.float32)
        self._pool = F.max_pool2d if dims == 2 else F.max_pool3d
        self._mode = "bilinear" if dims == 2 else "trilinear"

    def bytes_of(self, sides: tuple[int, ...]) -> float:
        """Return the memory of a forward pass in bytes; see `Network.bytes_of`."""
        # Six float32 feature maps at the resolution of the first level, plus input and output.
        per_pixel = 6 * 4 * self._width / math.prod(self._steps[0]) + 8 * self.channels
        return per_pixel * math.prod(sides)

    def forward(self, image: Tensor) -> Tensor:
        """Denoise `image` of shape (N, channels, [Z,] Y, X), sides multiples of `stride`."""
        if self.noise_curve is None:
            return self._denoised(image)
        return to_linear(self._denoised(to_stabilised(image, self.noise_curve)), self.noise_curve)

    def _denoised(self, image: Tensor) -> Tensor:
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
        return depth_to_space(in_full_precision(self.head, features), self._steps[0])


class Stabilisation(NamedTuple):
    """Intensities in which noise has the same deviation everywhere (Anscombe 1948).

    With the variance ``gain x + dark`` at an intensity x (0 is black), noise has a deviation of
    about 1 in ``z = 2 / gain (sqrt(gain x + dark) - sqrt(dark))``; below 0, z is linear. Very
    bright and very dim structures then have similar sizes for the network. Input and output of the
    network are mapped, but not the target: a loss in linear intensities keeps its statistic.

    Attributes
    ----------
    gain, dark
        Slope of the variance, 0 or more, and variance at black, in normalised units.
    spread
        Standard deviation of the image in z; the network computes in ``z / spread``.
    """

    gain: float
    dark: float
    spread: float


def to_stabilised(image: Tensor, curve: Tensor) -> Tensor:
    """Map normalised intensities to variance-stabilised ones; see `Stabilisation`."""
    gain, dark, spread = curve.unbind()
    above = image.clamp(min=0.0)
    roots = torch.sqrt(gain * above + dark) + torch.sqrt(dark)
    return (2 * above / roots + image.clamp(max=0.0) / torch.sqrt(dark)) / spread


def to_linear(image: Tensor, curve: Tensor) -> Tensor:
    """Undo `to_stabilised`."""
    gain, dark, spread = curve.unbind()
    values = image * spread
    return torch.sqrt(dark) * values + gain / 4 * values.clamp(min=0.0) ** 2


def in_full_precision(layer: nn.Module, features: Tensor) -> Tensor:
    """Apply the last layer in the precision of its weights, also under autocast.

    Rounded to bfloat16, values are off by up to 0.4 %: as much as the noise of a good recording.
    """
    with torch.autocast(features.device.type, enabled=False):
        return layer(features.to(layer.get_parameter("weight").dtype))


def _padding(level: int) -> Padding:
    return "zeros" if level == 0 else "replicate"


def _reach(steps: tuple[int, ...]) -> int:
    """Return the receptive field in pixels along an axis that the levels pool by `steps`."""
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
    """Turn every block of pixels, `steps` long along each axis, into the channels of one pixel."""
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
