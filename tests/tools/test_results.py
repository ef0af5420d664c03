"""The full runs, on a made-up experiment: complete, resumable, and refused with a clear word where it cannot be."""

import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest

from facelearn import lesson
from tools import assets, results

EXPERIMENT = """
import os
from pathlib import Path
import numpy as np

CHAPTER = "90_line"
SETTINGS = {{"slopes": [1.5, 2.0], "seeds": [0, 1, 2]}}
LOG = Path({log!r})


def grid():
    return [({{"slope": slope, "shape": [1, 2]}}, seed) for slope in SETTINGS["slopes"] for seed in SETTINGS["seeds"]]


def run(setting, seed):
    with LOG.open("a") as log:
        print(setting["slope"], seed, os.environ["FACELEARN_BUDGET"], os.environ["OMP_NUM_THREADS"], file=log)
    if (setting["slope"], seed) == (2.0, 1) and LOG.with_suffix(".broken").exists():
        raise ArithmeticError("diverged")
    return {{"height": np.float64(setting["slope"] * seed / 3), "fine": np.bool_(seed > 0)}}
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course with one experiment. Each test's is imported anew, and the environment is put back afterwards."""
    folder = tmp_path / "course"
    for name in ("experiments", "results", "assets"):
        (folder / name).mkdir(parents=True)
    (folder / "experiments" / "line.py").write_text(EXPERIMENT.format(log=str(tmp_path / "log")))
    for name in results.ENVIRONMENT:
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    monkeypatch.syspath_prepend(folder)
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        monkeypatch.delitem(sys.modules, name)  # those of the course come back afterwards
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "experiments"]:
        del sys.modules[name]


def log(course):
    path = course.parent / "log"
    return path.read_text().splitlines() if path.exists() else []


def edit(course, old, new):
    path = course / "experiments" / "line.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_killed_and_failed_runs_go_on_where_they_stopped(course, capfd):
    """With real processes: a failing row keeps the others, and the next call makes what is missing, no more."""
    partial = course / "results" / "90_line.partial.jsonl"
    (course.parent / "log.broken").touch()
    assert results.main(["90", "--jobs", "2", "--course", str(course)]) == 1
    error = capfd.readouterr().err
    assert error.startswith("90_line: slope=2.0 shape=[1, 2] seed=1: ArithmeticError: diverged\n")
    assert "Traceback" not in error
    assert not (course / "results" / "90_line.csv").exists()
    kept = [json.loads(line)["key"] for line in partial.read_text().splitlines()]
    assert len(kept) >= 4
    assert {tuple(line.split()[2:]) for line in log(course)} == {("full", "1")}

    partial.write_text(partial.read_text() + '{"version": "half a li')  # killed while writing
    (course.parent / "log.broken").unlink()
    before = len(log(course))
    assert results.main(["90", "--jobs", "2", "--course", str(course)]) == 0
    assert f"6 runs, {len(kept)} of them done" in capfd.readouterr().out
    assert len(log(course)) - before == 6 - len(kept)
    assert not partial.exists()
    table = pd.read_csv(course / "results" / "90_line.csv")
    assert list(table["slope"]) == [1.5] * 3 + [2.0] * 3
    assert list(table["seed"]) == [0, 1, 2] * 2


def test_the_table(course, monkeypatch):
    assert results.main(["90_line", "--jobs", "1", "--course", str(course)]) == 0
    table = pd.read_csv(course / "results" / "90_line.csv")
    columns = ["slope", "shape", "seed", "height", "fine", "settings_hash", "device", "torch", "seconds"]
    assert list(table) == columns
    assert list(table["height"]) == [slope * seed / 3 for slope in (1.5, 2.0) for seed in range(3)]
    assert list(table["fine"]) == [False, True, True] * 2
    assert set(table["shape"]) == {"[1, 2]"}
    assert (table["seconds"] >= 0).all()
    monkeypatch.chdir(course / "assets")
    settings = {"slopes": [1.5, 2.0], "seeds": [0, 1, 2]}
    assert len(lesson.results("90_line", settings)) == 6
    assert [path.name for path in (course / "results").iterdir()] == ["90_line.csv"]


def test_a_table_that_is_up_to_date_is_not_made_again(course, capsys):
    for arguments in ([], [], ["--fresh"]):
        assert results.main([*arguments, "90", "--jobs", "1", "--course", str(course)]) == 0
    assert "up to date" in capsys.readouterr().out
    assert len(log(course)) == 12  # the first and the fresh one


@pytest.mark.parametrize("lost", ["a row", "the end of a row", "a row of several", "a column", "rows of one seed"])
def test_a_table_cut_short_is_made_whole_again(course, lost):
    if lost == "a row of several":
        edit(course, "return {", 'return [{"epoch": e} for e in range(3)]\n    return {')
    assert results.main(["90", "--jobs", "1", "--course", str(course)]) == 0
    table = course / "results" / "90_line.csv"
    whole = table.read_text()
    lines = whole.splitlines(keepends=True)
    cut = {
        "a row": lines[:-1],
        "a row of several": lines[:-1],
        "the end of a row": [*lines[:-1], lines[-1][:-3]],
        "a column": [line.partition(",")[2] for line in lines],
        "rows of one seed": [*lines[:1], *(line for line in lines[1:] if '",2,' not in line)],
    }[lost]
    table.write_text("".join(cut))
    assert results.main(["90", "--jobs", "1", "--course", str(course)]) == 0
    assert len(table.read_text().splitlines()) == len(lines)


def test_a_changed_setting_makes_the_table_again(course):
    assert results.main(["90", "--jobs", "1", "--course", str(course)]) == 0
    edit(course, '"seeds": [0, 1, 2]', '"seeds": [0, 1]')
    del sys.modules["experiments.line"]
    assert results.main(["90", "--jobs", "1", "--course", str(course)]) == 0
    assert len(pd.read_csv(course / "results" / "90_line.csv")) == 4


def test_rows_of_another_version_are_kept_but_do_not_count(tmp_path):
    path = tmp_path / "a.partial.jsonl"
    results.Partial(path, "one").add("k", [{"x": 1}])
    other = results.Partial(path, "two")
    assert (other.rows, other.other) == ({}, 1)
    other.add("k", [{"x": 2}])
    assert results.Partial(path, "one").rows == {"k": [{"x": 1}]}
    assert results.Partial(path, "two").rows == {"k": [{"x": 2}]}


def test_rows_measured_with_other_shared_code_do_not_count(course):
    (course.parent / "log.broken").touch()
    assert results.main(["90", "--jobs", "1", "--course", str(course)]) == 1
    (course.parent / "log.broken").unlink()
    (course / "experiments" / "shared.py").write_text("LR = 0.1")
    before = len(log(course))
    assert results.main(["90", "--jobs", "1", "--course", str(course)]) == 0
    assert len(log(course)) - before == 6


def test_a_torn_line_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "a.partial.jsonl"
    results.Partial(path, "v").add("first", [{"x": 1}])
    path.write_text(path.read_text() + '{"version"')
    results.Partial(path, "v").add("second", [{"x": 2}])
    assert set(results.Partial(path, "v").rows) == {"first", "second"}


def test_a_run_may_return_several_rows(course):
    edit(course, 'return {"height"', 'return [{"epoch": e, "loss": seed + e} for e in range(2)]\n    return {"height"')
    assert results.main(["90", "--jobs", "1", "--course", str(course)]) == 0
    table = pd.read_csv(course / "results" / "90_line.csv")
    assert list(table["epoch"]) == [0, 1] * 6
    assert list(table["loss"][:4]) == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def run(", "def ran(", "experiments/line.py has no run"),
        ("def grid(", "def grit(", "experiments/line.py has no grid"),
        ("SETTINGS = ", "NUMBERS = SETTINGS_ = ", "experiments/line.py has no SETTINGS"),
        ('for slope in SETTINGS["slopes"]', "for slope in ()", "grid() is empty"),
        ('"slopes": [1.5, 2.0]', '"slopes": [2.0, 2.0]', "grid() names a setting and seed twice"),
        ('"shape": [1, 2]', '"device": 1', "a setting may not have the fields device"),
        ('"height":', '"slope":', "run() returned slope: these are columns already"),
        ('return {"height"', 'return None\n    {"height"', "run() returned None: expected a dict"),
        ('CHAPTER = "90_line"', 'CHAPTER = "90_curve"', "CHAPTER is '90_curve', expected NN_line"),
    ],
)
def test_what_is_wrong_with_an_experiment_is_said(course, capsys, old, new, message):
    edit(course, old, new)
    assert results.main(["--jobs", "1", "--course", str(course)]) == 1
    assert message in capsys.readouterr().err
    assert not (course / "results" / "90_line.csv").exists()


def test_unknown_chapter(course, capsys):
    assert results.main(["12_arcface", "--course", str(course)]) == 1
    assert "chapter: found 12_arcface, expected one of 90_line" in capsys.readouterr().err
    assert list(results.chapters_with_experiments(course)) == ["90_line"]


# ---- stored pictures ----


def test_assets_are_drawn_aside_and_moved(course, capsys):
    edit(course, "def grid(", 'def assets(folder):\n    (folder / "a.gif").write_bytes(b"new")\n\n\ndef grid(')
    assert assets.main(["90", "--course", str(course)]) == 0
    assert (course / "assets" / "a.gif").read_bytes() == b"new"
    assert "a.gif" in capsys.readouterr().out


def test_failing_assets_leave_the_old_ones(course):
    old = course / "assets" / "a.gif"
    old.write_bytes(b"old")
    broken = 'def assets(folder):\n    (folder / "a.gif").write_bytes(b"new")\n    raise OSError("disk")\n\n\ndef grid('
    edit(course, "def grid(", broken)
    with pytest.raises(OSError, match="disk"):
        assets.draw(course, "90_line")
    assert list((course / "assets").iterdir()) == [old]
    assert old.read_bytes() == b"old"


def test_assets_that_write_nothing_and_experiments_without(course, capsys):
    assert assets.draw(course, "90_line") == []
    del sys.modules["experiments.line"]
    edit(course, "def grid(", "def assets(folder):\n    pass\n\n\ndef grid(")
    assert assets.main(["--course", str(course)]) == 1
    assert "assets(folder) wrote nothing" in capsys.readouterr().err
    assert Path(assets.__file__).name == "assets.py"
