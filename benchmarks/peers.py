"""Run other software on one or two recordings; other benchmarks call this.

Usage: python benchmarks/peers.py METHOD OUT.npz A.tif [B.tif] [--seconds 120] [--threads 2]
Run it in an environment made by scripts/peers. careamics* and predict need A and B, the others A.

Writes the denoised A at several times (seconds from the start of the training, without the time
for making these images), or once for methods without training. A and B are planes or, for
careamics*, volumes.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

MARKS = (3, 6, 12, 23, 45, 60, 90, 120, 150, 180, 240, 300)
METHODS = ("careamics", "careamics-mse", "n2v", "n2v2", "bm3d", "nlm", "predict")


# The sizes in the documentation of CAREamics, for planes and for volumes. Its 8 patches for
# validation would be a quarter of a small volume: 2 leave more to train on.
SIZES = {
    2: {"axes": "YX", "patch_size": (64, 64), "batch_size": 16},
    3: {"axes": "ZYX", "patch_size": (16, 64, 64), "batch_size": 2, "n_val_patches": 2},
}
COMMON = {"experiment_name": "benchmark", "data_type": "array"}


def n2n_config(dims: int, **length: int):  # type: ignore[no-untyped-def]
    """Return the default configuration of CAREamics for two arrays."""
    from careamics.config import create_n2n_config

    return create_n2n_config(**COMMON, **SIZES[dims], **length)


def training_config(method: str, dims: int):  # type: ignore[no-untyped-def]
    """Return the default configuration of a method, for a run that is ended by its time."""
    from careamics.config import create_n2v_config

    endless = {"num_epochs": 100_000}
    if method.startswith("n2v"):
        return create_n2v_config(**COMMON, **SIZES[dims], **endless, use_n2v2=method == "n2v2")
    config = n2n_config(dims, **endless)
    if method.endswith("mse"):
        config.algorithm_config.loss = "mse"
    return config


def careamics(
    method: str, a: np.ndarray, b: np.ndarray | None, seconds: float, threads: int
) -> dict[str, np.ndarray]:
    """Train with the defaults of CAREamics, or with its other loss; denoise A at the marks."""
    import torch
    from careamics import CAREamist
    from lightning.pytorch.callbacks import Callback

    torch.set_num_threads(threads)
    images: dict[str, np.ndarray] = {}
    target = a if b is None else b

    class Look(Callback):
        def on_train_start(self, trainer, module) -> None:  # type: ignore[no-untyped-def]
            self.away = 0.0

        def on_train_batch_end(self, trainer, module, *_unused) -> None:  # type: ignore[no-untyped-def]
            paused = time.monotonic()
            mark = next((m for m in MARKS if str(m) not in images), None)
            elapsed = paused - began - self.away
            if mark is not None and elapsed >= mark:
                images[str(mark)] = forward(module, a)
            self.away += time.monotonic() - paused
            if elapsed >= seconds:
                trainer.should_stop = True

    def forward(module, image: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
        module.eval()
        normal = torch.from_numpy((image - a.mean()) / a.std()).float()[None, None]
        with torch.inference_mode():
            result = module.model(normal)[0, 0].numpy()
        module.train()
        return result * target.std() + target.mean()

    config = training_config(method, a.ndim)
    with tempfile.TemporaryDirectory() as folder:
        engine = CAREamist(config, work_dir=folder, callbacks=[Look()], enable_progress_bar=False)
        began = time.monotonic()
        engine.train(train_data=a, train_data_target=b)
        images["end"] = engine.predict(a, in_memory=True)[0][0].squeeze()
    return images


def predict(a: np.ndarray, b: np.ndarray, threads: int) -> dict[str, np.ndarray]:
    """Time the prediction of CAREamics: of a plane of four A, in tiles, or of a volume, at once."""
    import torch
    from careamics import CAREamist

    torch.set_num_threads(threads)
    config = n2n_config(a.ndim, num_epochs=1, num_steps=1)
    image, tile = (np.tile(a, (2, 2)), (256, 256)) if a.ndim == 2 else (a, None)
    with tempfile.TemporaryDirectory() as folder:
        engine = CAREamist(config, work_dir=folder, enable_progress_bar=False)
        engine.train(train_data=a, train_data_target=b)
        took = []
        for _ in range(3):
            began = time.monotonic()
            engine.predict(image, tile_size=tile, in_memory=True)
            took.append(time.monotonic() - began)
    return {"megapixels_per_second": np.array(image.size / 1e6 / np.median(took))}


def bm3d_filtered(a: np.ndarray) -> dict[str, np.ndarray]:
    """Run BM3D with the noise that scikit-image estimates."""
    import bm3d
    from skimage.restoration import estimate_sigma

    began = time.monotonic()
    image = bm3d.bm3d(a, sigma_psd=estimate_sigma(a))
    return {f"{time.monotonic() - began:.1f}": image}


def nlm(a: np.ndarray) -> dict[str, np.ndarray]:
    """Run scikit-image's non-local means with the noise that it estimates."""
    from skimage.restoration import denoise_nl_means, estimate_sigma

    began = time.monotonic()
    sigma = float(estimate_sigma(a))
    image = denoise_nl_means(
        a, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, fast_mode=True,
        preserve_range=True,
    )  # fmt: skip
    return {f"{time.monotonic() - began:.1f}": image}


def main() -> None:
    """Run one method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("out", type=Path)
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    a = tifffile.imread(given.a).astype(np.float32)
    b = tifffile.imread(given.b).astype(np.float32) if given.b else None
    if b is None and given.method.startswith(("careamics", "predict")):
        parser.error(f"{given.method}: needs two recordings")
    if given.method.startswith(("careamics", "n2v")):
        images = careamics(given.method, a, b, given.seconds, given.threads)
    elif given.method == "predict":
        images = predict(a, b, given.threads)
    else:
        images = {"bm3d": bm3d_filtered, "nlm": nlm}[given.method](a)
    np.savez(given.out, **images)


if __name__ == "__main__":
    main()
