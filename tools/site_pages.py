"""Pages of the site that are written from the project itself: chapter list, losses, glossary, data, models, API."""

from __future__ import annotations

import csv
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from tools import chapters, contents, prerequisites
from tools.chapters import Chapter

ROOT = Path(__file__).resolve().parents[1]
COURSE = ROOT / "course"
WORDS = json.loads((COURSE / "site" / "words.json").read_text(encoding="utf-8"))
NO_TOC = "---\nhtml_theme.sidebar_secondary.remove: true\n---\n\n"  # a wide page


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def on_github(path: str) -> str:
    """The address of a file of this repository."""
    return f"https://github.com/{chapters.repository(ROOT)}/blob/main/{path}"


# ---- chapters -------------------------------------------------------------------------------------------------------


def written(language: str) -> list[Chapter]:
    """The executed chapters of a language, in course order, and the appendices after them."""
    return [Chapter(COURSE / language / f"{name}.md").executed for name in chapters.names(COURSE)]


def chapter_list(language: str) -> str:
    """Which chapter needs which; then of each number, title, what is needed, minutes, where to run it, if written."""
    words = WORDS[language]
    rows = [f"| | {' | '.join(words['chapter_columns'])} |", "|---" * 6 + "|"]
    there = {one.number: one for one in written(language)}
    planned = {row["number"]: row[language] for row in contents.plan(COURSE)}
    for number in [*planned, *(one.number for one in there.values() if one.is_appendix)]:
        if number not in there:
            rows.append(f"| {number} | {planned[number]} | {words['unwritten']} | | | |")
            continue
        one = there[number]
        run = " · ".join(f"[{name}]({one.badges[kind]})" for kind, name in (("colab", "Colab"), ("mybinder", "Binder")))
        cells = (number, f"[{one.title}]({one.path.name})", one.needs, str(one.minutes), one.running, run)
        rows.append(f"| {' | '.join(cells)} |")
    parts = (
        f"# {words['course']}",
        words["course_lead"],
        contents.state(COURSE, language),
        prerequisites.ALT[language],
        contents.graph(COURSE, language, lambda number: f"{there[number].name}.html"),
        "\n".join(rows),
        words["course_note"],
    )
    return NO_TOC + "\n\n".join(parts) + "\n"


def short_list(language: str) -> str:
    """Number and title of each chapter as links, for the landing page, and how many are to come."""
    listed = "\n".join(f"- [{one.number} · {one.title}]({one.path.name})" for one in written(language))
    return f"{listed}\n\n{contents.state(COURSE, language)}"


# ---- losses ---------------------------------------------------------------------------------------------------------


def table_of_losses(language: str) -> str:
    """One row per loss of the registry, from `course/losses.csv`; pictures from `tools/loss_pictures.py`."""
    words = WORDS[language]
    made = {row["stem"]: row for row in table(COURSE / "assets" / "losses" / "pictures.csv")}
    lines = [f"| {' | '.join(words['columns'])} |", "|---" * len(words["columns"]) + "|"]
    there = {one.number: one.path.name for one in written(language)}
    for row in table(COURSE / "losses.csv"):
        picture = f"![{row[f'picture_{language}']}](assets/losses/{row['stem']}.png)"
        cells = [
            picture,
            loss_names(row, language, there),
            logits(row, language),
            row["parameters"],
            lfw(row, language),
        ]
        lines.append(f"| {' | '.join([*cells, row[f'fails_{language}']])} |")
    how = [f"| {' | '.join(words['picture_columns'])} |", "|---" * 3 + "|"]
    for stem, row in made.items():
        share = f"{float(row['nearest_mean']):.1%}".replace("%", " %")
        share = share if row["classes"] == "10" else words["five_digits"].format(share)
        how.append(f"| {api_link(stem)} | `{row['setting']}` | {share} |")
    listed, settings = "\n".join(lines), "\n".join(how)
    from tools import loss_pictures as script

    numbers = {"steps": script.STEPS, "shown": script.SHOWN, "share": f"{script.WARM_UP:.0%}".replace("%", " %")}
    note = words["pictures_note"].format(address=on_github("tools/loss_pictures.py"), **numbers)
    return (
        f"{NO_TOC}# {words['losses']}\n\n{words['losses_lead']}\n\n"
        f":::::{{container}} losses\n\n{listed}\n\n:::::\n\n{words['losses_note']}\n\n"
        f"## {words['pictures']}\n\n{note}\n\n{settings}\n"
    )


def api_link(stem: str) -> str:
    from facelearn import figures, losses

    return f"{{py:class}}`{figures.NAMES[stem]} <facelearn.losses.{losses.REGISTRY[stem].__name__}>`"


def loss_names(row: dict[str, str], language: str, there: dict[str, str]) -> str:
    """Name, paper, chapter and file of a loss, one under the other; `there` has the file of each written chapter."""
    words = WORDS[language]
    year = re.search(r"(?:19|20)\d\d", row["key"])
    number = words["chapter_number"].format(row["chapter"])
    unwritten = words["chapter_unwritten"].format(number)
    file = f"{row['stem']}.py"
    lines = [
        api_link(row["stem"]),
        f"[{words['paper'].format(year[0])}](references.md#{row['key']})" if year else "",
        f"[{number}]({there[row['chapter']]})" if row["chapter"] in there else unwritten,
        f"[`{file}`]({on_github(f'facelearn/losses/{file}')})",
    ]
    return "<br>".join(line for line in lines if line)


def logits(row: dict[str, str], language: str) -> str:
    """Target, other logits, boundary and a remark, one under the other."""
    words = WORDS[language]
    lines = [f"{words[name]} {row[name]}" for name in ("target", "others", "boundary") if row[name]]
    remark = row[f"remark_{language}"]
    return "<br>".join([*lines, remark] if remark else lines)


def lfw(row: dict[str, str], language: str) -> str:
    """What was reported on LFW, a mark where it is not the paper that was seen, and what it was trained on."""
    mark = {"paper": "", "authors": " ‡", "others": " †", "": ""}[row["lfw_source"]]
    return f"{row['lfw']}{mark}<br>{row[f'lfw_{language}']}" if row["lfw"] else "–"


# ---- words, data, models --------------------------------------------------------------------------------------------


def by_sound(term: str) -> bytes:
    """A key that sorts Chinese by pinyin: GB 2312 has its common characters in that order, after the Latin letters."""
    common = str.maketrans("阈熵", "玉商")  # our two that are not among them: others that sound so
    return term.lower().translate(common).encode("gb18030")


def glossary(language: str) -> str:
    first, second, key = ("en", "zh", str.lower) if language == "en" else ("zh", "en", by_sound)
    head = {"en": ("English", "Chinese", "meaning"), "zh": ("中文", "英文", "说明")}[language]
    lines = [f"| {' | '.join(head)} |", "|---|---|---|"]
    for row in sorted(table(COURSE / "glossary.csv"), key=lambda row: key(row[first])):
        note = row[f"note_{language}"].replace("|", r"\|")
        lines.append(f"| {row[first]} | {row[second]} | {note} |")
    return f"# {WORDS[language]['glossary']}\n\n" + "\n".join(lines) + "\n"


def models(language: str) -> str:
    """The card of the trained nets, which `tools/zoo.py` writes from what it measured."""
    folder = "facelearn/zoo"
    text = (ROOT / folder / {"en": "README.md", "zh": "README.zh.md"}[language]).read_text(encoding="utf-8")
    text = re.sub(r"^\[(?:中文|English)\]\([^)]+\)\n\n", "", text, flags=re.M)
    return text.replace("`zoo.json`", f"[`zoo.json`]({on_github(f'{folder}/zoo.json')})")


def sets(language: str) -> str:
    """The table of real sets and what all scripts do, from `data_scripts/README.md`."""
    text = (ROOT / "data_scripts" / "README.md").read_text(encoding="utf-8")
    heading = {"en": "English", "zh": "中文"}[language]
    found = re.search(rf"^## {heading}\n(.+?)(?=^## |\Z)", text, re.M | re.S)
    if not found:
        raise chapters.Failed(f"data_scripts/README.md: expected a section `## {heading}`")
    return re.sub(r"\]\((\w+\.py)\)", lambda m: f"]({on_github(f'data_scripts/{m[1]}')})", found[1].strip())


# ---- API ------------------------------------------------------------------------------------------------------------


def api(language: str) -> str:
    """One page of all public names, in the order of the code."""
    from facelearn import losses

    def block(names: Iterator[str]) -> str:
        return "```{eval-rst}\n" + "\n\n".join(names) + "\n```\n"

    parts = [f"# {WORDS[language]['api']}\n", WORDS[language]["intro"], f"\n## {WORDS[language]['contract']}\n"]
    base = [f"{kind.__module__}.{kind.__qualname__}" for kind in losses.REGISTRY["arcface"].__mro__[1:4]]
    named = [f"facelearn.losses.{kind.__name__}" for kind in losses.REGISTRY.values()]
    parts.append(
        block(f".. autoclass:: {name}" for name in dict.fromkeys([*reversed(base), *named, "facelearn.losses.Joint"]))
    )
    for module in ("training", "verification", "data", "models", "lesson"):
        parts.append(f"\n## `facelearn.{module}`\n")
        parts.append(
            block(f".. auto{kind}:: facelearn.{module}.{name}" for kind, name in public(f"facelearn.{module}"))
        )
    return "\n".join(parts)


def public(module_name: str) -> Iterator[tuple[str, str]]:
    """("function" or "class", name) of what a module offers, with a docstring of its own."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    for name in names:
        thing = getattr(module, name)
        if not (inspect.isfunction(thing) or inspect.isclass(thing)) or not inspect.getdoc(thing):
            continue
        if thing.__module__.split(".")[:2] == module_name.split(".")[:2]:
            yield ("class" if inspect.isclass(thing) else "function"), name
