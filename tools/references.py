"""The references page of each language, from the one bibliography.

    python tools/references.py        # course/references.bib -> course/{en,zh}/references.md

A chapter cites with an ordinary link, `[Deng et al., 2019](references.md#arcface2019)`: it reads well on GitHub, in
JupyterLab and on the site, and the fragment is the key.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tools import chapters

ROOT = Path(__file__).resolve().parents[1]
ENTRY = re.compile(r"^@(\w+)\{([\w-]+),\n(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", re.M)
NEEDED = {"title", "author", "year"}
TITLE = {"en": "# References", "zh": "# 参考文献"}


def read_bib(path: Path) -> dict[str, dict[str, str]]:
    """Key -> fields. One field per line, values in braces: the plain form that `references.bib` keeps to."""
    text = path.read_text(encoding="utf-8")
    entries: dict[str, dict[str, str]] = {}
    for _, key, body in ENTRY.findall(text):
        fields = dict(FIELD.findall(body))
        if key in entries or not fields.keys() >= NEEDED:
            raise chapters.Failed(f"{path}: {key}: found {fields}, expected one entry with {', '.join(sorted(NEEDED))}")
        entries[key] = fields
    if len(entries) != text.count("\n@") + text.startswith("@"):
        raise chapters.Failed(
            f"{path}: found another form, expected @type{{key, ... }}, the last brace on its own line"
        )
    return entries


def _line(fields: dict[str, str]) -> str:
    text = {name: re.sub(r"[{}]", "", value) for name, value in fields.items()}
    names = [" ".join(reversed(name.split(", "))) for name in text["author"].split(" and ")]
    published = (text.get(field, "") for field in ("booktitle", "journal", "institution", "number"))
    venue = ", ".join(filter(None, published))
    parts = [", ".join(names), f"*{text['title']}*", ", ".join(filter(None, [venue, text["year"]]))]
    if number := text.get("eprint"):
        parts.append(f"[arXiv {number}](https://arxiv.org/abs/{number})")
    return ". ".join(parts) + "."


def render(entries: dict[str, dict[str, str]], language: str) -> str:
    """The page: one heading per key, so that the key is the anchor."""
    order = sorted(entries, key=lambda key: (entries[key]["year"], key))
    return "\n\n".join([TITLE[language], *(f"## {key}\n\n{_line(entries[key])}" for key in order)]) + "\n"


@chapters.reports
def main() -> int:
    entries = read_bib(ROOT / "course" / "references.bib")
    for language in chapters.LANGUAGES:
        chapters.write_whole(ROOT / "course" / language / "references.md", render(entries, language))
    print(f"{len(entries)} references")
    return 0


if __name__ == "__main__":
    sys.exit(main())
