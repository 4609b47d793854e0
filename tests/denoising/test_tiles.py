import math

import pytest
import torch
from conftest import stack_network

from napari_n2n.denoising.tiles import choose_tile, rounded_up
from napari_n2n.model.network import CompactUNet


def needed_halo(network, axis):
    """Pixels beyond a cell of the network's grid on which the cell's output depends."""
    torch.manual_seed(0)
    network = network.double().eval()
    stride, field = network.stride, network.receptive_field
    sides = [rounded_up(2 * f, s) + 4 * s for f, s in zip(field, stride, strict=True)]
    farthest = 0
    for offset in range(stride[axis]):
        image = torch.randn(1, 1, *sides, dtype=torch.double, requires_grad=True)
        at = [side // 2 // step * step for side, step in zip(sides, stride, strict=True)]
        first, last = at[axis], at[axis] + stride[axis] - 1
        at[axis] += offset
        (slope,) = torch.autograd.grad(network(image)[(0, 0, *at)], image)
        touched = slope[0, 0].nonzero()[:, axis]
        farthest = max(farthest, first - int(touched.min()), int(touched.max()) - last)
    return farthest


@pytest.mark.parametrize(
    ("network", "axis"),
    [(CompactUNet(1, 8, 2), 0), (CompactUNet(1, 8, 1), 1)]
    + [(CompactUNet(1, 4, 1, dims=3, flat=1), axis) for axis in (0, 1)]
    + [(stack_network(4, 1), 1)],
)
def test_the_halo_is_exact_to_one_stride(network, axis):
    step = network.stride[axis]
    halo = rounded_up(network.receptive_field[axis], step)
    assert halo - 2 * step < needed_halo(network, axis) <= halo - step


def test_tiles_are_as_large_as_memory_allows():
    numbers = ((2048, 2048), (59, 59), (8, 8))

    def chosen(pixels):
        return choose_tile(*numbers, longest=(2048, 2048), bytes_of=math.prod, memory=pixels)

    assert chosen(1e9) == (2048, 2048)
    for pixels in (4e6, 1e6, 3e5):
        rows, columns = chosen(pixels)
        assert pixels / 3 < (rows + 128) * (columns + 128) <= pixels
    assert max(chosen(1)) <= 64  # smaller tiles are not tried, however little memory there is


def test_a_small_plane_is_one_tile_if_it_fits_into_memory():
    numbers = ((61, 64), (59, 59), (8, 8))
    needed = 64**2
    limits = {"longest": (2048, 2048), "bytes_of": math.prod}
    assert choose_tile(*numbers, **limits, memory=needed) == (64, 64)
