"""How often is the verdict about a spot right? Points of light and specks of noise, truth known.

Scenes with smooth structure and points of light of several heights are recorded twice, with photon
and read noise. The result is the mean of both, smoothed: it contains the noise of both recordings,
like the result of an overfitted network, and shows more false spots than a good one. All its local
maxima are tested: those at a point of light are true, those far from all points are false. In real
scenes, the mean of 50 acquisitions shows which spots are true.
Usage: python benchmarks/spots.py [--data DIR] [--scenes 8] [--no-publish]
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from report import Verdict, judged, machine, publish, table
from scipy import ndimage

from napari_n2n import SpotCheck

SIDE, STEP = 256, 32  # pixels of a scene, and from one point of light to the next
BLUR = 1.5  # standard deviation of a point of light, in pixels
PHOTONS, READ = 40.0, 3.0  # background in photons, read noise in electrons
HEIGHTS = (5.0, 10.0, 20.0, 40.0)  # peaks of the points, in photons
NEAR = 3  # distance in pixels up to which a maximum belongs to a point
RIGHT, FALSE = 0.95, 0.001  # wanted share of bright points shown, largest share of false ones
AVERAGED = 50  # acquisitions in the truth of the real scenes
TRUE, SURE = 5.0, 3.0  # standard errors of the truth, for true spots and for false ones
MOST = 150  # maxima asked in a real scene


@dataclass(frozen=True)
class Answers:
    """The verdicts about spots of one kind."""

    kind: str
    verdicts: Counter[str]

    def share(self, verdict: str) -> float:
        """Return the share of a verdict."""
        return self.verdicts[verdict] / max(sum(self.verdicts.values()), 1)


def background(rng: np.random.Generator, bent: float) -> np.ndarray:
    """Return structure that is wider than the surroundings of a spot; from 0.5 to 1.5."""
    field = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), bent, mode="wrap")
    return 1 + 0.5 * field / np.abs(field).max()


def maxima(result: np.ndarray) -> np.ndarray:
    """Return the places of the local maxima, brightest against their surroundings first."""
    detail = result - ndimage.uniform_filter(result, 15)
    peaks = detail == ndimage.maximum_filter(detail, 7)
    peaks[:8] = peaks[-8:] = False
    peaks[:, :8] = peaks[:, -8:] = False
    places = np.argwhere(peaks)
    return places[np.argsort(-detail[peaks])]


def simulated(seed: int, height: float, blur: float) -> tuple[Counter[str], Counter[str]]:
    """Return the verdicts at points of light and far from them; `blur` correlates noise."""
    rng = np.random.default_rng(seed)
    points = np.zeros((SIDE, SIDE))
    points[STEP // 2 :: STEP, STEP // 2 :: STEP] = 2 * np.pi * BLUR**2 * height
    clean = PHOTONS * background(rng, 40.0) + ndimage.gaussian_filter(points, BLUR)
    noise = [rng.poisson(clean) - clean + rng.normal(0, READ, clean.shape) for _ in range(2)]
    a, b = (clean + ndimage.gaussian_filter(one, blur) for one in noise)
    result = ndimage.gaussian_filter((a + b) / 2, 1.2)
    check = SpotCheck.open(*(image.astype(np.float32) for image in (result, a, b)))
    distance = ndimage.distance_transform_edt(points == 0)
    true, false = Counter[str](), Counter[str]()
    for y, x in maxima(result):
        if distance[y, x] <= NEAR:
            true[check.at(int(y), int(x)).verdict] += 1
        elif distance[y, x] > STEP / 3:
            false[check.at(int(y), int(x)).verdict] += 1
    return true, false


def real(folder: Path) -> tuple[Counter[str], Counter[str]]:
    """Return the verdicts at spots that the mean of many acquisitions shows, and does not show."""
    a, b, truth = (
        tifffile.imread(folder / f"{name}.tif").astype(np.float32)
        for name in ("capture_1", "capture_2", "truth")
    )
    result = ndimage.gaussian_filter((a + b) / 2, 1.0)
    check = SpotCheck.open(result, a, b)
    true, false = Counter[str](), Counter[str]()
    places = maxima(result)
    for y, x in places[:: max(1, len(places) // MOST)]:
        found = check.at(int(y), int(x))
        if not found.recordings:
            continue
        height = math.copysign(1, found.above) * _height(truth, y, x, found.size)
        error = np.mean([one.above_error for one in found.recordings]) / math.sqrt(AVERAGED)
        if height > TRUE * error:
            true[found.verdict] += 1
        elif height < SURE * error:
            false[found.verdict] += 1
    return true, false


def _height(image: np.ndarray, y: int, x: int, size: int) -> float:
    """Return how far a disc is above the ring around it, with the radii of `SpotCheck`."""
    rows, columns = np.indices(image.shape)
    distance = np.hypot(rows - y, columns - x)
    inner = size / 2 + 1
    ring = (distance > inner) & (distance <= inner + 4)
    return float(image[distance <= size / 2].mean() - image[ring].mean())


def answers(scenes: int, data: Path | None) -> Iterator[Answers]:
    """Yield the verdicts of each kind of spot."""
    for blur, noise in ((0.0, "white noise"), (0.8, "correlated noise")):
        every = Counter[str]()
        for number, height in enumerate(HEIGHTS):
            true = Counter[str]()
            for seed in range(scenes):
                at_points, elsewhere = simulated(100 * number + seed, height, blur)
                true += at_points
                every += elsewhere
            yield Answers(f"{noise}, points of {height:g} photons", true)
        yield Answers(f"{noise}, specks of noise", every)
    for folder in sorted((data / "fmd").iterdir()) if data is not None else ():
        true, false = real(folder)
        yield Answers(f"{folder.name}, true spots", true)
        yield Answers(f"{folder.name}, false spots", false)


def judge(found: list[Answers]) -> Iterator[Verdict]:
    for one in found:
        if one.kind.endswith(f"{HEIGHTS[-1]:g} photons"):
            yield one.share("shown") >= RIGHT, f"{one.kind}: shown in {one.share('shown'):.1%}"
        elif one.kind.endswith(("specks of noise", "false spots")):
            count = one.verdicts["shown"]
            yield (
                one.share("shown") <= FALSE,
                f"{one.kind}: {count} of {sum(one.verdicts.values())} taken for real",
            )


def main() -> None:
    """Ask, and publish the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--scenes", type=int, default=8, help="simulated scenes of each kind")
    parser.add_argument("--no-publish", action="store_true", help="only print")
    given = parser.parse_args()
    found = list(answers(given.scenes, given.data))
    columns = ("shown", "uncertain", "noise", "one_recording", "contradicted", "removed")
    rows = [
        [one.kind, sum(one.verdicts.values()), *(f"{one.share(name):.1%}" for name in columns)]
        for one in found
    ]
    text = (
        f"Background of {PHOTONS:g} photons, read noise {READ:g} electrons, points of light of "
        f"{2.35 * BLUR:.1f} pixels full width at half maximum. "
        "The tested places are the local maxima of the smoothed mean of both recordings.\n\n"
        f"{table(['spots', 'asked', *columns], rows)}\n\n"
        f"{judged(list(judge(found)))}\n\n{machine()}"
    )
    print(text) if given.no_publish else publish("spots", text)


if __name__ == "__main__":
    main()
