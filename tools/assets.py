"""Draw the stored pictures and animations of the chapters into `course/assets`.

    python tools/assets.py [12_arcface | 12 ...]     # all experiments that draw something where none is named

A chapter's experiment module may have `assets(folder)`, which writes its files into that folder. They are drawn aside
and moved into place when all are there: a failing chapter leaves its old pictures as they were.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tools.chapters import Failed, chosen, reports
from tools.results import ENVIRONMENT, chapters_with_experiments, load

ROOT = Path(__file__).resolve().parents[1]


def draw(course: Path, name: str) -> list[Path]:
    """Draw one chapter's assets and return their paths."""
    from facelearn import figures

    experiment = load(course, name)
    if not hasattr(experiment, "assets"):
        return []
    target = course / "assets"
    target.mkdir(exist_ok=True)
    figures.use_style()
    with tempfile.TemporaryDirectory(dir=target, prefix=".drawing-") as aside:
        experiment.assets(Path(aside))
        files = sorted(path for path in Path(aside).iterdir() if path.is_file())
        if not files:
            raise Failed(f"{name}: assets(folder) wrote nothing")
        for file in files:
            os.replace(file, target / file.name)
    return [target / file.name for file in files]


@reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw the stored pictures and animations of the chapters.")
    parser.add_argument("names", nargs="*", help="12_arcface or 12; all experiments where none is named")
    parser.add_argument("--course", type=Path, default=ROOT / "course", help="folder of the course")
    args = parser.parse_args(arguments)
    os.environ.update(ENVIRONMENT, MPLBACKEND="agg")
    course = args.course.resolve()
    for name in chosen(args.names, list(chapters_with_experiments(course))):
        for path in draw(course, name):
            print(f"{path.stat().st_size / 1000:7.1f} kB  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
