"""A result tells what made it, and the same run gives the same bytes."""

import json
import subprocess
import sys

import pytest
import tifffile
import zarr
from conftest import blobs, noisy, refused

from napari_n2n import Pair, cli, denoise, read_provenance
from napari_n2n.io.written_by import provenance_lines


@pytest.fixture
def recording(tmp_path):
    tifffile.imwrite(tmp_path / "cell <1> é=2.tif", noisy(blobs((64, 64)), 1))
    return tmp_path / "cell <1> é=2.tif"


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.ome.zarr"])
def test_a_result_names_its_model_input_and_settings(denoiser, recording, tmp_path, name):
    out = denoise(denoiser, recording, out=tmp_path / name)
    found = read_provenance(out)
    assert found["program"].startswith("napari-n2n ") and found["date"].startswith("20")
    assert found["model"]["fingerprint"] == denoiser.fingerprint()
    assert found["model"]["score"]["psnr"] == denoiser.record.score.psnr
    assert found["inputs"][0]["file"] == recording.name
    how = {"axes": "YX", "dtype": "float32", "turns": False, "dims": 2, "quantity": "result"}
    assert found["settings"] == how
    lines = list(provenance_lines(found))
    assert any(f"{denoiser.record.score.psnr:.1f}" in line for line in lines)
    assert denoise(denoiser, recording, out=out, resume=True) == out  # still known as finished


def test_files_of_other_programs_have_no_provenance(recording, tmp_path):
    assert read_provenance(recording) is None
    assert read_provenance(tmp_path / "missing.tif") is None
    zarr.open_group(tmp_path / "odd.zarr", mode="w").attrs["napari-n2n: provenance"] = {"model": {}}
    assert any("model" in line for line in provenance_lines(read_provenance(tmp_path / "odd.zarr")))


def test_inspect_prints_the_provenance_of_a_result(
    denoiser, recording, tmp_path, monkeypatch, capsys
):
    denoise(denoiser, recording, out=tmp_path / "out.ome.tif")
    for more in ((), ("--json",)):
        monkeypatch.setattr("sys.argv", ["n2n", "inspect", str(tmp_path / "out.ome.tif"), *more])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        assert leave.value.code == 0
        printed = capsys.readouterr().out
        assert denoiser.fingerprint()[:12] in printed
    (described,) = json.loads(printed)["recordings"]
    assert described["provenance"]["inputs"][0]["file"] == recording.name
    assert described["noise"] == [] and "denoised result" in described["noise_reason"]


def test_a_pair_with_a_result_is_named_before_it_is_used(denoiser, recording, tmp_path):
    result = denoise(denoiser, recording, out=tmp_path / "out.ome.zarr")
    pair = Pair.open(noisy(blobs((64, 64)), 2), result)
    (finding,) = [one for one in pair.findings if one.code == "denoised"]
    assert finding.message.startswith("out is a denoised result, not a recording")
    assert all(one.code != "denoised" for one in Pair.single(recording).findings)


RUN = """
import sys
import napari_n2n as n2n
quick = n2n.TrainingSettings(steps=2, patch=32, batch=1, device="cpu", seed=3)
denoiser = n2n.train(n2n.Pair.open("a.tif", "b.tif"), quick)
denoiser.save(sys.argv[1] + "/m.n2n")
for name in ("c.tif", "c.ome.tif", "c.zarr"):
    n2n.denoise(denoiser, "a.tif", out=sys.argv[1] + "/" + name, device="cpu")
"""


def test_the_same_run_gives_the_same_bytes_where_the_date_is_given(
    tmp_path, monkeypatch, fixed_date
):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("ab"):
        tifffile.imwrite(f"{name}.tif", noisy(blobs((96, 96)), seed))
    contents = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        if run == "first":  # in a process of its own, which gives other values to hash()
            subprocess.run([sys.executable, "-c", RUN, run], check=True)
        else:
            monkeypatch.setattr("sys.argv", ["run", run])
            exec(RUN, {})
        files = sorted(path for path in (tmp_path / run).rglob("*") if path.is_file())
        contents.append(
            {str(path.relative_to(tmp_path / run)): path.read_bytes() for path in files}
        )
    first, second = contents
    assert {"m.n2n", "c.tif", "c.ome.tif"} < set(first) and set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []
    assert read_provenance("first/c.tif")["date"] == "2023-11-14T22:13:20+00:00"


def test_a_date_that_is_not_a_number_is_refused(denoiser, recording, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with refused("option", match="SOURCE_DATE_EPOCH"):
        denoise(denoiser, recording, out=tmp_path / "out.tif")
