"""Files that cannot be used among many: named at once before the work, or left out."""

import json

import numpy as np
import pytest
import tifffile
from conftest import blobs, noisy

from napari_n2n import Acquisition

TRAIN = ("--steps", 1, "--patch", 32, "--batch", 1, "--device", "cpu")


@pytest.fixture
def folders(tmp_path, monkeypatch, denoiser):
    """Two folders of five fields of view, of which two are good, and a model."""
    monkeypatch.chdir(tmp_path)
    denoiser.save(tmp_path / "model.n2n")
    for view in "ab":
        (tmp_path / view / "day 2").mkdir(parents=True)
        for number, name in enumerate(("0", "1", "2", "3", "day 2/0")):
            values = noisy(blobs((64, 64), number), number + 10 * ord(view))
            tifffile.imwrite(tmp_path / view / f"{name}.tif", values)
    whole = (tmp_path / "a" / "1.tif").read_bytes()
    (tmp_path / "a" / "1.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "1.tif").write_bytes(b"")
    (tmp_path / "b" / "2.tif").write_text("not an image")
    tifffile.imwrite(tmp_path / "b" / "3.tif", np.zeros((40, 64), np.float32))
    return tmp_path


def test_all_bad_files_are_named_with_their_paths_before_training(call, folders):
    status, _, err = call("train", "a", "b", "-o", "new.n2n", *TRAIN)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(errors) == 5 and "Traceback" not in err
    for line, path in zip(errors, ("a/1.tif", "b/1.tif", "b/2.tif", "b/3.tif"), strict=False):
        assert path in line
    assert "4 files cannot be used (--skip-bad" in errors[-1]
    assert "note: a/day 2: the files in this subfolder are ignored (--recursive" in err
    assert not (folders / "new.n2n").exists()


def test_messages_about_files_of_the_same_name_give_their_folders(call, folders):
    status, _, err = call("train", "a/0.tif", "a/0.tif", "-o", "new.n2n", *TRAIN)
    assert status == 2 and err.startswith("error: a/0: is the same image as a/0 (")
    status, _, err = call("train", "a/3.tif", "b/3.tif", "-o", "new.n2n", *TRAIN)
    assert status == 2 and err.startswith("error: a/3.tif and b/3.tif: 3: shape (40, 64)")


def test_training_leaves_out_bad_files_and_lists_them_at_the_end(call, folders):
    words = ("train", "a", "b", "-o", "new.n2n", *TRAIN, "--skip-bad", "--recursive", "--json")
    status, out, err = call(*words)
    record = json.loads(out)
    assert status == 3 and len(record["acquisitions"]) == 4  # of two fields of view
    assert [one["code"] for one in record["left_out"]] == [*["unreadable"] * 3, "shape"]
    assert (record["fields_of_view_used"], record["fields_of_view"]) == (1, 2)
    assert "trained on 1 of 2 fields of view: more steps (--steps) would use more of them" in err
    assert all(path in err.splitlines()[-4:][k] for k, path in enumerate(("a/1", "b/1", "b/2")))
    assert call(*words)[0] == 2  # exists
    assert call(*words, "--resume")[0] == 3  # finished, and the files are still bad


def test_denoising_names_all_bad_files_or_leaves_them_out(call, folders):
    status, _, err = call("denoise", "model.n2n", "b", "-o", "clean", "--recursive")
    assert status == 2 and "b/1.tif: is empty" in err and "b/2.tif" in err
    assert not (folders / "clean").exists()
    words = ("denoise", "model.n2n", "b", "-o", "clean", "--recursive", "--skip-bad", "--json")
    status, out, err = call(*words)
    written = ["clean/0.tif", "clean/3.tif", "clean/day 2/0.tif"]
    assert status == 3 and json.loads(out)["outputs"] == written
    assert "b/2.tif" in err.splitlines()[-1]
    assert Acquisition.open(folders / "clean/day 2/0.tif").shape == (64, 64)


def test_a_file_that_turns_out_damaged_during_the_run_is_left_out_too(call, folders):
    for name in ("1", "2"):
        (folders / "b" / f"{name}.tif").unlink()
    values = noisy(blobs((64, 64)), 1).astype(np.float32)
    values[5, 5] = np.nan
    tifffile.imwrite(folders / "b" / "3.tif", values)
    status, _, err = call("denoise", "model.n2n", "b", "-o", "clean", "--skip-bad")
    assert status == 3 and "b/3.tif" in err.splitlines()[-1]
    assert [path.name for path in (folders / "clean").glob("*.tif")] == ["0.tif"]


def test_no_good_file_is_an_error(call, folders):
    (folders / "b" / "0.tif").unlink()
    status, _, err = call("train", "a", "b", "-o", "new.n2n", *TRAIN, "--skip-bad")
    assert status == 2 and "a/0.tif: has no file of the same name in b" in err


def test_inspect_describes_the_measured_file_and_not_a_bad_one_of_similar_name(call, folders):
    for view in "ab":
        tifffile.imwrite(f"{view}0.tif", noisy(blobs((64, 64), 1), ord(view)))
    (folders / "aa0.tif").write_text("not an image")
    fields = ("aa0.tif", "b0.tif", "+", "a0.tif", "b0.tif")
    status, out, err = call("inspect", *fields, "--skip-bad", "--json")
    assert status == 3 and "left out: aa0.tif" in err
    read = [one["path"] for one in json.loads(out)["recordings"]]
    assert read == [str(folders / "a0.tif"), str(folders / "b0.tif")]


def test_opening_many_fields_of_view_shows_its_progress(call, tmp_path):
    for view in "ab":
        (tmp_path / view).mkdir()
        for number in range(17):
            values = noisy(blobs((40, 40), number), number + 100 * ord(view))
            tifffile.imwrite(tmp_path / view / f"{number:02}.tif", values)
    status, out, err = call("inspect", tmp_path / "a", tmp_path / "b", "--json")
    assert status == 0 and "opening: 100% 17 of 17 fields of view" in err.splitlines()
    assert len(json.loads(out)["recordings"]) == 2
