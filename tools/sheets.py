"""Two sheets for a wall, in each language: the table of all losses, and the poster of their boundaries.

    python tools/sheets.py [losses poster] [--out _pdf] [--only en]

One page of A3 each. The table comes from `course/losses.csv`, as the site's does; the poster is the figure to remember
of chapter 13, with its caption. Chromium and fonts as for `tools/pdf.py`.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # also when started as a script

from facelearn import figures  # noqa: E402
from tools import chapters, pdf, site_pages  # noqa: E402
from tools.chapters import Chapter, Failed  # noqa: E402

COURSE = ROOT / "course"
STYLE = """
@page { margin: 9mm; size: A3 %s; }
body { font: 9pt/1.3 "Noto Sans", "Helvetica Neue", Arial, "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC",
  "Source Han Sans SC", sans-serif; margin: 0; }
h1 { font-size: 22pt; margin: 0 0 2mm; }
p { margin: 0 0 2mm; }
table { border-collapse: collapse; width: 100%%; }
th, td { border-bottom: .3pt solid #bbb; padding: 0 3mm 0 0; text-align: left; vertical-align: middle; }
th { font-size: 9pt; }
td img { display: block; height: 10.4mm; }
td.name { font-weight: bold; border-left: 1.5mm solid; padding-left: 2mm; white-space: nowrap; }
td.name small { font-weight: normal; }
td.remark { font-size: 8pt; max-width: 88mm; }
td.formula { white-space: nowrap; }
.poster img { display: block; height: 345mm; margin: 0 auto; }
.poster p { font-size: 11pt; line-height: 1.4; }
"""
WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "title": "The loss functions of face recognition",
        "columns": ("", "loss", "own class", "wrong class", "boundary", "to choose", "remark", "when it fails"),
        "chapter": "chapter {}",
    },
    "zh": {
        "title": "人脸识别损失函数一览",
        "columns": ("", "损失", "本类 logit", "其他类 logit", "边界", "参数", "说明", "何时失效"),
        "chapter": "第 {} 章",
    },
}


def losses(language: str) -> str:
    """A row for each loss of the package."""
    words = WORDS[language]
    lines = ["<tr>" + "".join(f"<th>{word}</th>" for word in words["columns"]) + "</tr>"]
    for row in site_pages.table(COURSE / "losses.csv"):
        picture = pdf.picture(COURSE / "assets" / "losses" / f"{row['stem']}.png")
        year = re.search(r"(?:19|20)\d\d", row["key"])
        beside = f"{year[0]} · " * bool(year) if year else ""
        where = f"{beside}{words['chapter'].format(row['chapter'])}"
        name = f"{html.escape(figures.NAMES[row['stem']])}<br><small>{where}</small>"
        cells = [
            f'<td><img src="{picture}" alt=""></td>',
            f'<td class="name" style="border-left-color: {figures.colour(row["stem"])}">{name}</td>',
            *(f'<td class="formula">{html.escape(row[kind])}</td>' for kind in ("target", "others", "boundary")),
            f"<td>{html.escape(row['parameters'])}</td>",
            *(f'<td class="remark">{html.escape(row[f"{kind}_{language}"])}</td>' for kind in ("remark", "fails")),
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lead = html.escape(re.sub(r"\*", "", site_pages.WORDS[language]["losses_lead"]))
    body = f"<h1>{words['title']}</h1><p>{lead}</p><table>{''.join(lines)}</table><p>{made(language)}</p>"
    return pdf.as_page(language, words["title"], STYLE % "landscape", body)


def poster(language: str) -> str:
    """The figure to remember of chapter 13."""
    chapter = Chapter(COURSE / language / "13_margins.md").executed
    source = "\n".join(cell.source for cell in chapter.section("The figure to remember"))
    found = re.search(r"\]\((\S+\.svg)\)\s+(?:\+\+\+\s+)?\*\*[^*]+\*\*\s*(.+)", source)
    if found is None:
        raise Failed(f"{chapter.where}: no SVG with a caption in the figure to remember")
    picture = pdf.picture(chapter.path.parent / found[1])
    body = (
        f'<div class="poster"><img src="{picture}" alt=""><p>{html.escape(found[2])}</p><p>{made(language)}</p></div>'
    )
    return pdf.as_page(language, chapter.title, STYLE % "portrait", body)


def made(language: str) -> str:
    return f"facelearn · https://github.com/{chapters.repository(ROOT)} · {pdf.LICENCE[language]}"


SHEETS = {"losses": losses, "poster": poster}


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="The table of losses and the poster, a page of A3 each.")
    parser.add_argument("names", nargs="*", choices=[*SHEETS, []], help="both where none is named")
    parser.add_argument("--out", type=Path, default=ROOT / "_pdf")
    parser.add_argument("--only", choices=chapters.LANGUAGES, help="one language alone")
    options = parser.parse_args(arguments)
    driver = pdf.browser()
    try:
        for language in (options.only,) if options.only else chapters.LANGUAGES:
            for name in options.names or SHEETS:
                target = options.out / language / f"{name}.pdf"
                target.parent.mkdir(parents=True, exist_ok=True)
                text = SHEETS[name](language)
                target.write_bytes(pdf.on_pages(text, f"{language}: {name}", driver, {"preferCSSPageSize": True}))
                print(target)
    finally:
        driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main())
