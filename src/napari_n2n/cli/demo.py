"""The main job on the sample pair: train, denoise, write, compare with the truth, draw."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_n2n.denoising.denoise import denoise
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.pair.pair import Pair
from napari_n2n.simulate.samples import sample
from napari_n2n.stats.image_quality import data_range, psnr, ssim
from napari_n2n.training.fit import TrainingStep, train
from napari_n2n.training.settings import TrainingSettings

MINUTES = 1.0


def run(folder: Path, on_step: Callable[[TrainingStep], None]) -> list[str]:
    """Do the whole job in `folder`; returns the lines to print."""
    a, b, truth = (sample("cells", view) for view in ("a", "b", "truth"))
    folder.mkdir(parents=True, exist_ok=True)  # or fail before the training, not after it
    pair = Pair.open(a, b)
    denoiser = train(pair, TrainingSettings(minutes=MINUTES), on_step)
    model = denoiser.save(folder / "cells.n2n")
    result = folder / "cells.ome.zarr"
    denoise(denoiser, a, b, out=result, overwrite=True)
    raw, clean, true = (Acquisition.open(path).plane(0) for path in (a, result, truth))
    scale = data_range(raw)
    scores = [
        (psnr(true, image.astype(np.float32), scale), ssim(true, image.astype(np.float32), scale))
        for image in (raw, clean)
    ]
    picture = draw(folder / "before_after.png", raw, clean, true, [score[0] for score in scores])
    record, held_out = denoiser.record, denoiser.record.score
    lines = [
        f"raw        PSNR {scores[0][0]:5.2f} dB  SSIM {scores[0][1]:.3f}   (against the truth)",
        f"denoised   PSNR {scores[1][0]:5.2f} dB  SSIM {scores[1][1]:.3f}   (against the truth)",
    ]
    if held_out is not None and held_out.psnr is not None:
        lines.append(
            f"one acquisition denoised, without looking at the truth: PSNR {held_out.psnr:.2f} "
            f"+- {held_out.psnr_se:.2f} dB on held-out blocks"
        )
    lines += [
        f"trained {record.steps} steps in {record.seconds:.0f} s on the "
        f"{record.device.upper()}, loss {record.loss.upper()}",
        f"model    {model}",
        f"result   {result}",
        f"picture  {picture}",
    ]
    return lines


def draw(
    path: Path, raw: np.ndarray, clean: np.ndarray, true: np.ndarray, psnrs: list[float]
) -> Path:
    """Draw raw, denoised and true side by side, whole and in detail; returns `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), dpi=100, layout="constrained", facecolor="black")
    axes = figure.subplots(2, 3)
    low, high = np.percentile(true, (0.5, 99.8))
    side = min(raw.shape) // 4
    top, left = (length // 2 - side // 2 for length in raw.shape)
    titles = (
        f"one acquisition, {psnrs[0]:.1f} dB",
        f"denoised, {psnrs[1]:.1f} dB",
        "truth (never seen)",
    )
    for column, (title, image) in enumerate(zip(titles, (raw, clean, true), strict=True)):
        for row, view in enumerate((image, image[top : top + side, left : left + side])):
            axes[row, column].imshow(view, cmap="gray", vmin=low, vmax=high)
            axes[row, column].set_axis_off()
        axes[0, column].set_title(title, color="white", fontsize=14)
    figure.savefig(path)
    return path
