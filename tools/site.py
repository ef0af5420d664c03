"""Build the site: both languages, from the stored notebooks, offline.

    python tools/site.py [--out _site] [--only en] [--check-links]

Pages are gathered into `_site/source/<language>`: the executed notebooks, whose figures are described by their
captions, the pages beside them, those of `course/site/pages`, and those that `site_pages.py` writes. Sphinx then builds
each language; `_site/index.html` sends a reader to theirs. With `--check-links` it asks every address that leads out of
the site instead, which needs a network: the dead ones are named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools import chapters, site_pages

ROOT = Path(__file__).resolve().parents[1]
COURSE, SITE = ROOT / "course", ROOT / "course" / "site"
LANGUAGES = ("en", "zh")
MADE = {
    "contents": site_pages.chapter_list,
    "losses": site_pages.table_of_losses,
    "glossary": site_pages.glossary,
    "models": site_pages.models,
    "api": site_pages.api,
}
# The navigation. A page of course/{en,zh} that is named nowhere here comes last in "reference".
GROUPS = {
    "course": ["contents", "paths"],
    "use": ["install", "data", "models", "explorer", "mining", "circle", "scale"],
    "teach": ["instructor", "exam", "project", "grading"],
    "reference": ["losses", "notation", "glossary", "references", "protocol", "real_faces", "symptoms", "api"],
}
IN_THE_PROJECT_ALONE = {"exam_answers"}
SWITCH = re.compile(r"\[(中文|English)\]\(\.\./(en|zh)/\w+\.(ipynb|md)\)")  # the site has one of its own
EXPLORER = re.compile(r"^\[([^\]]+)\]\((?:\.\./site/)?(explorer\w*\.html)\)$", re.M)  # alone on its line


def gather(language: str, source: Path) -> None:
    """All pages of one language, as Sphinx reads them."""
    pages = {*chapters.pages(COURSE), "references"} - IN_THE_PROJECT_ALONE
    for page in (COURSE / language / f"{name}.md" for name in pages):
        (source / page.name).write_text(for_the_site(page.read_text(encoding="utf-8"), language), encoding="utf-8")
    for chapter in site_pages.written(language):
        book = json.loads(chapter.path.read_text(encoding="utf-8"))
        book["metadata"].pop("facelearn", None)  # Sphinx would take it for a field of the page
        describe_figures(book["cells"], chapter)
        fold(book["cells"], language)
        for cell in book["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = for_the_site("".join(cell["source"]), language)
        (source / chapter.path.name).write_text(json.dumps(book, ensure_ascii=False), encoding="utf-8")
    for name, write in MADE.items():
        (source / f"{name}.md").write_text(write(language), encoding="utf-8")
    parts = {"chapters": site_pages.short_list, "sets": site_pages.sets, "tree": lambda _: toctrees(language, source)}
    for page in sorted((SITE / "pages" / language).glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for part, write in parts.items():
            if f"<!-- {part} -->" in text:
                text = text.replace(f"<!-- {part} -->", write(language))
        (source / page.name).write_text(for_the_site(text, language), encoding="utf-8")
    shutil.copytree(COURSE / "assets", source / "assets", dirs_exist_ok=True)


def for_the_site(text: str, language: str) -> str:
    """Markdown with what only the site does otherwise: pictures lie beside the page, an explorer is shown in it.

    Tables of results are linked where the repository is; a place to link to is one that Sphinx knows.
    """
    text = chapters.PLACE.sub(r"(\1)=", text)
    text = text.replace("](../results/", f"]({site_pages.on_github('course/results/')}")
    frame = rf'<iframe class="explorer" src="_static/\2?lang={language}" title="\1"></iframe>'
    return EXPLORER.sub(frame, SWITCH.sub("", text.replace("](../assets/", "](assets/")))


def describe_figures(cells: list[dict[str, Any]], chapter: chapters.Chapter) -> None:
    """Give every figure in the outputs the caption that follows it as its alternative text."""
    for figure in chapter.figures:
        if figure.above and figure.above.pictures:
            own = cells[figure.above.index]["metadata"].setdefault("mystnb", {})
            own["image"] = {"alt": plain(figure.caption)}


def fold(cells: list[dict[str, Any]], language: str) -> None:
    """Solutions, and the answers to a guess, open at a click: Jupyter's own marks mean nothing to Sphinx."""
    words = site_pages.WORDS[language]
    for tag, how in (("solution", "hide-cell"), ("hide-output", "hide-output")):
        for data in (cell["metadata"] for cell in cells if tag in cell["metadata"].get("tags", [])):
            data["tags"] = sorted({*data["tags"], how})
            prompts = {"code_prompt_show": words[f"show_{tag}"], "code_prompt_hide": words["fold"]}
            data["mystnb"] = data.get("mystnb", {}) | prompts


def plain(markdown: str) -> str:
    """A caption as it is read aloud: no links, no emphasis, formulas as plain letters."""
    text = chapters.LINK.sub(r"\1", markdown)
    text = re.sub(r"\$(.+?)\$", lambda m: spoken(m[1]), text)
    return re.sub(r"\s+", " ", re.sub(r"\*\*|`|(?<!\w)\*|\*(?!\w)", "", text)).strip()


SIGNS = {
    "le": "≤", "ge": "≥", "lt": "<", "gt": ">", "ne": "≠", "approx": "≈", "pm": "±", "cdot": "·", "times": "×",
    "to": "→", "infty": "∞", "circ": "°", "partial": "∂", "alpha": "α", "gamma": "γ", "lambda": "λ", "mu": "μ",
    "pi": "π", "psi": "ψ", "sigma": "σ", "tau": "τ", "theta": "θ", "lVert": "‖", "rVert": "‖", "Vert": "‖",
    "lvert": "|", "rvert": "|", "vert": "|", "in": "∈", "sqrt": "√",
}  # fmt: skip
SILENT = "mathrm|mathbf|text|hat|bar|tfrac|frac|left|right|thinspace|quad|displaystyle"  # commands not to be read


def spoken(formula: str) -> str:
    """A formula in letters and signs: `\\theta_y + m` is "θ_y + m"."""
    text = re.sub(rf"\\(?:{SILENT})(?![a-zA-Z])|\\[,;!: ]", " ", formula)
    text = re.sub(r"\\([a-zA-Z]+)", lambda m: f" {SIGNS.get(m[1], m[1])} ", text)
    text = re.sub(r"[\\{}]", "", text)
    return re.sub(r"\s+", " ", re.sub(r"\s+(?=[_^°])", "", text)).strip()


def toctrees(language: str, source: Path) -> str:
    """The navigation of one language, hidden on the landing page."""
    words = site_pages.WORDS[language]
    there = {path.stem for path in source.iterdir()} | {path.stem for path in (SITE / "pages" / language).iterdir()}
    groups = {key: [name for name in names if name in there] for key, names in GROUPS.items()}
    groups["course"] += [f"{one.number} · {one.title} <{one.name}>" for one in site_pages.written(language)]
    named = {name for names in groups.values() for name in names}
    groups["reference"] += sorted(path.stem for path in source.glob("*.md") if path.stem not in named | {"index"})
    lines = []
    for key, names in groups.items():
        if names:
            lines += ["```{toctree}", ":hidden:", f":caption: {words[key]}", "", *names, "```", ""]
    return "\n".join(lines)


def static(folder: Path) -> None:
    """MathJax and its fonts from the installed package, and the explorers: nothing comes from another server."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise chapters.Failed("site: sphinx-mathjax-offline is not installed; `make setup` installs it")
    mathjax = Path(spec.origin).parent / "static" / "mathjax"
    fonts = Path("output/chtml/fonts/woff-v2")
    (folder / "mathjax").mkdir(parents=True, exist_ok=True)
    shutil.copy2(mathjax / "tex-chtml.js", folder / "mathjax")
    shutil.copytree(mathjax / fonts, folder / "mathjax" / fonts, dirs_exist_ok=True)
    for explorer in SITE.glob("explorer*.html"):
        shutil.copy2(explorer, folder)


def start_page(out: Path) -> None:
    """Sends a reader to the browser's language; both are offered where there is no script."""
    (out / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>facelearn</title>\n'
        '<p><a href="en/index.html">English</a> · <a href="zh/index.html" lang="zh-CN">中文</a></p>\n'
        '<script>location.replace(`${navigator.language?.startsWith("zh") ? "zh" : "en"}/index.html`)</script>\n',
        encoding="utf-8",
    )


def build(out: Path, languages: tuple[str, ...], builder: str = "html") -> None:
    shutil.rmtree(out / "source", ignore_errors=True)
    static(out / "source" / "static")
    running = []
    for language in languages:
        source = out / "source" / language
        source.mkdir(parents=True)
        gather(language, source)
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", builder, "-c", str(SITE)]
        environment = os.environ | {
            "COURSE_LANG": language,
            "SITE_STATIC": str(out / "source" / "static"),
            "PYTHONPATH": str(ROOT),
        }
        made = out / (language if builder == "html" else f"{builder}_{language}")
        shutil.rmtree(made, ignore_errors=True)
        doctrees = ["-d", str(out / "source" / f"doctrees_{language}")]
        running.append(subprocess.Popen([*command, *doctrees, str(source), str(made)], env=environment))
    codes = [process.wait() for process in running]  # all of them, also where the first has failed
    if any(codes):
        raise chapters.Failed("site: Sphinx found something wrong, see above")
    if builder == "html":
        start_page(out)


@chapters.reports
def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "_site")
    parser.add_argument("--only", choices=LANGUAGES, help="one language alone")
    parser.add_argument("--check-links", action="store_true", help="ask every address outside, build no pages")
    options = parser.parse_args()
    languages = (options.only,) if options.only else LANGUAGES
    build(options.out.resolve(), languages, "linkcheck" if options.check_links else "html")
    print("site: every address answers" if options.check_links else f"site: {options.out / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
