"""The networks: what they compute, how far they see, and on which grid they repeat themselves.

A network made of convolutions, pooling and up-sampling is translation-equivariant only by multiples
of its `stride`, and an output pixel depends on no input pixel farther away than its
`receptive_field`. `napari_n2n.tiles` turns these two numbers into tiles that give exactly what the
whole plane would give.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Block(nn.Sequential):
    """Two times convolution, batch norm, leaky ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        layers: list[nn.Module] = []
        for channels in (channels_in, channels_out):
            layers += [
                nn.Conv2d(channels, channels_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels_out),
                nn.LeakyReLU(0.1, inplace=True),
            ]
        super().__init__(*layers)


class CompactUNet(nn.Module):
    """The U-Net of this project: small enough to learn one pair within half a minute on two cores.

    Space-to-depth by 2 first: at half resolution a convolution costs a quarter and sees twice as
    far. Batch normalisation, bilinear up-sampling, and no skip around the whole network: on noisy
    microscopy a residual starts from the noise and has to unlearn it.

    Parameters
    ----------
    channels
        Input and output channels.
    width
        Features of every level.
    depth
        Number of poolings behind the space-to-depth.
    """

    def __init__(self, channels: int = 1, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.channels, self.width, self.depth = channels, width, depth
        self.enter = nn.PixelUnshuffle(2)
        self.down = nn.ModuleList(
            _Block(4 * channels if level == 0 else width, width) for level in range(depth + 1)
        )
        self.up = nn.ModuleList(_Block(2 * width, width) for _ in range(depth))
        self.head = nn.Conv2d(width, 4 * channels, 1)
        self.leave = nn.PixelShuffle(2)

    @property
    def stride(self) -> int:
        """Shift in pixels under which the network repeats itself."""
        return int(2 ** (self.depth + 1))

    @property
    def receptive_field(self) -> int:
        """Farthest distance in pixels from an output pixel to an input pixel it depends on."""
        reach = 1  # space-to-depth, and back
        for level in range(self.depth + 1):
            step = 2 ** (level + 1)
            reach += 2 * step  # two convolutions on the way down
            if level < self.depth:
                reach += step  # pooling: two pixels of this level
                reach += 2 * step  # bilinear up-sampling: the neighbour on the coarser grid
                reach += 2 * step  # two convolutions on the way up
        return reach

    def forward(self, image: Tensor) -> Tensor:
        """Denoise `image` of shape (N, channels, Y, X); Y and X are multiples of `stride`."""
        features = self.down[0](self.enter(image))
        skips = []
        for block in list(self.down)[1:]:
            skips.append(features)
            features = block(F.max_pool2d(features, 2))
        for block in self.up:
            features = F.interpolate(
                features, scale_factor=2.0, mode="bilinear", align_corners=False
            )
            features = block(torch.cat([features, skips.pop()], dim=1))
        return self.leave(self.head(features))


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

    stride = 32

    @property
    def receptive_field(self) -> int:
        """Farthest distance in pixels from an output pixel to an input pixel it depends on."""
        reach = 1 + 1 + 3  # entry and first convolution, top and head
        for level in range(5):
            step = 2**level
            reach += step + 2 * step  # pooling, and nearest up-sampling from the coarser grid
            reach += 2 * step  # the convolution below the pooling, at twice the step
            reach += 2 * step if level > 0 else 0  # two convolutions on the way up
        return reach

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
        return self.head(self.top(torch.cat([features, skips.pop()], dim=1)))


NETWORKS: dict[str, Callable[..., nn.Module]] = {"compact": CompactUNet, "paper": PaperUNet}
"""The networks by the name that settings and model files use."""
