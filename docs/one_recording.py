"""Draw the figure of one_recording.md. Usage: python docs/one_recording.py."""

from pathlib import Path

import numpy as np
import tifffile
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from napari_n2n import Pair, TrainingSettings, denoise, train
from napari_n2n.simulate.samples import sample
from napari_n2n.stats.image_quality import psnr

IMAGES = Path(__file__).with_name("images")
STEPS = 300
SHOWN = (slice(64, 160), slice(64, 192))  # part of the image in the figure
NOISE = 0.07  # standard deviation, as a part of the range of the scene
REACH = 1.2  # standard deviation in pixels of the blur that correlates the noise


def recorded(clean: np.ndarray, reach: float, seed: int) -> np.ndarray:
    """Add Gaussian noise to a scene; `reach` is that of its correlation in pixels."""
    noise = np.random.default_rng(seed).normal(size=clean.shape)
    noise = gaussian_filter(noise, reach, mode="wrap") if reach else noise
    return (clean + NOISE * np.ptp(clean) * noise / noise.std()).astype(np.float32)


def main() -> None:
    """Denoise one recording alone and with a second one, for two kinds of noise."""
    clean = tifffile.imread(sample("cells", "truth"))[128:384, 128:384].astype(np.float64)
    settings, brightest = TrainingSettings(steps=STEPS), np.quantile(clean, 0.999)
    figure = Figure(figsize=(10, 4.6), dpi=110, layout="constrained")
    grid = figure.subplots(2, 4)
    rows = {"Independent noise": 0.0, f"Noise correlated over {REACH:g} pixels": REACH}
    for axes, (name, reach) in zip(grid, rows.items(), strict=True):
        first, second = (recorded(clean, reach, seed) for seed in (1, 2))
        alone, pair = Pair.single(first), Pair.open(first, second)
        images = {
            "one recording": first,
            "trained on it alone": denoise(train(alone, settings), first),
            "trained on two recordings": denoise(train(pair, settings), first),
            "clean": clean,
        }
        for place, (title, image) in zip(axes, images.items(), strict=True):
            score = "" if image is clean else f", {psnr(clean, image, np.ptp(clean)):.1f} dB"
            place.imshow(image[SHOWN], cmap="gray", vmin=clean.min(), vmax=brightest)
            place.set_title(f"{title}{score}", fontsize=9)
            place.set_xticks([])
            place.set_yticks([])
        axes[0].set_ylabel(name, fontsize=9)
    figure.savefig(IMAGES / "one_recording.png")


if __name__ == "__main__":
    main()
