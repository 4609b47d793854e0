"""A run reports its steps and keeps its result."""

import pytest

from napari_n2n.generators import as_steps


@as_steps
def count(end, closed=None):
    try:
        yield from range(end)
    finally:
        if closed is not None:
            closed.append(True)
    return "done"


def test_a_run_has_its_result_after_the_last_step():
    run = count(3)
    assert list(run) == [0, 1, 2]
    assert run.result == "done"
    assert list(run) == [] and run.result == "done"


@pytest.mark.parametrize("end_early", [lambda run: None, lambda run: run.close()])
def test_a_run_that_has_not_ended_says_so(end_early):
    run = count(3)
    next(run)
    end_early(run)
    with pytest.raises(RuntimeError, match="to its end first"):
        _ = run.result


def test_finish_passes_on_every_step():
    steps = []
    assert count(3).finish(steps.append) == "done"
    assert steps == [0, 1, 2]
    assert count(3).finish() == "done"


def test_a_generator_can_delegate_to_a_run():
    def outer(run):
        return (yield from run)

    closed = []
    run = count(2, closed)
    assert outer(run).__next__() == 0
    assert closed  # dropped half-way: the run is closed with the generator around it
    assert count(2).finish() == as_steps(outer)(count(2)).finish()
