"""The noise figures of a pair in one flat dataclass, for the advice and the JSON report."""

from dataclasses import dataclass

from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.pair.bad_planes import BadPlane


@dataclass(frozen=True)
class NoiseFigures:
    """The noise of a pair; intensities in ADU of A, lengths in pixels as (y, x).

    Attributes
    ----------
    shift
        Displacement of B against A.
    gain_ratio, offset
        ``B = gain_ratio A + offset``; None if the acquisitions were taken as equally bright
        because the scene has too little contrast, or outliers hide it.
    photon_gain, read_noise, pedestal
        Photon gain (ADU per electron), read noise (ADU) and black level (ADU); None if the noise
        does not grow with the signal. The gain is None also if the noise grows less towards bright
        levels, as near saturation. Read noise and black level are None also for correlated noise,
        and read noise if its square is below two standard errors.
    skewness
        Third cumulant over variance^1.5 of the ordinary noise.
    median_shift
        By how much the median of the ordinary noise is below its mean, in ADU.
    signal_dependent
        Whether the noise grows with the signal; None if outliers or clipping hide it.
    outlier_share, outlier_brighter
        Share of outliers among the pixels of each acquisition; and the share of these that are too
        bright, corrected for the range of values above and below.
    missing_share
        Share of the pixels without a value, which have the smallest value between much brighter
        ones; included in `outlier_share`.
    outlier_shift
        By how much the outliers shift the mean, in ADU.
    outliers_clustered
        True if the outliers form patches (text, dust) rather than single pixels.
    hits
        Number of sharp bright spots in one acquisition only (cosmic rays) in the sampled planes.
    hot_pixels, dead_pixels, hot_pixel_share
        Number of single pixels that are too bright, and too dark, in both acquisitions; and share
        of the hot ones. Left out of measuring.
    column_offsets, row_offsets
        Root mean square of the offsets of whole columns and rows that both acquisitions have, in
        ADU; 0 if noise and scene explain them; None if they could not be determined.
    bad_frames
        Planes that do not belong to the recording; left out.
    empty_share
        Share of the pixels in areas of exactly one value, such as borders; left out.
    pulse_share, pulses_certain
        Share of the pixels with a pulse of light, which is no outlier; and whether it is certain
        that these are light.
    noise_correlation, correlation_length
        Noise correlation at lag 1; and the width of the Gaussian blur that would correlate white
        noise as much. None if outliers leave too few pixels.
    correlation_area
        Number of pixels per independent noise value.
    shared_noise
        Share of the noise that both acquisitions have in common, 0 to 1; None if detail of the
        scene hides it.
    noise_a, noise_b
        Standard deviation of each acquisition's noise, in its own ADU.
    noise
        Root mean square of A's noise over the signal levels; every level has the same weight.
    noise_excess
        For A and for B, the value of `napari_n2n.stats.statistics.noise_excess`.
    signal
        Mean above the black level, in ADU.
    saturated_share, black_share
        Share of the pixels at the largest value, and at the smallest value, if many have it.
    clipping_shift
        By how much clipping at the smallest value raises the darkest pixels, in ADU.
    clipped_mean_shift, clipped_median_shift
        By how much clipping raises the means and the medians, averaged over all pixels, in
        ADU.
    moved_share, drift
        See `napari_n2n.noise.change`; None if outliers hide them.
    snr
        Standard deviation of the scene over that of A's noise; None if A has no noise.
    depth_correlation
        Correlation of the scene in neighbouring planes, or frames; None if there are none, or it
        could not be determined.
    resolution
        Finest resolved period (ring correlation of A and B); None if nothing is resolved.
    noise_model
        The noise as a probability distribution, for the loss `likelihood`.
    errors
        Standard errors of the figures that have one, by name.
    """

    shift: tuple[float, float]
    gain_ratio: float | None
    offset: float | None
    photon_gain: float | None
    read_noise: float | None
    pedestal: float | None
    skewness: float
    median_shift: float
    signal_dependent: bool | None
    outlier_share: float
    missing_share: float
    outlier_brighter: float
    outlier_shift: float
    outliers_clustered: bool
    hits: int
    hot_pixels: int
    dead_pixels: int
    hot_pixel_share: float
    column_offsets: float | None
    row_offsets: float | None
    bad_frames: tuple[BadPlane, ...]
    empty_share: float
    pulse_share: float
    pulses_certain: bool
    noise_correlation: tuple[float, float] | None
    correlation_length: tuple[float, float] | None
    correlation_area: float
    shared_noise: float | None
    noise_a: float
    noise_b: float
    noise: float
    noise_excess: tuple[float | None, float | None]
    signal: float
    saturated_share: float
    black_share: float
    clipping_shift: float
    clipped_mean_shift: float
    clipped_median_shift: float
    moved_share: float | None
    drift: float | None
    snr: float | None
    depth_correlation: float | None
    resolution: float | None
    noise_model: NoiseModel
    errors: dict[str, float]
