"""Copy what the explorers share from the margin explorer into the others.

    python tools/explorers.py

Each page is one file that needs no other, wherever it is taken; so what they share stands in each, between `shared:`
and `end`, and is written in `explorer.html` alone. A test says where the copy was forgotten.
"""

from __future__ import annotations

import re
from pathlib import Path

from facelearn.files import write_whole

SITE = Path(__file__).resolve().parents[1] / "course" / "site"
SOURCE = SITE / "explorer.html"
COPIES = tuple(SITE / f"explorer_{name}.html" for name in ("mining", "circle", "scale"))
SHARED = re.compile(r"/\* shared: .*?/\* end \*/|^// shared: .*?^// end$", re.S | re.M)


def filled(page: str, source: str) -> str:
    """The page with the shared parts of the source in the places of its own."""
    parts = iter(SHARED.findall(source))
    return SHARED.sub(lambda _: next(parts), page)


if __name__ == "__main__":
    source = SOURCE.read_text(encoding="utf-8")
    for copy in COPIES:
        write_whole(copy, filled(copy.read_text(encoding="utf-8"), source).encode())
