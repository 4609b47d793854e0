"""Write the figures of many fields of view to a table, or to one page with pictures."""

import base64
import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from napari_n2n.io.crash_safe import write_atomically
from napari_n2n.quality.differing import Difference, differences
from napari_n2n.quality.measured_field import Figure, MeasuredField

# Sides of a plot and width of the numbers beside it, in pixels; and the part of the figures' range
# that is left free at its ends.
_WIDTH, _HEIGHT, _BESIDE, _FREE = 460, 90, 60, 0.08
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em;
  color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2em }
.card { display: flex; gap: 1em; align-items: flex-start; border-left: 4px solid #c0392b;
  padding: .3em 0 .3em 1em; margin: 1em 0 }
.card p { margin: 0 } .card ul { margin: .3em 0; padding-left: 1.2em }
img { image-rendering: pixelated; background: #000 }
.card img { width: 112px; height: auto; flex: none }
.file { color: #777; font-size: .85em; overflow-wrap: anywhere }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .88em }
th, td { padding: .25em .6em; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #e4e4e4 } th { cursor: pointer; white-space: normal;
  vertical-align: bottom; background: #f6f6f6 } th:first-child, td:first-child, td.text {
  text-align: left } th:first-child, td:first-child { position: sticky; left: 0;
  min-width: 12em; max-width: 16em; white-space: normal; overflow-wrap: anywhere;
  background: #fff } th:first-child { background: #f6f6f6 }
td img { width: 48px; height: auto; display: block }
.far { color: #c0392b; font-weight: 600 } .unit { color: #777; font-weight: 400 }
.plots { display: grid; gap: .8em 1.5em;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 30em), 1fr)) }
svg { display: block; width: 100%; height: auto } figure { margin: 0; max-width: 36em }
figcaption { font-size: .88em }
"""
# Sorts the table by the column whose heading is clicked; the page needs nothing else.
_SCRIPT = """
document.querySelectorAll('th').forEach(function (head, column) {
  var down = false;
  head.addEventListener('click', function () {
    var body = document.querySelector('tbody'), rows = Array.from(body.rows);
    function key(row) { return row.cells[column].dataset.value; }
    rows.sort(function (a, b) {
      var x = key(a), y = key(b);
      if (x === '' || y === '') { return (x === '') - (y === ''); }
      var order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    });
    rows.forEach(function (row) { body.appendChild(row); });
    down = !down;
  });
});
"""


@dataclass(frozen=True, eq=False)
class FieldReport:
    """The fields of view of a batch, and how each differs from the others.

    Attributes
    ----------
    title
        Heading of the report.
    fields, figures
        One row for each field of view, and the description of its columns.
    differences
        How each field of view differs from the others.
    """

    title: str
    fields: Sequence[MeasuredField]
    figures: Sequence[Figure]
    differences: Sequence[Difference] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "differences", differences(self.fields, self.figures))

    def write_table(self, path: Path) -> None:
        """Write a CSV file with one row for each field of view."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        keys = [one.key for one in self.figures]
        table.writerow(["name", "file", *keys, "note", "differs", "warnings", "messages"])
        for one, found in zip(self.fields, self.differences, strict=True):
            table.writerow(
                [
                    *(one.name, one.file),
                    *(_number(one.figures.get(key)) for key in keys),
                    one.note,
                    "; ".join(found.reasons) if found.size else "",
                    " ".join(dict.fromkeys(warning.code for warning in one.warnings)),
                    "; ".join(warning.message for warning in one.warnings),
                ]
            )
        write_atomically(path, _encoded(text.getvalue()))

    def write_page(self, path: Path) -> None:
        """Write an HTML page that needs no other file; fields of view that differ come first."""
        write_atomically(path, _encoded("\n".join(self._page())))

    def as_list(self) -> list[dict[str, Any]]:
        """Return plain JSON: an object for each field of view."""
        return [
            one.as_dict() | {"differs": list(found.reasons) if found.size else []}
            for one, found in zip(self.fields, self.differences, strict=True)
        ]

    @property
    def differing(self) -> list[int]:
        """Indices of the fields of view that differ from the others, the farthest first."""
        sizes = [one.size for one in self.differences]
        return sorted((k for k, size in enumerate(sizes) if size), key=lambda k: -sizes[k])

    def summary(self) -> str:
        """Return a sentence with the number of fields of view, and of those that differ."""
        bad = sum(not one.figures for one in self.fields)
        count, far = len(self.fields) - bad, len(self.differing) - bad
        fields = "field of view" if count == 1 else "fields of view"
        differ = "none differs" if not far else f"{far} differ{'s' if far == 1 else ''}"
        unusable = f", {bad} cannot be used" if bad else ""
        return f"{count} {fields} measured, {differ} from the others{unusable}"

    def _page(self) -> Iterator[str]:
        yield "<!DOCTYPE html>"
        yield f'<html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>'
        yield f"<style>{_STYLE}</style></head><body>"
        yield f"<h1>{escape(self.title)}</h1><p>{escape(self.summary())}.</p>"
        if far := self.differing:
            yield "<h2>Fields of view that differ</h2>"
            yield (
                "<p>A figure differs if it is more than five standard deviations away from the "
                "median of all fields of view, a warning if most others do not have it. Look at "
                "these recordings before you use them.</p>"
            )
            for number in far:
                yield from self._card(number)
        yield "<h2>All figures</h2><p>Each point is a field of view, in the order of the files.</p>"
        yield '<div class="plots">'
        for figure in self.figures:
            yield from self._plot(figure)
        yield f"</div><p>{escape(self._equal())}</p>"
        yield "<h2>All fields of view</h2><p>Click on a heading to sort.</p>"
        yield from self._table()
        yield f"<script>{_SCRIPT}</script></body></html>"

    def _card(self, number: int) -> Iterator[str]:
        one = self.fields[number]
        yield f'<div class="card">{_picture(one)}<div><p><b>{escape(one.name)}</b></p><ul>'
        for reason in self.differences[number].reasons:
            yield f"<li>{escape(reason)}</li>"
        yield f'</ul><p class="file">{escape(one.file)}</p></div></div>'

    def _known(self, figure: Figure) -> list[tuple[int, float]]:
        """Return the indices of the fields of view with a figure, and the figure in each."""
        values = [one.figures.get(figure.key) for one in self.fields]
        return [(k, v) for k, v in enumerate(values) if v is not None and math.isfinite(v)]

    def _equal(self) -> str:
        """Return a sentence about the figures that are equal in all fields of view."""
        equal = []
        for figure in self.figures:
            values = {value for _, value in self._known(figure)}
            if len(values) == 1:
                unit = f" {figure.unit}" if figure.unit else ""
                equal.append(f"{figure.title} = {values.pop():.4g}{unit}")
        return f"Equal wherever it was measured: {', '.join(equal)}." if equal else ""

    def _plot(self, figure: Figure) -> Iterator[str]:
        known = self._known(figure)
        if not known:
            return
        low, high = min(value for _, value in known), max(value for _, value in known)
        if low == high:
            return
        free = _FREE * (high - low)
        span = high - low + 2 * free
        unit = f" <span class='unit'>({escape(figure.unit)})</span>" if figure.unit else ""
        yield f"<figure><figcaption>{escape(figure.title)}{unit}</figcaption>"
        yield f'<svg viewBox="0 0 {_WIDTH + _BESIDE} {_HEIGHT}" role="img">'
        yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#f6f6f6"/>'
        for edge, y in ((high, 14), (low, _HEIGHT - 6)):
            yield f'<text x="{_WIDTH + 6}" y="{y}" font-size="12" fill="#555">{edge:.3g}</text>'
        for k, value in known:
            across = (k + 0.5) * _WIDTH / len(self.fields)
            down = _HEIGHT * (1 - (value - low + free) / span)
            far = figure.key in self.differences[k].keys
            look = 'r="4" fill="#c0392b"' if far else 'r="2.5" fill="#2c6fa6"'
            name = escape(f"{self.fields[k].name}: {value:.4g}")
            yield f'<circle cx="{across:.1f}" cy="{down:.1f}" {look}><title>{name}</title></circle>'
        yield "</svg></figure>"

    def _table(self) -> Iterator[str]:
        yield '<div class="wide"><table><thead><tr><th>name</th><th></th>'
        for figure in self.figures:
            unit = f'<br><span class="unit">{escape(figure.unit)}</span>' if figure.unit else ""
            yield f"<th>{escape(figure.title)}{unit}</th>"
        yield "<th>note</th><th>warnings</th></tr></thead><tbody>"
        rest = [k for k, one in enumerate(self.differences) if not one.size]
        for number in [*self.differing, *rest]:
            one, far = self.fields[number], self.differences[number]
            name, codes = escape(one.name), " ".join(w.code for w in one.warnings)
            yield f'<tr><td data-value="{name}">{name}</td><td data-value="">{_picture(one)}</td>'
            for figure in self.figures:
                value = one.figures.get(figure.key)
                look = ' class="far"' if figure.key in far.keys else ""
                shown = "" if value is None else f"{value:.4g}"
                yield f'<td{look} data-value="{_number(value)}">{shown}</td>'
            for text in (one.note, codes):
                yield f'<td class="text" data-value="{escape(text)}">{escape(text)}</td>'
            yield "</tr>"
        yield "</tbody></table></div>"


def _encoded(text: str) -> bytes:
    """Return the text in UTF-8; file names that are not valid UTF-8 are escaped, as in messages."""
    return text.encode("utf-8", "backslashreplace")


def _number(value: float | None) -> str:
    """Return a figure with the digits that matter; empty if it is not known."""
    return "" if value is None or not math.isfinite(value) else f"{value:.6g}"


def _picture(one: MeasuredField) -> str:
    if one.thumbnail is None:
        return ""
    content = base64.b64encode(_png(one.thumbnail)).decode()
    return f'<img alt="{escape(one.name)}" src="data:image/png;base64,{content}">'


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return content.getvalue()
