"""Build the site: both languages, from the stored notebooks, offline.

    python tools/site.py [--out _site] [--only en]

Pages are gathered into `_site/source/<language>`: the executed notebooks, the pages beside them, those of
`course/site/pages`, and a few that are written here from the project itself (chapter list, glossary, table of losses,
API). Sphinx then builds each language; `_site/index.html` sends a reader to theirs.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
COURSE, SITE = ROOT / "course", ROOT / "course" / "site"
LANGUAGES = ("en", "zh")
WORDS = json.loads((SITE / "words.json").read_text(encoding="utf-8"))


def title_of(path: Path) -> str:
    """The first heading of a page or notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(
            "".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"
        )
    found = re.search(r"^# (.+)$", text, re.M)
    if not found:
        raise ValueError(f"{path}: has no heading of the first level")
    return found[1]


def gather(language: str, source: Path) -> None:
    """All pages of one language, as Sphinx reads them."""
    here = COURSE / language
    pages = [
        *sorted(here.glob("[0-9][0-9]_*.ipynb")),
        *sorted(here.glob("[!0-9]*.md")),
        *(SITE / "pages" / language).glob("*.md"),
    ]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        text = text.replace("](../assets/", "](assets/")
        text = re.sub(
            r"\[(中文|English)\]\(\.\./(en|zh)/\w+\.(ipynb|md)\)", "", text
        )  # the site has a switch of its own
        (source / page.name).write_text(text, encoding="utf-8")
    shutil.copytree(COURSE / "assets", source / "assets", dirs_exist_ok=True)
    for name, text in (
        ("glossary", glossary(language)),
        ("losses", table_of_losses(language)),
        ("api", api(language)),
        ("contents", contents(language)),
    ):
        (source / f"{name}.md").write_text(text, encoding="utf-8")
    index = source / "index.md"
    index.write_text(index.read_text(encoding="utf-8") + "\n" + toctrees(language, source), encoding="utf-8")


def chapters(language: str) -> list[Path]:
    return sorted((COURSE / language).glob("[0-9][0-9]_*.ipynb"))


def contents(language: str) -> str:
    """The list of chapters: number, title, minutes on a laptop."""
    words = WORDS[language]
    rows = [f"| | {words['chapter']} | {words['minutes']} |", "|---|---|---|"]
    for path in chapters(language):
        minutes = re.search(r"lesson\.start\([^)]*minutes=([\d.]+)", path.read_text(encoding="utf-8"))
        rows.append(f"| {path.name[:2]} | [{title_of(path)}]({path.name}) | {minutes[1] if minutes else ''} |")
    return f"# {words['course']}\n\n" + "\n".join(rows) + "\n"


def glossary(language: str) -> str:
    with (COURSE / "glossary.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first, second = ("en", "zh") if language == "en" else ("zh", "en")
    head = {"en": ("English", "Chinese", "note"), "zh": ("中文", "英文", "说明（英文）")}[language]
    lines = [f"| {' | '.join(head)} |", "|---|---|---|"]
    for row in sorted(rows, key=lambda row: row[first].lower()):
        note = row["note"].replace("|", r"\|")
        lines.append(f"| {row[first]} | {row[second]} | {note} |")
    return f"# {WORDS[language]['glossary']}\n\n" + "\n".join(lines) + "\n"


def table_of_losses(language: str) -> str:
    """One row per loss of the registry, from `course/losses.csv`."""
    from facelearn import figures

    with (COURSE / "losses.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    written = {path.name[:2]: path.name for path in chapters(language)}
    words = WORDS[language]
    lines = [f"| {' | '.join(words['columns'])} |", "|---" * 8 + "|"]
    for row in rows:
        paper = f"[{paper_year(row['key'])}](references.md#{row['key']})" if row["key"] else ""
        chapter = f"[{row['chapter']}]({written[row['chapter']]})" if row["chapter"] in written else row["chapter"]
        name = f"{{py:class}}`{figures.NAMES[row['stem']]} <facelearn.losses.{class_name(row['stem'])}>`"
        cells = [
            name,
            paper,
            row["target"] or words["pairs"],
            row["others"],
            row["parameters"],
            row["lfw"],
            row[f"fails_{language}"],
            chapter,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return f"# {words['losses']}\n\n{words['losses_lead']}\n\n" + "\n".join(lines) + f"\n\n{words['losses_note']}\n"


def class_name(stem: str) -> str:
    from facelearn import losses

    return losses.REGISTRY[stem].__name__


def paper_year(key: str) -> str:
    found = re.search(r"(20\d\d|19\d\d)", key)
    return found[1] if found else key


def api(language: str) -> str:
    """One page of all public names, in the order of the code."""
    from facelearn import losses

    def block(names: Iterator[str]) -> str:
        return "```{eval-rst}\n" + "\n\n".join(names) + "\n```\n"

    parts = [f"# {WORDS[language]['api']}\n", WORDS[language]["intro"], f"\n## {WORDS[language]['contract']}\n"]
    base = [f"{kind.__module__}.{kind.__qualname__}" for kind in losses.REGISTRY["arcface"].__mro__[1:4]]
    named = [f"facelearn.losses.{kind.__name__}" for kind in losses.REGISTRY.values()]
    parts.append(
        block(f".. autoclass:: {name}" for name in dict.fromkeys([*reversed(base), *named, "facelearn.losses.Joint"]))
    )
    for module in ("training", "verification", "data", "models", "lesson"):
        parts.append(f"\n## `facelearn.{module}`\n")
        parts.append(
            block(f".. auto{kind}:: facelearn.{module}.{name}" for kind, name in public(f"facelearn.{module}"))
        )
    return "\n".join(parts)


def public(module_name: str) -> Iterator[tuple[str, str]]:
    """("function" or "class", name) of what a module offers, with a docstring of its own."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    for name in names:
        thing = getattr(module, name)
        if not (inspect.isfunction(thing) or inspect.isclass(thing)) or not inspect.getdoc(thing):
            continue
        if thing.__module__.split(".")[:2] == module_name.split(".")[:2]:
            yield ("class" if inspect.isclass(thing) else "function"), name


def toctrees(language: str, source: Path) -> str:
    words = WORDS[language]
    groups = {
        words["course"]: ["contents", *(path.stem for path in chapters(language))],
        words["use"]: ["install", "data", "explorer"],
        words["reference"]: ["losses", "notation", "glossary", "references", "protocol", "real_faces", "api"],
    }
    lines = []
    for caption, names in groups.items():
        there = [name for name in names if (source / f"{name}.md").exists() or (source / f"{name}.ipynb").exists()]
        lines += ["```{toctree}", ":hidden:", f":caption: {caption}", "", *there, "```", ""]
    return "\n".join(lines)


def static(folder: Path) -> None:
    """MathJax and its fonts from the installed package, and the explorer: nothing comes from another server."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise SystemExit("site: sphinx-mathjax-offline is not installed; `make setup` installs it")
    mathjax = Path(spec.origin).parent / "static" / "mathjax"
    fonts = Path("output/chtml/fonts/woff-v2")
    (folder / "mathjax").mkdir(parents=True, exist_ok=True)
    shutil.copy2(mathjax / "tex-chtml.js", folder / "mathjax")
    shutil.copytree(mathjax / fonts, folder / "mathjax" / fonts, dirs_exist_ok=True)
    shutil.copy2(SITE / "explorer.html", folder)


def start_page(out: Path) -> None:
    """Sends a reader to the browser's language; both are offered where there is no script."""
    (out / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>facelearn</title>\n'
        '<p><a href="en/index.html">English</a> · <a href="zh/index.html" lang="zh">中文</a></p>\n'
        '<script>location.replace(`${navigator.language?.startsWith("zh") ? "zh" : "en"}/index.html`)</script>\n',
        encoding="utf-8",
    )


def build(out: Path, languages: tuple[str, ...]) -> None:
    shutil.rmtree(out / "source", ignore_errors=True)
    static(out / "source" / "static")
    running = []
    for language in languages:
        source = out / "source" / language
        source.mkdir(parents=True)
        gather(language, source)
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html", "-c", str(SITE)]
        environment = os.environ | {
            "COURSE_LANG": language,
            "SITE_STATIC": str(out / "source" / "static"),
            "PYTHONPATH": str(ROOT),
        }
        shutil.rmtree(out / language, ignore_errors=True)
        doctrees = ["-d", str(out / "source" / f"doctrees_{language}")]
        running.append(subprocess.Popen([*command, *doctrees, str(source), str(out / language)], env=environment))
    codes = [process.wait() for process in running]  # all of them, also where the first has failed
    if any(codes):
        raise SystemExit("site: Sphinx found something wrong, see above")
    start_page(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "_site")
    parser.add_argument("--only", choices=LANGUAGES, help="one language alone")
    options = parser.parse_args()
    build(options.out.resolve(), (options.only,) if options.only else LANGUAGES)
    print(f"site: {options.out / 'index.html'}")


if __name__ == "__main__":
    main()
