"""Links to this repository: all follow the one address in pyproject.toml. `tools/lint.py --fix-urls` rewrites them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tools import chapters

OWN = re.compile(
    r"(?P<site>colab\.research\.google\.com/github/|mybinder\.org/v2/gh/|raw\.githubusercontent\.com/|github\.com/)"
    r"(?P<slug>[\w-]+/[\w-]+(?:\.[\w-]+)*)"
)


def _own_links(text: str, slug: str) -> Iterator[re.Match[str]]:
    """Links to this repository: Colab and Binder always, GitHub where the repository has this project's name."""
    ours = {slug.split("/")[1], "facelearn"}
    for match in OWN.finditer(text):
        badge = match["site"].startswith(("colab", "mybinder"))
        if badge or match["slug"].removesuffix(".git").split("/")[1] in ours:
            yield match


def stale_urls(text: str, slug: str) -> list[str]:
    """Links to this repository under another address than pyproject.toml's."""
    found = (m for m in _own_links(text, slug) if m["slug"].removesuffix(".git") != slug)
    return [m[0] for m in found]


def fix_urls(root: Path) -> list[Path]:
    """Rewrite every link to this repository from the one in pyproject.toml; return the files that changed."""
    slug, changed = chapters.repository(root), []
    for path in text_files(root):
        text = path.read_text(encoding="utf-8")
        for old in sorted(set(stale_urls(text, slug)), key=len, reverse=True):
            site = OWN.fullmatch(old)
            assert site is not None
            fresh = site["site"] + slug + (".git" if old.endswith(".git") else "")
            text = re.sub(re.escape(old) + r"(?![\w-])", fresh, text)
        if text != path.read_text(encoding="utf-8"):
            chapters.write_whole(path, text)
            changed.append(path)
    return changed


def text_files(root: Path) -> list[Path]:
    """All files in which a link to the repository may stand."""
    top = [*root.glob("*.md"), *root.glob("*.cff")]
    return sorted(top + [p for kind in ("md", "ipynb") for p in (root / "course").rglob(f"[!.]*.{kind}")])
