"""Run the chapters as plain scripts at the full budget, and store what they concluded.

    python tools/gpu.py                 every chapter
    python tools/gpu.py 12 03           these
    python tools/gpu.py --budget smoke --out /tmp/gpu.csv

For a GPU server that has torch but no Jupyter: the code cells of a notebook are joined into one script, which needs
only the package's own dependencies. A chapter picks its device by itself. `course/results/gpu.csv` gets one row per
chapter: its verdicts, seconds, the device's name. A chapter that stops with an error is reported and fails the run.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from tools import chapters
from tools.chapters import Chapter

ROOT = Path(__file__).resolve().parents[1]
FIELDS = ("chapter", "outcome", "verdicts", "budget", "seconds", "device", "torch")


def script(notebook: Path) -> str:
    """The code cells of a notebook, one after the other."""
    return "\n\n".join(cell.source for cell in Chapter(notebook).code)


def device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def run(notebook: Path, budget: str) -> dict[str, str]:
    """Run one chapter in its own process and folder; its output is shown as it comes."""
    environment = os.environ | {"FACELEARN_BUDGET": budget, "PYTHONUNBUFFERED": "1", "MPLBACKEND": "agg"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"chapter_{notebook.stem}.py"
        path.write_text(script(notebook), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, str(path)], cwd=notebook.parent, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        verdicts = []
        for line in process.stdout:
            print(f"    {line}", end="", flush=True)
            if line.startswith("claim holds:"):
                verdicts.append(line.removeprefix("claim holds:").split()[0])
        failed = process.wait()
    return {
        "chapter": notebook.stem,
        "outcome": f"error {failed}" if failed else "ran",
        "verdicts": " ".join(verdicts),
        "budget": budget,
        "seconds": f"{time.perf_counter() - began:.2f}",
        "device": device_name(),
        "torch": torch.__version__,
    }


def table(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


@chapters.reports
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("chapters", nargs="*", help="numbers or names, as 12 or 12_arcface; none: all")
    parser.add_argument("--budget", choices=("smoke", "cpu", "full"), default="full")
    parser.add_argument("--out", type=Path, default=ROOT / "course" / "results" / "gpu.csv")
    options = parser.parse_args(arguments)

    course = ROOT / "course"
    names = chapters.chosen(options.chapters, chapters.names(course))
    notebooks = [course / "en" / f"{name}.ipynb" for name in names]
    print(f"{len(notebooks)} chapters at the {options.budget} budget on {device_name()}")
    rows = []
    for notebook in notebooks:
        print(notebook.stem, flush=True)
        rows.append(run(notebook, options.budget))
        chapters.write_whole(options.out, table(rows))  # after every chapter: an interrupted run keeps what it has
        print(f"  {rows[-1]['outcome']} in {rows[-1]['seconds']} s, claims hold: {rows[-1]['verdicts'] or 'none made'}")
    return int(any(row["outcome"] != "ran" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
