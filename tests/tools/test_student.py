"""Handouts: nothing of a solution or an answer is in them, everything else is, and both together give the course."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.util import run_sync
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from facelearn import check
from tools import chapters, student

ROOT = Path(__file__).resolve().parents[2]
COURSE = ROOT / "course"
PAGES = [(code, name) for name in chapters.names(COURSE) for code in ("en", "zh")]
FOLDED = re.compile(r"<details><summary>(?:Answer|答案)</summary>\n(.*?)\n</details>", re.S)


def exercises(name: str) -> int:
    return 5 if chapters.is_appendix(name) else 3


def book(path: Path):
    return nbformat.read(path, as_version=4)


def tagged(notebook, tag: str) -> list:
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> dict[str, Path]:
    """The real course as it is handed out, written by the command line."""
    folder = tmp_path_factory.mktemp("trees")
    for kind in ("student", "solutions", "nbgrader"):
        assert student.main([kind, "--language", "zh", "--out", str(folder / kind)]) == 0
    return {kind: folder / kind for kind in ("student", "solutions", "nbgrader")}


# ---- the real chapters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "name"), PAGES)
def test_only_stubs_and_answers_differ_from_the_course(trees, code, name):
    source, given = book(COURSE / code / f"{name}.ipynb"), book(trees["student"] / code / f"{name}.ipynb")
    assert given.metadata == source.metadata
    assert len(tagged(given, "exercise")) == len(tagged(source, "exercise")) == exercises(name)
    kept = [cell for cell in source.cells if "solution" not in cell.metadata.get("tags", [])]
    assert [cell.id for cell in given.cells] == [cell.id for cell in kept]
    changed = [b for a, b in zip(kept, given.cells, strict=True) if a != b]
    answered = [cell.id for cell in kept if cell.cell_type == "markdown" and FOLDED.search(cell.source)]
    emptied = tagged(given, "exercise") + tagged(given, "hide-output")
    assert {cell.id for cell in changed} == {given.cells[0].id, *answered, *(cell.id for cell in emptied)}
    assert bool(answered) == (not chapters.is_appendix(name))
    assert len(emptied) == exercises(name) + len(answered[:1])
    for cell in emptied:
        assert cell.outputs == []
        assert cell.execution_count is None


def with_solutions(given, source_md: Path):
    """The student's notebook with what the reviewed source says filled in: written apart from the tool."""
    cells = chapters.read(source_md)
    solutions = iter([c for c in cells if "solution" in c.tags])
    answers = iter([m for c in cells if c.kind == "markdown" for m in FOLDED.finditer(c.source)])
    filled = []  # (kind, source, tags)
    for cell in given.cells:
        text, marks = cell.source, cell.metadata.get("tags", [])
        if cell is given.cells[0]:
            text += "\n\n" + "\n".join(line for line in cells[0].source.splitlines() if "/badge_" in line)
        if cell.cell_type == "markdown":
            questions = re.split(r"(?m)^(?=\*\*\d\.\*\* )", text)  # what stands before the first, then one each
            with_reasons = [f"{q.rstrip()}\n\n{next(answers)[0]}" for q in questions[1:]]
            text = "\n\n".join(part for part in (questions[0].rstrip(), *with_reasons) if part)
        if "exercise" in marks:
            text = re.sub(r"raise NotImplementedError\(.*\)", "...", text)
            text = re.sub(r":\s+\.\.\.", ": ...", text)
        filled.append((cell.cell_type, text, marks))
        if "exercise" in marks:
            solution = next(solutions)
            filled.append((solution.kind, solution.source, solution.tags))
    assert list(solutions) == []
    assert list(answers) == []
    return filled


@pytest.mark.parametrize(("code", "name"), PAGES)
def test_student_tree_and_solutions_give_the_course(trees, code, name):
    source = COURSE / code / f"{name}.ipynb"
    assert (trees["solutions"] / code / source.name).read_bytes() == source.read_bytes()
    given = with_solutions(book(trees["student"] / code / source.name), source.with_suffix(".md"))
    wanted = [(cell.kind, cell.source, cell.tags) for cell in chapters.read(source.with_suffix(".md"))]
    for got, cell in zip(given, wanted, strict=True):
        if "exercise" in cell[2]:  # `def f(x): ...` and a body of its own line are the same stub
            cell = (cell[0], re.sub(r":\s+\.\.\.", ": ...", cell[1]), cell[2])
        assert got == cell


def secrets(name: str) -> set[str]:
    """What must not be found: functions and lines of solutions, reasons of the quiz; less what a reader has anyway."""
    lines, functions = set(), set()
    for code in ("en", "zh"):
        for cell in chapters.read(COURSE / code / f"{name}.md"):
            if "solution" in cell.tags:
                lines |= {line.strip() for line in cell.source.splitlines()}
                functions |= {n.name for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.FunctionDef)}
            else:
                lines |= {line.strip() for match in FOLDED.findall(cell.source) for line in match.splitlines()}
    return functions | {s for s in lines if len(s) >= 10 and s not in read_anyway() and not s.startswith("check.")}


@cache
def read_anyway() -> str:
    """The experiments, and of all chapters what is neither a solution nor folded: idioms that solutions use too."""
    cells = [
        cell
        for code in ("en", "zh")
        for name in chapters.names(COURSE)
        for cell in chapters.read(COURSE / code / f"{name}.md")
        if "solution" not in cell.tags
    ]
    experiments = (path.read_text() for path in (COURSE / "experiments").glob("*.py"))
    return "\n".join([*experiments, *(FOLDED.sub("", cell.source) for cell in cells)])


def leaks(folder: Path) -> list[str]:
    """Where a secret stands in a tree: in sources, outputs, metadata and every other file."""
    texts = {}
    for path in (p for p in folder.rglob("*") if p.is_file()):
        text = path.read_bytes().decode("utf-8", "replace")
        # parsed and printed again: then neither JSON's escapes nor its line breaks hide anything
        texts[path] = "\n".join(strings(json.loads(text))) if path.suffix == ".ipynb" else text
    known = {secret for name in chapters.names(COURSE) for secret in secrets(name)}
    return [f"{path}: {secret}" for path, text in texts.items() for secret in known if secret in text]


def strings(value) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *strings(item))]
    if isinstance(value, list):
        whole = ["".join(value)] if all(isinstance(item, str) for item in value) else []
        return whole or [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def test_no_trace_of_solutions_and_answers(trees):
    assert all(len(secrets(name)) > 12 for name in chapters.names(COURSE))
    assert leaks(trees["student"]) == []
    assert len(leaks(trees["solutions"])) > 50  # the search finds what is there
    for path in trees["student"].rglob("*"):
        if path.suffix in (".ipynb", ".md", ".json"):
            text = path.read_text()
            assert '"solution"' not in text, path
            assert "<summary>Answer" not in text, path
            assert "<summary>答案" not in text, path


def test_no_link_of_a_handout_opens_the_course_with_its_solutions(trees):
    """Badges run the published notebook, and that holds the solutions."""
    for kind, holds in (("student", False), ("solutions", True)):
        texts = [c.source for path in trees[kind].rglob("*.ipynb") for c in chapters.read(path) if c.kind == "markdown"]
        texts += [path.read_text() for path in trees[kind].rglob("*.md")]
        links = [link for text in texts for link in re.findall(r"\]\((https?://[^)\s]+)\)", text)]
        assert any("colab." in link or "mybinder." in link or ".ipynb" in link for link in links) == holds
        assert len(links) > 50


def relative_links(page: Path) -> list[str]:
    texts = [c.source for c in chapters.read(page) if c.kind == "markdown"]
    return [t for text in texts for t in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", text) for t in t if t]


@pytest.mark.parametrize("kind", ["student", "solutions", "nbgrader"])
def test_every_relative_link_leads_to_a_file_in_the_tree(trees, kind):
    pages = [p for p in trees[kind].rglob("*") if p.suffix in (".ipynb", ".md")]
    followed = 0
    for page in pages:
        for target in relative_links(page):
            if "://" not in target and not target.startswith("#") and "." in target:
                path = (page.parent / target.partition("#")[0]).resolve()
                assert path.is_file(), f"{page}: {target}"
                assert path.is_relative_to(trees[kind]), f"{page}: {target}"
                followed += 1
    assert followed > 10
    teachers = {"instructor.md", "grading.md", "exam.md", "exam_answers.md", "lock.csv", "jupytext.toml"}
    assert not teachers & {path.name for path in trees[kind].rglob("*")}


@pytest.mark.parametrize(("code", "name"), PAGES)
def test_open_stubs_say_what_to_write_in_the_language_of_the_notebook(trees, code, name):
    for number, stub in enumerate(tagged(book(trees["student"] / code / f"{name}.ipynb"), "exercise"), 1):
        tree = ast.parse(stub.source)
        (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        names = {"check": check}
        exec(compile(ast.Module([function], []), "stub", "exec"), names)
        arguments = [None] * len(function.args.args)
        with pytest.raises(NotImplementedError, match=rf"{function.name} ?[(（]") as told:
            names[function.name](*arguments)
        assert bool(re.search(r"[\u4e00-\u9fff]", str(told.value))) == (code == "zh")
        exercise = getattr(getattr(check, chapters.stem(name)), f"ex{number}")
        assert exercise.examine(names[function.name]).text.en == f"ex{number}: to do: {told.value}"


@pytest.mark.parametrize("name", chapters.names(COURSE))
def test_a_solution_function_is_known_by_its_name(name):
    """Else the course's own solutions would be written down as passed by whoever chooses Run All."""
    for cell in (c for c in chapters.read(COURSE / "en" / f"{name}.md") if "solution" in c.tags):
        calls = re.findall(rf"check\.{chapters.stem(name)}\.ex\d\((\w+)\)", cell.source)
        assert calls
        assert all("solution" in call for call in calls), calls


@pytest.mark.parametrize("name", chapters.names(COURSE))
def test_no_chapter_prints_its_readers_progress(name):
    assert not any(
        "check.progress" in c.source for c in chapters.read(COURSE / "en" / f"{name}.md") if c.kind == "code"
    )


# ---- nbgrader's source form ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", chapters.names(COURSE))
def test_an_assignment_marks_answers_and_points(trees, name):
    folder = trees["nbgrader"] / "source" / name
    source, given = book(COURSE / "zh" / f"{name}.ipynb"), book(folder / f"{name}.ipynb")
    marks = [cell.metadata["nbgrader"] for cell in given.cells if "nbgrader" in cell.metadata]
    assert len({mark["grade_id"] for mark in marks}) == len(marks) == 1 + 2 * exercises(name)
    assert all(mark["schema_version"] == 3 for mark in marks)
    headings = [line for c in source.cells for line in re.findall(r"(?m)^### \d · .*★ ?[(（].*$", c.source)]
    stars = [heading.count("★") for heading in headings]
    assert [mark["points"] for mark in marks if mark["grade"]] == stars
    answers = [cell for cell in given.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    for answer, solution, stub in zip(answers, tagged(source, "solution"), tagged(source, "exercise"), strict=True):
        region = re.compile(r"[ ]*### BEGIN SOLUTION\n.*?### END SOLUTION", re.S)  # what nbgrader cuts
        assert len(region.findall(answer.source)) == 1
        released = region.sub("    raise NotImplementedError()", answer.source)
        before = [n for n in ast.parse(stub.source).body if isinstance(n, ast.FunctionDef)]
        after = [n for n in ast.parse(released).body if isinstance(n, ast.FunctionDef)]
        assert [(n.name, ast.dump(n.args)) for n in before] == [(n.name, ast.dump(n.args)) for n in after]
        assert solution.source not in released
    graders = [c.source for c in given.cells if c.metadata.get("nbgrader", {}).get("grade")]
    calls = [re.search(r"check\.\w+\.ex\d\(\w+\)", cell.source)[0] for cell in tagged(source, "exercise")]
    assert graders == [f"assert {call}" for call in calls]
    assert 'setdefault("FACELEARN_LANG", "zh")' in given.cells[0].source
    assert not FOLDED.search("\n".join(cell.source for cell in given.cells))
    assert not any("colab" in c.source or "mybinder" in c.source for c in given.cells if c.cell_type == "markdown")
    assert {"experiments", "results"} <= {path.name for path in folder.iterdir()}


def test_an_answer_keeps_helpers_and_comments_and_leaves_out_what_is_tried_afterwards():
    stub = '"""Doc."""\n\ndef mine(x, *, y=1):\n    """Say it."""\n    ...\n\ncheck.arcface.ex1(mine)'
    solution = (
        "k = 2\n\ndef my_solution(x, *, y=1):\n    # twice\n    if x < 0:\n        return my_solution(-x)\n"
        "    return k * x + y  # and y\n\ncheck.arcface.ex1(my_solution)\nprint(my_solution(3))"
    )
    cells = [
        chapters.Cell(0, "code", stub, {"tags": ["exercise"]}),
        chapters.Cell(1, "code", solution, {"tags": ["solution"]}),
    ]
    exercise = chapters.Exercise("en/12_arcface.md: exercise 1", 1, "t", 1, 15, cells)
    text = student._answer(exercise, "arcface", "ex1")
    assert text == (
        '"""Doc."""\n\ndef mine(x, *, y=1):\n    """Say it."""\n    ### BEGIN SOLUTION\n    k = 2\n    # twice\n'
        "    if x < 0:\n        return mine(-x)\n    return k * x + y  # and y\n    ### END SOLUTION"
    )
    names: dict = {}
    exec(text, names)
    assert names["mine"](-3) == 7


# ---- a small course, run as a student runs it -----------------------------------------------------------------------

RIGHT = "p = logits.softmax(1) - eps / logits.shape[1]\n    p[range(len(p)), labels] -= 1 - eps\n    return p / len(p)"
SETUP = """\
import sys
from functools import cache
sys.path.insert(0, "..")
from experiments import tiny
from facelearn import check, lesson
print(tiny.WORD, lesson.course_folder().name)"""


QUIZ = 'check.arcface.quiz(q1="", q2="", q3="", q4="")'


def small_chapter(language: str):
    zh = language == "zh"
    answer = f"<details><summary>{'答案' if zh else 'Answer'}</summary>\n\n- **A** so\n\n</details>"
    hint = "<details><summary>Hint</summary>\n\nSoftly.\n\n</details>"
    other = {"zh": "en", "en": "zh"}[language]
    quiz = "\n\n".join(f"**{n}.** Why?\n\n- **A.** So\n\n{answer}" for n in (1, 2))
    cells = [
        new_markdown_cell(f"# Title\n\n[x](../{other}/03_softmax.ipynb) ![a dot](../assets/dot.svg) {hint}"),
        new_code_cell(SETUP, execution_count=1),
        new_markdown_cell(f"## Quiz\n\n{quiz}"),
        new_code_cell(QUIZ, execution_count=2),
    ]
    functions = ("logit_gradient(logits, labels, eps)", "stable(logits, labels)", "near(w, b, i, j, x)")
    for n, function in enumerate(functions, 1):
        name, arguments = function[:-1].split("(")
        part = "## 练习\n\n" if zh else "## Exercises\n\n"
        heading = f'### {n} · A "quoted" title {"★" * n} (10 min)'
        cells.append(new_markdown_cell(f"{part if n == 1 else ''}{heading}\n\nDo."))
        stub = f"def {name}({arguments}):\n    ...\n\n\ncheck.softmax.ex{n}({name})"
        printed = new_output("stream", name="stdout", text=f"ex{n}: to do\n")
        cells.append(new_code_cell(stub, metadata={"tags": ["exercise"]}, outputs=[printed], execution_count=2 * n + 1))
        solution = f"def {name}_solution({arguments}):\n    return secret\n\n\ncheck.softmax.ex{n}({name}_solution)"
        folded = {"tags": ["solution"], "jupyter": {"source_hidden": True}}
        cells.append(new_code_cell(solution, metadata=folded, execution_count=2 * n + 2))
    for i, cell in enumerate(cells):
        cell.id = f"cell-{i}"
    return new_notebook(cells=cells)


def store(notebook, path: Path) -> None:
    """A notebook and its source beside it."""
    nbformat.write(notebook, path)
    path.with_suffix(".md").write_text(jupytext.writes(notebook, fmt="md:myst"))


@pytest.fixture
def small(tmp_path) -> Path:
    """A project with one chapter in both languages."""
    root = tmp_path / "project"
    for code in ("en", "zh"):
        (root / "course" / code).mkdir(parents=True)
        store(small_chapter(code), root / "course" / code / "03_softmax.ipynb")
        (root / "course" / code / "instructor.md").write_text("# For teachers\n")
        (root / "course" / code / "references.md").write_text("# References\n")
    for name, text in {
        "assets/dot.svg": "<svg/>", "experiments/tiny.py": 'WORD = "found"\n', "results/a.csv": "a\n",
        "results/a.partial.jsonl": "{}\n",
    }.items():  # fmt: skip
        (root / "course" / name).parent.mkdir(exist_ok=True)
        (root / "course" / name).write_text(text)
    (root / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/facelearn/facelearn"\n')
    return root


def hand_out(root: Path, kind: str = "student", *more: str) -> int:
    return student.main([kind, "--root", str(root), "--language", "zh", *more])


def test_a_student_works_in_a_copy_elsewhere_and_only_a_person_leaves_a_record(small, tmp_path, monkeypatch):
    """One kernel: as nbclient runs it, exercises open, right and wrong; then as a person in JupyterLab does."""
    assert hand_out(small) == 0
    shutil.copytree(small / "handout" / "zh", tmp_path / "elsewhere" / "class")
    shutil.rmtree(small)
    folder = tmp_path / "elsewhere" / "class" / "zh"
    record = tmp_path / "data" / "progress.json"
    monkeypatch.setenv("FACELEARN_PROGRESS_FILE", str(record))
    monkeypatch.delenv("FACELEARN_LANG", raising=False)
    worked = book(folder / "03_softmax.ipynb")
    first, second, _ = tagged(worked, "exercise")
    first.source = re.sub(r"raise .*", RIGHT, first.source)
    second.source = re.sub(r"raise .*", "return logits.sum()", second.source)
    client = NotebookClient(worked, kernel_name="python3", timeout=120, resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel(env=os.environ | {"OMP_NUM_THREADS": "1"}):
        printed = []
        for index, cell in enumerate(worked.cells):
            if cell.cell_type == "code":
                client.execute_cell(cell, index)
                printed.append("".join(output.get("text", str(output)) for output in cell.outputs).strip())
        assert not record.parent.exists()
        shown: list = []
        line = "def solution_1(*inputs): return logit_gradient(*inputs)\ncheck.softmax.ex1(solution_1)\n"
        line += "check.softmax.ex2(stable)\nprint(check.progress())"
        person = {"output_hook": shown.append, "allow_stdin": True, "timeout": 60}

        async def ask(code: str) -> None:
            await client.kc.execute_interactive(code, **person)

        run_sync(ask)(line)
        assert not record.exists()
        run_sync(ask)("check.softmax.ex1(logit_gradient)\nprint(check.progress())")
        told: list = []
        person["output_hook"] = told.append
        run_sync(ask)(QUIZ.replace('q1=""', 'q1="A"'))
    assert printed[0] == "found class"
    assert printed[1] == "quiz: 0 of 4, to do: q1 q2 q3 q4"
    assert printed[2] == "ex1: passed (visible checks)"
    assert re.match(r"ex2: .*[\u4e00-\u9fff]", printed[3])
    assert printed[4] == 'ex3: to do: 请写出 near（练习 3：A "quoted" title）'
    text = "".join(message["content"].get("text", "") for message in shown)
    assert "已通过 0 项" in text
    assert "已通过 1 项" in text
    assert str(record) in text
    assert list(json.loads(record.read_text())["passed"]["softmax"]) == ["ex1"]
    (reason,) = [m["content"]["data"]["text/markdown"] for m in told if "text/markdown" in str(m["content"])]
    assert re.match(r"\*\*q1 A\*\* 错：[\u4e00-\u9fff]", reason)  # the handout does not print it, the check says it
    assert reason[15:30] not in "".join(path.read_text() for path in folder.parent.rglob("*.ipynb"))


def test_hints_stay_and_answers_go(small):
    assert hand_out(small) == 0
    given = book(small / "handout" / "zh" / "zh" / "03_softmax.ipynb")
    assert "Softly." in given.cells[0].source
    assert given.cells[2].source == "## Quiz\n\n**1.** Why?\n\n- **A.** So\n\n**2.** Why?\n\n- **A.** So"
    assert "secret" not in "".join(path.read_text() for path in (small / "handout").rglob("*") if path.is_file())


def test_the_tree_holds_what_it_says_and_its_start_page_names_it(small):
    assert hand_out(small) == 0
    tree = small / "handout" / "zh"
    found = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert set(json.loads((tree / "handout.json").read_text())["files"]) == found - {"handout.json"}
    assert "zh/instructor.md" not in found
    assert "results/a.partial.jsonl" not in found
    page = (tree / "README.md").read_text()
    assert "- [03 Title](zh/03_softmax.ipynb)" in page
    assert "几个函数要写（多为三个，附录五个）" in page
    assert "https://github.com/facelearn/facelearn" in page


def test_a_tree_replaces_an_older_one_that_nobody_touched(small, capsys):
    assert hand_out(small) == hand_out(small) == 0
    tree = small / "handout" / "zh"
    (tree / "experiments" / "__pycache__").mkdir()
    (tree / "experiments" / "__pycache__" / "tiny.pyc").write_bytes(b"x")
    (small / "course" / "assets" / "dot.svg").write_text("<svg></svg>")
    assert hand_out(small) == 0
    assert (tree / "assets" / "dot.svg").read_text() == "<svg></svg>"
    assert sorted(path.name for path in tree.parent.iterdir()) == ["zh"]


@pytest.mark.parametrize("strange", ["answers.txt", "zh/03_softmax.ipynb"])
def test_a_folder_with_anybodys_work_in_it_is_left_alone(small, capsys, strange):
    assert hand_out(small) == 0
    tree = small / "handout" / "zh"
    (tree / strange).write_text("my work")
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    assert hand_out(small) == 1
    assert strange in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before
    assert hand_out(small, "student", "--out", str(small / "other")) == 0


def test_a_folder_of_another_kind_is_left_alone(small, tmp_path, capsys):
    folder = tmp_path / "thesis"
    folder.mkdir()
    assert hand_out(small, "student", "--out", str(folder)) == 0  # empty: nothing to lose
    (folder / "handout.json").unlink()
    assert hand_out(small, "student", "--out", str(folder)) == 1
    assert f"{folder} is not empty and has no handout.json" in capsys.readouterr().err
    for content in ("no JSON", "[]", '{"files": 3}'):
        (folder / "handout.json").write_text(content)
        assert hand_out(small, "student", "--out", str(folder)) == 1
        assert "not written by this tool" in capsys.readouterr().err
    assert hand_out(small, "student", "--out", str(folder / "handout.json")) == 1
    assert "expected a folder" in capsys.readouterr().err


def test_a_tree_that_fails_half_way_leaves_the_old_one(small, monkeypatch):
    assert hand_out(small) == 0
    tree = small / "handout" / "zh"
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    rename = Path.rename

    def fails_for_the_new(self, target):
        if self.name == "new":
            raise OSError("disk full")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_for_the_new)
    assert hand_out(small, "solutions", "--out", str(tree)) == 1
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tree.parent.iterdir()) == ["zh"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda cells: cells.pop(6), "exercise 1: found 0 cells tagged solution, expected 1"),
        (
            lambda cells: cells[6].metadata.update(tags=["solution", "exercise"]),
            "exercise 1: found 2 cells tagged exercise, expected 1",
        ),
        (
            lambda cells: cells.insert(6, new_markdown_cell("So:")),
            "solution: found in cell 7, expected in 6, right after",
        ),
        (
            lambda cells: cells[1].metadata.update(tags=["solution"]),
            "solution: found in cell 1, expected under an exercise",
        ),
        (lambda cells: cells[5].update(source="check.softmax.ex1(print)"), "body is `...`"),
        (lambda cells: cells[0].update(source="[x](../../README.md)"), r"found a link to ../../README.md"),
        (lambda cells: cells[0].update(source="[x](lost.md)"), r"link to lost.md"),
    ],
)
def test_a_chapter_that_cannot_be_handed_out_is_named(small, capsys, spoil, message):
    path = small / "course" / "zh" / "03_softmax.ipynb"
    notebook = book(path)
    spoil(notebook.cells)
    store(notebook, path)
    assert hand_out(small) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (small / "handout" / "zh").exists()


@pytest.mark.parametrize("kind", ["student", "solutions", "nbgrader"])
def test_a_notebook_that_is_not_its_source_is_named_in_one_line(small, capsys, kind):
    source = small / "course" / "zh" / "03_softmax.md"
    source.write_text(source.read_text().replace("## Quiz", "## Questions"))
    assert hand_out(small, kind) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "zh/03_softmax.ipynb: cell 2 ('## Questions'): .md and .ipynb differ: `make execute CHAPTER=03`"
    source.with_suffix(".ipynb").unlink()
    assert hand_out(small, kind) == 1
    assert capsys.readouterr().err == "zh/03_softmax.ipynb is missing: `make execute CHAPTER=03`\n"
    assert not (small / "handout").exists()


@pytest.mark.parametrize(
    ("value", "language"), [("zh", "zh"), ("en", "en"), ("zh_CN.UTF-8", "zh"), ("en_US.UTF-8", "en"), ("en_GB", "en")]
)
def test_languages_and_locales(value, language):
    assert student.chosen_language(value) == language


@pytest.mark.parametrize("value", ["", "C", "C.UTF-8", "POSIX", "fr_FR.UTF-8", "zhuang", "english"])
def test_a_locale_of_no_language_of_the_course_asks_for_one(value):
    with pytest.raises(student.Failed, match="expected LANG=zh or LANG=en"):
        student.chosen_language(value)


def make(target: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = ["make", "-s", "-C", str(ROOT), "-o", "setup", f"PY={sys.executable}", target, *arguments]
    env = {k: v for k, v in os.environ.items() if k not in ("LANG", "OUT", "CHAPTER", "NBGRADER")} | environment
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_make_tells_the_language_from_the_locale(tmp_path):
    said = make("student", f"OUT={tmp_path / 'a'}", LANG="C.UTF-8")
    assert said.returncode != 0
    assert "LANG=C.UTF-8 is this machine's locale" in said.stderr
    assert not (tmp_path / "a").exists()
    said = make("student", "LANG=zh", f"OUT={tmp_path / 'b'}", LANG="en_US.UTF-8")
    assert said.returncode == 0, said.stderr
    assert "人脸识别" in (tmp_path / "b" / "README.md").read_text().partition("\n")[0]
