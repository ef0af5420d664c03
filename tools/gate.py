"""The language gate: both languages of a chapter are one lesson, and what is stored is what the code printed.

    python tools/gate.py [12_arcface ...]         # what differs; exit code 1 if anything does
    python tools/gate.py --accept 12_arcface [--cell 7] --reviewer "NAME: what was compared"

Besides comparing what a machine can compare (cells, code, formulas, links, outputs) the gate holds a staleness lock:
`course/lock.csv` keeps the hashes of both texts of every Markdown cell as somebody last read them side by side. When
one side changes, the gate names the cell until the pair has been read again and accepted.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tools import chapters, slides
from tools.chapters import Cell, Failed

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK_BYTES, FIGURE_BYTES = 1_000_000, 150_000
LOCK_COLUMNS = ["chapter", "cell", "en", "zh", "reviewer"]
TIMESTAMPS = {"execution", "ExecuteTime"}
# What only the machine that ran the notebook can have printed.
MACHINE = {
    "an absolute path": re.compile(r"(?<![\w.:/<>)\]}*~])/(?:[\w.+-]+/)+[\w.+-]*|\b[A-Z]:\\{1,2}\w{2,}"),
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,}\b"),
    "a home folder": re.compile(r"(?<!\w)~/\w"),
    "a file of the kernel": re.compile(r"ipykernel_\d+|<ipython-input"),
}
REVIEWER = re.compile(r"\s*[^:\s][^:]*:\s*\S.{5,}")


# ---- 1. two languages, one lesson ---------------------------------------------------------------------------------


def _formula(text: str) -> str:
    """A formula for comparison: words inside text commands may differ, white space does not count."""
    text = re.sub(r"\\text\{[^{}]*\}", r"\\text{}", text)
    return re.sub(r"\s+(?![A-Za-z])|(?<![A-Za-z])\s+", "", re.sub(r"\s+", " ", text.strip()))


def _link(target: str) -> str:
    """A link for comparison: the language's own folder, site and heading anchors may differ."""
    target = re.sub(r"(?<=/)(?:en|zh)(?=/)", "*", target)
    target = re.sub(r"(?<=//)(?:en|zh)(?=\.)", "*", target).replace("README.zh.md", "README.md")
    return target if "://" in target or "references.md#" in target else target.partition("#")[0]


def _facts(cell: Cell) -> dict[str, list[str]]:
    """What a Markdown cell must share with its twin."""
    display, inline = chapters.formulas(cell.source)
    images, links = chapters.images_and_links(cell.source)
    return {
        "heading levels": [" ".join("#" * level for level, _ in chapters.headings(cell.source))],
        "formulas": sorted([_formula(f) for f in inline] + [f"$${_formula(f)}$$" for f in display]),
        "citation keys": sorted(chapters.CITATION.findall(cell.source)),
        "images": sorted(_link(file) for _, file in images),
        "links": sorted(_link(target) for target in links if "references.md#" not in target),
    }


def parity(en: list[Cell], zh: list[Cell]) -> Iterator[str]:
    """Where the two languages are not the same lesson."""
    if len(en) != len(zh):
        yield f"number of cells: en has {len(en)}, zh has {len(zh)}"
    for a, b in zip(en, zh, strict=False):
        where = f"cell {a.index} (en: {a.first_line!r}, zh: {b.first_line!r})"
        if a.kind != b.kind:
            yield f"{where}: type: en is {a.kind}, zh is {b.kind}; all that follows may be shifted"
            return
        if a.options != b.options:
            yield f"{where}: tags or jupyter settings: en {a.options}, zh {b.options}"
        if a.kind == "code":
            if a.shared != b.shared:
                yield f"{where}: code differs: `python tools/chapters.py copy-code` makes it one again"
            continue
        for (name, ours), theirs in zip(_facts(a).items(), _facts(b).values(), strict=True):
            if ours != theirs:
                only, other = Counter(ours) - Counter(theirs), Counter(theirs) - Counter(ours)
                yield f"{where}: {name}: only in en {list(only)}, only in zh {list(other)}"


# ---- 2. the notebook is its source, executed ----------------------------------------------------------------------


def _text(output: dict[str, Any]) -> str:
    data = {k: v for k, v in output.get("data", {}).items() if k.startswith("text/") or "json" in k}
    parts = [output.get("text", ""), *(v if isinstance(v, str) else json.dumps(v) for v in data.values())]
    return "\n".join([*parts, *output.get("traceback", [])])


def _bytes(content: Any) -> int:
    """Size of a picture: base64 for PNG and GIF, plain text for SVG."""
    text = content if isinstance(content, str) else "".join(content)
    return len(text.encode()) if text.lstrip().startswith("<") else len("".join(text.split())) * 3 // 4


def _output_problems(cell: Cell) -> Iterator[str]:
    if "nbval-check-output" in cell.tags and not cell.outputs:
        yield "tagged nbval-check-output, but no output is stored"
    for output in cell.outputs:
        if output["output_type"] == "error" and "raises-exception" not in cell.tags:
            yield f"stored error {output.get('ename')}: {output.get('evalue')}"
        for what, pattern in MACHINE.items():
            if match := pattern.search(_text(output)):
                yield f"output holds {what}: {match[0]!r}"
        for kind, content in output.get("data", {}).items():
            if kind.startswith("image/") and (size := _bytes(content)) > FIGURE_BYTES:
                yield f"{kind} output of {size:,} bytes: at most {FIGURE_BYTES:,}"


def notebook(source: list[Cell], path: Path) -> Iterator[str]:
    """Where the notebook at `path` is not its source, executed once from top to bottom."""
    if not path.is_file():
        yield f"{path.name} is missing: execute the chapter"
        return
    if (size := path.stat().st_size) > NOTEBOOK_BYTES:
        yield f"{path.name} has {size:,} bytes: at most {NOTEBOOK_BYTES:,}"
    cells, count = chapters.read(path), 0
    yield from chapters.differences(source, cells)
    if foreign := chapters.foreign_output(source, path):
        yield foreign
    for cell in cells:
        if stamps := TIMESTAMPS & cell.metadata.keys():
            yield f"{cell.where}: timestamps in the metadata: {sorted(stamps)}"
        if cell.kind != "code":
            continue
        if cell.source.strip():
            count += 1
            if cell.count != count:
                yield f"{cell.where}: execution count is {cell.count}, expected {count}"
        yield from (f"{cell.where}: {problem}" for problem in _output_problems(cell))


def same_outputs(en: Path, zh: Path) -> Iterator[str]:
    """Executed once, published in both languages: the stored outputs are the same."""
    for a, b in zip(chapters.read(en), chapters.read(zh), strict=False):
        if a.kind == b.kind == "code" and a.outputs != b.outputs:
            yield f"{a.where}: stored outputs of en and zh differ"


# ---- 3. the staleness lock ----------------------------------------------------------------------------------------


def fingerprint(text: str, slug: str) -> str:
    """Hash of one text. The repository's own address does not count: rewriting it changes no meaning."""
    return hashlib.sha256(text.strip().replace(slug, "OWNER/NAME").encode()).hexdigest()[:12]


def read_lock(course: Path) -> list[dict[str, str]]:
    path = course / "lock.csv"
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if list(row) != LOCK_COLUMNS or not REVIEWER.fullmatch(row["reviewer"] or ""):
            raise Failed(f"{path}: found {row}, expected {', '.join(LOCK_COLUMNS)} (NAME: what was compared)")
    return rows


def _prints(en: list[Cell], zh: list[Cell], slug: str) -> Iterator[tuple[Cell, Cell, str, str]]:
    for a, b in zip(en, zh, strict=False):
        if "markdown" in (a.kind, b.kind):
            yield a, b, fingerprint(a.source, slug), fingerprint(b.source, slug)


def stale(name: str, en: list[Cell], zh: list[Cell], lock: list[dict[str, str]], slug: str) -> Iterator[str]:
    """Cells whose two texts have not been read side by side since one of them changed."""
    rows = [row for row in lock if row["chapter"] == name]
    pairs = {(row["en"], row["zh"]) for row in rows}
    known_en, known_zh = {row["en"] for row in rows}, {row["zh"] for row in rows}
    for a, b, print_en, print_zh in _prints(en, zh, slug):
        if (print_en, print_zh) in pairs:
            continue
        news = {
            (True, False): "zh changed, en did not",
            (False, True): "en changed, zh did not",
            (True, True): "the pair is new, each text was accepted with another one",
            (False, False): "both are new or changed",
        }[print_en in known_en, print_zh in known_zh]
        yield f"cell {a.index} (en: {a.first_line!r}, zh: {b.first_line!r}): {news} since the last review"


def accept(course: Path, name: str, reviewer: str, *, cell: int | None = None, slug: str) -> int:
    """Record that the two texts (of one cell, or of all stale cells) say the same; return how many were new."""
    if not REVIEWER.fullmatch(reviewer):
        raise Failed(f'reviewer: found {reviewer!r}, expected "NAME: what was compared"')
    en, zh = (chapters.read(course / lang / f"{name}.md") for lang in chapters.LANGUAGES)
    if [c.kind for c in en] != [c.kind for c in zh]:
        raise Failed(f"{name}: found different cells in the two languages, expected the same: mend that first")
    fresh = [
        dict(zip(LOCK_COLUMNS, (name, str(a.index), print_en, print_zh, reviewer.strip()), strict=True))
        for a, _, print_en, print_zh in _prints(en, zh, slug)
        if cell in (None, a.index)
    ]
    if not fresh:
        raise Failed(f"{name}: cell: found {cell}, expected the number of a Markdown cell")
    lock = read_lock(course)
    old = {(row["en"], row["zh"]): row["reviewer"] for row in lock if row["chapter"] == name}
    new = sum((row["en"], row["zh"]) not in old for row in fresh)
    for row in fresh:  # what was accepted before keeps its reviewer
        row["reviewer"] = old.get((row["en"], row["zh"]), row["reviewer"])
    seen = {row[lang] for row in fresh for lang in chapters.LANGUAGES}
    rest = [r for r in lock if r["chapter"] != name or (cell is not None and not {r["en"], r["zh"]} & seen)]
    text = io.StringIO()
    writer = csv.DictWriter(text, LOCK_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rest + fresh, key=lambda row: (row["chapter"], int(row["cell"]))))
    chapters.write_whole(course / "lock.csv", text.getvalue())
    return new


# ---- 4. the full run was made with the settings that the chapter has ----------------------------------------------


def results(name: str, course: Path) -> Iterator[str]:
    """Is the stored full run the run of the experiment as it stands? `make results` repeats it."""
    module, table = course / "experiments" / f"{chapters.stem(name)}.py", course / "results" / f"{name}.csv"
    if not module.is_file():
        if table.is_file():
            yield f"{table.name} has no experiment: {module.name} is missing"
        return
    if not table.is_file():
        yield f"course/results/{table.name} is missing: `make results CHAPTER={chapters.number(name)}`"
        return
    with table.open(encoding="utf-8", newline="") as file:
        stored = {row.get("settings_hash") for row in csv.DictReader(file)}
    from facelearn.lesson import settings_hash  # here, because it brings torch

    sys.path.insert(0, str(course))  # an experiment may use its neighbours
    try:
        expected = settings_hash(runpy.run_path(str(module))["SETTINGS"])
    finally:
        sys.path.remove(str(course))
    if stored != {expected}:
        yield (
            f"course/results/{table.name} was made with settings {sorted(map(str, stored))}, "
            f"{module.name} now has {expected}: `make results CHAPTER={chapters.number(name)}`"
        )


# ---- all together -------------------------------------------------------------------------------------------------


def check(name: str, course: Path, *, slug: str) -> list[str]:
    """Everything that is wrong with a chapter or another page, one line each."""
    files = {lang: course / lang / f"{name}.md" for lang in chapters.LANGUAGES}
    if missing := [f"{lang}/{path.name}" for lang, path in files.items() if not path.is_file()]:
        return [f"{name}: {path} is missing" for path in missing]
    en, zh = (chapters.read(path) for path in files.values())
    steps: list[Callable[[], Iterable[str]]] = [
        lambda: parity(en, zh),
        lambda: stale(name, en, zh, read_lock(course), slug),
    ]
    if name in chapters.names(course):
        books = [path.with_suffix(".ipynb") for path in files.values()]
        steps += [
            lambda: (f"en: {p}" for p in notebook(en, books[0])),
            lambda: (f"zh: {p}" for p in notebook(zh, books[1])),
            lambda: same_outputs(*books) if all(book.is_file() for book in books) else (),
            lambda: results(name, course),
        ]
        if (course / "slides").is_dir() and not chapters.is_appendix(name):
            steps.append(lambda: slides.problems(name, course))
    return [f"{name}: {problem}" for step in steps for problem in step()]


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Hold the two languages of the course together.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12, or a page; all where none is named")
    parser.add_argument("--accept", metavar="NAME", help="record that both texts were read side by side")
    parser.add_argument("--cell", type=int, help="with --accept: this cell only")
    parser.add_argument("--reviewer", default="", help='with --accept: "NAME: what was compared"')
    args = parser.parse_args(arguments)
    course, slug = ROOT / "course", chapters.repository()
    known = chapters.names(course) + chapters.pages(course)
    if args.accept:
        (name,) = chapters.chosen([args.accept], known)
        print(f"{name}: {accept(course, name, args.reviewer, cell=args.cell, slug=slug)} pairs accepted")
        return 0
    problems = [p for name in chapters.chosen(args.names, known) for p in check(name, course, slug=slug)]
    print("\n".join(problems) or "both languages agree")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
