"""Open the recordings chosen by the user (files, folders, layers) as pairs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.io.fields_of_view import fields_of_view, is_folder
from napari_n2n.pair.dark_frames import dark_map
from napari_n2n.pair.pair import Pair, open_repeats


def open_pairs(
    *fields: Sequence[Any],
    axes: str | None = None,
    split: str | None = None,
    dark: Sequence[Any] = (),
) -> list[Pair]:
    """Open several fields of view, and every channel of each, as pairs to train on together.

    Parameters
    ----------
    fields
        For each field of view, its acquisitions, as `Pair.open` takes them. All fields of view must
        have the same channels.
    axes
        Letters of their dimensions; replaces the labels in the sources.
    split
        Letter of an axis whose even and odd frames are two acquisitions.
    dark
        Dark frames: hot pixels are replaced and offsets subtracted in all acquisitions.

    Returns
    -------
    list of Pair
        One for each field of view and channel, each matched and registered separately.

    Raises
    ------
    BadInput
        As `Pair.open` does, or if the fields of view differ in their channels.
    """
    return list(chain.from_iterable(open_fields(*fields, axes=axes, split=split, dark=dark)))


def open_fields(
    *fields: Sequence[Any],
    axes: str | None = None,
    split: str | None = None,
    dark: Sequence[Any] = (),
) -> Iterator[list[Pair]]:
    """Open one field of view after another and yield its pairs; see `open_pairs`."""
    expected, detector = 0, dark_map(dark) if dark else None
    for sources in fields:
        opened = open_repeats(sources, axes, split, detector)
        channels = [acquisition.along("C") for acquisition in opened]
        expected = expected or len(channels[0])
        for acquisition, parts in zip(opened, channels, strict=True):
            if len(parts) != expected:
                raise BadInput(
                    f"{acquisition.name}: has {len(parts)} channels where others have {expected}: "
                    "all acquisitions must have the same channels",
                    "channels",
                )
        yield [
            Pair.of_acquisitions(list(acquisitions), channel)
            for channel, acquisitions in enumerate(zip(*channels, strict=True))
        ]


def first_field(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs of the first field of view: one for each channel, in their order."""
    return [
        next(pair for pair in pairs if pair.channel == channel)
        for channel in sorted({pair.channel for pair in pairs})
    ]


@dataclass(frozen=True)
class Recordings:
    """Recordings of one scene, or folders of recordings, as chosen by the user.

    Attributes
    ----------
    sources
        Whatever `Acquisition.open` takes, or folders as `fields_of_view` takes them.
    axes
        Letters of their dimensions; replaces the labels in the sources.
    split
        Letter of an axis whose even and odd frames are two recordings.
    fields
        The recordings of every field of view: the files in the folders when this was created.

    Raises
    ------
    BadInput
        If files in the folders have no counterpart; see `fields_of_view`.
    """

    sources: tuple[Any, ...]
    axes: str | None = None
    split: str | None = None
    fields: tuple[tuple[Any, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        listed = fields_of_view(self.sources) if self.in_folders else [self.sources]
        object.__setattr__(self, "fields", tuple(map(tuple, listed)))

    @property
    def in_folders(self) -> bool:
        """Whether the sources are folders of recordings."""
        return all(isinstance(one, str | Path) and is_folder(Path(one)) for one in self.sources)

    @property
    def title(self) -> str:
        """The names of the sources."""
        named = (Path(one) if isinstance(one, str) else one for one in self.sources)
        return " + ".join(one.name for one in named)

    def opened(self) -> Iterator[list[Pair]]:
        """Open one field of view after another; raise `BadInput` as `open_fields` does."""
        return open_fields(*self.fields, axes=self.axes, split=self.split)

    def pairs(self) -> list[Pair]:
        """Open all fields of view and return their pairs."""
        return list(chain.from_iterable(self.opened()))
