"""Every rule of the language gate can fail: one thing is broken at a time in a made-up chapter that passes."""

import base64
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from jupytext.cli import jupytext as jupytext_command

from tests.tools import made_up
from tools import chapters, execute, gate
from tools.gate import accept, read_lock

COURSE = Path(__file__).resolve().parents[2] / "course"


def replaced(project, lang, old, new):
    """Change one language's Markdown source and notebook alike, so that only the pair differs."""
    for cell in project.cells:
        cell[lang] = cell[lang].replace(old, new)
    project.write()


def only(problems, *parts):
    """All problems but those of the lock hold the parts, and there is at least one."""
    problems = [p for p in problems if "since the last review" not in p]
    assert problems
    for problem in problems:
        for part in parts:
            assert part in problem


def test_a_good_chapter_passes(project):
    assert project.gate() == []
    assert chapters.names(project.course) == ["12_arcface"]
    assert chapters.pages(project.course) == ["notation"]


@pytest.mark.parametrize("suffix", ["md", "ipynb"])
def test_a_missing_file_is_named(project, suffix):
    project.path("zh", suffix).unlink()
    assert any("12_arcface" in p and "is missing" in p for p in project.gate())


# ---- two languages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lang", "old", "new", "what"),
    [
        ("zh", "### 2 · 看", "#### 2 · 看", "heading levels"),
        ("zh", "转过 $m$", "转过 $n$", "formulas"),
        ("zh", "\\theta + m", "\\theta - m", "formulas"),
        ("en", "turn $x$ by $m$", "turn $x$ by $m$ and $m$", "formulas"),
        ("en", "references.md#arcface2019", "references.md#other", "citation keys"),
        ("zh", "notation.md#符号", "references.md", "links"),
        ("zh", "圆上的两个点。", "![圆上的两个点](../assets/a.png)", "images"),
    ],
)
def test_prose_must_share_its_structure(project, lang, old, new, what):
    replaced(project, lang, old, new)
    only(project.gate(), what, "cell ", "only in en")


@pytest.mark.parametrize(
    ("lang", "old", "new"),
    [
        ("zh", "若很小", "当它很小时"),  # words inside \text
        ("en", "\\theta + m", "\\theta+m"),  # white space
        ("zh", "notation.md#符号", "notation.md#别处"),  # the anchor is a heading of that language
    ],
)
def test_what_may_differ_may_differ(project, lang, old, new):
    replaced(project, lang, old, new)
    assert all("since the last review" in p for p in project.gate())


def test_code_must_be_identical_to_the_byte(project):
    project.find("guess = None")["zh"] += "  # ..."
    project.write()
    only(project.gate(), "code differs", "cell 5")


def test_only_the_folder_on_colab_follows_the_language(project):
    start = project.find("os.chdir")
    assert start["en"] != start["zh"]
    start["zh"] = start["zh"].replace("minutes=0.5", "minutes=0.6")
    project.write()
    only(project.gate(), "code differs", "cell 1")


def test_tags_and_jupyter_settings_must_be_identical(project):
    for kind in ("md", "ipynb"):
        path = project.path("zh", kind)
        path.write_text(path.read_text(encoding="utf-8").replace("source_hidden", "outputs_hidden"), encoding="utf-8")
    only(project.gate(), "tags or jupyter settings")
    project.write()
    for kind in ("md", "ipynb"):
        path = project.path("en", kind)
        path.write_text(path.read_text(encoding="utf-8").replace("nbval-check-output", "other"), encoding="utf-8")
    only(project.gate(), "tags or jupyter settings", "verdict")


def test_number_and_type_of_cells(project):
    cells = list(project.cells)
    del project.cells[3]
    text = project.write().path("en").read_text(encoding="utf-8")
    project.cells = cells
    project.write().path("en").write_text(text, encoding="utf-8")
    problems = "\n".join(project.gate())
    assert "number of cells: en has" in problems
    assert "type: en is" in problems


# ---- the notebook -------------------------------------------------------------------------------------------------


def edit_notebooks(project, change, langs=("en", "zh")):
    for lang in langs:
        path = project.path(lang, "ipynb")
        book = json.loads(path.read_text(encoding="utf-8"))
        change(book)
        path.write_text(json.dumps(book), encoding="utf-8")


def code_cells(book):
    return [cell for cell in book["cells"] if cell["cell_type"] == "code"]


def set_output(number, output):
    return lambda book: code_cells(book)[number].update(outputs=[output])


def stream(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def picture(size):
    data = base64.b64encode(b"\0" * size).decode()
    return {"output_type": "display_data", "data": {"image/png": data}, "metadata": {}}


def drop_verdict(book):
    for cell in code_cells(book):
        if "verdict" in "".join(cell["source"]):
            cell["outputs"] = []


def not_executed(book):
    for cell in code_cells(book):
        cell["execution_count"] = None


def out_of_order(book):
    code_cells(book)[1]["execution_count"] = 7


def stamped(book):
    code_cells(book)[1]["metadata"]["execution"] = {"iopub.execute_input": "2026-01-01T00:00:00Z"}


def other_source(book):
    code_cells(book)[1]["source"] = ["guess = 1"]


def other_prose(book):
    book["cells"][2]["source"] = ["## One question"]


def other_tags(book):
    code_cells(book)[1]["metadata"]["tags"] = ["exercise"]


def one_more(book):
    book["cells"].append({"cell_type": "markdown", "metadata": {}, "source": ["more"], "id": "abcdef01"})


def traceback(line):
    """The expected error of the trap, with this line in its traceback."""
    error = {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "x", "traceback": ["Traceback", line]}
    return lambda book: next(c for c in code_cells(book) if c["source"] == ["1 / 0"]).update(outputs=[error])


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
HTML = {"output_type": "display_data", "data": {"text/html": "<a href='/x/y/z.png'>"}, "metadata": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (not_executed, "execution count is None"),
        (out_of_order, "execution count is 7, expected 2"),
        (stamped, "timestamps"),
        (other_source, ".md and .ipynb differ"),
        (other_prose, ".md and .ipynb differ"),
        (other_tags, ".md and .ipynb differ"),
        (one_more, "number of cells: .md has"),
        (drop_verdict, "tagged nbval-check-output, but no output"),
        (set_output(1, ERROR), "stored error ValueError"),
        (set_output(1, stream("saved in /srv/ann/figure.png")), "an absolute path"),
        (set_output(1, stream("C:\\Users\\ann")), "an absolute path"),
        (set_output(1, stream("<object at 0x7f3a11c2d0b0>")), "a memory address"),
        (set_output(1, stream("File <ipython-input-3>")), "a file of the kernel"),
        (set_output(1, stream("kept in ~/data")), "a home folder"),
        (set_output(1, HTML), "an absolute path"),
        (traceback("File /srv/ann/course/en/x.py:3, in f"), "an absolute path"),
        (traceback("File <ipython-input-3> in f"), "a file of the kernel"),
        (set_output(1, picture(150_100)), "at most 150,000"),
        (set_output(1, stream("x" * 1_000_100)), "at most 1,000,000"),
    ],
)
def test_notebooks_are_executed_and_carry_nothing_of_the_machine(project, change, message):
    edit_notebooks(project, change)
    only(project.gate(), message)


@pytest.mark.parametrize("text", ["TAR/FAR/EER 0.9", "1/2/3 km", "see https://x.org/a/b/c", "a / b / c", "<td>1</td>"])
def test_ordinary_output_is_no_path(project, text):
    edit_notebooks(project, set_output(1, stream(text)))
    edit_notebooks(project, set_output(2, picture(149_000)))
    assert project.gate() == []


def edit_and_let_jupytext_sync(project, old, new):
    """What JupyterLab does when a source is newer than its notebook."""
    shutil.copy(COURSE / "jupytext.toml", project.course)
    for lang in ("en", "zh"):
        path = project.path(lang)
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        os.utime(project.path(lang, "ipynb"), (0, 0))
        jupytext_command(["--quiet", "--sync", str(path)])


def test_outputs_belong_to_the_code_above_them(project):
    """New code over the old output in both notebooks: everything agrees but the hashes of what was executed."""
    edit_and_let_jupytext_sync(project, "print(True)", "print(True and 1)")
    for lang in ("en", "zh"):
        (cell,) = [c for c in chapters.read(project.path(lang, "ipynb")) if "print(True" in c.source]
        assert cell.source == "print(True and 1)"
        assert cell.outputs[0]["text"] == "True\n"
    only(project.gate(), f"cell {cell.index} ('print(True and 1)')", "of other code")
    before = project.path("en", "ipynb").read_bytes()
    with pytest.raises(chapters.Failed, match=r"print\(True and 1\).* of other code"):
        execute.sync(project.course, made_up.NAME)  # does not launder it
    assert project.path("en", "ipynb").read_bytes() == before


def test_an_output_depends_on_all_code_above_it(project):
    edit_and_let_jupytext_sync(project, "a1 = 1", "a1 = 2")  # itself without output
    only(project.gate(), "('a1 = 2')", "of other code")


def test_prose_may_change_and_code_may_not_be_taken_out(project):
    edit_and_let_jupytext_sync(project, "Two points on a circle.", "Two points.")
    assert all("since the last review" in problem for problem in project.gate())
    for lang in ("en", "zh"):
        text = project.path(lang).read_text(encoding="utf-8")
        project.path(lang).write_text(re.sub(r"```\{code-cell\}[^`]*c = 1\n```\n", "", text), encoding="utf-8")
    with pytest.raises(chapters.Failed, match="of other code, here or in a cell above"):
        execute.sync(project.course, made_up.NAME)


def test_outputs_of_an_unknown_run_are_refused(project):
    edit_notebooks(project, lambda book: book["metadata"].pop("facelearn"))
    only(project.gate(), "not made by `make execute`")


def test_outputs_serve_both_languages(project):
    edit_notebooks(project, set_output(1, stream("0.91")), langs=["zh"])
    only(project.gate(), "stored outputs of en and zh differ", "cell 5")


# ---- the lock -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("langs", "news"),
    [(["en"], "en changed, zh did not"), (["zh"], "zh changed, en did not"), (["en", "zh"], "both are new")],
)
def test_a_changed_text_stays_red_until_the_pair_is_accepted(project, langs, news):
    cell = project.find("## Intuition")
    for lang in langs:
        cell[lang] += "\n\nMore."
    project.write()
    (problem,) = project.gate()
    for part in ["12_arcface", "cell 6 ", news, "## Intuition", "## 直觉"]:
        assert part in problem
    assert accept(project.course, made_up.NAME, "Bob: cell 6, the new sentence", slug=made_up.SLUG) == 1
    assert project.gate() == []
    reviewers = {row["cell"]: row["reviewer"] for row in read_lock(project.course)}
    assert reviewers["6"].startswith("Bob")
    assert reviewers["7"].startswith("Ann")


def test_accepting_one_cell_leaves_the_other_red(project):
    project.find("## Intuition")["en"] += " A."
    project.find("## One question")["zh"] += "乙"
    project.write()
    assert len(project.gate()) == 2
    accept(project.course, made_up.NAME, "Bob: the added word", cell=6, slug=made_up.SLUG)
    (problem,) = project.gate()
    assert "cell 2 " in problem
    assert "zh changed, en did not" in problem


def test_a_swapped_pair_is_not_an_accepted_pair(project):
    first, second = project.find("## One question"), project.find("## Intuition")
    first["zh"], second["zh"] = second["zh"], first["zh"]
    project.write()
    assert sum("each text was accepted with another one" in p for p in project.gate()) == 2


def test_a_pair_reviewed_in_another_chapter_is_not_reviewed_here(project):
    path = project.course / "lock.csv"
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    moved = next(i for i, row in enumerate(rows) if row.startswith(f"{made_up.NAME},6,"))
    rows[moved] = rows[moved].replace(made_up.NAME, "13_margins")
    path.write_text("".join(rows), encoding="utf-8")
    (problem,) = project.gate()
    assert "cell 6 " in problem
    assert "both are new" in problem
    assert accept(project.course, made_up.NAME, "Bob: cell 6 as it stands here", slug=made_up.SLUG) == 1
    assert project.gate() == []
    (own,) = [row for row in read_lock(project.course) if (row["chapter"], row["cell"]) == (made_up.NAME, "6")]
    assert own["reviewer"].startswith("Bob")
    assert rows[moved] in path.read_text(encoding="utf-8")  # the other chapter keeps its own


def test_a_new_cell_does_not_make_its_neighbours_stale(project):
    project.cells.insert(3, {"kind": "markdown", "en": "New.", "zh": "新的。", "metadata": {}, "outputs": []})
    project.write()
    (problem,) = project.gate()
    assert "cell 3 " in problem


def test_a_moved_repository_makes_nothing_stale(project):
    replaced(project, "en", made_up.SLUG, "ann/course")
    replaced(project, "zh", made_up.SLUG, "ann/course")
    assert gate.check(made_up.NAME, project.course, slug="ann/course") == []
    assert len(project.gate()) == 1


@pytest.mark.parametrize("reviewer", ["", "Ann", "Ann:", ": compared all", "Ann: ok"])
def test_an_acceptance_says_who_compared_what(project, reviewer):
    before = (project.course / "lock.csv").read_bytes()
    with pytest.raises(ValueError, match="reviewer"):
        accept(project.course, made_up.NAME, reviewer, slug=made_up.SLUG)
    assert (project.course / "lock.csv").read_bytes() == before


def test_a_lock_edited_by_hand_without_reviewer_is_refused(project):
    path = project.course / "lock.csv"
    path.write_text(path.read_text(encoding="utf-8").replace('"Ann: both texts, line by line"', ""), encoding="utf-8")
    with pytest.raises(ValueError, match=r"lock\.csv"):
        project.gate()


def test_accept_refuses_cells_that_are_not_there(project):
    with pytest.raises(ValueError, match="cell: found 999"):
        accept(project.course, made_up.NAME, "Ann: both texts", cell=999, slug=made_up.SLUG)


def test_other_pages_are_locked_too(project):
    (problem,) = gate.check("notation", project.course, slug=made_up.SLUG)
    assert "both are new" in problem
    accept(project.course, "notation", "Ann: every row", slug=made_up.SLUG)
    assert gate.check("notation", project.course, slug=made_up.SLUG) == []


# ---- the full run -------------------------------------------------------------------------------------------------


def experiment(project, settings, stored):
    for folder in ("experiments", "results"):
        (project.course / folder).mkdir(exist_ok=True)
    text = f'CHAPTER = "12_arcface"\nSETTINGS = {settings!r}\n'
    (project.course / "experiments" / "arcface.py").write_text(text, encoding="utf-8")
    if stored is not None:
        table = "seed,settings_hash\n" + "".join(f"{i},{h}\n" for i, h in enumerate(stored))
        (project.course / "results" / "12_arcface.csv").write_text(table, encoding="utf-8")


def test_results_belong_to_the_settings(project):
    from facelearn.lesson import settings_hash

    right, wrong = settings_hash({"margin": 0.5}), settings_hash({"margin": 0.4})
    experiment(project, {"margin": 0.5}, [right, right])
    assert project.gate() == []
    for stored in ([wrong, wrong], [right, wrong], []):
        experiment(project, {"margin": 0.5}, stored)
        only(project.gate(), "12_arcface.csv was made with settings", "make results CHAPTER=12")
    experiment(project, {"margin": 0.4}, [right])
    only(project.gate(), right, wrong)
    (project.course / "results" / "12_arcface.csv").unlink()
    only(project.gate(), "is missing", "make results")


# ---- the tools ----------------------------------------------------------------------------------------------------


def test_copy_code_keeps_the_prose(project):
    project.find("guess = None")["zh"] = "guess = 'old'"
    zh = project.write().path("zh").read_text(encoding="utf-8")
    assert chapters.copy_code(project.course, "en", "zh", made_up.NAME) == 1
    assert project.path("zh").read_text(encoding="utf-8") == zh.replace("guess = 'old'", "guess = None")
    del project.cells[5]
    text = project.write().path("zh").read_text(encoding="utf-8")
    project.cells.insert(5, made_up._code("new = 1"))
    project.write().path("zh").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="cell 5: found"):
        chapters.copy_code(project.course, "en", "zh", made_up.NAME)
    assert project.path("zh").read_text(encoding="utf-8") == text


def test_an_unreadable_notebook_is_named(project):
    project.path("en", "ipynb").write_text('{"cells": [', encoding="utf-8")
    with pytest.raises(ValueError, match=r"12_arcface\.ipynb"):
        project.gate()
