import pytest

from napari_n2n import BadInput, load
from napari_n2n.model import tensorfile
from napari_n2n.model.denoiser import merge_channels


@pytest.fixture
def file_with(tmp_path, denoiser):
    """Save a model whose file has another record, and return its path."""

    def save(record):
        note = denoiser._note() | {"record": record}
        tensorfile.write(tmp_path / "model.n2n", "model", denoiser._tensors(), note)
        return tmp_path / "model.n2n"

    return save


def test_a_record_comes_back_from_its_file_unchanged(file_with, denoiser):
    again = load(file_with(denoiser.record.model_dump(mode="json"))).record
    assert again == denoiser.record
    assert again.score in again.curve and len(again.acquisitions) == 2


def test_fields_of_a_newer_version_are_kept(file_with, tmp_path):
    newer = {
        "version": 9,
        "microscope": "SIM",
        "score": None,
        "acquisitions": [{"name": "a", "na": 1}],
    }
    again = load(load(file_with(newer)).save(tmp_path / "copy.n2n")).record
    assert (again.version, again.microscope, again.acquisitions[0].na) == (9, "SIM", 1)


def test_a_record_without_the_newest_fields_loads(file_with):
    old = load(file_with({"values": [[0.0, 1.0]]})).record
    assert old.values == [(0.0, 1.0)] and old.score is None and old.date is None


def test_a_record_that_cannot_be_read_is_refused(file_with):
    with pytest.raises(BadInput, match="another version") as refused:
        load(file_with({"steps": "many"}))
    assert refused.value.code == "model"


def test_a_model_of_several_channels_keeps_the_record_of_each(denoiser):
    both = merge_channels([denoiser, denoiser]).record
    assert both.of_channels == [denoiser.record] * 2
    assert both.values == 2 * denoiser.record.values and both.noise == 2 * denoiser.record.noise
