"""Open the recordings chosen by the user (files, folders, layers) as pairs."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from napari_n2n.errors import BadInput
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.bad_fields import OnBad, Problems
from napari_n2n.io.fields_of_view import fields_of_view, is_folder, positions
from napari_n2n.io.image_name import short_name
from napari_n2n.pair.dark_frames import dark_map
from napari_n2n.pair.opening import Patterns, opened_in_order
from napari_n2n.pair.pair import Pair
from napari_n2n.pair.repeats import open_repeats, open_single


def open_pairs(
    *fields: Sequence[Any],
    axes: str | None = None,
    split: str | None = None,
    dark: Sequence[Any] = (),
    masks: Sequence[Any] = (),
    on_bad: OnBad | None = None,
    single: bool = False,
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
    masks
        Images that are not 0 where pixels are used: one for all fields of view, or one for each.
    on_bad
        Called with the error of each field of view that cannot be used, which is then left out.
    single
        True if each field of view was recorded once; see `Pair.single`.

    Returns
    -------
    list of Pair
        One for each field of view and channel, each matched and registered separately.

    Raises
    ------
    BadInput
        As `Pair.open` does, or if the fields of view differ in their channels or in number from
        the masks. The problems of all fields of view are named at once.
    """
    options: dict[str, Any] = {
        "axes": axes,
        "split": split,
        "dark": dark,
        "masks": masks,
        "on_bad": on_bad,
        "single": single,
    }
    opened = open_fields(*fields, **options)
    return list(chain.from_iterable(opened))


def open_fields(
    *fields: Sequence[Any],
    axes: str | None = None,
    split: str | None = None,
    dark: Sequence[Any] = (),
    masks: Sequence[Any] = (),
    on_bad: OnBad | None = None,
    single: bool = False,
) -> Iterator[list[Pair]]:
    """Open the fields of view in their order and yield the pairs of each; see `open_pairs`.

    Small ones are opened several at a time.
    """
    if len(masks) not in (0, 1, len(fields)):
        raise BadInput(
            f"{len(masks)} masks for {len(fields)} fields of view: give one mask for all of them, "
            "or one for each",
            "unmatched",
        )
    detector = dark_map(dark) if dark else None

    def open_field(index: int, patterns: Patterns) -> list[Pair]:
        if single:
            opened = [open_single(fields[index], axes, detector)]
        else:
            opened = open_repeats(fields[index], axes, split, detector)
        mask = masks[index if len(masks) > 1 else 0] if masks else None
        return _open_channels(opened, patterns, mask)

    expected, used = 0, 0
    problems = Problems(on_bad, single=len(fields) == 1)
    with closing(opened_in_order(len(fields), open_field)) as opened:
        for sources, pairs_of in zip(fields, opened, strict=True):
            pairs: list[Pair] = []
            with problems.noted(sources, partial(Acquisition.open, axes=axes)):
                pairs = pairs_of()
                if expected:
                    _check_channels(str(sources[0]), len(pairs), expected)
            if pairs:
                expected, used = expected or len(pairs), used + 1
                yield pairs
    problems.check(left=used)


def _open_channels(opened: Sequence[Acquisition], patterns: Patterns, mask: Any) -> list[Pair]:
    """Return the pair of each channel of a field of view."""
    channels = [acquisition.along("C") for acquisition in opened]
    for acquisition, parts in zip(opened, channels, strict=True):
        _check_channels(acquisition.name, len(parts), len(channels[0]))
    return [
        Pair.of_acquisitions(list(views), channel, patterns.known(views[0], channel), mask)
        for channel, views in enumerate(zip(*channels, strict=True))
    ]


def _check_channels(name: str, count: int, expected: int) -> None:
    if count != expected:
        raise BadInput(
            f"{name}: has {count} channels where others have {expected}: "
            "all acquisitions must have the same channels",
            "channels",
        )


def first_field(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs of the first field of view: one for each channel, in their order."""
    return [
        next(pair for pair in pairs if pair.channel == channel)
        for channel in sorted({pair.channel for pair in pairs})
    ]


def field_numbers(pairs: Sequence[Pair]) -> list[int]:
    """Return the field of view of each pair: the number of earlier pairs of its channel."""
    before: dict[int, int] = {}
    numbers = []
    for pair in pairs:
        numbers.append(before.get(pair.channel, 0))
        before[pair.channel] = numbers[-1] + 1
    return numbers


@dataclass(frozen=True)
class Recordings:
    """Recordings of one scene, or folders of recordings, as chosen by the user.

    Attributes
    ----------
    sources
        Sources that `Acquisition.open` accepts, or folders for `fields_of_view`.
    axes
        Letters of their dimensions; replaces the labels in the sources.
    split
        Letter of an axis whose even and odd frames are two recordings.
    mask
        Image that is not 0 where pixels are used, for all fields of view; None: everywhere.
    dark
        Dark frames, by which all are corrected.
    listed
        The recordings of several fields of view, of which `sources` are the first.
    single
        True if every recording is the only one of its scene.
    noise
        For single recordings, a report of the noise of the microscope; None: measured on the
        recording.
    fields
        The recordings of every field of view: the files in the folders when this was created, or
        the images in files that have several of one size.

    Raises
    ------
    BadInput
        If files in the folders have no counterpart; see `fields_of_view`.
    """

    sources: tuple[Any, ...]
    axes: str | None = None
    split: str | None = None
    mask: Any = None
    dark: tuple[Any, ...] = ()
    listed: tuple[tuple[Any, ...], ...] = ()
    single: bool = False
    noise: Path | None = None
    fields: tuple[tuple[Any, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        listed: Sequence[Sequence[Any]] = self.listed or [self.sources]
        if self.in_folders and not self.listed:
            listed = fields_of_view(self.sources)
        elif not self.listed and all(isinstance(one, str | Path) for one in self.sources):
            listed = positions(list(map(Path, self.sources)))
        object.__setattr__(self, "fields", tuple(map(tuple, listed)))

    @property
    def in_folders(self) -> bool:
        """Whether the sources are folders of recordings."""
        return all(isinstance(one, str | Path) and is_folder(Path(one)) for one in self.sources)

    @property
    def title(self) -> str:
        """The names of the sources."""
        named = (Path(one) if isinstance(one, str) else one for one in self.sources)
        more = len(self.listed) - 1
        names = " + ".join(short_name(one) if isinstance(one, Path) else one.name for one in named)
        if not (self.listed or self.in_folders) and len(self.fields) > 1:
            return f"{names}: {len(self.fields)} images as fields of view"
        pairs = "1 more pair" if more == 1 else f"{more} more pairs"
        return f"{names} and {pairs}" if more > 0 else names

    @property
    def inputs(self) -> list[Any]:
        """All recordings and dark frames, and the report of the noise."""
        noise = () if self.noise is None else (self.noise,)
        return [*chain.from_iterable(self.fields), *self.dark, *noise]

    def of_field(self, source: Any) -> list[Any]:
        """Return the recordings of the field of view that a source or its acquisition belongs to.

        If there is none, return the recordings of the last field of view.
        """
        path = getattr(source, "path", None)
        for recordings in self.fields:
            for one in recordings:
                same = path is not None and isinstance(one, Path) and one.absolute() == path
                if one is source or same or (isinstance(one, Path) and one == source):
                    return list(recordings)
        return list(self.fields[-1])

    def opened(self) -> Iterator[list[Pair]]:
        """Open one field of view after another; raise `BadInput` as `open_fields` does."""
        masks = () if self.mask is None else (self.mask,)
        return open_fields(
            *self.fields,
            axes=self.axes,
            split=self.split,
            dark=self.dark,
            masks=masks,
            single=self.single,
        )

    def pairs(self) -> list[Pair]:
        """Open all fields of view and return their pairs."""
        return list(chain.from_iterable(self.opened()))
