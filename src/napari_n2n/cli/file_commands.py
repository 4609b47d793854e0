"""The commands that make other files from a model or an image: each calls one function."""

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_n2n.cli.options import Axes, Json, Overwrite, common_options
from napari_n2n.cli.terminal import print_json, progress, say
from napari_n2n.io.output_path import check_keeps_inputs, output_path


@common_options
def export(
    model: Annotated[Path, typer.Argument(help="A trained model, MODEL.n2n.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The package, NAME.zip.")],
    author: Annotated[
        list[str] | None, typer.Option(help="Name of an author; may be repeated.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="SPDX identifier of the licence, e.g. CC-BY-4.0.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a model as a package of the BioImage Model Zoo, for Fiji, ilastik and others."""
    from napari_n2n import export_bioimage, load

    check_keeps_inputs(output_path(output), [model])
    described: dict[str, Any] = {"authors": author or (), "license": license}
    export_bioimage(load(model), output, overwrite=overwrite, **described)
    say(f"saved {output}: open it in Fiji (deepImageJ), ilastik or bioimageio.core")
    if not (author and license):
        say("note: to upload it to the zoo, add --author and --license")
    if as_json:
        print_json({"output": output, "model": model})


@common_options
def split(
    stack: Annotated[Path, typer.Argument(help="A movie or stack with little motion.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    axis: Annotated[str, typer.Option(help="Axis of the frames.")] = "T",
    axes: Axes = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write even and odd frames of a stack as two acquisitions: NAME_even and NAME_odd.tif.

    Not needed for training: train --split does the same without copies.
    """
    from napari_n2n import Acquisition
    from napari_n2n.io.writers import copy

    opened = Acquisition.open(stack, axes=axes)
    paths = [output / f"{opened.name}_{name}.tif" for name in ("even", "odd")]
    parts = list(zip(opened.split(axis.upper()), paths, strict=True))
    with progress("splitting") as follow:
        for share in copy(opened, parts, overwrite=overwrite):
            follow(share, opened.name)
    say(f"saved {' and '.join(str(path) for path in paths)}")
    if as_json:
        print_json({"outputs": paths, "input": stack})


@common_options
def simulate(
    clean: Annotated[Path, typer.Argument(help="An image without noise.")],
    noise: Annotated[
        str,
        typer.Option(help="E.g. gaussian:25; gaussian:0-50 draws a new level for each plane."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed; the same seed gives the same pixels.")
    ] = 0,
    axes: Axes = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Add noise to a clean image, twice: NAME_a.tif and NAME_b.tif, a pair with a known truth.

    Noises: gaussian:SIGMA, brown:SIGMA:WIDTH, poisson:PHOTONS, camera:GAIN:READ:OFFSET,
    text:SHARE, impulse:SHARE, bernoulli:SHARE.
    """
    from napari_n2n import Acquisition
    from napari_n2n.simulate.registry import parse
    from napari_n2n.simulate.write import simulate_by_planes

    kind, image = parse(noise), Acquisition.open(clean, axes=axes)
    out = [output / f"{image.name}_{view}.tif" for view in "ab"]
    with progress("simulating") as follow:
        for step in simulate_by_planes(image, kind, out, seed=seed, overwrite=overwrite):
            follow(step.progress, f"plane {step.done} of {step.total}")
    say(f"saved {' and '.join(str(path) for path in out)} with {kind}")
    if as_json:
        print_json({"outputs": out, "input": clean, "noise": str(kind)})
