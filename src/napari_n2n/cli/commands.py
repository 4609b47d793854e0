"""The commands: each parses its options and calls one function of the Python API."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from napari_n2n.cli.batch_run import check_endings, measured_pairs, save_report
from napari_n2n.cli.denoise_run import (
    check_error_map,
    denoise_folders_shown,
    denoise_scene_shown,
    say_if_resumable,
)
from napari_n2n.cli.file_commands import export, simulate, split
from napari_n2n.cli.inspect_run import (
    describe_each,
    describe_measured,
    measure,
    measure_alone,
    print_alone,
    print_measured,
    save_figures,
)
from napari_n2n.cli.left_out import LeftOut
from napari_n2n.cli.model_file import check_finished, check_start, checkpoints, save_model
from napari_n2n.cli.options import (
    Axes,
    Dark,
    Device,
    Json,
    KnownNoise,
    Mask,
    Memory,
    Overwrite,
    Recursive,
    Report,
    Resume,
    Single,
    SkipBad,
    Sources,
    Split,
    Table,
    common_options,
    list_fields,
    open_fields_of,
    open_sources,
    with_positions,
    with_settings,
)
from napari_n2n.cli.quality_commands import score, spot
from napari_n2n.cli.signals import SIGNALS
from napari_n2n.cli.terminal import describe_step, print_json, progress, say, show
from napari_n2n.cli.train_run import check_single, train_shown
from napari_n2n.defaults import MEMORY
from napari_n2n.errors import BadInput, require
from napari_n2n.io.output_path import check_keeps_inputs, check_overwrite, output_file, output_path
from napari_n2n.io.run_lock import locked
from napari_n2n.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_n2n.pair.pair import Pair

app = typer.Typer(
    name="napari-n2n",
    help="Two noisy acquisitions in, clean images out: Noise2Noise denoising.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from napari_n2n import __version__

        show(f"napari-n2n {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    pass


@app.command()
@common_options
def inspect(
    sources: Sources,
    plot: Annotated[Path | None, typer.Option(help="Also plot the noise: PLOT.png.")] = None,
    hot_pixels: Annotated[
        Path | None,
        typer.Option(help="List the hot and dead pixels: POINTS.csv, which napari opens."),
    ] = None,
    table: Table = None,
    report: Report = None,
    axes: Axes = None,
    split: Split = None,
    dark: Dark = None,
    mask: Mask = None,
    recursive: Recursive = False,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Check a pair, measure its noise and recommend a loss; also for a single file."""
    check_endings((plot, ".png"), (hot_pixels, ".csv"), (table, ".csv"), (report, ".html"))
    if plot is not None:
        require("matplotlib", "--plot")
    left_out = LeftOut(skip_bad)
    listed = list_fields(sources, output=plot, recursive=recursive, left_out=left_out)
    pairs_wanted = plot or hot_pixels or table or report or split or dark or mask
    if not pairs_wanted and all(len(field) == 1 for field in listed):
        described = describe_each(listed, axes, left_out)
        if all(one.repeats == 1 for _, one in described):
            alone = [(one, measure_alone(file, axes)) for file, one in described]
            print_alone(alone, left_out if as_json else None)
            left_out.end()
            return
    listed = with_positions(listed)
    pairs = open_fields_of(listed, axes, split, dark, left_out, mask)
    measured = measure(pairs)
    save_figures(measured, plot, hot_pixels)
    batch = measured_pairs(pairs, left_out) if table or report else None
    if batch is not None:
        save_report(batch, table, report)
    recordings = describe_measured(listed, measured, axes)
    print_measured(measured, recordings, batch, left_out if as_json else None)
    left_out.end()


@app.command()
@common_options
@with_settings
def train(
    sources: Sources,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model file, MODEL.n2n.")],
    settings: TrainingSettings,
    axes: Axes = None,
    split: Split = None,
    dark: Dark = None,
    mask: Mask = None,
    single: Single = False,
    noise: KnownNoise = None,
    recursive: Recursive = False,
    skip_bad: SkipBad = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train on acquisitions of one scene, two or more. Ctrl-C stops and keeps the model."""
    check_single(single=single, split=split, noise=noise)
    if output.suffix != ".n2n":
        raise BadInput(f"{output}: unknown ending: must be .n2n", "output")
    output_file(output)  # fail before anything is read or created
    check_overwrite(output, overwrite=overwrite or resume)
    check_start(settings, output)
    checkpoint = output.with_name(output.name + ".checkpoint")
    resume = resume and bool(checkpoints(checkpoint))
    left_out = LeftOut(skip_bad)

    def opened() -> "list[Pair]":
        return open_sources(
            *(sources, axes, split, dark, mask),
            output=output,
            recursive=recursive,
            single=single,
            left_out=left_out,
        )

    if output.exists() and not (overwrite or resume):
        check_finished(output, settings, opened())
        say(f"{output}: already finished: add --overwrite to train it again")
        left_out.end()
        return
    from napari_n2n.model.device import choose_device

    choose_device(settings.device)  # fail before the acquisitions are read
    with locked(output):
        denoiser = train_shown(opened(), settings, checkpoint, noise=noise, resume=resume)
        save_model(denoiser, output)
        unneeded = [] if denoiser.record.stopped else checkpoints(checkpoint)
        for file in unneeded:
            file.unlink()
    if denoiser.record.stopped:
        say(f"stopped: {output} has the best weights so far; continue with --resume")
    else:
        say(f"saved {output}")
    for line in (denoiser.record.fields_line(), *denoiser.record.error_lines()):
        if line is not None:
            say(line)
    if as_json:
        record = denoiser.record.model_dump(exclude={"curve", "detector"})
        print_json({"model": output} | record | {"left_out": left_out.as_list()})
    if denoiser.record.stopped:
        raise typer.Exit(SIGNALS.status)
    left_out.end()


@app.command()
@common_options
def denoise(
    model: Annotated[Path, typer.Argument(help="A trained model, MODEL.n2n.")],
    a: Annotated[
        Path, typer.Argument(help="The acquisition to denoise, or a folder of acquisitions.")
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The result, OUT.ome.zarr or OUT.tif; or a folder; or s3://BUCKET/OUT.ome.zarr.",
        ),
    ],
    more: Annotated[
        list[Path] | None,
        typer.Argument(help="More acquisitions of the scene; the result is the average."),
    ] = None,
    axes: Axes = None,
    device: Device = "auto",
    dtype: Annotated[
        Literal["float32", "same"],
        typer.Option(help="Type of the pixels; same: as the input, rounded and clipped."),
    ] = "float32",
    error: Annotated[
        Path | None,
        typer.Option(
            help="Also write an error map, how far the result may be from the truth; or a folder."
        ),
    ] = None,
    turns: Annotated[
        bool,
        typer.Option(
            "--turns",
            help="Test-time augmentation: average over 8 rotations and flips (8x slower).",
        ),
    ] = False,
    memory: Memory = MEMORY,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address, or scheduler file, of a dask cluster whose workers compute."),
    ] = None,
    recursive: Recursive = False,
    skip_bad: SkipBad = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Denoise an acquisition, or the average of several acquisitions of one scene.

    If all inputs are folders, each file in them is denoised, and OUTPUT is a folder.
    """
    from napari_n2n.io.address import address_of
    from napari_n2n.io.fields_of_view import is_folder
    from napari_n2n.model.denoiser import load

    denoiser, sources = load(model), [a, *(more or [])]
    in_folders = all(map(is_folder, sources))
    address = address_of(output)
    if not in_folders and address is None:
        check_keeps_inputs(output_path(output), [model])
    left_out = LeftOut(skip_bad)
    run: Callable[..., tuple[bool, list[Path | str]]] = denoise_scene_shown
    if in_folders:
        skipped = left_out if skip_bad else None
        run = partial(denoise_folders_shown, recursive=recursive, left_out=skipped)
    if error is not None:
        replaces = overwrite or resume or in_folders
        check_error_map(denoiser, model, output, error, replaces=replaces)
    options = {
        "axes": axes,
        "dtype": dtype,
        "turns": turns,
        "device": device,
        "memory": memory,
        "resume": resume,
        "overwrite": overwrite,
        "scheduler": scheduler,
    }
    written: dict[str, Any] = {}
    for path, quantity in [(output, "result"), *([(error, "error")] if error else [])]:
        with say_if_resumable(path):
            worked, results = run(denoiser, sources, path, quantity=quantity, **options)
        title = address_of(path) or path
        say(f"saved {title}" if worked else f"{title}: already finished")
        names = ("output", "outputs") if quantity == "result" else ("error", "errors")
        written |= zip(names, (title, results), strict=True)
    if as_json:
        written["left_out"] = left_out.as_list()
        inputs = [address_of(source) or source for source in sources]
        print_json(written | {"model": model, "inputs": inputs})
    left_out.end()


app.command()(export)
app.command()(split)
app.command()(simulate)
app.command()(score)
app.command()(spot)


@app.command()
@common_options
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path(
        "napari-n2n-demo"
    ),
) -> None:
    """Train on the sample pair; write the result and a before/after picture; print scores."""
    from napari_n2n.cli.demo import run

    require("matplotlib", "demo")
    with progress("training") as follow:
        lines = run(output, lambda step: follow(step.progress, describe_step(step)))
    for line in lines:
        show(line)
