"""Executed once, published in both languages: on a made-up chapter, with real kernels (few: each costs seconds)."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest

from facelearn import lesson
from tools import chapters, execute

HEADER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
---
"""
CHAPTER = """
# {title}

```{{code-cell}}
import os, sys, warnings
from facelearn import lesson, check
from matplotlib import pyplot as plt
lesson.start("90_line", minutes=1)
print(os.environ["OMP_NUM_THREADS"], os.getcwd().endswith("/course/en"), "FACELEARN_DATA" in os.environ)
```

{prose}

```{{code-cell}}
fig, ax = plt.subplots()
ax.plot([1, 2])
lesson.show(fig)
```

```{{code-cell}}
---
jupyter:
  source_hidden: true
tags: [solution]
---
exercise = check.framework.Exercise("ex1", lambda x: x, lambda g: [check.framework.Case(1.0)])
exercise(lambda x: x)
```

```{{code-cell}}
---
tags: [nbval-check-output]
---
heights = lesson.results("90_line", {{"slope": 1}})["height"]
live = lesson.pick(smoke=100.0, cpu=2.0, full=2.0)
lesson.verdict("rises", table=bool((heights > 0).all()), live=lesson.prediction(heights).contains(live))
```

```{{code-cell}}
---
tags: [raises-exception]
---
1 / 0
```
"""


def write(course, name, en, zh=None):
    for language, text in {"en": en, "zh": zh or en}.items():
        (course / language / f"{name}.md").write_text(HEADER + text, encoding="utf-8")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A course whose one chapter has been executed by the command itself, in a hostile environment."""
    course = tmp_path_factory.mktemp("repository") / "course"
    for folder in ("en", "zh", "results", "experiments"):
        (course / folder).mkdir(parents=True)
    table = pd.DataFrame({"height": [1.9, 2.0, 2.1], "settings_hash": lesson.settings_hash({"slope": 1})})
    table.to_csv(course / "results" / "90_line.csv", index=False)
    en = CHAPTER.format(title="A line", prose="A figure.")
    write(course, "90_line", en, CHAPTER.format(title="一条直线", prose="一张图。"))
    env = {**os.environ, "FACELEARN_BUDGET": "smoke", "FACELEARN_DATA": "/data", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, execute.__file__, "90", "--course", str(course)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "90_line" in done.stdout
    return course


@pytest.fixture
def course(executed, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(executed, tmp_path / "course")
    return tmp_path / "course"


def read(course, language, name="90_line"):
    return nbformat.read(course / language / f"{name}.ipynb", as_version=4)


def printed(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def test_both_notebooks_are_their_sources_with_the_same_outputs(executed):
    for language in ("en", "zh"):
        source = chapters.read(executed / language / "90_line.md")
        stored = chapters.read(executed / language / "90_line.ipynb")
        assert [(c.kind, c.source, c.options) for c in source] == [(c.kind, c.source, c.options) for c in stored]
        assert [c.count for c in stored if c.kind == "code"] == [1, 2, 3, 4, 5]
    en, zh = (read(executed, language).cells for language in ("en", "zh"))
    assert [cell.get("outputs") for cell in en] == [cell.get("outputs") for cell in zh]
    assert zh[0].source == "# 一条直线"


def test_what_the_cells_printed(executed):
    code = [cell for cell in read(executed, "zh").cells if cell.cell_type == "code"]
    assert "budget cpu | device cpu | about 1.0 min" in printed(code[0])
    assert printed(code[0]).endswith("1 True False\n")
    assert printed(code[2]) == "ex1: passed (visible checks)\n"
    assert len(code[2].outputs) == 1  # no echo of the value
    assert printed(code[3]) == "claim holds: True | rises\n"
    (figure,) = code[1].outputs
    assert set(figure.data) == {"image/png", "text/plain"}
    assert len(figure.data["image/png"]) < 60_000


def test_nothing_stored_changes_from_run_to_run(executed):
    book = json.loads((executed / "en" / "90_line.ipynb").read_text(encoding="utf-8"))
    assert [cell["id"] for cell in book["cells"]] == [f"90_line-{i:02d}" for i in range(len(book["cells"]))]
    assert set(book["metadata"]) == {"kernelspec", "language_info", "facelearn"}
    assert book["metadata"]["kernelspec"] == {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    assert "version" not in book["metadata"]["language_info"]
    assert all(set(cell["metadata"]) <= {"tags", "jupyter"} for cell in book["cells"])
    assert (executed / "en" / "90_line.ipynb").read_bytes().endswith(b"}\n")
    assert sorted(p.name for p in (executed / "en").iterdir()) == ["90_line.ipynb", "90_line.md"]


def test_smoke_run_agrees_with_outputs_stored_at_cpu(executed):
    """nbval compares the tagged verdict although the live run at smoke is far off."""
    env = {**os.environ, "FACELEARN_BUDGET": "smoke", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
    done = subprocess.run([*command, "90_line.ipynb"], cwd=executed / "zh", env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout


def test_a_failing_chapter_leaves_its_notebooks_and_names_the_cell(course, capfd):
    before = [(course / language / "90_line.ipynb").read_bytes() for language in ("en", "zh")]
    write(course, "90_line", "# A line\n\n```{code-cell}\nx = 1\n```\n\n```{code-cell}\nprint(x)\nx.rise()\n```\n")
    assert execute.main(["90_line", "-j", "1", "--course", str(course)]) == 1
    out = capfd.readouterr().out
    assert "90_line  FAILED: cell 2 failed:" in out
    assert "    x.rise()" in out
    assert "AttributeError: 'int' object has no attribute 'rise'" in out
    assert "\x1b" not in out
    assert [(course / language / "90_line.ipynb").read_bytes() for language in ("en", "zh")] == before


# ---- without a kernel ----


@pytest.fixture
def no_kernel(monkeypatch):
    """Pretend to run: every code cell prints its budget."""

    def run(name, cells, folder, budget):
        book = execute.notebook(name, cells, {})
        book.metadata["language_info"] = {"name": "python"}
        for count, cell in enumerate((c for c in book.cells if c.cell_type == "code"), start=1):
            cell.execution_count = count
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=f"{budget}\n")]
        return book

    monkeypatch.setattr(execute, "run", run)


@pytest.mark.parametrize("budget", ["smoke", "full"])
def test_other_budgets_store_nothing(course, no_kernel, budget):
    before = (course / "en" / "90_line.ipynb").read_bytes()
    execute.execute(course, "90_line", budget)
    assert (course / "en" / "90_line.ipynb").read_bytes() == before
    execute.execute(course, "90_line")
    assert printed(read(course, "en").cells[1]) == "cpu\n"


def test_sync_takes_new_prose_and_keeps_outputs(course):
    outputs = [cell.outputs for cell in read(course, "en").cells if cell.cell_type == "code"]
    for language, text in {"en": "New words.", "zh": "新的话。"}.items():
        path = course / language / "90_line.md"
        path.write_text(path.read_text(encoding="utf-8") + f"\n{text}\n\n+++\n\nLast.\n", encoding="utf-8")
    execute.sync(course, "90_line")
    for language in ("en", "zh"):
        book = read(course, language)
        assert [c.source for c in book.cells] == [c.source for c in chapters.read(course / language / "90_line.md")]
        assert [cell.outputs for cell in book.cells if cell.cell_type == "code"] == outputs
        assert "language_info" in book.metadata


def test_sync_refuses_changed_code_and_missing_notebooks(course):
    for language in ("en", "zh"):
        path = course / language / "90_line.md"
        path.write_text(path.read_text(encoding="utf-8").replace("1 / 0", "2 / 0"), encoding="utf-8")
    with pytest.raises(execute.Failed, match=r"cell 6 .* is of other code"):
        execute.sync(course, "90_line")
    (course / "en" / "90_line.ipynb").unlink()
    with pytest.raises(execute.Failed, match=r"90_line\.ipynb is missing"):
        execute.sync(course, "90_line")


CELLS = "# T\n\n```{code-cell}\nx = 1\n```\n"


@pytest.mark.parametrize(
    ("zh", "message"),
    [
        (CELLS.replace("x = 1", "x = 2"), "cell 1: found 'x = 1' and 'x = 2', expected the same code"),
        (CELLS.replace("\nx", "\n:tags: [exercise]\n\nx"), "cell 1: found .* expected the same code and tags"),
        (CELLS + "\nMore.\n", "cells: found 2 and 3, expected as many"),
    ],
)
def test_languages_that_differ_are_not_executed(course, no_kernel, zh, message):
    write(course, "91_two", CELLS, zh)
    with pytest.raises(execute.Failed, match=message):
        execute.execute(course, "91_two")
    assert not (course / "en" / "91_two.ipynb").exists()


def test_one_language_alone_can_be_executed(course, no_kernel):
    write(course, "91_two", CELLS)
    (course / "en" / "91_two.md").unlink()
    execute.execute(course, "91_two")
    assert printed(read(course, "zh", "91_two").cells[1]) == "cpu\n"
    assert not (course / "en" / "91_two.ipynb").exists()


def test_unknown_chapter(course, capsys):
    assert execute.main(["12_arcface", "--course", str(course)]) == 1
    assert "chapter: found 12_arcface, expected one of 90_line" in capsys.readouterr().err
    assert execute.chosen(["90"], ["90_line", "91_x"]) == execute.chosen([], ["90_line"]) == ["90_line"]


def test_interrupted_writing_leaves_the_old_notebook(course, no_kernel, monkeypatch):
    before = (course / "zh" / "90_line.ipynb").read_bytes()

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        execute.execute(course, "90_line")
    assert (course / "zh" / "90_line.ipynb").read_bytes() == before
    assert len(list((course / "zh").iterdir())) == 2
