"""Settings: values that no run can use are refused, with the limit."""

import math

import pytest
from pydantic import ValidationError

from napari_n2n import TrainingSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", value) for value in (0, -1, 1.5, math.inf, math.nan, "fast", True)),
        *(("minutes", value) for value in (0, -1, math.inf, math.nan, 1e9)),
        *(("steps", value) for value in (0, -1, 10**9, 1.5, math.inf, True)),
        *(("patch", value) for value in (0, 31, 1025, 10**9)),
        *(("batch", value) for value in (0, -1, 10**9, False)),
        *(("memory", value) for value in (0, -5, 1e30, math.inf, math.nan, "much")),
        *(("seed", value) for value in (-1, 2**31, 2**64, 0.5)),
        *(("averaging", value) for value in (-0.1, 1, math.nan)),
        ("dims", 4),
        ("loss", "l3"),
        *(("device", value) for value in ("tpu", "", "cuda:", "cuda:x", "cpu:1", "cuda:1 ", 1)),
        *(("start", value) for value in ("hot", "", "model.pt", 1)),
        ("shape", (10**6, 10**6)),
    ],
)
def test_a_value_that_no_run_can_use_is_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        TrainingSettings(**{name: value})


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:11", "mps"])
def test_a_run_may_use_any_card(name):
    assert TrainingSettings(device=name).device == name
