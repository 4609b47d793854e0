"""Where the sample acquisitions lie: beside the package in a checkout, inside it in a wheel."""

from pathlib import Path

from napari_n2n.errors import BadInput


def sample(scene: str, view: str) -> Path:
    """Return the file of a sample scene; `view` is "a", "b" or "truth"."""
    here = Path(__file__).resolve().parent
    for folder in (here / "sample_data", here.parents[1] / "sample_data"):
        path = folder / f"{scene}_{view}.tif"
        if path.exists():
            return path
    raise BadInput(f"sample '{scene}_{view}.tif': not installed: install napari-n2n again")
