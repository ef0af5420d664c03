"""One measurement as files: JSON, CSV, pictures, and a page to read that needs nothing but itself.

>>> subject = Subject("faces", "arcface on folder:faces", items=files, picture=lambda i: Image.open(files[i]))
>>> write(Path("out"), subject, result, measuring.details(result), language="en")
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from facelearn import __version__, figures
from facelearn.files import write_json, write_whole
from facelearn.report import pictures
from facelearn.report.pictures import level
from facelearn.report.words import reader_language, words
from facelearn.verification import AllPairsResult, VerificationResult

__all__ = ["Subject", "reader_language", "write"]

Result = VerificationResult | AllPairsResult

FEW_PEOPLE = 100
THUMBNAIL = 96  # pixels


@dataclass
class Subject:
    """What was measured: a name for its files, words for it, what is known of the items that the pairs are numbers of.

    notes: what a reader must know, as `mind_...` of words.json, each with the values that its sentence has.
    """

    name: str
    told: str
    items: Sequence[str] = ()
    people: Sequence[str] = ()  # of each item
    picture: Callable[[int], Image.Image | None] | None = None
    notes: dict[str, dict[str, Any]] | None = None


def write(folder: Path, subject: Subject, result: Result, found: dict[str, Any], language: str) -> Path:
    """`report_NAME.html`, three figures, `evaluation_NAME.csv` and, last, `evaluation_NAME.json`; returns the page."""
    found = {"name": subject.name, "measured": subject.told} | _named(found, subject)
    page, table = html(subject, result, found, language), _csv(found)  # all of it, before the first file
    folder.mkdir(parents=True, exist_ok=True)
    for name, fig in pictures.draw(result, found, words("en")).items():  # figures in files are English, as everywhere
        figures.save_png(folder / "figures" / f"{name}_{subject.name}.png", fig)
    write_whole(folder / f"report_{subject.name}.html", page)
    write_whole(folder / f"evaluation_{subject.name}.csv", table)
    write_json(folder / f"evaluation_{subject.name}.json", found)
    return folder / f"report_{subject.name}.html"


def _named(found: dict[str, Any], subject: Subject) -> dict[str, Any]:
    """The worst pairs with the names of their items."""
    named = dict(found)
    for kind in ("false_accepts", "false_rejects"):
        named[kind] = [row | _sides(row, subject) for row in found[kind]]
    return named


def _sides(row: dict[str, Any], subject: Subject) -> dict[str, Any]:
    if not subject.items or "first" not in row:
        return {}
    places = {side: row[side] for side in ("first", "second")}
    names = {side: subject.items[place] for side, place in places.items()}
    if subject.people:
        names |= {f"{side}_person": subject.people[place] for side, place in places.items()}
    return names | {"items": list(places.values())}


def _csv(found: dict[str, Any]) -> str:
    """A row per number, and per point to operate at with its threshold."""
    rows = [{"number": name} | cell for name, cell in found["numbers"].items()]
    for point in found["operating_points"]:
        if "threshold" in point:
            asked = point["asked"] if point["asked"] == "eer" else f"{point['asked']:.0e}"
            rows += [{"number": f"{rate} at {asked}"} | point[rate] | {"threshold": point["threshold"]}
                     for rate in ("far", "tar", "frr")]  # fmt: skip
    columns = ["number", "value", "low", "high", "threshold"]
    return str(pd.DataFrame(rows).reindex(columns=columns).to_csv(index=False, lineterminator="\n"))


# ---- the page -------------------------------------------------------------------------------------------------------


def html(subject: Subject, result: Result, found: dict[str, Any], language: str) -> str:
    """The page: no script, no network, every picture inside."""
    say = words(language)
    spans, people = found["interval"] is not None, found["people"]
    counts = {"genuine": f"{found['genuine']:,}", "impostor": f"{found['impostor']:,}"}
    told = "" if people is None else say["people"].format(people=f"{people:,}")
    return _page().render(
        say=say,
        spans=spans,
        title=say["title"].format(name=subject.name),
        lead=say["lead"].format(people=told, **counts),
        measured=say["measured"].format(told=subject.told),
        short=_short(found, say),
        mind=_mind(subject, found, say),
        numbers=[(name, _number_name(name, say), _cell(cell, say, 5 if name == "auc" else None))
                 for name, cell in found["numbers"].items()],
        points=[_point(point, say) for point in found["operating_points"]],
        figures=_figures(result, found, say),
        worst=[_worst(kind, subject, found, say) for kind in ("accepts", "rejects")],
        made=_made(found, say),
    )  # fmt: skip


@cache
def _page() -> Any:
    pages = Environment(loader=PackageLoader("facelearn", "report"), autoescape=True, undefined=StrictUndefined)
    return pages.get_template("page.html")


def percent(value: float) -> str:
    if value >= 0.001 or value == 0:
        return f"{value:.2%}"
    return np.format_float_positional(100 * value, precision=2, fractional=False, trim="-") + "%"


def _cell(cell: dict[str, float], say: dict[str, str], digits: int | None = None) -> dict[str, str]:
    show = percent if digits is None else lambda value: f"{value:.{digits}f}"
    ends = {end: show(cell[end]) for end in ("low", "high") if end in cell}
    return {"value": show(cell["value"]), "span": say["span"].format(**ends) if ends else ""}


def _number_name(name: str, say: dict[str, str]) -> str:
    return say["tar"].format(far=level(float(name[4:]))) if name.startswith("tar@") else say[name]


def _short(found: dict[str, Any], say: dict[str, str]) -> str:
    """The two numbers to remember, as sentences."""

    def told(cell: dict[str, float]) -> str:
        ends = {end: percent(cell[end]) for end in ("low", "high") if end in cell}
        return percent(cell["value"]) + (say["span_95"].format(**ends) if ends else "")

    fars = [float(name[4:]) for name in found["numbers"] if name.startswith("tar@")]
    sentences = []
    if fars:
        tar = told(found["numbers"][f"tar@{min(fars):.0e}"])
        one_in = f"{round(1 / min(fars)):,}"
        sentences.append(say["short_tar"].format(one_in=one_in, far=level(min(fars)), tar=tar))
    sentences.append(say["short_eer"].format(eer=told(found["numbers"]["eer"])))
    return (say["stop"] + (" " if say["lang"] == "en" else "")).join(sentences) + say["stop"]


def _mind(subject: Subject, found: dict[str, Any], say: dict[str, str]) -> list[str]:
    impostor, people = found["impostor"], found["people"]
    mind: dict[str, dict[str, Any]] = {}
    if found["numbers"]["auc"]["value"] < 0.5:
        mind["reversed"] = {}
    mind |= subject.notes or {}
    if any("threshold" not in point or point["few"] for point in found["operating_points"]):
        finer = {"finest": percent(1 / impostor), "few": percent(min(1.0, 10 / impostor))}
        mind["finer"] = {"impostor": f"{impostor:,}"} | finer
    if found["interval"] is None:
        mind["unknown" if people is None else "three" if people < 4 else "none"] = {}
    elif people < FEW_PEOPLE:
        mind["few"] = {"people": people}
    mind["threshold"] = {}
    return [_options_whole(say[f"mind_{name}"].format(**values)) for name, values in mind.items()]


def _options_whole(sentence: str) -> Markup:
    """`--no-pictures` on one line."""
    return Markup(re.sub(r"--[\w-]+", r"<code>\g<0></code>", str(escape(sentence))))


def _point(point: dict[str, Any], say: dict[str, str]) -> dict[str, Any]:
    name = point["asked"]
    asked = say["equal"] if name == "eer" else level(name)
    if "threshold" not in point:
        return {"name": name, "asked": asked, "threshold": None, "few": True}
    cells = [_cell(point[rate], say) for rate in ("far", "tar", "frr")]
    return {"name": name, "asked": asked, "threshold": f"{point['threshold']:.4f}", "few": point["few"], "cells": cells}


def _figures(result: Result, found: dict[str, Any], say: dict[str, str]) -> list[dict[str, str]]:
    curve, scores = found["curve"], found["scores"]
    first, last = curve[0], min(curve, key=lambda point: abs(math.log10(point["far"]) + 1))  # the one nearest to 0.1
    ends = {}
    for kind in ("genuine", "impostor"):
        filled = [i for i, count in enumerate(scores[kind]) if count]
        ends[f"{kind}_low"] = f"{scores['edges'][filled[0]]:.2f}" if filled else "−"
        ends[f"{kind}_high"] = f"{scores['edges'][filled[-1] + 1]:.2f}" if filled else "−"
    values = {
        "first": percent(first["value"]), "first_far": percent(first["far"]), "last": percent(last["value"]),
        "last_far": percent(last["far"]), "eer": percent(found["numbers"]["eer"]["value"]),
    }  # fmt: skip
    shown = []
    for name, fig in pictures.draw(result, found, say).items():
        band = say["band"] if found["interval"] and name != "scores" else ""
        source = _inline(pictures.svg(fig), "svg+xml")
        alt = say[f"{name}_alt"].format(**values, **ends)
        shown.append({"name": say[name], "told": say[f"{name}_told"] + band, "source": source, "alt": alt})
        pictures.plt.close(fig)
    return shown


def _worst(kind: str, subject: Subject, found: dict[str, Any], say: dict[str, str]) -> dict[str, Any]:
    rows = []
    for row in found[f"false_{kind}"]:
        if "items" in row:
            sides = [{"name": _with_person(row, side, item, say), "source": _thumbnail(subject, item)}
                     for side, item in zip(("first", "second"), row["items"], strict=True)]  # fmt: skip
        else:
            sides = [{"name": say["row"].format(number=row["pair"] + 1), "source": ""}]
        for side in sides:  # where a long name may break
            side["shown"] = escape(side["name"]).replace("/", Markup("/<wbr>"))
        score = "−" if row["score"] is None else f"{row['score']:.4f}"
        rows.append({"sides": sides, "score": score, "wrong": row["wrong"]})
    return {"id": kind, "name": say[kind], "told": say[f"{kind}_told"], "rows": rows,
            "named": all(len(row["sides"]) == 2 for row in rows)}  # fmt: skip


def _with_person(row: dict[str, Any], side: str, item: int, say: dict[str, str]) -> str:
    """An item's name, and whose it is where the name does not say so."""
    name, person = row[side], row.get(f"{side}_person", "")
    if name == str(item):
        return f"{say['row_from_0'].format(number=name)} · {person}".removesuffix(" · ")
    return name if person in name else f"{name} · {person}"


def _thumbnail(subject: Subject, item: int) -> str:
    image = None if subject.picture is None else subject.picture(item)
    if image is None:
        return ""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    small.save(data, "JPEG", quality=85)
    return _inline(data.getvalue(), "jpeg")


def _inline(data: bytes, kind: str) -> Markup:
    return Markup(f"data:image/{kind};base64,{base64.b64encode(data).decode()}")


def _made(found: dict[str, Any], say: dict[str, str]) -> list[str]:
    made = []
    if found["interval"] is not None:
        how = "made_people" if "resamples" in found["interval"] else "made_parts"
        made.append(say[how].format(**(found["interval"] | {"people": f"{found['people']:,}"})))
        if any(cell["value"] in (0, 1) for cell in (*found["numbers"].values(), *found["curve"])):
            made.append(say["made_exact"])
    return [*made, say["made_ties"], say["made_by"].format(version=__version__)]
