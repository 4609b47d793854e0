"""Denoising behind a window: it says first what it will make, and may be stopped anywhere."""

import threading
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from napari_n2n.acquisition import Acquisition
from napari_n2n.denoising import DenoisingStep, denoise_by_shards
from napari_n2n.device import use_threads
from napari_n2n.header import Header
from napari_n2n.model import Denoiser
from napari_n2n.plan import plan
from napari_n2n.series import Series, SeriesStep, denoise_in_turn
from napari_n2n.widgets.preferences import preferences
from napari_n2n.widgets.result_layer import contrast_limits

Step = TypeVar("Step")


@dataclass(frozen=True)
class Canvas:
    """What is known of a result before its first pixel.

    Attributes
    ----------
    out
        Where it will stand.
    header, order
        Of the result, and for each of its axes the dimension of the source that it is.
    limits
        Contrast limits that suit the source.
    warnings
        Sentences for the person.
    source
        What it is the result of; of several, the first.
    """

    out: Path
    header: Header
    order: tuple[int, ...]
    limits: tuple[float, float]
    warnings: tuple[str, ...]
    source: Any


class Stopped(Exception):
    """The person does not want the rest."""


def denoised(
    denoiser: Denoiser,
    sources: list[Any],
    out: Path,
    stop: threading.Event,
    *,
    axes: str | None = None,
    turns: bool = False,
    **options: Any,
) -> Generator[Canvas | DenoisingStep, None, Path | None]:
    """Denoise into a file.

    Parameters
    ----------
    denoiser, sources, axes, turns
        As `napari_n2n.plan.plan` takes them.
    out
        Where the result goes.
    stop
        Set it, and the work ends within one layer of the network; what is done stays to be resumed.
    options
        As `denoise_by_shards` takes them.

    Returns
    -------
    pathlib.Path or None
        Where the result is; None if it was stopped.
    """
    use_threads(preferences().threads)
    opened = [Acquisition.open(source, axes=axes) for source in sources]
    work = plan(denoiser, *opened, turns=turns)
    limits = contrast_limits(opened[0].sample_plane())
    yield Canvas(out, work.header, opened[0].order, limits, work.warnings, sources[0])
    run = denoise_by_shards(denoiser, work, out, **options)
    return out if (yield from _to_end(run, denoiser, stop)) else None


def denoised_in_turn(
    denoiser: Denoiser, series: Series, stop: threading.Event, **options: Any
) -> Generator[SeriesStep, None, Path | None]:
    """Denoise a folder of recordings; returns that of the results, or None if it was stopped.

    Parameters
    ----------
    denoiser, series, options
        As `denoise_in_turn` takes them.
    stop
        As in `denoised`.
    """
    use_threads(preferences().threads)
    run = denoise_in_turn(denoiser, series, **options)
    return series.folder if (yield from _to_end(run, denoiser, stop)) else None


def _to_end(
    run: Generator[Step, None, Any], denoiser: Denoiser, stop: threading.Event
) -> Generator[Step, None, bool]:
    """Pass on the steps of a run; returns whether it came to its end."""
    try:
        with closing(run), interrupted_by(stop, denoiser):
            for step in run:
                yield step
                if stop.is_set():
                    return False
    except Stopped:
        return False
    return True


@contextmanager
def interrupted_by(stop: threading.Event, denoiser: Denoiser) -> Iterator[None]:
    """Let every layer of the networks look first whether it is still wanted.

    A shard of a volume may take minutes, and a window that closes waits for the step under way.
    """

    def look(*_: Any) -> None:
        if stop.is_set():
            raise Stopped

    hooks = [
        module.register_forward_pre_hook(look)
        for network in denoiser.ready
        for module in network.modules()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
