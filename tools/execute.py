"""Run chapters and store their outputs: executed once, in English, published in both languages.

    python tools/execute.py [-j 2] [12_arcface | 12 ...]     # all chapters where none is named
    python tools/execute.py --sync 12_arcface                # only prose changed: keep the stored outputs
    python tools/execute.py --budget smoke 12_arcface        # does it run? nothing is stored

The sources `course/{en,zh}/NN_stem.md` have identical code cells; each gets its `.ipynb` with the same outputs. What is
stored is the run at the `cpu` budget on a CPU with one thread, so that every machine stores the same. A chapter that
fails leaves its notebooks as they were; the failing cell is printed, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from tools import chapters
from tools.chapters import Cell, Failed, chosen

ROOT = Path(__file__).resolve().parents[1]
CELL_SECONDS = 600  # a cell that takes longer hangs
STORED_BUDGET = "cpu"
BUDGETS = ("smoke", "cpu", "full")

# As JupyterLab itself writes it: the first save in Lab then changes nothing.
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PERSONAL = ("FACELEARN_DATA", "FACELEARN_FIGURES", "FACELEARN_LANG", "FACELEARN_PROGRESS", "JPY_", "MPL", "PYTEST_")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def environment(budget: str) -> dict[str, str]:
    """What the kernel sees: nothing of the person who runs it, neither real data nor a GPU nor a progress bar."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(PERSONAL)}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    same = {"FACELEARN_PROGRESS": "0", "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}
    return {**env, **threads, **same, "FACELEARN_BUDGET": budget}


def sources(course: Path, name: str) -> dict[str, list[Cell]]:
    """The cells of a chapter by language; an error where the code is not the same in both."""
    files = {language: course / language / f"{name}.md" for language in chapters.LANGUAGES}
    pages = {language: chapters.read(file) for language, file in files.items() if file.is_file()}
    if not pages:
        raise Failed(f"{name}: found no source, expected {course}/en/{name}.md or its twin")
    first, *others = pages.values()
    for other in others:
        for a, b in zip(first, other, strict=False):
            if (a.kind, a.options) != (b.kind, b.options) or (a.kind == "code" and a.shared != b.shared):
                both = f"{a.first_line!r} and {b.first_line!r}"
                raise Failed(f"cell {a.index}: found {both}, expected the same code and tags in both languages")
        if len(first) != len(other):
            raise Failed(f"cells: found {len(first)} and {len(other)}, expected as many in both languages")
    return pages


def notebook(name: str, cells: list[Cell], outputs: dict[int, dict[str, Any]]) -> nbformat.NotebookNode:
    """The notebook of one language. Cell ids follow from chapter and position: running again changes none."""
    book = nbformat.v4.new_notebook(metadata={"kernelspec": KERNELSPEC})
    for cell in cells:
        extra = {"id": f"{name}-{cell.index:02d}", "metadata": cell.metadata}
        if cell.kind == "code":
            stored = outputs.get(cell.index, {"outputs": [], "execution_count": None})
            book.cells.append(nbformat.v4.new_code_cell(cell.source, **extra, **stored))
        elif cell.kind == "markdown":
            book.cells.append(nbformat.v4.new_markdown_cell(cell.source, **extra))
        else:
            book.cells.append(nbformat.v4.new_raw_cell(cell.source, **extra))
    return book


def run(name: str, cells: list[Cell], folder: Path, budget: str) -> nbformat.NotebookNode:
    """Execute the cells in `folder` with a fresh kernel and return the notebook, outputs and language info inside."""
    book = notebook(name, cells, {})
    # Widget state stays on (switched off, nbclient can hang) and is dropped afterwards.
    client = NotebookClient(
        book,
        kernel_name=KERNELSPEC["name"],
        timeout=CELL_SECONDS,
        record_timing=False,
        coalesce_streams=True,  # where a stream breaks into messages is chance
        extra_arguments=["--log-level=ERROR"],  # the kernel's own remarks are nobody's business here
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=environment(budget))
    except Exception as error:  # a failing cell, a dead kernel, a timeout: one report for all
        raise Failed(_report(book, error)) from error
    book.metadata.pop("widgets", None)
    book.metadata["language_info"].pop("version", None)  # would change from machine to machine
    return book


def _report(book: nbformat.NotebookNode, error: Exception) -> str:
    """The failing cell and its error. It is the first cell that did not come to a good end."""
    for index, cell in enumerate(book.cells):
        if cell.cell_type != "code":
            continue
        errors = [output for output in cell.outputs if output.output_type == "error"]
        unwanted = errors and "raises-exception" not in cell.metadata.get("tags", [])
        if unwanted or (cell.source.strip() and cell.execution_count is None):
            trace = ANSI.sub("", "\n".join(errors[-1].traceback)) if errors else f"{type(error).__name__}: {error}"
            return f"cell {index} failed:\n{_indent(cell.source)}\n{_indent(trace)}"
    return f"{type(error).__name__}: {error}"


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


def publish(course: Path, name: str, pages: dict[str, list[Cell]], executed: nbformat.NotebookNode) -> None:
    """Write the notebooks of all languages, each whole or not at all, with the outputs of `executed`."""
    stored = {
        index: {"outputs": cell.outputs, "execution_count": cell.execution_count}
        for index, cell in enumerate(executed.cells)
        if cell.cell_type == "code"
    }
    texts = {}
    for language, cells in pages.items():
        book = notebook(name, cells, stored)
        book.metadata["language_info"] = executed.metadata["language_info"]
        book.metadata["facelearn"] = {"code": chapters.code_hashes(cells)}  # for the gate: of this code are the outputs
        nbformat.validate(book)
        texts[course / language / f"{name}.ipynb"] = nbformat.writes(book) + "\n"
    for path, text in texts.items():
        chapters.write_whole(path, text)


def execute(course: Path, name: str, budget: str = STORED_BUDGET) -> float:
    """Run one chapter and, at the stored budget, publish it. Returns the seconds it took."""
    start = time.perf_counter()
    pages = sources(course, name)
    language, cells = next(iter(pages.items()))
    executed = run(name, cells, course / language, budget)
    if budget == STORED_BUDGET:
        publish(course, name, pages, executed)
    return time.perf_counter() - start


def sync(course: Path, name: str) -> None:
    """Bring changed prose into the notebooks without running anything; refuses where the code changed."""
    pages = sources(course, name)
    path = course / next(iter(pages)) / f"{name}.ipynb"
    if not path.is_file():
        raise Failed(f"{path} is missing: execute the chapter")
    executed = nbformat.read(path, as_version=4)
    cells = next(iter(pages.values()))
    old = [cell for cell in executed.cells if cell.cell_type == "code"]
    new = [cell for cell in cells if cell.kind == "code"]
    if foreign := chapters.foreign_output(cells, path):
        raise Failed(foreign)
    # Prose cells may have come or gone: line the stored code cells up with the places they have now.
    by_place = dict(zip((cell.index for cell in new), old, strict=True))
    executed.cells = [by_place.get(cell.index, nbformat.v4.new_markdown_cell("")) for cell in cells]
    publish(course, name, pages, executed)


def _job(course: Path, name: str, budget: str, keep: bool) -> tuple[float, str]:
    """One chapter in a process of its own: seconds, and what went wrong (empty: nothing)."""
    start = time.perf_counter()
    try:
        if keep:
            sync(course, name)
        else:
            execute(course, name, budget)
        problem = ""
    except (Failed, OSError) as error:
        problem = str(error)
    return time.perf_counter() - start, problem


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Run chapters and store their outputs for both languages.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12; all chapters where none is named")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="chapters at a time")
    parser.add_argument("--budget", choices=BUDGETS, default=STORED_BUDGET, help="outputs are stored at cpu alone")
    parser.add_argument("--sync", action="store_true", help="do not run: bring changed prose into the notebooks")
    parser.add_argument("--course", type=Path, default=ROOT / "course", help="folder of the course")
    args = parser.parse_args(arguments)
    course = args.course.resolve()
    names, failures = chosen(args.names, chapters.names(course)), 0
    with ProcessPoolExecutor(max(1, args.jobs)) as pool:
        jobs = {name: pool.submit(_job, course, name, args.budget, args.sync) for name in names}
        for name, job in jobs.items():
            seconds, problem = job.result()
            note = "" if args.budget == STORED_BUDGET else f"  (ran at {args.budget}, nothing stored)"
            print(f"{seconds:6.1f} s  {name}{note if not problem else '  FAILED: ' + problem}", flush=True)
            failures += bool(problem)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
