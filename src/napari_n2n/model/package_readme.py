"""The record of a model as text: the training data, the settings and the scores."""

from collections.abc import Iterator

from napari_n2n.model.denoiser import Denoiser

_MOST_NAMES = 20  # most acquisitions that are listed; of further ones, only the number is stated


def package_readme(denoiser: Denoiser, name: str) -> str:
    """Return the record of a model as Markdown; it names files without their folders."""
    return "\n".join(_lines(denoiser, name)) + "\n"


def _lines(denoiser: Denoiser, name: str) -> Iterator[str]:
    record = denoiser.record
    yield f"# {name}"
    yield ""
    yield (
        "A Noise2Noise network, trained with napari-n2n on noisy recordings only. It denoises "
        f"{'planes' if denoiser.dims == 2 else 'volumes'} that were recorded as its training data: "
        "same camera, same settings, similar structures."
    )
    yield ""
    yield from _use(denoiser)
    yield "## Training"
    yield ""
    count = len(record.acquisitions)
    for one in record.acquisitions[:_MOST_NAMES]:
        shape = " x ".join(map(str, one.shape))
        yield f"- {one.name}: {shape} ({one.axes}), {one.dtype}"
    if count > _MOST_NAMES:
        yield f"- and {count - _MOST_NAMES} more recordings"
    yield f"- loss: {record.loss or 'unknown'}"
    yield f"- {record.steps} steps in {record.seconds:.0f} s on {record.device or 'unknown device'}"
    for number, (low, high) in enumerate(record.values):
        yield f"- intensities of channel {number}: {low:g} to {high:g}"
    if record.date:
        yield f"- date: {record.date}"
    yield f"- versions: {', '.join(f'{key} {value}' for key, value in record.versions.items())}"
    yield ""
    yield "## Validation"
    yield ""
    yield from _validation(denoiser)
    yield ""
    yield "Never believe a detail that only the denoised image shows."


def _use(denoiser: Denoiser) -> Iterator[str]:
    channels = len(denoiser.scales)
    yield "## Use"
    yield ""
    which = "One channel" if channels == 1 else f"{channels} channels, in the order of the training"
    yield (
        f"- {which}, in the unit of the detector, as recorded: do not normalise. The network does "
        "it, and returns the same unit."
    )
    yield (
        "- Tiles give the same pixels as the whole image. At the edges of an image, programs "
        "extend it by mirrored pixels, so that a margin of "
        f"{max(denoiser.receptive_field)} pixels differs slightly from the result of napari-n2n."
    )
    if any(denoiser.record.empty_square):
        yield "- Empty areas (equal pixels) were left out of training: ignore the result there."
    yield ""


def _validation(denoiser: Denoiser) -> Iterator[str]:
    record = denoiser.record
    for number, part in enumerate(record.of_channels or [record]):
        where = f" of channel {number}" if record.of_channels else ""
        score = part.score
        if score is not None and score.psnr is not None:
            error = f" ± {score.psnr_se:.2f}" if score.psnr_se is not None else ""
            yield (
                f"- PSNR{where} on blocks excluded from training, without a clean image: "
                f"{score.psnr:.1f}{error} dB"
            )
        else:
            yield f"- PSNR{where}: {part.score_reason or 'not determined'}"
    for line in record.error_lines():
        yield f"- {line}"
