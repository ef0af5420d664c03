"""A chapter as PDF in each language, to print or to read where there is no computer.

    python tools/pdf.py 12_arcface | 12 ... [--out _pdf] [--only en]     # without a name all chapters

nbconvert makes HTML of the executed notebook, Chromium typesets and prints it. What a reader should not see by
accident stands at the end, from a new page on: the output of the guess, hints, answers of the quiz, solutions. Of an
animation four moments are printed. Chromium and chromedriver have to be there, and for Chinese a font: in Debian
`apt install chromium chromium-driver fonts-noto-cjk`.
"""

from __future__ import annotations

import argparse
import base64
import html
import io
import re
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell
from PIL import Image
from pygments.formatters import HtmlFormatter
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # also when started as a script

from tools import chapters  # noqa: E402
from tools.chapters import ANSWER, FOLDED, HEADINGS, HINT, Chapter, Failed  # noqa: E402
from tools.student import BADGE, TWIN  # noqa: E402

LICENCE = {"en": "text and figures CC BY 4.0", "zh": "文字与图：CC BY 4.0"}
AT_THE_END = {"en": "Answers and solutions", "zh": "答案"}
PAGE = """<!doctype html><html lang="{language}"><meta charset="utf-8"><title>{title}</title><style>{style}</style>
<script>MathJax = {{tex: {{inlineMath: [['$', '$']]}}, options: {{enableMenu: false}}}};</script>
<script src="{mathjax}"></script><body>{body}</body></html>"""
STYLE = """
body { font: 10.5pt/1.5 "Noto Sans", "Helvetica Neue", Arial, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC",
  "Source Han Sans SC", sans-serif; margin: 0; }
:lang(zh) body { line-height: 1.65; }
:lang(zh) em { font-style: normal; font-weight: bold; }
h1, h2, h3 { line-height: 1.25; break-after: avoid; }
h1 { font-size: 22pt; } h2 { font-size: 15pt; border-bottom: 1px solid #999; } h3 { font-size: 12pt; }
h2.end { break-before: page; }
p { orphans: 3; widows: 3; }
p:has(+ ul) { break-after: avoid; }
.anchor-link { display: none; }
pre { font: 8pt/1.4 "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  margin: .5em 0; padding: .5em .8em; break-inside: avoid; }
.highlight pre { background: #f6f8fa; border-left: 3px solid #0b5394; }
.output pre { border-left: 3px solid #ccc; }
code { font: .88em "DejaVu Sans Mono", Menlo, Consolas, monospace; }
img { display: block; max-width: 100%; max-height: 22cm; margin: .5em auto; break-inside: avoid; }
.output_png { break-after: avoid; }
table { border-collapse: collapse; font-size: 9pt; line-height: 1.4; margin: .8em 0; }
th, td { border-bottom: 1px solid #bbb; padding: 3px 8px 3px 0; text-align: left; vertical-align: top; }
table { break-inside: avoid; }
mjx-container svg { max-width: 100%; }
mjx-container[display="true"] { break-inside: avoid; break-before: avoid; padding: 4px 0; }
mjx-container[display="true"] svg { height: auto; }
"""
# Resolves with what is wrong after all formulas have been set: formulas that were refused, and characters that no font
# has, which look like the one for a character that does not exist.
READY = r"""
const done = arguments[0];
const pen = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
pen.font = getComputedStyle(document.body).font;
const drawn = letter => {
  pen.clearRect(0, 0, 40, 40);
  pen.fillText(letter, 4, 25);
  return pen.getImageData(0, 0, 40, 40).data.join();
};
MathJax.startup.promise.then(() => document.fonts.ready).then(() => {
  const nothing = drawn('\u{10ffff}');
  const letters = new Set(document.body.textContent.match(/\p{Script=Han}|[，。；：？！]/gu));
  done([[...document.querySelectorAll('g[data-mjx-error]')].map(error => error.dataset.mjxError),
    [...letters].filter(letter => drawn(letter) === nothing)]);
});
"""


# ---- what is printed ------------------------------------------------------------------------------------------------


def for_print(chapter: Chapter) -> nbformat.NotebookNode:
    """The executed notebook as it goes to paper."""
    chapter = chapter.executed
    book = nbformat.read(chapter.path, as_version=4)
    for figure in chapter.figures:
        if figure.above:
            book.cells[figure.above.index].metadata["alt"] = figure.caption
    end = answers(chapter, book.cells)
    kept = [book.cells[cell.index] for cell in chapter.cells if not {"solution", "remove-cell"} & set(cell.tags)]
    licence = f"https://github.com/{chapters.repository()} · {LICENCE[chapter.language]}"
    book.cells = [kept[0], new_markdown_cell(f"facelearn · {chapter.number} · {licence}"), *kept[1:], *end]
    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = on_paper(cell.source, chapter.path.parent)
    return book


def answers(chapter: Chapter, cells: list[Any]) -> list[Any]:
    """What stands at the end; outputs of the guess and of the exercises are taken out of `cells`."""
    names = HEADINGS if chapter.language == "zh" else {name: name for name in HEADINGS}
    end = [new_markdown_cell(f'<h2 class="end">{AT_THE_END[chapter.language]}</h2>')]
    if chapter.section("Predict first"):
        end.append(new_markdown_cell(f"### {names['Predict first']}"))
    for cell in chapter.section("Predict first"):
        if cell.kind == "code":
            output_alone = {"transient": {"remove_source": True}}
            end.append(new_code_cell(outputs=cells[cell.index].outputs, metadata=output_alone))
            cells[cell.index].outputs = []
    if chapter.questions:
        end.append(new_markdown_cell(f"### {names['Quiz']}"))
    for question in chapter.questions:
        reasons = "\n".join(f"- **{letter}** {reason}" for letter, reason in question.reasons.items())
        end.append(new_markdown_cell(f"**{question.number}.**\n\n{reasons}"))
    for exercise in chapter.exercises:
        told = [fold for cell in exercise.cells if cell.kind == "markdown" for fold in FOLDED.findall(cell.source)]
        hints = [f"*{label.strip()}*: {hint.strip()}" for label, hint in told if label.strip() in HINT]
        title = f"### {names['Exercises']} {exercise.number} · {exercise.title}"
        end += [new_markdown_cell("\n\n".join([title, *hints])), cells[exercise.solution.index]]
        cells[exercise.stub.index].outputs = []
    return end


def on_paper(source: str, folder: Path) -> str:
    """Markdown without what is for the screen: badges, links into the course, folds. Pictures are taken in."""

    def unfolded(match: re.Match[str]) -> str:
        return "" if match[1].strip() in ANSWER + HINT else f"\n\n**{match[1].strip()}**\n\n{match[2].strip()}"

    text = FOLDED.sub(unfolded, TWIN.sub("", BADGE.sub("", source)))
    text = chapters.LINK.sub(lambda match: match[0] if "://" in match[2] else match[1], text)
    return chapters.IMAGE.sub(lambda match: f"![{match[1]}]({picture(folder / match[2])})", text)


def picture(path: Path) -> str:
    """A picture as an address that holds it; of an animation four moments, as a sheet."""
    kinds = {".svg": "svg+xml", ".gif": "png"}
    content = path.read_bytes()
    if path.suffix == ".gif":
        with Image.open(path) as film:
            frames = getattr(film, "n_frames", 1)
            sheet = Image.new("RGB", (2 * film.width, 2 * film.height), "white")
            for i in range(4):
                film.seek(round(i * (frames - 1) / 3))
                sheet.paste(film.convert("RGB"), (i % 2 * film.width, i // 2 * film.height))
        sheet.save(file := io.BytesIO(), "png")
        content = file.getvalue()
    return f"data:image/{kinds.get(path.suffix, path.suffix[1:])};base64,{base64.b64encode(content).decode()}"


def page(chapter: Chapter) -> str:
    """The chapter as one HTML page that needs nothing but MathJax."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    body, _ = exporter.from_notebook_node(for_print(chapter))
    style = STYLE + HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight")
    return as_page(chapter.language, chapter.title, style, body)


def as_page(language: str, title: str, style: str, body: str) -> str:
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise Failed("sphinx-mathjax-offline is not installed: `make setup` installs it")
    return PAGE.format(
        language={"en": "en", "zh": "zh-CN"}[language],
        title=html.escape(title),
        style=style,
        mathjax=(Path(spec.origin).parent / "static" / "mathjax" / "tex-svg.js").as_uri(),
        body=body,
    )


# ---- printing -------------------------------------------------------------------------------------------------------


def browser() -> webdriver.Chrome:
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        raise Failed("pdf: Chromium or chromedriver is not found; Debian has them as chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(driver))


def printed(chapter: Chapter, driver: webdriver.Chrome) -> bytes:
    """The chapter as PDF; `Failed` where a formula or a character cannot be shown."""
    number = '<div style="font-size: 8px; width: 100%; text-align: center" class="pageNumber"></div>'
    margins = {f"margin{side}": 0.7 for side in ("Top", "Bottom", "Left", "Right")}  # inches
    settings = {"paperWidth": 8.27, "paperHeight": 11.69, "displayHeaderFooter": True,
                "headerTemplate": "<span></span>", "footerTemplate": number, **margins}  # fmt: skip
    return on_pages(page(chapter), chapter.where, driver, settings)


def on_pages(text: str, where: str, driver: webdriver.Chrome, settings: dict[str, Any]) -> bytes:
    """An HTML page as PDF, with the settings of Chromium's `Page.printToPDF`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(text, encoding="utf-8")
        driver.get(file.as_uri())
        refused, missing = driver.execute_async_script(READY)
        if missing:
            some = "".join(missing[:12])
            raise Failed(f"{where}: no font has {len(missing)} characters ({some}); Debian: fonts-noto-cjk")
        if refused:
            raise Failed(f"{where}: formulas that MathJax refuses: {'; '.join(refused)}")
        made = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True} | settings)
        return base64.b64decode(made["data"])


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Chapters as PDF, in both languages.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12; all chapters where none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "_pdf")
    parser.add_argument("--only", choices=chapters.LANGUAGES, help="one language alone")
    options = parser.parse_args(arguments)
    course = ROOT / "course"
    names = chapters.chosen(options.names, chapters.names(course))
    driver = browser()
    try:
        for language in (options.only,) if options.only else chapters.LANGUAGES:
            for name in names:
                target = options.out / language / f"{name}.pdf"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(printed(Chapter(course / language / f"{name}.md"), driver))
                print(target)
    except WebDriverException as error:
        raise Failed(f"pdf: Chromium failed: {error.msg}") from error
    finally:
        driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
