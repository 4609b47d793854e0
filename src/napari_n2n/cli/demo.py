"""The command `demo`: train on the sample pair, denoise it, compare with the truth, and plot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_n2n.denoising.denoise import denoise
from napari_n2n.io.acquisition import Acquisition
from napari_n2n.io.output_path import created_folder
from napari_n2n.pair.pair import Pair
from napari_n2n.simulate.samples import sample
from napari_n2n.stats.image_quality import data_range, psnr, ssim
from napari_n2n.training.fit import TrainingStep, train
from napari_n2n.training.settings import TrainingSettings

# Training time in minutes: longer gives a better result, shorter a quicker demo.
MINUTES = 1.0


def run(folder: Path, on_step: Callable[[TrainingStep], None]) -> list[str]:
    """Write model, result and picture into `folder`; return the lines to print."""
    with created_folder(folder):
        return _run(folder, on_step)


def _run(folder: Path, on_step: Callable[[TrainingStep], None]) -> list[str]:
    a, b, truth = (sample("cells", view) for view in ("a", "b", "truth"))
    pair = Pair.open(a, b)
    denoiser = train(pair, TrainingSettings(minutes=MINUTES), on_step)
    model = denoiser.save(folder / "cells.n2n")
    result = folder / "cells.ome.zarr"
    denoise(denoiser, a, b, out=result, overwrite=True)
    raw, denoised, clean = (Acquisition.open(path).plane(0) for path in (a, result, truth))
    scale = data_range(raw)
    scores = [
        (psnr(clean, image.astype(np.float32), scale), ssim(clean, image.astype(np.float32), scale))
        for image in (raw, denoised)
    ]
    psnrs = [score[0] for score in scores]
    picture = draw(folder / "before_after.png", raw, denoised, clean, psnrs)
    record, held_out = denoiser.record, denoiser.record.score
    lines = [
        f"raw        PSNR {scores[0][0]:5.2f} dB  SSIM {scores[0][1]:.3f}   (against the truth)",
        f"denoised   PSNR {scores[1][0]:5.2f} dB  SSIM {scores[1][1]:.3f}   (against the truth)",
    ]
    if held_out is not None and held_out.psnr is not None:
        lines.append(
            f"one acquisition denoised, without using the truth: PSNR {held_out.psnr:.2f} "
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
    path: Path, raw: np.ndarray, denoised: np.ndarray, clean: np.ndarray, psnrs: list[float]
) -> Path:
    """Draw the raw, denoised and clean image and a detail of each; return `path`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), dpi=100, layout="constrained", facecolor="black")
    axes = figure.subplots(2, 3)
    low, high = np.percentile(
        clean, (0.5, 99.8)
    )  # so that a few bright pixels do not set the contrast
    side = min(raw.shape) // 4
    top, left = (length // 2 - side // 2 for length in raw.shape)
    titles = (
        f"one acquisition, {psnrs[0]:.1f} dB",
        f"denoised, {psnrs[1]:.1f} dB",
        "truth (not used)",
    )
    for column, (title, image) in enumerate(zip(titles, (raw, denoised, clean), strict=True)):
        for row, view in enumerate((image, image[top : top + side, left : left + side])):
            axes[row, column].imshow(view, cmap="gray", vmin=low, vmax=high)
            axes[row, column].set_axis_off()
        axes[0, column].set_title(title, color="white", fontsize=14)
    figure.savefig(path)
    return path
