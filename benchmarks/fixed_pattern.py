"""Find and repair the fixed pattern of simulated cameras, with the truth known.

A camera with hot pixels, or offsets of columns, rows or pixels, records a scene twice. What is
found, and the noise that is measured, are compared with the truth. Models are trained on the pair
with the pattern kept, repaired from the pair, and corrected by dark frames; their results are
compared with the clean scene, and with the result of the same camera without a pattern.
Usage: python benchmarks/fixed_pattern.py [--steps 200] [--seed 0] [--only WORD ...] [--no-publish]
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from noise import SIDE, scene
from report import Verdict, judged, machine, publish, table

from napari_n2n import Pair, TrainingSettings, denoise, measure_noise, train

# Camera: ADU per electron, read noise in electrons, black level in ADU; photons per pixel.
GAIN, READ, BLACK, PHOTONS = 2.17, 1.75, 100.0, 20.0
# Dark frames, recorded before the pair.
DARK = 16
# How far photon gain may be off, and offsets of lines, in parts.
NEAR = 0.1


@dataclass(frozen=True)
class Pattern:
    """The fixed pattern of a camera.

    Attributes
    ----------
    name
        What it is.
    dark
        Dark current in electrons of each pixel, which has shot noise.
    offset
        Offset of each pixel in ADU.
    response
        Relative sensitivity of each pixel.
    lines
        Name of the figure that measures it, if any, and its true value.
    """

    name: str
    dark: np.ndarray
    offset: np.ndarray
    response: np.ndarray
    lines: tuple[str, float] | None = None

    def record(self, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return an acquisition of a scene in electrons per pixel."""
        electrons = rng.poisson(light * self.response + self.dark)
        values = GAIN * (electrons + rng.normal(0, READ, light.shape)) + BLACK + self.offset
        return np.clip(np.round(values), 0, 65535).astype(np.uint16)


def patterns() -> Iterator[Pattern]:
    """Yield all patterns, the camera without one first."""
    rng = np.random.default_rng(11)
    shape = (SIDE, SIDE)
    none, ones = np.zeros(shape), np.ones(shape)
    yield Pattern("none", none, none, ones)
    for share in (0.003, 0.01):
        sizes = np.exp(rng.uniform(np.log(30), np.log(3000), shape))
        dark = np.where(rng.random(shape) < share, sizes, 0)
        count = ("hot_pixels", float((dark > 0).sum()))
        yield Pattern(f"hot pixels, {share:.1%}", dark, none, ones, count)
    for electrons in (1, 2):
        columns = GAIN * electrons * rng.normal(size=SIDE) + none
        rms = ("column_offsets", float(columns.std()))
        yield Pattern(f"columns, {electrons} e", none, columns, ones, rms)
    rows = GAIN * 2 * rng.normal(size=(SIDE, 1)) + none
    yield Pattern("rows, 2 e", none, rows, ones, ("row_offsets", float(rows.std())))
    yield Pattern("pixels, 1 e", none, GAIN * rng.normal(size=shape), ones)
    yield Pattern("response of pixels, 2 %", none, none, 1 + 0.02 * rng.normal(size=shape))


def error(pair: Pair, settings: TrainingSettings, truth: np.ndarray) -> float:
    """Train, denoise both acquisitions, and return the root-mean-square error in ADU."""
    result = np.asarray(denoise(train(pair, settings), *pair.acquisitions))
    return float(np.sqrt(np.mean((result - truth) ** 2)))


def main() -> None:
    """Measure and train on all patterns, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[""], help="words in the patterns' names")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    torch.set_num_threads(1)
    light = PHOTONS * scene()
    truth = GAIN * light + BLACK
    rows: list[list[object]] = []
    verdicts: list[Verdict] = []
    for pattern in patterns():
        if not any(word in pattern.name for word in given.only):
            continue
        rng = np.random.default_rng((given.seed, 3))
        views = [pattern.record(light, rng) for _ in range(2)]
        frames = np.stack([pattern.record(0 * light, rng) for _ in range(DARK)])
        pair, corrected = Pair.open(*views), Pair.open(*views, dark=[frames])
        report = measure_noise(pair)
        raw = float(np.sqrt(np.mean((views[0] - truth) ** 2)))
        errors = []
        for one, how in ((pair, "keep"), (pair, "repair"), (corrected, "keep")):
            settings = TrainingSettings(
                steps=given.steps, batch=8, loss="l2", fixed_pattern=how, device="cpu"
            )
            nothing = how == "repair" and not pair.pattern.is_notable
            errors.append(errors[0] if nothing else error(one, settings, truth))
        found = "-"
        if pattern.lines is not None:
            name, true = pattern.lines
            found = f"{getattr(report, name):.3g} of {true:.3g}"
            verdicts.append((errors[1] < errors[0], f"{pattern.name}: repair reduces the error"))
        near = report.photon_gain is not None and abs(report.photon_gain / GAIN - 1) < NEAR
        verdicts.append((near, f"{pattern.name}: photon gain within {NEAR:.0%}"))
        rows.append(
            [
                pattern.name,
                found,
                "-" if report.photon_gain is None else report.with_error("photon_gain"),
                "-" if report.read_noise is None else report.with_error("read_noise"),
                ", ".join(sorted({warning.code for warning in report.warnings})),
                f"{raw:.2f}",
                *(f"{one:.2f}" for one in errors),
            ]
        )
        print(" | ".join(map(str, rows[-1])), flush=True)
    header = ["pattern", "found", "photon gain", "read noise", "warnings", "raw"]
    header += ["keep", "repair", "dark frames"]
    text = (
        f"Pairs of {SIDE}x{SIDE} pixels, {PHOTONS:g} photons per pixel; photon gain {GAIN} ADU, "
        f"read noise {GAIN * READ:.2g} ADU. 'found': hot pixels, or root mean square of the "
        "offsets in ADU, measured and true (hot pixels below the noise are not found). 'raw' to "
        "'dark frames': root-mean-square error in ADU of one acquisition, and of the results after "
        f"{given.steps} steps; {DARK} dark frames.\n\n"
        f"{table(header, rows)}\n\n{judged(verdicts)}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("fixed_pattern", text)


if __name__ == "__main__":
    main()
