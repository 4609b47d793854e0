"""A result is safe from a crash: complete under its own name, or resumable under another."""

import pytest
from conftest import refused

from napari_n2n.io import crash_safe
from napari_n2n.io.crash_safe import (
    Journal,
    discard_unfinished,
    journal_path,
    partial_path,
    read_journal,
    rename_into_place,
    restore,
)
from napari_n2n.io.output_path import check_disk_space, check_overwrite
from napari_n2n.io.writers import checked_output

JOB = {"model": "abc", "turns": False, "_tile": [64, 64]}


def begun(path, *names, job=JOB):
    """A journal that lists parts."""
    journal = Journal.begin(path, job)
    for name in names:
        journal.add(name, [1, 2])
    return journal


def test_a_journal_resumes_without_the_line_that_a_crash_cut(tmp_path):
    path = tmp_path / "journal"
    journal = begun(path, "0/0/0", "0/0/1")
    with open(path, "ab") as file:
        file.write(b'["0/0/')
    resumed = read_journal(path)
    assert resumed.done == {"0/0/0": [1, 2], "0/0/1": [1, 2]}
    assert (resumed.token, resumed.job) == (journal.token, JOB)
    resumed.add("0/0/2")
    assert list(read_journal(path).done) == ["0/0/0", "0/0/1", "0/0/2"]
    resumed.remove()
    assert read_journal(path) is None and not path.exists()


def test_a_damaged_line_of_a_journal_counts_as_not_listed(tmp_path):
    begun(tmp_path / "journal", "0/0/0", "0/0/1", "0/0/2")
    content = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(content.replace(b'["0/0/1"', b"\xff\x00[[[["))
    assert list(read_journal(tmp_path / "journal").done) == ["0/0/0", "0/0/2"]


@pytest.mark.parametrize("key", ["model", "turns"])
def test_a_journal_of_another_job_is_refused(tmp_path, key):
    journal = begun(tmp_path / "journal", "0/0/0")
    with refused("resume", match=f"another {key}"):
        journal.check_same(JOB | {key: "other"})
    journal.check_same(JOB | {"_tile": [32, 32]})


@pytest.mark.parametrize(
    "content", [b"notes", b"\x00\xff" * 50, b"[" * 100_000, b'{"a": 1}\n', b'{"job": {}}\n']
)
def test_a_file_that_is_not_a_journal_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "journal"
    path.write_bytes(content)
    for use in (read_journal, lambda path: Journal.begin(path, JOB)):
        with refused("resume", match="is not a journal"):
            use(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:30],
        lambda text: text.replace(b'"job"', b'"jab"'),
        lambda text: text.replace(b'{"model', b"{{{{" * 9000),
        lambda text: text.replace(b'"token": "', b'"token": "../'),
    ],
)
def test_a_damaged_journal_cannot_be_resumed_but_overwritten(tmp_path, damage):
    path = journal_path(tmp_path / "a.tif")
    begun(path, "0/0/0")
    path.write_bytes(damage(path.read_bytes()) + b"\n")
    with refused("resume", match="is damaged"):
        read_journal(path)
    discard_unfinished(tmp_path / "a.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("theirs", [True, False])
def test_an_unfinished_result_is_discarded_only_if_the_journal_names_it(tmp_path, theirs):
    path = tmp_path / "a.tif"
    journal = begun(journal_path(path))
    partial = partial_path(path, journal.token)
    partial.touch()
    journal.claim(partial)
    if theirs:
        (tmp_path / "precious").write_text("precious")
        (tmp_path / "precious").rename(partial)
    for name in ("a.tif.partial", "a.tif.old", "a.tif.journal"):
        (tmp_path / name).touch()
    discard_unfinished(path)
    assert partial.exists() == theirs and not journal_path(path).exists()
    assert len(list(tmp_path.iterdir())) == 3 + theirs


@pytest.mark.parametrize("renamed", [False, True])
def test_a_crash_while_a_store_is_replaced_loses_neither_result(tmp_path, monkeypatch, renamed):
    path, built = tmp_path / "a.zarr", tmp_path / "built"
    for folder in (path, built):
        folder.mkdir()
        (folder / folder.name).touch()
    journal = begun(journal_path(path))

    class PowerCut(BaseException):
        pass

    def cut(*_):
        raise PowerCut

    with monkeypatch.context() as patch:
        if renamed:
            patch.setattr(crash_safe, "remove", cut)
        else:
            rename = crash_safe._rename
            calls = iter((rename, cut, lambda *_: None))  # the process is gone: nothing is undone
            patch.setattr(crash_safe, "_rename", lambda *given: next(calls)(*given))
        with pytest.raises(PowerCut):
            rename_into_place(built, path, journal.token)
    restore(path, read_journal(journal_path(path)))
    assert [one.name for one in path.iterdir()] == ["built" if renamed else "a.zarr"]
    assert built.exists() != renamed
    assert len(list(tmp_path.iterdir())) == (2 if renamed else 3)


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        ("file", "nothing"),
        ("file", "file"),
        ("folder", "nothing"),
        ("folder", "file"),
        ("folder", "folder"),
    ],
)
def test_a_complete_result_replaces_what_was_there(tmp_path, kind, before):
    path, built = tmp_path / "result", tmp_path / "result.partial"
    for one, what, text in ((path, before, "old"), (built, kind, "new")):
        if what == "folder":
            one.mkdir()
            (one / text).write_text(text)
        elif what == "file":
            one.write_text(text)
    assert rename_into_place(built, path) == path
    assert [one.name for one in tmp_path.iterdir()] == ["result"]
    content = path / "new" if kind == "folder" else path
    assert content.read_text() == "new"
    assert kind == "file" or [one.name for one in path.iterdir()] == ["new"]


def test_a_result_may_fill_the_disk_but_not_exceed_it(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    check_disk_space(tmp_path / "a.tif", 1000)
    with refused("disk", match=r"a\.tif: not enough disk space"):
        check_disk_space(tmp_path / "a.tif", 1001)


def test_existing_and_unfinished_outputs_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    assert checked_output(path, overwrite=False) == path
    journal_path(path).touch()
    with refused("unfinished"):
        checked_output(path, overwrite=False)
    assert checked_output(path, overwrite=False, resume=True) == path
    assert checked_output(path, overwrite=True) == path
    path.touch()
    for check in (check_overwrite, checked_output):
        with refused("exists"):
            check(path, overwrite=False)
        check(path, overwrite=True)


def test_a_folder_is_replaced_only_if_it_is_a_zarr(tmp_path):
    for name in ("a.zarr", "b.tif"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").touch()
        with refused("output"):
            checked_output(tmp_path / name, overwrite=True)
    (tmp_path / "a.zarr" / "zarr.json").touch()
    assert checked_output(tmp_path / "a.zarr", overwrite=True) == tmp_path / "a.zarr"
    with refused("output"):
        checked_output(tmp_path / "a.jpg", overwrite=True)
