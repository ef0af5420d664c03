"""The course for a class: with the exercises open, with their solutions, or as assignments for nbgrader.

    python tools/student.py student --language zh                 # handout/zh: no solution, no answer of a quiz
    python tools/student.py solutions --language zh               # handout/zh-solutions: the course as it is
    python tools/student.py nbgrader --language zh --chapters 12  # handout/zh-nbgrader/source/12_arcface/...

All three come from the executed notebooks `course/{en,zh}/NN_stem.ipynb`. A tree is a course folder of its own: it
works wherever facelearn is installed. Both languages are in it, because the title of each chapter links its twin; the
language asked for is that of the start page. A tree is written whole or not at all, and takes the place of an older
one only where nothing in that has been changed or added since.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parents[1]

from tools import chapters  # noqa: E402
from tools.chapters import Chapter, Exercise, Failed, Page  # noqa: E402

MANIFEST = "handout.json"
FOR_TEACHERS = ("exam", "exam_answers", "grading", "instructor")  # pages that no handout holds
Files = dict[str, bytes]  # path in the tree -> content


# ---- one notebook -------------------------------------------------------------------------------------------------


def solved(chapter: Chapter) -> set[int]:
    """The cells with solutions, one to each exercise."""
    tagged = {cell.index for cell in chapter.cells if "solution" in cell.tags}
    if stray := tagged - {exercise.solution.index for exercise in chapter.exercises}:
        raise Failed(f"{chapter.where}: solution: found in cell {min(stray)}, expected under an exercise")
    return tagged


def for_students(chapter: Chapter) -> Any:
    """The notebook without what a reader shall find alone: solutions, answers, what the guess is compared with.

    Badges go too: they open the course, with its solutions. A reader writes in one place: the stub that the check is
    given.
    """
    book = nbformat.read(chapter.path, as_version=4)
    for cell in (book.cells[cell.index] for cell in chapter.section("Predict first") if cell.kind == "code"):
        cell.update(outputs=[], execution_count=None)
    for exercise in chapter.exercises:
        stub = book.cells[exercise.stub.index]
        stub.source = open_stub(exercise, chapter.language)
        stub.update(outputs=[], execution_count=None)
    solutions = solved(chapter)
    book.cells = [cell for index, cell in enumerate(book.cells) if index not in solutions]
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = BADGE.sub("", without_answers(cell.source)).rstrip()
    return book


def without_answers(source: str) -> str:
    """Markdown without its folded answers; other folded parts, a hint say, stay."""
    return chapters.FOLDED.sub(lambda match: "" if match[1].strip() in chapters.ANSWER else match[0], source)


def open_stub(exercise: Exercise, language: str) -> str:
    """The exercise's code where each function that is still to be written raises, saying which one."""
    source = exercise.stub.source
    places = [(f, f.body[-1]) for f in ast.walk(ast.parse(source)) if isinstance(f, ast.FunctionDef) and _open(f)]
    if not places:
        raise Failed(f"{exercise.where}: found nothing to be written, expected a function whose body is `...`")
    lines = source.splitlines()
    for function, blank in sorted(places, key=lambda place: -place[1].lineno):
        words = {
            "en": f"write {function.name} (exercise {exercise.number}: {exercise.title})",
            "zh": f"请写出 {function.name}（练习 {exercise.number}：{exercise.title}）",
        }[language]
        before = lines[blank.lineno - 1].encode()[: blank.col_offset].decode().rstrip()
        indent = " " * (function.col_offset + 4)
        stub = f"{indent}raise NotImplementedError({json.dumps(words, ensure_ascii=False)})"
        lines[blank.lineno - 1 : blank.end_lineno] = [before, stub] if before else [stub]
    return "\n".join(lines)


def _open(function: ast.FunctionDef) -> bool:
    """Is nothing but `...` in it, under a docstring at most?"""
    body = function.body[ast.get_docstring(function) is not None :]
    return len(body) == 1 and isinstance(body[0], ast.Expr) and getattr(body[0].value, "value", None) is Ellipsis


# ---- a notebook as an assignment ----------------------------------------------------------------------------------


def for_nbgrader(chapter: Chapter, here: set[str]) -> Any:
    """The notebook in nbgrader's source form: per exercise an answer, its solution marked, and a cell that grades it.

    nbgrader itself takes the solutions out (`generate_assignment`). One point a star. `here` are the files beside the
    notebook: links to anything else, badges too, become plain text.
    """
    book = nbformat.read(chapter.path, as_version=4)
    first = _code(f"{chapter.name}-language", _LANGUAGE_CELL.format(language=chapter.language))
    cells = [_locked(first, "language")]
    known = {exercise.stub.index: exercise for exercise in chapter.exercises}
    solutions = solved(chapter)
    for index, cell in enumerate(book.cells):
        if index in known:
            cells += _graded(known[index], cell, chapter.name)
        elif index not in solutions:
            if cell.cell_type == "markdown":
                cell.source = _relinked(without_answers(cell.source), here)
            cells.append(cell)
    book.cells = cells
    return book


_LANGUAGE_CELL = """\
import os

os.environ.setdefault("FACELEARN_LANG", "{language}")  # of the checks' messages\
"""


def _code(identity: str, source: str, **metadata: Any) -> Any:
    return nbformat.v4.new_code_cell(source, id=identity, metadata=metadata)


def _nbgrader(cell: Any, grade_id: str, **options: Any) -> Any:
    standard = {"grade": False, "locked": False, "solution": False, "task": False}
    cell.metadata["nbgrader"] = {"schema_version": 3, "grade_id": grade_id, **standard, **options}
    return cell


def _locked(cell: Any, grade_id: str, **options: Any) -> Any:
    return _nbgrader(cell, grade_id, locked=True, **options)


def _graded(exercise: Exercise, answer: Any, name: str) -> list[Any]:
    """The answer, with the course's solution between nbgrader's marks, and the check as the cell that gives points."""
    stem, label = name.partition("_")[2], f"ex{exercise.number}"
    calls = [n for n in ast.parse(exercise.stub.source).body if _given(n, stem, label)]
    if len(calls) != 1:
        raise Failed(f"{exercise.where}: found {len(calls)} statements check.{stem}.{label}(function), expected 1")
    check = ast.unparse(calls[0])
    answer.source, answer.outputs, answer.execution_count = _answer(exercise, stem, label), [], None
    points = _code(f"{answer.id}-points", f"assert {check}")
    _locked(points, f"{label}-points", grade=True, points=exercise.stars)
    return [_nbgrader(answer, label, solution=True), points]


def _given(node: ast.stmt, stem: str, label: str) -> str | None:
    """What a statement hands to the check: `mine` of `check.arcface.ex1(mine)`; None where it is another statement."""
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and ast.unparse(call.func) == f"check.{stem}.{label}" and len(call.args) == 1:
        return ast.unparse(call.args[0])
    return None


def _answer(exercise: Exercise, stem: str, label: str) -> str:
    """The function under the exercise's name, with the solution's body between the marks that nbgrader cuts at.

    What the solution defines before its check becomes a part of the body; what it tries out after it is left away.
    """
    tree = ast.parse(exercise.solution.source)
    at, given = next(((i, given) for i, n in enumerate(tree.body) if (given := _given(n, stem, label))), (0, ""))
    if not given:
        raise Failed(f"{exercise.where}: found no check.{stem}.{label}(function) in the solution, expected one")
    functions = [n for n in tree.body[:at] if isinstance(n, ast.FunctionDef) and n.name == given]
    stubs = [n for n in ast.parse(exercise.stub.source).body if isinstance(n, ast.FunctionDef) and _open(n)]
    if len(functions) != 1 or len(stubs) != 1:
        found = f"found {len(stubs)} functions to be written, {len(functions)} that solve it"
        raise Failed(f"{exercise.where}: {found}, expected one each, given to the check by name")
    lines = exercise.solution.source.splitlines()
    helpers = [n for n in tree.body[:at] if n is not functions[0]]
    body = ["    " + line for node in helpers for line in _text(lines, node)]
    body += [line for node in functions[0].body for line in _text(lines, node, whole=True)]
    region = "\n".join(["    ### BEGIN SOLUTION", *body, "    ### END SOLUTION"])
    region = re.sub(rf"\b{given}\b", stubs[0].name, region)
    stub_lines = exercise.stub.source.splitlines()
    header = "\n".join(stub_lines[: stubs[0].body[-1].lineno])
    return header[: header.rindex("...")].rstrip() + "\n" + region


def _text(lines: list[str], node: ast.stmt, whole: bool = False) -> list[str]:
    """The lines of a statement, with comments at their ends; `whole`: with comments above it too."""
    start = node.lineno - 1
    while whole and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return lines[start : node.end_lineno]


FILE = re.compile(r"(!?)\[([^\[\]]*)\]\((?:\.\./)?([\w./-]+\.(?:ipynb|md|csv|gif|png|svg|html))(#[^)\s]*)?\)")
BADGE = re.compile(r"^.*assets/badge_.*\n?", re.M)
TWIN = re.compile(r"^\[[^\]]+\]\(\.\./(?:en|zh)/\w+\.(?:ipynb|md)\)[ \t]*\n?", re.M)


def _relinked(source: str, here: set[str]) -> str:
    """Links to files beside the notebook; badges and the other language go, of other links the words stay."""

    def local(match: re.Match[str]) -> str:
        mark, words, path, fragment = match.groups(default="")
        return f"{mark}[{words}]({path}{fragment})" if path in here else words

    return FILE.sub(local, TWIN.sub("", BADGE.sub("", source))).strip()


# ---- the tree -----------------------------------------------------------------------------------------------------

WORDS = {
    "en": {
        "title": "facelearn · the loss functions of face recognition",
        "student": "The exercises are yours to write: each stands in the last part of its chapter, as a function that "
        "raises until you have written it. **Run All** works all the while. Solutions are not in this folder, nor are "
        "the answers of the quizzes: fill in the cell under the questions, and it tells you, and why.",
        "solutions": "With the solutions of the exercises (folded, under each) and the answers to the quizzes.",
        "start": 'With Python 3.11 or newer: `pip install "facelearn[course] @ git+https://github.com/{slug}"`, then '
        "`jupyter lab` in this folder. `from facelearn import check; check.progress()` shows which exercises "
        "you have passed; the record stays on your computer.",
        "copy": "Where GitHub is out of reach, install from a copy of the project, with a mirror in `PIP_INDEX_URL` if "
        'need be: `pip install "./facelearn[course]"`. Once installed, nothing here needs a network.',
        "chapters": "Chapters",
        "pages": "Pages",
        "licence": "Text, figures and notebooks: CC BY 4.0 (`LICENSE-TEXT`). Code: MIT (`LICENSE`). By the facelearn "
        "authors, <https://github.com/{slug}>.",
    },
    "zh": {
        "title": "facelearn · 人脸识别损失函数",
        "student": "练习由你来写：每章最后一部分里有几个函数要写（多为三个，附录五个），写好之前调用它们会抛出异常；"
        "不写也不影响**全部运行**。"
        "练习的参考解答和小测的答案都不在这个文件夹里：在题目下面的单元里填上你的选择，它会告诉你对错和理由。",
        "solutions": "含练习的参考解答（折叠在每道题之后）和小测的答案。",
        "start": '需要 Python 3.11 或更新的版本：`pip install "facelearn[course] @ git+https://github.com/{slug}"`，'
        "然后在本文件夹中运行 `jupyter lab`。执行 `from facelearn import check; check.progress()` "
        "可以看到自己通过了哪些练习；记录只保存在你的电脑上。",
        "copy": "打不开 GitHub 时，用项目的一份拷贝安装，需要时用 `PIP_INDEX_URL` 指定镜像："
        '`pip install "./facelearn[course]"`。装好之后，这里的一切都不需要网络。',
        "chapters": "章节",
        "pages": "参考页",
        "licence": "文字、图和 Notebook：CC BY 4.0（`LICENSE-TEXT`）。代码：MIT（`LICENSE`）。"
        "作者：The facelearn authors，<https://github.com/{slug}>。",
    },
}


def tree(root: Path, kind: str, language: str) -> Files:
    """Every file of a handout: `kind` is "student" or "solutions"."""
    course = root / "course"
    files = common(root)
    for code in chapters.LANGUAGES:
        for name in chapters.names(course):
            chapter = Chapter(course / code / f"{name}.md").executed
            text = chapter.path.read_bytes() if kind == "solutions" else _written(for_students(chapter))
            files[f"{code}/{name}.ipynb"] = text
        for page in sorted((course / code).glob("*.md")):
            if page.stem not in (*FOR_TEACHERS, *chapters.names(course)):
                files[f"{code}/{page.name}"] = page.read_bytes()
    files["README.md"] = start_page(root, kind, language).encode()
    return files | linked(course, files)


def common(root: Path) -> Files:
    """What the notebooks import, read and show, and the licences."""
    course = root / "course"
    found = [p for folder in ("assets", "experiments", "results") for p in sorted((course / folder).glob("[!.]*.*"))]
    found = [path for path in found if path.is_file() and ".partial" not in path.name]
    files = {path.relative_to(course).as_posix(): path.read_bytes() for path in found}
    for path in (course / "settings.json", root / "LICENSE", root / "LICENSE-TEXT"):
        if path.is_file():
            files[path.name] = path.read_bytes()
    return files


def linked(course: Path, files: Files) -> Files:
    """What the pages link to in the course besides `files`. `Failed` for a link that would be broken in the tree."""
    found: Files = {}
    for page in [name for name in files if name.endswith((".md", ".ipynb"))]:
        for target in _targets(page, files[page]):
            path = (course / page).parent.joinpath(target.partition("#")[0]).resolve()
            inside = path.is_relative_to(course.resolve())
            name = path.relative_to(course.resolve()).as_posix() if inside else ""
            if name in files or name in found or (inside and any(file.startswith(f"{name}/") for file in files)):
                continue
            if not path.is_file() or not inside or path.suffix in (".md", ".ipynb"):
                raise Failed(f"{page}: found a link to {target}, expected only files that a handout has")
            found[name] = path.read_bytes()
    return found


def _targets(page: str, content: bytes) -> list[str]:
    """Links and images of a page that stay on this machine."""
    if page.endswith(".ipynb"):
        book = nbformat.reads(content.decode(), as_version=4)
        texts = [cell.source for cell in book.cells if cell.cell_type == "markdown"]
    else:
        texts = [content.decode()]
    both = [chapters.images_and_links(text) for text in texts]
    targets = [file for images, _ in both for _, file in images] + [link for _, links in both for link in links]
    return [t for t in targets if not re.match(r"\w+:|#|//", t)]


def start_page(root: Path, kind: str, language: str) -> str:
    """The README of a handout: what it is, how to begin, every chapter and page."""
    words, course = WORDS[language], root / "course"
    books = [Page(course / language / f"{name}.ipynb") for name in chapters.names(course)]
    pages = [Page(course / language / f"{name}.md") for name in [*chapters.pages(course), "references"]]
    lines = [f"# {words['title']}", words[kind], words["start"], words["copy"], f"## {words['chapters']}"]
    lines.append("\n".join(f"- [{book.number} {book.title}]({language}/{book.path.name})" for book in books))
    pages = [page for page in pages if page.name not in FOR_TEACHERS and page.path.is_file()]
    lines += [f"## {words['pages']}", "\n".join(f"- [{page.title}]({language}/{page.path.name})" for page in pages)]
    lines.append(words["licence"])
    return "\n\n".join(lines).replace("{slug}", chapters.repository(root)) + "\n"


def assignments(root: Path, language: str, names: Iterable[str]) -> Files:
    """nbgrader's folder `source`: one assignment per chapter, each with all that its notebook needs beside it."""
    course, files = root / "course", Files()
    for name in names:
        chapter = Chapter(course / language / f"{name}.md").executed
        beside = {path: data for path, data in common(root).items() if _wanted(path, name)}
        links = {t.partition("#")[0] for t in _targets(chapter.path.name, chapter.path.read_bytes())}
        pages = [path for path in sorted((course / language).glob("*.md")) if path.name in links]
        beside |= {page.name: b"" for page in pages}  # they link each other
        for page in pages:
            beside[page.name] = (_relinked(page.read_text(encoding="utf-8"), set(beside)) + "\n").encode()
        beside[f"{name}.ipynb"] = _written(for_nbgrader(chapter, set(beside)))
        files |= {f"source/{name}/{path}": data for path, data in beside.items()}
    return files


def _wanted(path: str, name: str) -> bool:
    """Of the assets only the chapter's own: every submission holds a copy."""
    return not path.startswith("assets/") or path.startswith(f"assets/{chapters.number(name)}_")


def _written(book: Any) -> bytes:
    nbformat.validate(book)
    return (nbformat.writes(book) + "\n").encode()


# ---- on disk ------------------------------------------------------------------------------------------------------


def write(target: Path, files: Files, about: dict[str, str]) -> None:
    """Write a tree whole or not at all. It replaces an older one that nobody has touched, and nothing else."""
    refuse_foreign(target)
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    manifest = json.dumps({**about, "files": hashes}, indent=1) + "\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        fresh, old = Path(folder, "new"), Path(folder, "old")
        for name, data in [*files.items(), (MANIFEST, manifest.encode())]:
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise


def refuse_foreign(target: Path) -> None:
    """`Failed` where the folder holds anything that this tool has not written, a student's answers say."""
    if not target.exists():
        return
    if not target.is_dir() or target.is_symlink():
        raise Failed(f"{target}: found a file or a link, expected a folder, or nothing")
    inside = [p for p in sorted(target.rglob("*")) if not p.is_dir() and "__pycache__" not in p.parts]
    try:
        hashes = json.loads((target / MANIFEST).read_bytes())["files"] if inside else {}
        known = {target / name: digest for name, digest in hashes.items()}
    except FileNotFoundError:
        raise Failed(f"{target} is not empty and has no {MANIFEST}, the record of what this tool wrote: name another "
                     "folder with OUT=") from None  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Failed(f"{target / MANIFEST} was not written by this tool: name another folder with OUT=") from None
    strange = [p for p in inside if p.name != MANIFEST and hashlib.sha256(p.read_bytes()).hexdigest() != known.get(p)]
    if strange:
        names = ", ".join(path.relative_to(target).as_posix() for path in strange[:3])
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        raise Failed(f"{target} holds work that is not this tool's ({names}{more}): move it away, or name another "
                     "folder with OUT=")  # fmt: skip


def chosen_language(value: str) -> str:
    """`zh` or `en`, also from a locale such as zh_CN.UTF-8: make hands over LANG, which every shell has set already."""
    if match := re.fullmatch(r"(zh|en)(?:[_.@-].*)?", value):
        return match[1]
    found = f"LANG={value} is this machine's locale, which names neither" if value else "no language is named"
    raise Failed(f"{found}: expected LANG=zh or LANG=en, for instance `make student LANG=zh`")


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the course for a class.")
    parser.add_argument("kind", choices=["student", "solutions", "nbgrader"])
    parser.add_argument("--chapters", nargs="+", default=[], help="nbgrader alone: 12_arcface or 12; otherwise all")
    parser.add_argument("--language", default="", help="zh or en; a locale such as zh_CN.UTF-8 will do")
    parser.add_argument("--out", type=Path, help="the folder; handout/LANGUAGE, or with -solutions, -nbgrader after it")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the project")
    args = parser.parse_args(arguments)
    root = args.root.resolve()
    if args.chapters and args.kind != "nbgrader":
        raise Failed(f"{args.kind}: chapters are not chosen one by one, since they link each other")
    language = chosen_language(args.language)
    if args.language != language:
        print(f"LANG={args.language} is a locale: taken for {language}; LANG=zh and LANG=en say it outright")
    suffix = "" if args.kind == "student" else f"-{args.kind}"
    target = (args.out or root / "handout" / f"{language}{suffix}").absolute()
    if args.kind == "nbgrader":
        files = assignments(root, language, chapters.chosen(args.chapters, chapters.names(root / "course")))
    else:
        files = tree(root, args.kind, language)
    write(target, files, {"kind": args.kind, "language": language})
    books = sum(name.endswith(".ipynb") for name in files)
    print(f"{target}: {books} notebooks, {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
