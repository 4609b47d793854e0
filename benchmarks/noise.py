"""Measure simulated detectors: does the loss keep their light? All with the truth known.

Detectors are simulated here, independently of the package's own simulations, so that the truth is
known. For each, the noise of a pair is measured. The flux error of every loss is computed without
training: its statistic (mean, median, most common value) of many draws of the same scene is what a
network trained with it converges to.
Usage: python benchmarks/noise.py [--only WORD ...] [--seed 0] [--no-publish]
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from report import Verdict, judged, machine, publish, table
from scipy import ndimage

from napari_n2n import NoiseReport, Pair, measure_noise
from napari_n2n.noise.noise_model import NoiseModel
from napari_n2n.training.likelihood import MeasuredNoise, most_likely

# Side of the scene in pixels; draws, and side of the part of the scene, for the flux error.
SIDE, DRAWS, PART = 256, 96, 96
# Flux error that a chosen loss may have, unless every loss has a larger one.
ALLOWED = 0.03
# Exponent of the power whose minimiser stands for the most common value, as at the end of L0.
GAMMA = 0.2

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Detector:
    """A detector under one exposure.

    Attributes
    ----------
    name, photons
        Kind of the detector, and mean photons per pixel.
    draw
        Map from a random generator and the expected photons per pixel to pixel values in ADU.
    gain, black
        ADU per photon on average, and value without light, in ADU.
    photon_gain
        Slope of the variance against the mean, in ADU: above `gain` if single photons give
        different pulses.
    """

    name: str
    photons: float
    draw: Draw
    gain: float
    black: float
    photon_gain: float

    def truth(self, rate: np.ndarray) -> np.ndarray:
        """Return the noise-free image in ADU."""
        return self.gain * rate + self.black


def scene(seed: int = 0) -> np.ndarray:
    """Return relative light per pixel, mean 1: a dim background, blurred blobs and filaments."""
    rng = np.random.default_rng((seed, 99))
    shape = (SIDE, SIDE)
    fine, coarse = (ndimage.gaussian_filter(rng.normal(size=shape), s) for s in (1.6, 7))
    ridges = np.exp(-((ndimage.gaussian_filter(rng.normal(size=shape), 9) * 55) ** 2))
    light = np.maximum(fine / fine.std() + coarse / coarse.std() - 0.7, 0) + 1.5 * ridges
    light = ndimage.gaussian_filter(light, 1.2)
    light = 0.06 + light / light.mean()
    return light / light.mean()


def emccd(gain: float, bits: int = 16) -> tuple[Draw, float, float, float]:
    """Electron multiplication: a Gamma-distributed pulse per electron; 10 electrons per ADU."""
    top = 2**bits - 1

    def draw(rng: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        electrons = rng.poisson(rate + 0.002)  # clock-induced charge of 0.002 electrons
        pulses = rng.gamma(np.maximum(electrons, 1e-9), gain) * (electrons > 0)
        return digital(pulses / 10 + rng.normal(100, 4, rate.shape), top)

    return draw, gain / 10, 100 + 0.002 * gain / 10, 2 * gain / 10


def analog_pmt(gain: float, bits: int, black: float) -> tuple[Draw, float, float, float]:
    """Photomultiplier, analog: pulses of variation 0.8, electronic noise of 1 % of the range."""
    top, variation = 2**bits - 1, 0.8

    def draw(rng: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        photons = rng.poisson(rate)
        shape = photons / variation**2
        pulses = rng.gamma(np.maximum(shape, 1e-9), gain * variation**2) * (photons > 0)
        return digital(pulses + rng.normal(black, 0.15 * gain, rate.shape), top)

    return draw, gain, black, gain * (1 + variation**2)


def counting(gain: float, bits: int) -> tuple[Draw, float, float, float]:
    """Return a photon counter (PMT or hybrid): whole photons, each `gain` ADU."""
    top = 2**bits - 1
    return lambda rng, rate: digital(gain * rng.poisson(rate), top), gain, 0, gain


def camera(
    gain: float, read: float, black: float, bits: int = 16, uneven: float = 0.0
) -> tuple[Draw, float, float, float]:
    """Return an sCMOS, qCMOS or CCD camera: read noise in electrons, uneven from pixel to pixel."""
    top = 2**bits - 1

    def draw(rng: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        own = np.random.default_rng(5).lognormal(0, uneven, rate.shape) if uneven else 1.0
        electrons = rng.poisson(rate) + rng.normal(0, read, rate.shape) * own
        return digital(gain * electrons + black, top)

    return draw, gain, black, gain


def digital(values: np.ndarray, top: int) -> np.ndarray:
    """Round and clip to unsigned integers."""
    return np.clip(np.round(values), 0, top).astype(np.uint8 if top < 256 else np.uint16)


def with_hits(draw: Draw, share: float, low: float, high: float) -> Draw:
    """Add `low` to `high` ADU to a share of the pixels: hot pixels, telegraph noise, cosmic rays.

    A share of 1 or more is a number of hits, each 1 to 3 pixels long.
    """

    def hit(rng: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        values = draw(rng, rate)
        if share >= 1:
            where = np.zeros(values.shape, bool)
            count = max(1, round(share * values.size / SIDE**2))
            where.flat[rng.integers(0, values.size, count)] = True
            where |= np.roll(where, 1, 1) & (rng.random(values.shape) < 0.5)
        else:
            where = rng.random(values.shape) < share
        sizes = np.exp(rng.uniform(np.log(low), np.log(high), values.shape))
        return digital(values + where * sizes, np.iinfo(values.dtype).max)

    return hit


def bordered(draw: Draw, width: float) -> Draw:
    """Set a border of the whole scene to zero, as registered recordings have it."""

    def border(rng: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        values = draw(rng, rate)
        if rate.shape == (SIDE, SIDE):
            inner = np.zeros(rate.shape, bool)
            edge = round(width * SIDE)
            inner[edge:-edge, edge:-edge] = True
            values = np.where(inner, values, 0).astype(values.dtype)
        return values

    return border


def replaced(draw: Draw, share: float, high: float) -> Draw:
    """Replace a share of the pixels by any value from 0 to `high`."""

    def replace(rng: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        values = draw(rng, rate)
        return np.where(
            rng.random(values.shape) < share, rng.uniform(0, high, values.shape), values
        ).astype(values.dtype)

    return replace


def detectors() -> Iterator[Detector]:
    """Yield all simulated detectors, from the fewest photons to the most."""
    for photons in (0.03, 0.1, 0.3, 0.8, 3, 20):
        yield Detector("EMCCD, EM gain 300", photons, *emccd(300))
    for photons in (0.03, 0.3, 1.5):
        yield Detector("EMCCD, EM gain 1000", photons, *emccd(1000))
    for photons in (0.05, 0.3, 1, 4):
        yield Detector("PMT, analog, 8 bit", photons, *analog_pmt(12, 8, 4))
    for photons in (0.1, 0.5, 2):
        yield Detector("PMT, analog, 12 bit", photons, *analog_pmt(150, 12, 60))
    for photons in (0.1, 1, 10):
        yield Detector("PMT, analog, 16 bit", photons, *analog_pmt(900, 16, 400))
    for photons in (0.02, 0.2, 2, 20):
        yield Detector("PMT, counting, 8 bit", photons, *counting(1, 8))
    for photons in (0.05, 0.5, 5):
        yield Detector("hybrid, 8 bit", photons, *counting(7, 8))
    for photons in (0.5, 5):
        yield Detector("hybrid, 16 bit", photons, *counting(257, 16))
    for photons in (0.02, 0.1, 0.5, 2):
        yield Detector("qCMOS", photons, *camera(9.3, 0.27, 200))
    for photons in (2, 20, 200, 1000):
        yield Detector("sCMOS", photons, *camera(2.2, 1.4, 100, uneven=0.25))
    yield Detector("sCMOS, 12 bit", 50, *camera(0.6, 1.4, 100, 12, uneven=0.25))
    yield Detector("sCMOS, 8 bit", 30, *camera(2.2, 1.4, 10, 8))
    for photons in (20, 200):
        yield Detector("CCD", photons, *camera(1.0, 6, 300))
    for hits in (1, 8, 40):
        draw, *rest = camera(1.0, 6, 300)
        yield Detector(f"CCD, {hits} cosmic rays", 30, with_hits(draw, hits, 1e3, 4e4), *rest)
    for width in (0.02, 0.18):
        draw, *rest = camera(2.2, 1.4, 100)
        yield Detector(f"sCMOS, border of {width:.0%}", 30, bordered(draw, width), *rest)
    for share in (0.002, 0.01, 0.05):
        draw, *rest = camera(2.2, 1.4, 100)
        hot = with_hits(draw, share, 300, 3000)
        yield Detector(f"sCMOS, {share:.1%} bright outliers", 30, hot, *rest)
    for share in (0.02, 0.3):
        draw, *rest = camera(2.2, 1.4, 100)
        hit = replaced(draw, share, 600)
        yield Detector(f"sCMOS, {share:.0%} impulses", 50, hit, *rest)
    draw, *rest = camera(2.2, 1.4, 100)
    yield Detector("sCMOS, 70% impulses", 50, replaced(draw, 0.7, 600), *rest)
    for black in (0, -4):  # a background was subtracted, and what became negative is lost
        yield Detector(f"sCMOS, black at {black}, cut off at 0", 3, *camera(2.2, 1.4, black))
    draw, *rest = camera(2.2, 1.4, 100)
    yield Detector("sCMOS, 1% at full scale", 15, with_hits(draw, 0.01, 4000, 4100), *rest)
    draw, *rest = emccd(300)
    yield Detector("EMCCD, 0.5% bright outliers", 0.3, with_hits(draw, 0.005, 300, 3000), *rest)


def mode(draws: np.ndarray) -> np.ndarray:
    """Return the draw that minimises the sum of powers of the distances to all draws."""
    best = np.full(draws.shape[1:], np.inf)
    found = draws[0].copy()
    for candidate in draws:
        cost = ((np.abs(draws - candidate) + 1e-8) ** GAMMA).sum(axis=0)
        found = np.where(cost < best, candidate, found)
        best = np.minimum(cost, best)
    return found


def of_likelihood(draws: np.ndarray, model: NoiseModel, saturation: float) -> np.ndarray:
    """Return the value that maximises the likelihood of all draws, as training finds it."""
    noise = MeasuredNoise.of(model, float(draws.std()), torch.device("cpu"))
    targets = torch.from_numpy(draws)
    censored = (targets >= saturation).float() - (targets <= noise.lower_limit).float()
    return most_likely(noise, targets, censored).numpy()


def flux_errors(
    detector: Detector, light: np.ndarray, pair: Pair, model: NoiseModel
) -> dict[str, float]:
    """Return, by loss, the relative error of the flux above black that its statistic keeps.

    Hits are left out, as they are in training.
    """
    rng = np.random.default_rng(123)
    rate = detector.photons * light[:PART, :PART]
    draws = np.stack([detector.draw(rng, rate) for _ in range(DRAWS)]).astype(np.float32)
    if (hits := pair.hits) is not None:
        draws = np.where(hits.where(draws, np.roll(draws, 1, 0)), np.roll(draws, 1, 0), draws)
    truth = detector.truth(rate)
    found = {"l2": draws.mean(0), "l1": np.median(draws, 0), "l0": mode(draws[:48, ::2, ::2])}
    found["likelihood"] = of_likelihood(draws[:, ::2, ::2], model, pair.first.saturation)
    errors = {}
    for loss, values in found.items():
        expected = truth if values.shape == truth.shape else truth[::2, ::2]
        errors[loss] = float((values - expected).mean() / (expected - detector.black).mean())
    return errors


def measured(detector: Detector, light: np.ndarray, seed: int) -> tuple[Pair, NoiseReport]:
    """Measure one pair; return it with its report."""
    rng = np.random.default_rng((seed, 7))
    pair = Pair.open(*(detector.draw(rng, detector.photons * light) for _ in range(2)))
    return pair, measure_noise(pair)


def main() -> None:
    """Measure all detectors, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="words in the detectors' names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    light, rows = scene(), []
    verdicts: list[Verdict] = []
    for detector in detectors():
        if not any(word in detector.name for word in given.only):
            continue
        pair, report = measured(detector, light, given.seed)
        errors = flux_errors(detector, light, pair, report.noise_model)
        allowed = max(ALLOWED, 1.2 * min(abs(error) for error in errors.values()))
        right = abs(errors[report.loss]) <= allowed
        gain, black = report.photon_gain, report.pedestal
        rows.append(
            [
                detector.name,
                f"{detector.photons:g}",
                report.loss.upper() if right else f"{report.loss.upper()} (wrong)",
                *(f"{100 * error:+.0f}" for error in errors.values()),
                report.reason,
                "-" if gain is None else report.with_error("photon_gain"),
                f"{detector.photon_gain:.3g}",
                "-" if black is None else report.with_error("pedestal"),
                f"{detector.black:.3g}",
                ", ".join(sorted({warning.code for warning in report.warnings})),
            ]
        )
        print(" | ".join(map(str, rows[-1])), flush=True)
        verdicts.append((right, f"{detector.name}, {detector.photons:g} photons"))
    wrong = [words for right, words in verdicts if not right]
    words = f"{len(rows) - len(wrong)} of {len(rows)}{'; not: ' if wrong else ''}" + "; ".join(
        wrong
    )
    verdict = judged([(not wrong, f"flux within {ALLOWED:.0%} where a loss allows it: {words}")])
    header = ["detector", "photons", "chosen", "L2, %", "L1, %", "L0, %", "likelihood, %", "reason"]
    header += ["photon gain", "true", "black level", "true", "warnings"]
    text = (
        f"Pairs of {SIDE}x{SIDE} pixels, {len(rows)} simulated detectors. 'L2' to 'likelihood': "
        "error of the flux above black that each loss would keep, from many draws of one scene. "
        f"Photon gain and black level in ADU.\n\n{table(header, rows)}\n\n{verdict}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("noise", text)


if __name__ == "__main__":
    main()
