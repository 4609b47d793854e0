"""Where a model comes from, in words: what a person asks before trusting it with other data."""

from collections.abc import Iterator
from html import escape
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QLabel

from napari_n2n.losses import LOSSES
from napari_n2n.model import Denoiser
from napari_n2n.widgets.dock import breakable

_NAMES = 4


class ModelCard(QLabel):
    """A small table of a model's provenance, or a line that says why there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def show_model(self, denoiser: Denoiser) -> None:
        """Show where a model comes from."""
        rows = (
            f"<tr><td style='padding-right: 8px'>{name}</td>"
            f"<td>{escape(breakable(words))}</td></tr>"
            for name, words in provenance(denoiser.record)
        )
        self.setText(f"<table cellspacing='0'>{''.join(rows)}</table>")
        self._fit()

    def show_words(self, words: str) -> None:
        """Show a line."""
        self.setText(escape(breakable(words)))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take the height that the text needs, which a form does not give by itself."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        self.setFixedHeight(self.heightForWidth(self.width()))


def provenance(record: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name each thing that a model's record tells, and say it in words; what it lacks is left out.

    Parameters
    ----------
    record
        See `Denoiser.record`.
    """
    names = list(dict.fromkeys(one["name"] for one in record.get("acquisitions", ())))
    if names:
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        yield "trained on", ", ".join(names[:_NAMES]) + more
    if values := record.get("values"):
        yield "values", ", ".join(f"{low:.4g} to {high:.4g}" for low, high in values)
    if noises := record.get("noise"):
        yield "noise", ", ".join(f"{noise['noise_a']:.3g}" for noise in noises) + " ADU"
    if (loss := LOSSES.get(record.get("loss", ""))) is not None:
        yield "loss", loss.title
    if score := _score(record):
        yield "score", score
    if "steps" in record:
        stopped = ", stopped" if record.get("stopped") else ""
        yield "training", f"{record['steps']} steps in {record['seconds']:.0f} s{stopped}"
    if "date" in record:
        yield "date", record["date"][:10]
    if versions := record.get("versions"):
        yield "made with", f"napari-n2n {versions['napari-n2n']}, torch {versions['torch']}"


def _score(record: dict[str, Any]) -> str:
    """Return what the training found on blocks that it never saw, for each model of a channel."""
    scores = [part.get("score") or {} for part in record.get("of_channels", [record])]
    words = [
        f"{score['psnr']:.1f} ± {score['psnr_se']:.1f}"
        for score in scores
        if score.get("psnr") is not None
    ]
    if words:
        return f"PSNR {', '.join(words)} dB on held-out blocks"
    return record.get("score_reason") or ""
