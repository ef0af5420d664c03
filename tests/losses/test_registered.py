"""Is a registered loss complete? One test a loss, which names all that is missing at once.

    pytest -q tests/losses/test_registered.py -k cosface

What a new loss needs beside its formula stands in many places; whoever adds one should not find them one by one.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from facelearn import figures, losses
from facelearn.losses.base import ClassLoss, Common, Labelled
from facelearn.losses.margin import Frame
from tests.losses.conformance import CLASSIFYING, PAIR

ROOT = Path(__file__).resolve().parents[2]
HELD_TO = {type(make(8, 6)) for make in CLASSIFYING.values()} | {type(make()) for make in PAIR.values()}
OF_THEIR_OWN = {losses.Center, losses.Ring}  # added to another loss; their own tests hold them to the same


def text(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8")


def entry(table: str, stem: str) -> bool:
    """Does a dictionary in a source file have this key? Asked of the text: the module need not be imported for it."""
    return re.search(rf'^    "{stem}": ', text(table), re.M) is not None


def losses_csv() -> dict[str, dict[str, str]]:
    with (ROOT / "course" / "losses.csv").open(encoding="utf-8") as file:
        return {row["stem"]: row for row in csv.DictReader(file)}


def missing(stem: str, kind: type[losses.Loss], rows: dict[str, dict[str, str]] | None = None) -> list[str]:
    """What a loss of the registry lacks, each with the place where it belongs."""
    row = (losses_csv() if rows is None else rows).get(stem, {})
    key, pairs = row.get("key", ""), text("tests/losses/test_pairs.py")
    tested = (ROOT / "tests" / "losses" / f"test_{stem}.py").is_file() or kind.__name__ in pairs
    tiled = not issubclass(kind, losses.MarginHead) or f'"{stem}": {{' in text("tests/losses/test_tiles.py")
    documented = all(re.search(rf"^\s*{part}", kind.__doc__ or "", re.M) for part in ("Formula", "Args", "Source"))
    picture = ROOT / "course" / "assets" / "losses" / f"{stem}.png"
    chosen = json.loads(text("course/settings.json"))["losses"]
    asked = {
        f"facelearn/losses/{stem}.py": kind.__module__ == f"facelearn.losses.{stem}",
        "its docstring: Formula, Args and Source": documented or kind is losses.Softmax,
        f"tests/losses/test_{stem}.py": tested,
        "ANGULAR, CLASSIFYING or PAIR in tests/losses/conformance.py": kind in HELD_TO | OF_THEIR_OWN,
        "HEADS in tests/losses/test_tiles.py": tiled,
        "COLOURS in facelearn/figures.py": stem in figures.COLOURS,
        "NAMES in facelearn/figures.py": stem in figures.NAMES,
        "REGISTRY in tests/test_figures.py": f'"{stem}"' in text("tests/test_figures.py"),
        "a row in course/losses.csv": bool(row),
        "PICTURES in tools/loss_pictures.py": entry("tools/loss_pictures.py", stem),
        f"course/assets/losses/{stem}.png, which that tool draws": picture.is_file(),
        f"{key} in course/references.bib": not key or f"{{{key}," in text("course/references.bib"),
        "GRIDS in course/experiments/protocol.py": entry("course/experiments/protocol.py", stem),
        "course/settings.json, which `make protocol` writes after a search": stem in chosen,
    }
    return [place for place, there in asked.items() if not there]


@pytest.mark.parametrize("stem", losses.REGISTRY)
def test_the_docstring_names_the_keywords_that_losses_share(stem):
    kind = losses.REGISTRY[stem]
    shared = Frame if issubclass(kind, losses.MarginHead) else Labelled if issubclass(kind, ClassLoss) else Common
    told = re.findall(r"\w+", (kind.__doc__ or "").partition("Args:")[2].partition("Example:")[0])
    assert set(shared.__annotations__) - set(told) == set()


@pytest.mark.parametrize("stem", losses.REGISTRY)
def test_nothing_is_missing(stem):
    assert missing(stem, losses.REGISTRY[stem]) == [], f"{stem}: the list says where something is to be added"


def test_a_new_loss_is_told_all_that_it_lacks_at_once():
    class Newcomer(losses.MarginHead):
        """No formula."""

    lacks = missing("newcomer", Newcomer)
    assert len(lacks) == 13
    assert not any("references.bib" in place for place in lacks)  # the softmax row has no paper either
    rows = {"newcomer": {"key": "nobody2099"}}
    assert "nobody2099 in course/references.bib" in missing("newcomer", Newcomer, rows)
