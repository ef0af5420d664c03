"""Picture the report of `facelearn evaluate`: `python tools/report_picture.py` writes course/assets/report_{en,zh}.png.

The report is that of drawn faces, 40 people who do not exist; its parts stand side by side, as on three phones. Needs
Chromium and chromedriver, and for the Chinese one a Chinese font.
"""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from facelearn import cli
from facelearn.files import write_whole
from tests.browsers import chromium, screen

ASSETS = Path(__file__).resolve().parent.parent / "course" / "assets"
WIDTH = 470
LIMIT = 150_000
# Of each column what it begins with, and what it no longer has.
COLUMNS = (("header", "#points"), ("#points", "figure:nth-of-type(3)"), ("#accepts", "#rejects"))


def report(folder: Path, language: str) -> Path:
    """The report of drawn faces that lie in a folder."""
    faces = folder / "faces"
    if not faces.exists():
        drawn = ["--identities", "40", "--images", "4", "--size", "64", "--split", "open", "--difficulty", "0.9"]
        cli.main(["render", "--out", str(faces), *drawn])
    out = folder / language
    words = ["--weights", "arcface", "--on", f"folder:{faces}", "--language", language, "--out", str(out)]
    if cli.main(["evaluate", *words]):
        raise SystemExit("the report could not be made")
    page = (out / "report_faces.html").read_text(encoding="utf-8").replace(f"folder:{faces}", "folder:faces")
    write_whole(out / "report_faces.html", page)
    return out / "report_faces.html"


def columns(browser: Any, page: Path) -> list[Image.Image]:
    """The parts of the page, which stand one below the other in it."""
    browser.get(page.as_uri())
    pictures = []
    for parts in COLUMNS:
        where = "return document.querySelector(arguments[0]).getBoundingClientRect().top - 16"
        top, end = (browser.execute_script(where, part) for part in parts)
        clip = {"x": 0, "y": top, "width": WIDTH, "height": end - top, "scale": 1}
        shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        pictures.append(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB"))
    return pictures


def beside(pictures: list[Image.Image]) -> bytes:
    whole = Image.new("RGB", (sum(p.width for p in pictures), max(p.height for p in pictures)), "white")
    for i, picture in enumerate(pictures):
        whole.paste(picture, (i * WIDTH, 0))
    for colours in (128, 64, 48, 32):
        data = io.BytesIO()
        whole.quantize(colours, dither=Image.Dither.NONE).save(data, "PNG", optimize=True)
        if data.tell() <= LIMIT:
            return data.getvalue()
    raise ValueError(f"picture: found {data.tell()} bytes, expected {LIMIT} at most")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, chromium("--hide-scrollbars") as browser, screen(browser, WIDTH, 900):
        for language in ("en", "zh"):
            content = beside(columns(browser, report(Path(folder), language)))
            write_whole(ASSETS / f"report_{language}.png", content)
            print(f"{len(content) / 1000:.0f} kB  report_{language}.png")


if __name__ == "__main__":
    main()
