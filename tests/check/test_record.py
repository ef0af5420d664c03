"""The record of passes: written for a person alone, by several notebooks at once, and never lost."""

import json
import multiprocessing
import re
import sys
import types
from datetime import datetime

import pytest

from facelearn import check
from facelearn.check import record

NAMES = [(stem, name) for stem in ("softmax", "arcface") for name in ("ex1", "ex2", "ex3")]


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Where passes are kept in these tests, with a person in front of the notebook."""
    monkeypatch.setattr(record, "_person_present", lambda: True)
    monkeypatch.setenv(record.VARIABLE, str(tmp_path / "data" / "progress.json"))
    monkeypatch.setenv("FACELEARN_LANG", "en")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data" / "progress.json"


def learner(*arguments):
    """Stands for a function that passed."""


def solution_1(*arguments):
    """Named as the course's own."""


def passed(path):
    return json.loads(path.read_text())["passed"]


def right_gradient(logits, labels, epsilon):
    p = logits.softmax(1) - epsilon / logits.shape[1]
    p[range(len(p)), labels] -= 1 - epsilon
    return p / len(p)


def test_a_pass_is_kept_with_the_moment_of_the_first(path, capsys):
    before = datetime.now().astimezone().replace(microsecond=0)
    assert check.softmax.ex1(right_gradient)
    kept = path.read_bytes()
    assert before <= datetime.fromisoformat(passed(path)["softmax"]["ex1"]) <= datetime.now().astimezone()
    path.write_bytes(kept.replace(str(before.year).encode(), b"2020"))
    assert check.softmax.ex1(right_gradient)
    assert passed(path)["softmax"]["ex1"].startswith("2020")
    assert not check.softmax.ex1(lambda logits, labels, epsilon: logits)
    assert list(passed(path)) == ["softmax"]  # a pass is not taken back
    assert capsys.readouterr().out.count("\n") == 3  # and not a word about it


def test_open_and_wrong_answers_leave_nothing(path):
    for answer in (None, ..., lambda logits, labels, epsilon: logits, lambda logits, labels, epsilon: 1 / 0):
        assert not check.softmax.ex1(answer)
    assert not path.parent.exists()


def test_the_courses_own_solutions_leave_nothing(path):
    assert record.note(check.softmax.ex1, solution_1) is None
    assert not path.parent.exists()


def test_exercises_made_elsewhere_leave_nothing(path):
    own = check.framework.Exercise("ex1", lambda x: x, lambda g: [check.framework.Case(1.0)])
    assert own(lambda x: x)
    assert not path.parent.exists()


def test_only_a_front_end_that_could_ask_is_a_person(monkeypatch):
    assert not record._person_present()  # pytest, a plain script
    for content, person in [({"allow_stdin": True}, True), ({"allow_stdin": False}, False), ({}, False)]:
        kernel = types.SimpleNamespace(get_parent=lambda content=content: {"content": content})
        shell = types.SimpleNamespace(kernel=kernel)
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert record._person_present() == person
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert not record._person_present()


def test_off_keeps_nothing_and_says_so(path, monkeypatch):
    monkeypatch.setenv(record.VARIABLE, "off")
    assert record.location() is None
    assert record.note(check.softmax.ex1, learner) is None
    assert "FACELEARN_PROGRESS_FILE=off" in repr(check.progress())
    assert "FACELEARN_PROGRESS_FILE=off" in repr(check.progress(reset=True))


@pytest.mark.parametrize(("code", "words"), [("en", "Nothing is written down from here"), ("zh", "在这里通过不会记录")])
def test_a_script_is_told_that_its_passes_do_not_count(path, monkeypatch, capsys, code, words):
    monkeypatch.setenv("FACELEARN_LANG", code)
    assert words not in repr(check.progress())
    monkeypatch.setattr(record, "_person_present", lambda: False)
    assert check.softmax.ex1(right_gradient)
    assert words not in capsys.readouterr().out  # what a chapter prints stays as it is
    assert words in repr(check.progress())
    assert str(path) in repr(check.progress())
    assert words in check.progress()._repr_markdown_()


def test_a_folder_without_the_right_to_write_is_named_before_the_first_pass(path, monkeypatch):
    assert "Nothing can be" not in repr(check.progress())
    monkeypatch.setattr(record.os, "access", lambda folder, mode: folder != path.parents[1] or mode != record.os.W_OK)
    assert f"Nothing can be written down: no right to write into {path.parents[1]}" in repr(check.progress())


def test_the_default_is_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.delenv(record.VARIABLE, raising=False)
    if sys.platform.startswith("linux"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        assert record.location() == tmp_path / "facelearn" / "progress.json"
    assert record.location().name == "progress.json"
    assert "facelearn" in record.location().parts


def _note(start, stem, name):
    start.wait()
    assert record.note(getattr(getattr(check, stem), name), learner) is None


def test_notebooks_at_the_same_time_lose_nothing(path):
    """Six processes, each with another exercise, let go at once; several times over."""
    fork = multiprocessing.get_context("fork")
    check.progress()  # imports every chapter before the fork
    for _ in range(3):
        path.unlink(missing_ok=True)
        start = fork.Barrier(len(NAMES))
        processes = [fork.Process(target=_note, args=(start, *name)) for name in NAMES]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
        assert {(stem, name) for stem, dates in passed(path).items() for name in dates} == set(NAMES)
        assert {p.name for p in path.parent.iterdir()} <= {"progress.json", "progress.json.lock"}


def test_without_the_lock_passes_would_be_lost(path, monkeypatch):
    """The test above can fail: two notebooks that read before either writes."""
    seen = []
    write = record._write

    def slow_write(target, content):
        if not seen:
            seen.append(1)
            record.note(check.softmax.ex2, learner)
        write(target, content)

    monkeypatch.setattr(record, "_write", slow_write)
    monkeypatch.setattr(record, "_alone", record.contextmanager(lambda p: iter([p.parent.mkdir(exist_ok=True)])))
    record.note(check.softmax.ex1, learner)
    assert list(passed(path)["softmax"]) == ["ex1"]


DAMAGED = [
    b"",
    b'{"format": 1, "pas',
    b"\xff\xfe",
    b"[]",
    b'{"passed": []}',
    b'{"passed": {"softmax": {"ex1": "soon"}}}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_is_kept_aside_and_named(path, content, capsys):
    path.parent.mkdir()
    path.write_bytes(content)
    assert check.softmax.ex1(right_gradient)
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "ex1: passed (visible checks)"
    assert str(path) in out[1]
    assert "progress.damaged-1.json" in out[1]
    assert (path.parent / "progress.damaged-1.json").read_bytes() == content
    assert list(passed(path)["softmax"]) == ["ex1"]
    path.write_bytes(content)
    assert "progress.damaged-2.json" in repr(check.progress())
    assert (path.parent / "progress.damaged-1.json").read_bytes() == content
    assert (path.parent / "progress.damaged-2.json").read_bytes() == content


def test_a_file_of_a_newer_version_is_left_alone(path, capsys):
    path.parent.mkdir()
    path.write_text('{"format": 2, "anything": 1}')
    assert check.softmax.ex1(right_gradient)
    assert "newer" in capsys.readouterr().out.splitlines()[1]
    assert path.read_text() == '{"format": 2, "anything": 1}'
    with pytest.raises(OSError, match="format 2"):
        check.progress()


def test_a_folder_that_cannot_be_written_stops_nothing(path, capsys, monkeypatch):
    path.parent.write_text("a file where the folder should be")
    assert check.softmax.ex1(right_gradient)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "ex1: passed (visible checks)"
    assert second.startswith("passed, but not written down: ")
    assert path.parent.read_text() == "a file where the folder should be"


def test_a_lock_that_is_held_is_waited_for_and_then_told(path, monkeypatch, capsys):
    monkeypatch.setattr(record, "LOCK_SECONDS", 0.05)
    path.parent.mkdir()
    with record.filelock.FileLock(f"{path}.lock"):
        assert check.softmax.ex1(right_gradient)
    assert "locked by another process" in capsys.readouterr().out
    assert not path.exists()


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    record.note(check.softmax.ex1, learner)
    before = path.read_bytes()
    monkeypatch.setattr("facelearn.files.os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    assert "disk full" in record.note(check.softmax.ex2, learner).en
    assert path.read_bytes() == before
    assert {p.name for p in path.parent.iterdir()} <= {"progress.json", "progress.json.lock"}


def test_reset_forgets_all_or_one_chapter(path):
    for stem, name in NAMES:
        record.note(getattr(getattr(check, stem), name), learner)
    with pytest.raises(ValueError, match=r"reset='nosuch': expected True, or one chapter of arcface"):
        check.progress(reset="nosuch")
    check.progress(reset="softmax")
    assert list(passed(path)) == ["arcface"]
    assert check.progress(reset=True).rows == check.progress().rows
    assert passed(path) == {}


def test_the_table_is_in_the_language_of_the_folder_with_the_titles_of_the_notebooks(path, monkeypatch, tmp_path):
    monkeypatch.delenv("FACELEARN_LANG")
    path.parent.mkdir()
    dates = {"softmax": {"ex2": "2025-03-01T10:00:00+08:00"}, "bygone": {"ex1": "2024-01-31T10:00:00+00:00"}}
    path.write_text(json.dumps({"format": 1, "passed": dates}))
    for name in ("results", "experiments", "zh", "en"):
        (tmp_path / "course" / name).mkdir(parents=True)
    for code, title in (("zh", "花瓣|一"), ("en", "Petals")):
        cells = [{"cell_type": "code", "source": ["# no"]}, {"cell_type": "markdown", "source": [f"# {title}\n"]}]
        (tmp_path / "course" / code / "03_softmax.ipynb").write_text(json.dumps({"cells": cells}))
        (tmp_path / "course" / code / "12_arcface.ipynb").write_text("half writ")

    monkeypatch.chdir(tmp_path / "course" / "en")
    lines = repr(check.progress()).splitlines()
    assert re.split(r"\s{3,}", lines[0]) == ["chapter", *(f"exercise {n}" for n in range(1, 6)), "quiz"]
    rows = {re.split(r"\s{3,}", line)[0]: re.split(r"\s{3,}", line)[1:] for line in lines[1:]}
    assert rows["03 Petals"] == ["–", "2025-03-01", "–", "–"]
    assert rows["12 arcface"] == ["–"] * 4
    assert rows["bygone"] == ["2024-01-31"]
    assert re.fullmatch(r"2 of \d+ exercises and quizzes passed \(visible checks\)", lines[-2])
    assert lines[-1] == f"Kept on this computer only: {path}"

    monkeypatch.chdir(tmp_path / "course" / "zh")
    shown = check.progress()._repr_markdown_().splitlines()
    assert shown[0] == "| 章节 | 练习 1 | 练习 2 | 练习 3 | 练习 4 | 练习 5 | 小测 |"
    assert "| 03 花瓣\\|一 | – | 2025-03-01 | – |   |   | – |" in shown  # an appendix has five, a chapter three
    assert any(re.fullmatch(r"练习和小测共 \d+ 项，已通过 2 项（可见检查）", line) for line in shown)
    assert f"记录只保存在本机：{path}" in shown
    starts = [line.index("–") for line in repr(check.progress()).splitlines() if "花瓣" in line]
    assert starts  # plain text in Chinese is aligned by columns, not by characters
    plain = repr(check.progress()).splitlines()
    ends = {record._columns(line[: line.index("–")]) for line in plain if line.startswith(("03", "12"))}
    assert len(ends) == 1


def test_showing_needs_no_right_to_write(path, monkeypatch):
    record.note(check.softmax.ex1, learner)
    monkeypatch.setattr(record, "_alone", lambda p: pytest.fail("locks, and so writes"))
    assert "1 of" in repr(check.progress())
