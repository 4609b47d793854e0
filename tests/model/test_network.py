"""The network: stride, receptive field, folded norms, random weights."""

from unittest import mock

import pytest
import torch
from conftest import stack_network
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_n2n.model import stack_network as module
from napari_n2n.model.building import build_network
from napari_n2n.model.network import CompactUNet, folded, to_linear, to_stabilised


def reach(network, sides):
    """Return the distance along each axis at which the input still has a gradient."""
    torch.manual_seed(0)
    network = network.double().eval()
    image = torch.randn(1, network.channels, *sides, dtype=torch.double, requires_grad=True)
    farthest = [0] * len(sides)
    for offset in range(max(network.stride)):
        at = [
            side // 2 // step * step + offset % step
            for side, step in zip(sides, network.stride, strict=True)
        ]
        (slope,) = torch.autograd.grad(network(image)[(0, 0, *at)], image)
        touched = slope[0, 0].nonzero()
        for axis, here in enumerate(at):
            farthest[axis] = max(farthest[axis], int((touched[:, axis] - here).abs().max()))
    return farthest


@settings(max_examples=20, deadline=None)
@given(planes=st.integers(1, 30), together=st.integers(1, 12), stacks=st.integers(1, 2))
def test_a_stack_computed_in_groups_of_planes_is_that_computed_at_once(planes, together, stacks):
    network = stack_network(4, 2, norm=False).double()
    stack = torch.randn(stacks, 1, planes, 16, 24, dtype=torch.double)
    at_once = network(stack).detach()
    with torch.no_grad(), mock.patch.object(module, "PIXELS_AT_ONCE", together * 16 * 24):
        torch.testing.assert_close(network(stack), at_once, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "network",
    [
        CompactUNet(1, 8, 1),
        CompactUNet(1, 8, 2),
        CompactUNet(1, 4, 1, dims=3),
        CompactUNet(1, 4, 1, dims=3, flat=1),
        CompactUNet(1, 4, 1, dims=3, flat=2),
        stack_network(4, 1),
        stack_network(4, 2),
    ],
    ids=lambda network: f"{type(network).__name__}, stride {network.stride}",
)
def test_the_receptive_field_is_the_reach_of_the_gradients(network):
    field = network.receptive_field
    sides = [
        -(-(2 * side + 2) // step) * step for side, step in zip(field, network.stride, strict=True)
    ]
    for seen, covered in zip(reach(network, sides), field, strict=True):
        assert seen <= covered
        assert seen > 0.6 * covered  # nor is it much too large


def test_folding_the_norms_changes_only_rounding():
    torch.manual_seed(0)
    for network, sides in (
        (CompactUNet(1, 8, 2), (48, 56)),
        (CompactUNet(1, 4, 1, dims=3), (8, 12, 16)),
    ):
        for _ in range(3):  # statistics other than the initial ones
            network(torch.randn(4, 1, *sides) * 3 + 1)
        image = torch.randn(1, 1, *sides)
        with torch.inference_mode():
            torch.testing.assert_close(
                folded(network)(image), network.eval()(image), rtol=1e-4, atol=1e-5
            )
        assert torch.equal(folded(folded(network))(image), folded(network)(image))


def test_folded_weights_fit_a_network_built_without_norms():
    torch.manual_seed(0)
    with_norms, without = CompactUNet(1, 8, 2), CompactUNet(1, 8, 2, norm=False)
    without.load_state_dict(folded(with_norms).state_dict())
    image = torch.randn(1, 1, 48, 56)
    with torch.inference_mode():
        assert torch.equal(without.eval()(image), folded(with_norms)(image))


def test_the_last_layer_is_computed_in_full_precision():
    network = CompactUNet().eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        result = network(image)
    assert result.dtype == torch.float32
    rounded = result.bfloat16().float()
    assert not torch.equal(result, rounded)


def test_a_shift_by_one_stride_shifts_the_output():
    torch.manual_seed(0)
    network = CompactUNet().double().eval()
    (field, _), (step, _) = network.receptive_field, network.stride
    halo = -(-field // step) * step
    size = 2 * halo + 3 * step
    image = torch.randn(1, 1, size, size, dtype=torch.double)
    with torch.inference_mode():
        whole = network(image)[..., halo:-halo, halo:-halo]
        moved = network(image[..., step:, step:])[..., halo:-halo, halo:-halo]
    torch.testing.assert_close(whole[..., step:, step:], moved[..., : -0 or None, : -0 or None])


def test_random_weights_depend_on_their_seed_alone():
    architecture = {"name": "compact", "width": 4, "depth": 1}
    torch.manual_seed(5)
    first = build_network(architecture, 1).head.weight
    again, other = (build_network(architecture, seed).head.weight for seed in (1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.initial_seed() == 5


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(0, 10), dark=st.floats(1e-6, 10), values=st.lists(st.floats(-5, 100)))
def test_stabilised_intensities_are_converted_back(gain, dark, values):
    curve = torch.tensor([gain, dark, 2.5], dtype=torch.double)
    given = torch.tensor(values, dtype=torch.double)
    back = to_linear(to_stabilised(given, curve), curve)
    torch.testing.assert_close(back, given, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 3.0, 1000.0])
def test_noise_in_stabilised_intensities_is_the_same_at_every_brightness(level):
    gain, dark = 0.5, 20.0
    noisy = level + (gain * level + dark) ** 0.5 * torch.randn(20_000, generator=torch.Generator())
    curve = torch.tensor([gain, dark, 1.0])
    assert float(to_stabilised(noisy, curve).std()) == pytest.approx(1, rel=0.05)


def test_a_network_in_stabilised_intensities_maps_input_and_output():
    plain, same = (CompactUNet(1, 4, 1, stabilised=stabilised) for stabilised in (False, True))
    curve = torch.tensor([0.5, 2.0, 3.0])
    same.load_state_dict({**plain.state_dict(), "noise_curve": curve})
    image = torch.rand(1, 1, 16, 16) * 50 - 1
    expected = to_linear(plain.eval()(to_stabilised(image, curve)), curve)
    torch.testing.assert_close(folded(same)(image), expected)
