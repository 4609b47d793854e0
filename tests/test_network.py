import pytest
import torch

from napari_n2n.network import NETWORKS, CompactUNet


def reach(network, size):
    """How far from an output pixel the input still matters, found by gradients."""
    torch.manual_seed(0)
    network = network.double().eval()
    image = torch.randn(1, network.channels, size, size, dtype=torch.double, requires_grad=True)
    farthest = 0
    for offset in range(network.stride):
        at = size // 2 // network.stride * network.stride + offset
        (slope,) = torch.autograd.grad(network(image)[0, 0, at, at], image)
        touched = slope[0, 0].abs().sum(0).nonzero()
        farthest = max(farthest, int((touched - at).abs().max()))
    return farthest


@pytest.mark.parametrize("depth", [1, 2])
def test_the_receptive_field_covers_what_the_network_sees(depth):
    network = CompactUNet(1, 8, depth)
    seen = reach(network, 32 * (network.receptive_field // 8))
    assert seen <= network.receptive_field
    assert seen > 0.6 * network.receptive_field  # nor is it much too large


def test_the_papers_network_has_the_papers_size():
    network = NETWORKS["paper"](channels=3)
    count = sum(weights.numel() for weights in network.parameters())
    assert count == pytest.approx(0.99e6, rel=0.01)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_repeat_themselves_after_a_stride(name):
    torch.manual_seed(0)
    network = NETWORKS[name](channels=1).double().eval()
    halo = -(-network.receptive_field // network.stride) * network.stride
    size = 2 * halo + 2 * network.stride
    image = torch.randn(1, 1, size + network.stride, size + network.stride, dtype=torch.double)
    with torch.inference_mode():
        whole = network(image)[..., halo:-halo, halo:-halo]
        moved = network(image[..., network.stride :, network.stride :])[..., halo:-halo, halo:-halo]
    step = network.stride
    torch.testing.assert_close(whole[..., step:, step:], moved[..., : -0 or None, : -0 or None])
