"""Are the standard errors of the noise figures right? They are measured many times on new noise.

Pairs of one scene with new noise are drawn and measured. For each figure, z is the root mean square
of its deviation over its standard error: 1 is right, below 1 the standard error is too large, above
1 too small. The deviation is from the truth if it is known, else from the mean of all draws.
Usage: python benchmarks/coverage.py [--draws 64] [--only WORD ...] [--no-publish]
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from noise import SIDE, bordered, camera, emccd, replaced, scene, with_hits
from report import judged, machine, publish, table
from scipy import ndimage

from napari_n2n import Pair, measure_noise

# Range of z of a right standard error: over 64 draws, z itself scatters by 9 %; and as a standard
# error from 16 groups of blocks scatters by 18 %, z is 7 % above 1 on average.
LEAST, MOST = 0.8, 1.25
# Share of the draws in which a figure must be determined, and not rounded to one value, so that its
# z counts.
OFTEN = 0.5

Draw = Callable[[np.random.Generator, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A noise, and the true figures that are known.

    Attributes
    ----------
    name, photons
        Kind of the noise, and mean photons per pixel.
    draw
        Map from a random generator and the expected photons per pixel to pixel values in ADU.
    truth
        True figures by name.
    """

    name: str
    photons: float
    draw: Draw
    truth: dict[str, float] = field(default_factory=dict)


def gaussian(sigma: float, width: float = 0.0) -> Draw:
    """Return Gaussian noise of `sigma` ADU, correlated by a blur of `width` pixels."""

    def draw(rng: np.random.Generator, rate: np.ndarray) -> np.ndarray:
        noise = rng.normal(size=rate.shape)
        if width:
            noise = ndimage.gaussian_filter(noise, width, mode="wrap")
            noise /= noise.std()
        return (10 * rate + 100 + sigma * noise).astype(np.float32)

    return draw


def cases() -> list[Case]:
    """Return the cases: ordinary detectors, correlated noise, outliers, limits."""
    sensor, *_ = camera(2.2, 1.4, 100)
    known = {"photon_gain": 2.2, "pedestal": 100.0, "gain_ratio": 1.0, "offset": 0.0, "shift": 0.0}
    ccd, *_ = camera(1.0, 6, 300)
    em, *_ = emccd(300)
    cut, *_ = camera(2.2, 4, 0)
    return [
        Case("sCMOS", 20, sensor, {**known, "read_noise": 3.08}),
        Case("sCMOS", 200, sensor, {**known, "read_noise": 3.08}),
        Case("CCD", 20, ccd, {**known, "photon_gain": 1.0, "pedestal": 300.0, "read_noise": 6.0}),
        Case("EMCCD", 3, em, {"photon_gain": 60.0, "gain_ratio": 1.0}),
        Case("Gaussian", 10, gaussian(20), {"noise_a": 20.0, "noise_b": 20.0}),
        Case("Gaussian over 1 px", 10, gaussian(20, 1.0), {"noise_a": 20.0, "noise_b": 20.0}),
        Case("sCMOS, 5 % impulses", 50, replaced(sensor, 0.05, 600), {"outlier_share": 0.05}),
        Case("sCMOS, 1 % hot", 30, with_hits(sensor, 0.01, 300, 3000), {"outlier_share": 0.01}),
        Case("sCMOS, cut off at 0", 3, cut),
        Case("sCMOS, border", 30, bordered(sensor, 0.1), {"photon_gain": 2.2, "pedestal": 100.0}),
    ]


def deviations(case: Case, light: np.ndarray, draws: int) -> dict[str, float]:
    """Return z by figure; print the scatter of each."""
    values: dict[str, list[tuple[float, float]]] = {}
    for number in range(draws):
        rng = np.random.default_rng((number, 31))
        report = measure_noise(Pair.open(*(case.draw(rng, case.photons * light) for _ in range(2))))
        for name, error in report.errors.items():
            value = getattr(report, name)
            values.setdefault(name, []).extend(
                (float(part), error)
                for part in (value if isinstance(value, tuple) else (value,))
                if part is not None
            )
    found = {}
    for name, pairs in values.items():
        if len(pairs) < OFTEN * draws:
            continue
        figures, errors = np.array(pairs).T
        # A figure that is rounded to one value, such as a gain of 1, has no scatter.
        most_common = np.unique(figures, return_counts=True)[1].max() / len(figures)
        if not (errors > 0).mean() >= OFTEN or most_common >= OFTEN:
            continue
        expected = case.truth.get(name, float(figures.mean()))
        known = errors > 0
        found[name] = float(np.sqrt(np.mean(((figures - expected)[known] / errors[known]) ** 2)))
        print(
            f"    {name:20} mean {figures.mean():.5g}, expected {expected:.5g}, scatter "
            f"{figures.std():.3g}, standard error {np.median(errors):.3g}, z {found[name]:.2f}",
            flush=True,
        )
    return found


def main() -> None:
    """Measure all cases, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--only", nargs="+", default=[""], help="words in the cases' names")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    light = scene()
    results = {}
    for case in cases():
        if any(word in case.name for word in given.only):
            name = f"{case.name}, {case.photons:g} photons"
            print(name, flush=True)
            results[name] = deviations(case, light, given.draws)
    figures = sorted({name for found in results.values() for name in found})
    columns = results.values()
    rows: list[list[object]] = [
        [figure, *(f"{found[figure]:.2f}" if figure in found else "-" for found in columns)]
        for figure in figures
    ]
    outside = [
        f"{figure} ({name}): {found[figure]:.2f}"
        for name, found in results.items()
        for figure in found
        if not LEAST <= found[figure] <= MOST
    ]
    count = sum(map(len, results.values()))
    words = f"z from {LEAST} to {MOST}: {count - len(outside)} of {count}"
    words += "; not: " + ", ".join(outside) if outside else ""
    verdict = judged([(not outside, words)])
    text = (
        f"z over {given.draws} draws of {SIDE}x{SIDE} pixels; '-': in most draws not determined, "
        "or always the same.\n\n"
        f"{table(['figure', *results], rows)}\n\n{verdict}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("coverage", text)


if __name__ == "__main__":
    main()
