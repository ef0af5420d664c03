"""Sphinx configuration of the slides; `tools/slides.py` writes the pages and builds each language with it, offline."""

import os
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
mathjax = find_spec("sphinx-mathjax-offline")
if mathjax is None or mathjax.origin is None:
    raise SystemExit("slides: sphinx-mathjax-offline is not installed; `make setup` installs it")

project = "facelearn"
language = {"en": "en", "zh": "zh_CN"}[os.environ["COURSE_LANG"]]
extensions = ["myst_parser", "sphinx.ext.mathjax", "sphinx_revealjs"]
myst_enable_extensions = ["dollarmath"]
suppress_warnings = ["toc.not_included"]

mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}, "svg": {"fontCache": "local"}}

revealjs_static_path = [str(HERE / "deck.css"), str(Path(mathjax.origin).parent / "static" / "mathjax" / mathjax_path)]
revealjs_style_theme = "deck.css"
revealjs_script_plugins = [{"name": "RevealNotes", "src": "revealjs/plugin/notes/notes.js"}]
revealjs_script_conf = {
    "width": 1280, "height": 720, "margin": 0, "center": False, "display": "flex", "viewDistance": 99,
    "transition": "none", "controls": False, "hash": True, "slideNumber": "c/t",
}  # fmt: skip
