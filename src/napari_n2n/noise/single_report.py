"""The noise report of one recording, with the method for training on it."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from napari_n2n.noise.advice import Advice, report_lines
from napari_n2n.noise.correlation import CORRELATED
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.pair.checks import Finding

# Correlation of neighbours below which a recording was sharpened: twice the error that structure
# causes; the unsharp mask of ImageJ gives -0.11.
_SHARPENED = -0.1
# Share of outliers above which they are mentioned: photon pulses alone reach 0.2 % at 1 photon.
_FEWEST_OUTLIERS = 5e-3
# Length of a run that only adapts the pretrained network, as a part of the usual one: it ends at
# 300 steps, and nothing improves after 200.
_ADAPTING = 0.2

Method = Literal["pixels", "images"]


@dataclass(frozen=True)
class SingleFigures:
    """The noise of one recording; intensities in ADU, lengths in pixels as (y, x).

    Attributes
    ----------
    noise_a
        Standard deviation of the noise, root mean square over the pixels. None if structure hides
        it.
    photon_gain
        Slope of variance against level in ADU per electron; None if it is not certain.
    read_noise, pedestal
        Known from two recordings only, else None.
    noise_correlation, correlation_length
        Noise correlation at lag 1; and the width of the Gaussian blur that would correlate white
        noise as much. None if structure hides it.
    outlier_share
        Share of single pixels far from their neighbours.
    saturated_share, black_share
        Share of the pixels with the largest possible value, and with the smallest value.
    noise_excess
        See `napari_n2n.stats.statistics.noise_excess`; the second figure is None.
    noise_model
        The noise as a probability distribution, with its correlation.
    errors
        Standard errors of the figures that have one, by name.
    """

    noise_a: float | None
    photon_gain: float | None
    read_noise: float | None
    pedestal: float | None
    noise_correlation: tuple[float, float] | None
    correlation_length: tuple[float, float] | None
    outlier_share: float
    saturated_share: float
    black_share: float
    noise_excess: tuple[float | None, float | None]
    noise_model: NoiseModel
    errors: dict[str, float]


@dataclass(frozen=True)
class SingleReport(SingleFigures, Advice):
    """Noise figures of one recording and advice; see `SingleFigures` and `Advice`.

    Attributes
    ----------
    method
        How to train: "pixels" if the noise of neighbours is independent, else "images"; see
        `napari_n2n.training.resampling`.
    source
        Name of the report from which the figures were read; None: measured on the recording.
    """

    method: Method
    source: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def line(self) -> str:
        """Summarise the noise in one line."""
        parts = [f"Noise {self.noise_a:.3g} ADU" if self.noise_a else "Noise not determined"]
        if self.photon_gain is not None:
            parts.append(f"{self.photon_gain:.3g} ADU/electron")
        if (reach := max(self.correlation_length or (0.0,))) > 0:
            parts.append(f"correlated over {reach:.1f} px")
        if self.outlier_share > _FEWEST_OUTLIERS:
            parts.append(f"{self.outlier_share:.1%} outliers")
        given = f" (from {self.source})" if self.source else ""
        return ", ".join(parts) + given

    def lines(self) -> Iterator[str]:
        """Return the loss with its reason, a line for each figure, and the warnings."""
        return report_lines(self, self.rows())

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the text of each figure, with its standard error if known."""
        if self.source:
            yield "figures from", self.source
        unknown = []
        for name, key, unit in _FIGURES:
            if getattr(self, key) is not None:
                yield name, f"{getattr(self, key):.3g}{self._error(key)} {unit}"
            elif key in _MEASURABLE:
                unknown.append(name)
        if self.noise_correlation is None:
            unknown.append("correlation")
        else:
            yield "correlation", self._correlation(*self.noise_correlation)
        yield "noise model", self.noise_model.in_words()
        absent = []
        for name, key in _SHARES:
            share = getattr(self, key)
            if share > 0:
                yield name, f"{share:.2%} of the pixels"
            else:
                absent.append(name)
        for heading, names in (("not detected", absent), ("not determined", unknown)):
            if names:
                yield heading, ", ".join(names)

    def _correlation(self, y: float, x: float) -> str:
        words = f"{y:.2f}, {x:.2f}{self._error('noise_correlation')} of neighbours (y, x)"
        reach = self.correlation_length
        if reach is None or max(y, x) <= CORRELATED:
            return f"{words}: independent"
        return f"{words}, over {reach[0]:.1f}, {reach[1]:.1f} pixels"

    def _error(self, key: str) -> str:
        return f" ± {self.errors[key]:.2g}" if key in self.errors else ""


# Figures with their names and units; of those not measurable on one recording, only known ones are
# shown.
_FIGURES = (
    ("noise", "noise_a", "ADU"),
    ("photon gain", "photon_gain", "ADU/electron"),
    ("read noise", "read_noise", "ADU"),
    ("black level", "pedestal", "ADU"),
)
_MEASURABLE = {"noise_a", "photon_gain"}
_SHARES = (
    ("outliers", "outlier_share"),
    ("saturation", "saturated_share"),
    ("lower limit", "black_share"),
)


def advise_single(
    figures: SingleFigures, findings: Iterable[Finding] = (), source: str | None = None
) -> SingleReport:
    """Choose how to train on one recording, and warn of figures that it cannot show.

    Parameters
    ----------
    figures
        The noise.
    findings
        Warnings to which those of the noise are added.
    source
        See `SingleReport`.
    """
    warnings = list(findings)
    loss = "l2"
    method, reason, warning = _method(figures, source)
    if warning is not None:
        warnings.append(warning)
    if figures.outlier_share > _FEWEST_OUTLIERS:
        warnings.append(
            Finding(
                "outliers",
                f"{figures.outlier_share:.1%} of the pixels are far from their neighbours. One "
                "recording does not show whether these are photon pulses, small structures or "
                "outliers: L2 keeps their light. If they are outliers, choose L1.",
            )
        )
    if figures.noise_model.spans_wide_range and method == "pixels":
        loss = "likelihood"
    return SingleReport(
        **vars(figures),
        loss=loss,
        reason=f"The noise is that of {source}. {reason}" if source else reason,
        warnings=tuple(warnings),
        training_factor=1.0 if method == "pixels" else _ADAPTING,
        method=method,
        source=source,
    )


def _method(figures: SingleFigures, source: str | None) -> tuple[Method, str, Finding | None]:
    """Return the method for the measured correlation of neighbours, its reason and a warning."""
    if (correlation := figures.noise_correlation) is None:
        return "images", *_unknown(source)
    if max(correlation) > CORRELATED:
        reach = f"correlated over {max(figures.correlation_length or (0.0,)):.1f} px"
        reason = (
            f"The noise of neighbouring pixels is {reach}, so a pixel cannot be predicted without "
            "its own noise: the pretrained network is adapted to this noise, and learns nothing "
            "about the sample."
        )
        warning = (
            f"The noise is {reach}. One recording cannot separate such noise from structure of "
            "that size: record the scene twice."
        )
        return "images", reason, Finding("correlated_noise", warning)
    how = "each pixel is predicted without its own noise, so its recorded value is the target"
    if (lowest := min(correlation)) < _SHARPENED:
        words = f"The noise of neighbouring pixels has a correlation of {lowest:.2f}"
        warning = (
            f"{words}, as after sharpening or deconvolution, which leave more noise in the result: "
            "use the recording as the detector gave it."
        )
        return "pixels", f"{words}: {how}; L2 finds the mean.", Finding("sharpened", warning)
    independent = f"The noise of neighbouring pixels is independent: {how}; L2 finds the mean."
    return "pixels", independent, None


def _unknown(source: str | None) -> tuple[str, Finding]:
    """Return the reason for the method and a warning, where the correlation is not known."""
    if source is None:
        cause = "The recording has too few smooth areas to"
        cannot = f"{cause} distinguish its noise from fine structure"
        warning = (
            f"{cause} measure its noise: give the noise that was measured on two recordings of "
            "this microscope (--noise), or record the scene twice."
        )
    else:
        cannot = "It does not tell whether neighbouring pixels share noise"
        warning = (
            f"{source} does not tell whether neighbouring pixels share noise: give a report of "
            "larger recordings, or record the scene twice."
        )
    reason = (
        f"{cannot}: the pretrained network is adapted to the noise of its finest detail, and "
        "learns nothing about the sample."
    )
    return reason, Finding("correlation_unknown", warning)
