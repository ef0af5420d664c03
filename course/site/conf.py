"""Sphinx configuration of the site; `tools/site.py` gathers the pages and builds each language with it, offline."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.search import SearchLanguage

from tools import chapters

HERE = Path(__file__).resolve().parent
LANGUAGE = os.environ.get("COURSE_LANG", "en")  # en | zh
OTHER = {"en": "zh", "zh": "en"}[LANGUAGE]

project = {"en": "facelearn", "zh": "facelearn 人脸识别损失函数"}[LANGUAGE]
author = "The facelearn authors"
copyright = "The facelearn authors, CC BY 4.0"
language = {"en": "en", "zh": "zh_CN"}[LANGUAGE]
root_doc = "index"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["**/.ipynb_checkpoints"]
default_role = "code"

nb_execution_mode = "off"  # the stored outputs, which the tests check
nb_mime_priority_overrides = [("html", "image/gif", 5)]
nb_render_markdown_format = "myst"  # tables that cells print; plain CommonMark has none
nb_ipywidgets_js: dict[str, Any] = {}  # would come from another server
nb_code_prompt_show = {"en": "Show {type}", "zh": "展开（{type}）"}[LANGUAGE]
nb_code_prompt_hide = {"en": "Hide {type}", "zh": "收起（{type}）"}[LANGUAGE]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "html_image"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type"]

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # they stand in the signature's source; spelled out here they bury it
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # torch.nn.Module has some, in another dialect

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = [str(HERE / "_static"), str(Path(os.environ["SITE_STATIC"]))]
templates_path = [str(HERE / "_templates")]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search stands in the side bar and in the article's header
    "article_header_end": ["switch.html", "article-header-buttons.html"],  # also on a phone, where the side bar is shut
}
html_context = {
    "default_mode": "auto",
    "other": OTHER,
    "other_code": {"en": "en", "zh": "zh-CN"}[OTHER],
    "other_name": {"en": "English", "zh": "中文"}[OTHER],
}
mathjax_path = "mathjax/tex-chtml.js"  # from the site itself
mathjax3_config = {"options": {"enableMenu": False}}

# `make links`. This repository's own addresses are held by the lint, and need not be public yet.
linkcheck_ignore = [
    rf"https://.*{re.escape(chapters.repository())}(\.git)?(/|$)",
    r"http://(localhost|127\.0\.0\.1:8888)",
]
linkcheck_anchors = False  # GitHub and others write theirs with a script
linkcheck_timeout = 20
linkcheck_retries = 2


class Bigrams(SearchLanguage):
    """Chinese search by pairs of characters: no dictionary, and the query is cut as the pages are.

    Sphinx's own Chinese search (9.0) leaves the query whole, so that it finds hardly anything.
    """

    lang = "zh"
    language_name = "Chinese"
    stopwords: ClassVar[set[str]] = set()
    js_splitter_code = r"""
var splitQuery = (query) => [...query.matchAll(/[\u3400-\u9fff]+|[\p{Letter}\p{Number}_]+/gu)].flatMap(([word]) =>
  !/[\u3400-\u9fff]/.test(word) || word.length < 3 ? [word]
    : Array.from({length: word.length - 1}, (_, i) => word.slice(i, i + 2)));
"""
    js_stemmer_code = "var Stemmer = function () { this.stemWord = (word) => word; };"

    def split(self, input: str) -> list[str]:
        words: list[str] = re.findall(r"[\u3400-\u9fff]+|[^\W\u3400-\u9fff]+", input)
        return [
            piece
            for word in words
            for piece in (
                [word[i : i + 2] for i in range(max(1, len(word) - 1))] if "\u3400" <= word[0] <= "\u9fff" else [word]
            )
        ]

    def stem(self, word: str) -> str:
        return word.lower()


CLOSING = re.compile(r"(?:-\w+|[^\w\s(（\[【“‘「《—…-])+")  # what may not begin a line, and "-th"
OPENING = re.compile(r"[(（\[【“‘「《]+$")  # what may not end one
HAN = re.compile(r"[\u3400-\u9fff]")


def typography(app: Sphinx, doctree: nodes.document) -> None:
    """A formula holds on to the punctuation beside it, which a browser would let begin a line; Chinese is not slanted.

    The blank that GitHub needs between full-width punctuation and `$` goes.
    """
    for formula in list(doctree.findall(nodes.math)):
        row = formula.parent
        at = row.index(formula)
        before = row[at - 1].astext() if at and isinstance(row[at - 1], nodes.Text) else ""
        after = row[at + 1].astext() if at + 1 < len(row) and isinstance(row[at + 1], nodes.Text) else ""
        left = re.sub(r"(?<=[，。；：？！、（“《]) $", "", before)
        opening = match[0] if (match := OPENING.search(left)) else ""
        closing = match[0] if (match := CLOSING.match(after)) else ""
        together = nodes.inline(
            "", "", *map(nodes.Text, filter(None, [opening])), formula.deepcopy(), classes=["together"]
        )
        together += [nodes.Text(closing)] if closing else []
        row[at] = together if opening or closing else formula
        if closing:
            row[at + 1] = nodes.Text(after[len(closing) :])
        if left != before or opening:
            row[at - 1] = nodes.Text(left.removesuffix(opening))
    for emphasis in doctree.findall(nodes.emphasis):
        if HAN.search(emphasis.astext()):
            emphasis["classes"].append("han")


SECTION = re.compile(r"(Args|Arguments|Returns|Raises|Yields|Example|Examples):$")
ITEM = re.compile(r"\s*([*-]|\d+\.) ")


def keep_formulas(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """The docstrings are written for an IDE: what is set in, save arguments and lists, is to be kept line by line."""
    kept: list[str] = []
    literal = section = False
    above = ""
    for line in lines:
        if line and not line[0].isspace():
            if literal:
                kept.append("")
            literal, section = False, bool(SECTION.match(line))
        elif line.strip() and not literal and not section and not ITEM.match(above) and not ITEM.match(line):
            literal = True
            kept += ["", "::", ""]
        kept.append(line)
        above = line if line.strip() and (not line[0].isspace() or ITEM.match(line)) else above
    lines[:] = kept


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", keep_formulas, priority=400)  # before napoleon
    app.connect("doctree-read", typography)
    if LANGUAGE == "zh":
        app.add_search_language(Bigrams)
