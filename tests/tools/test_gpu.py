"""Chapters as plain scripts: run on a made-up chapter, without Jupyter."""

import csv
import json

import pytest

from tools import gpu


@pytest.fixture
def course(tmp_path, monkeypatch):
    folder = tmp_path / "course" / "en"
    folder.mkdir(parents=True)
    (tmp_path / "course" / "results").mkdir()
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    return folder


def write(path, *cells):
    kinds = [{"cell_type": "code", "metadata": {}, "source": source.splitlines(keepends=True)} for source in cells]
    path.write_text(
        json.dumps({"cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# not code"]}, *kinds]})
    )


def test_verdicts_seconds_and_device_are_stored(course, tmp_path):
    write(
        course / "03_fine.ipynb",
        "import os\nx = 1",
        "print('claim holds:', x == 1, '| why')\nprint(os.environ['FACELEARN_BUDGET'])",
    )
    write(course / "12_stops.ipynb", "print('claim holds: False')", "raise SystemExit(3)")
    out = tmp_path / "gpu.csv"
    assert gpu.main(["--budget", "smoke", "--out", str(out)]) == 1
    rows = list(csv.DictReader(out.open()))
    assert [(r["chapter"], r["outcome"], r["verdicts"]) for r in rows] == [
        ("03_fine", "ran", "True"), ("12_stops", "error 3", "False"),
    ]  # fmt: skip
    assert all(float(r["seconds"]) > 0 and r["device"] and r["budget"] == "smoke" for r in rows)


def test_one_chapter_may_be_asked_for_and_unknown_ones_are_named(course, tmp_path, capsys):
    write(course / "03_fine.ipynb", "pass")
    write(course / "12_other.ipynb", "pass")
    out = tmp_path / "gpu.csv"
    assert gpu.main(["03", "--budget", "smoke", "--out", str(out)]) == 0
    assert [r["chapter"] for r in csv.DictReader(out.open())] == ["03_fine"]
    assert gpu.main(["99"]) == 1
    assert "chapter: found 99, expected one of 03_fine, 12_other" in capsys.readouterr().err
