"""Run all analyses of a pair: outliers, clipping, photon transfer, correlation, motion."""

from dataclasses import dataclass, replace

import numpy as np

from napari_n2n.noise.change import displaced, drift, moved_share
from napari_n2n.noise.clipping import Clipping, find_clipping
from napari_n2n.noise.correlation import Correlation, autocorrelation, shared_noise
from napari_n2n.noise.outliers import Outliers, find_outliers
from napari_n2n.noise.photon_transfer import TransferCurve, transfer_curve
from napari_n2n.noise.sample import Sample

# Share of outliers above which they increase the variance of the transfer curve noticeably.
_MANY_OUTLIERS = 0.05
# Share of outliers below which motion and drift can be distinguished from outliers, and share below
# which outliers that are not recognised do not change black level and read noise.
_FEW_OUTLIERS = 0.01
# Smallest share of the field of view that must remain after moving parts are excluded.
_LEAST_STILL = 0.1


@dataclass(frozen=True, eq=False)
class Analysis:
    """Results of all analyses of a sample.

    Attributes
    ----------
    sample
        The measured pixels; places that moved are not valid.
    signal_dependent
        Whether the noise grows with the signal; None if outliers or clipping hide it.
    outliers, clipping, curve, correlation
        See `Outliers`, `Clipping`, `TransferCurve` and `Correlation`.
    shared_noise, moved_share, drift, drift_error
        See `napari_n2n.noise.correlation` and `napari_n2n.noise.change`; None if outliers or the
        scene hide them.
    """

    sample: Sample
    signal_dependent: bool | None
    outliers: Outliers
    clipping: Clipping
    curve: TransferCurve
    correlation: Correlation
    shared_noise: float | None
    moved_share: float | None
    drift: float | None
    drift_error: float | None

    @classmethod
    def of(cls, sample: Sample) -> "Analysis":
        """Run all analyses; places that moved are excluded from all but `moved_share`."""
        clipping = find_clipping(sample)
        # Two clipped pixels are equal although there is noise, so they would hide the noise.
        cut = sample.cut if clipping.is_known else np.zeros_like(sample.cut)
        outliers, moved = find_outliers(sample.without(cut)), 0.0
        if outliers.clustered:
            moved, around = displaced(sample, outliers.pixels, outliers.limit)
            still = sample.without(around)
            if moved > 0 and still.valid.mean() > _LEAST_STILL:
                sample = still
                outliers = find_outliers(sample.without(cut))
        curve = transfer_curve(sample, ~(outliers.pixels | clipping.pixels))
        correlation = autocorrelation(
            sample.difference, sample.valid & ~outliers.around, sample.quantum
        )
        cut_everywhere = clipping.is_known and not clipping.pixels.any()
        spoilt = outliers.share > _MANY_OUTLIERS or cut_everywhere
        if spoilt:
            curve = replace(curve, photon_gain=None)
        few = outliers.share < _FEW_OUTLIERS
        off_line = curve.photon_gain is None or curve.bent is not None
        if off_line or correlation.matters or not few:
            # Smoothing reduces the third cumulant more than the variance; small outliers that are
            # not recognised raise both.
            curve = replace(curve, read_noise=None, pedestal=None)
        moved_here: float | None = moved or None
        drifted, drift_error = None, None
        if few:
            moved_here = max(moved, moved_share(sample, curve))
            drifted, drift_error = drift(sample)
        return cls(
            sample=sample,
            signal_dependent=None if spoilt else curve.grows,
            outliers=outliers,
            clipping=clipping,
            curve=curve,
            correlation=correlation,
            shared_noise=shared_noise(sample.a, sample.b),
            moved_share=moved_here,
            drift=drifted,
            drift_error=drift_error,
        )
