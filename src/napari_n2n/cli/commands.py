"""The commands: words in, engine called, words out; nothing is computed here."""

from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_n2n.cli.options import (
    Axes,
    Device,
    Json,
    Memory,
    Overwrite,
    Sources,
    Split,
    byte_count,
    pairs_of,
    training_settings,
)
from napari_n2n.cli.terminal import print_json, progress, say, step_words, stop_on_interrupt
from napari_n2n.errors import BadInput
from napari_n2n.io.crash_safe import check_overwrite

if TYPE_CHECKING:
    from napari_n2n.model.denoiser import Denoiser

app = typer.Typer(
    name="napari-n2n",
    help="Two noisy acquisitions in, clean images out: Noise2Noise denoising.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def inspect(
    sources: Sources,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the noise into this file, PLOT.png.")
    ] = None,
    axes: Axes = None,
    split: Split = None,
    as_json: Json = False,
) -> None:
    """Check a pair, measure its noise, and advise a loss."""
    if plot is not None and plot.suffix.lower() != ".png":
        raise BadInput(f"{plot}: unknown ending: let the plot's name end in .png", "output")

    from napari_n2n.noise.measure import measure_with_curves
    from napari_n2n.noise.panels import draw_noise
    from napari_n2n.pair.recordings import first_field

    channels = first_field(pairs_of(sources, axes, split))
    measured = [measure_with_curves(pair) for pair in channels]
    if plot is not None:
        for number, (report, curves) in enumerate(measured):
            file = plot if number == 0 else plot.with_stem(f"{plot.stem}_{number}")
            draw_noise(report, curves, file)
            say(f"saved {file}")
    reports = [report for report, _ in measured]
    if as_json:
        whole = [report.as_dict() | {"curves": curves.as_dict()} for report, curves in measured]
        print_json(whole[0] | ({"channels": whole} if len(whole) > 1 else {}))
        return
    for pair, report in zip(channels, reports, strict=True):
        if len(channels) > 1:
            print(pair.first.name)
        for line in report.lines():
            print(line)


@app.command()
def train(
    sources: Sources,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where to save the model, MODEL.n2n.")
    ],
    loss: Annotated[str, typer.Option(help="auto, l2, l1, l0 or hdr.")] = "auto",
    preset: Annotated[
        str, typer.Option(help="quick, balanced or thorough: how long to go on by itself.")
    ] = "balanced",
    steps: Annotated[int | None, typer.Option(help="Number of steps.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for the run.")] = None,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Same seed and steps, same weights (CPU).")] = 0,
    axes: Axes = None,
    split: Split = None,
    dims: Annotated[int, typer.Option(help="2: plane by plane; 3: volumes.")] = 2,
    channels: Annotated[
        str, typer.Option(help="together: one network for all; separate: one for each.")
    ] = "together",
    start: Annotated[
        str, typer.Option(help="warm: from weights that know noise; cold: from chance; auto.")
    ] = "auto",
    patch: Annotated[int, typer.Option(help="Side of a patch in pixels.")] = 64,
    batch: Annotated[int, typer.Option(help="Places in a batch.")] = 16,
    memory: Memory = "1GB",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train on two or more acquisitions of one scene. Ctrl-C stops and keeps the model."""
    settings = training_settings(
        loss=loss,
        preset=preset,
        steps=steps,
        minutes=minutes,
        device=device,
        seed=seed,
        dims=dims,
        channels=channels,
        start=start,
        patch=patch,
        batch=batch,
        memory=byte_count(memory),
    )
    if output.suffix != ".n2n":
        raise BadInput(f"{output}: unknown ending: let the model's name end in .n2n", "output")
    check_overwrite(output, overwrite=overwrite or resume)
    checkpoint = output.with_name(output.name + ".checkpoint")
    kept = sorted(output.parent.glob(f"{checkpoint.name}*"))
    if resume and not kept:
        raise BadInput(f"{checkpoint}: there is no run to go on with: leave out --resume", "resume")
    output.parent.mkdir(parents=True, exist_ok=True)  # or fail before the training, not after it

    from napari_n2n import train as train_on
    from napari_n2n.model.device import choose_device, unused_card
    from napari_n2n.noise.measure import measure_channels

    computing = choose_device(device)  # or fail before the recordings are looked at
    pairs = pairs_of(sources, axes, split)
    reports = measure_channels(pairs)
    for pair, report in zip(pairs, reports, strict=False):  # those of the first field come first
        say(f"noise{f' of {pair.first.name}' if len(reports) > 1 else ''}: {report.reason}")
    found = [*chain(*(pair.findings for pair in pairs), *(report.warnings for report in reports))]
    for message in dict.fromkeys(finding.message for finding in found):
        say(f"note: {message}")
    if computing.type == "cpu" and (advice := unused_card()) is not None:
        say(f"note: to be many times faster, {advice}")
    with stop_on_interrupt() as stop, progress("training") as show:
        denoiser = train_on(
            pairs,
            settings,
            on_step=lambda step: show(step.progress, step_words(step)),
            reports=reports,
            stop=stop,
            checkpoint=checkpoint,
            resume=resume,
        )
    denoiser.save(output)
    if denoiser.record.stopped:
        say(f"stopped: {output} holds the best so far; --resume goes on")
    else:
        for file in output.parent.glob(f"{checkpoint.name}*"):
            file.unlink()
        say(f"saved {output}")


@app.command()
def denoise(
    model: Annotated[Path, typer.Argument(help="A trained model, MODEL.n2n.")],
    a: Annotated[Path, typer.Argument(help="The acquisition to denoise, or a folder of such.")],
    more: Annotated[
        list[Path] | None, typer.Argument(help="Further acquisitions of the scene, to average.")
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The result: ends in .ome.zarr or .tif.")
    ] = ...,  # type: ignore[assignment]
    axes: Axes = None,
    device: Device = "auto",
    dtype: Annotated[str, typer.Option(help="float32, or same as the input.")] = "float32",
    turns: Annotated[
        bool, typer.Option("--turns", help="Mean of 8 turns and mirror images: better, 8x slower.")
    ] = False,
    memory: Memory = "1GB",
    scheduler: Annotated[
        str | None, typer.Option(help="Address of a dask scheduler whose workers compute.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished result.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Apply a model to an acquisition, or to several of one scene and average them.

    Of folders, each file in turn; OUTPUT is a folder then.
    """
    from napari_n2n.io.fields_of_view import is_folder
    from napari_n2n.model.denoiser import load

    denoiser, sources = load(model), [a, *(more or [])]
    run = _in_turn if all(is_folder(source) for source in sources) else _single
    try:
        run(
            denoiser,
            sources,
            output,
            axes=axes,
            dtype=dtype,
            turns=turns,
            device=device,
            memory=byte_count(memory),
            resume=resume,
            overwrite=overwrite,
            scheduler=scheduler,
        )
    except (KeyboardInterrupt, OSError):
        say(f"stopped: what is done of {output} is kept; --resume goes on")
        raise
    say(f"saved {output}")


def _single(
    denoiser: "Denoiser",
    sources: list[Path],
    output: Path,
    *,
    axes: str | None,
    dtype: str,
    turns: bool,
    **options: Any,
) -> None:
    from napari_n2n.denoising.denoise import denoise_by_shards
    from napari_n2n.denoising.plan import plan

    work = plan(denoiser, *sources, axes=axes, dtype=dtype, turns=turns)
    for warning in work.warnings:
        say(f"warning: {warning}")
    run = denoise_by_shards(denoiser, work, output, **options)
    with progress("denoising") as report:
        for step in run:
            report(step.progress, f"shard {step.done} of {step.total}")


def _in_turn(denoiser: "Denoiser", folders: list[Path], output: Path, **options: Any) -> None:
    from napari_n2n.denoising.folder import Series, denoise_in_turn

    run = denoise_in_turn(denoiser, Series.of(folders, output), **options)
    warned: set[str] = set()
    with progress("denoising") as report:
        for step in run:
            if step.warnings and step.name not in warned:
                warned.add(step.name)
                say(f"warning: {step.name}: {' '.join(step.warnings)}")
            report(step.progress, f"{step.name}, {step.done + 1} of {step.total}")


@app.command()
def split(
    stack: Annotated[Path, typer.Argument(help="A movie or stack that hardly moves.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    axis: Annotated[str, typer.Option(help="Letter of the axis of frames.")] = "T",
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Write even and odd frames of a stack as two acquisitions: NAME_even and NAME_odd.tif.

    Training needs no such copies: see train --split.
    """
    from napari_n2n import Acquisition
    from napari_n2n.io.writers import copy

    opened = Acquisition.open(stack, axes=axes)
    halves = opened.split(axis.upper())
    paths = [output / f"{opened.name}_{name}.tif" for name in ("even", "odd")]
    with progress("splitting") as report:
        for number, (half, path) in enumerate(zip(halves, paths, strict=True)):
            for share in copy(half, path, overwrite=overwrite):
                report((number + share) / 2, half.name)
    say(f"saved {' and '.join(str(path) for path in paths)}")


@app.command()
def simulate(
    clean: Annotated[Path, typer.Argument(help="An image without noise.")],
    noise: Annotated[
        str,
        typer.Option(help="E.g. gaussian:25; gaussian:0-50 draws a level per plane."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same pixels.")] = 0,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Put noise on a clean image, twice: NAME_a.tif and NAME_b.tif, a pair with a known truth.

    Noises: gaussian:SIGMA, brown:SIGMA:WIDTH, poisson:PHOTONS, camera:GAIN:READ:OFFSET,
    text:SHARE, impulse:SHARE, bernoulli:SHARE.
    """
    from napari_n2n import Acquisition
    from napari_n2n.simulate.registry import parse
    from napari_n2n.simulate.write import simulate_by_planes

    kind, image = parse(noise), Acquisition.open(clean, axes=axes)
    out = [output / f"{image.name}_{view}.tif" for view in "ab"]
    with progress("simulating") as report:
        for step in simulate_by_planes(image, kind, out, seed=seed, overwrite=overwrite):
            report(step.progress, f"plane {step.done} of {step.total}")
    say(f"saved {' and '.join(str(path) for path in out)} with {kind}")


@app.command()
def score(
    out: Annotated[Path, typer.Argument(help="The result to score.")],
    against: Annotated[
        Path, typer.Option(help="An acquisition that the result was not made from.")
    ],
    source: Annotated[
        Path | None, typer.Option("--input", help="The acquisition that it was made from.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="A clean image, for PSNR and SSIM.")] = None,
    axes: Axes = None,
    as_json: Json = False,
) -> None:
    """Say how good a result is, without a clean image or with one."""
    from napari_n2n.quality.score import score as score_result

    result = score_result(out, against, source=source, truth=truth, axes=axes)
    if as_json:
        print_json(asdict(result))
        return
    for line in result.lines():
        print(line)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")] = Path(
        "napari-n2n-demo"
    ),
) -> None:
    """Train on the sample pair, write the clean result and a before/after picture, print scores."""
    from napari_n2n.cli.demo import run

    with progress("training") as report:
        lines = run(output, lambda step: report(step.progress, step_words(step)))
    for line in lines:
        print(line)
