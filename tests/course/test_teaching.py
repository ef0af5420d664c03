"""What is for lecturers: the exam bank and its answers, the plans, the playlists with their hours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import chapters, contents, hours, prerequisites, site_pages

COURSE = Path(__file__).resolve().parents[2] / "course"
PLANNED = [row["number"] for row in contents.plan(COURSE)]
NEEDS = prerequisites.direct(contents.plan(COURSE))
CODE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
MARKS = {"en": r"\((\d+) marks\)", "zh": r"（(\d+) 分）"}


def page(language: str, name: str) -> str:
    return (COURSE / language / f"{name}.md").read_text(encoding="utf-8")


def questions(language: str, name: str) -> dict[str, tuple[int, str]]:
    """`{"07.2": (marks, text below the heading)}`, in the order of the page."""
    parts = re.split(rf"^### (\d\d\.\d) · .*?{MARKS[language]}$", page(language, name), flags=re.M)
    return {one: (int(marks), text) for one, marks, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)}


# ---- the exam bank --------------------------------------------------------------------------------------------------


def test_every_chapter_has_two_questions_with_answers_in_both_languages():
    asked = questions("en", "exam")
    assert list(asked) == [f"{number}.{k}" for number in PLANNED for k in (1, 2)]
    for language, name in (("zh", "exam"), ("en", "exam_answers"), ("zh", "exam_answers")):
        found = questions(language, name)
        assert {one: marks for one, (marks, _) in found.items()} == {one: marks for one, (marks, _) in asked.items()}


@pytest.mark.parametrize("language", chapters.LANGUAGES)
def test_the_marks_of_the_parts_add_up(language):
    for one, (marks, text) in questions(language, "exam_answers").items():
        parts = re.findall(r"\[(\d+)\]" if language == "en" else r"\[(\d+) 分\]", CODE.sub("", text))
        assert sum(map(int, parts)) == marks, one


@pytest.mark.parametrize("one", questions("en", "exam_answers"))
def test_what_is_computed_in_an_answer_is_right(one):
    """Both languages have the same lines, and each number that an `assert` compares stands in the answer."""
    found = [CODE.findall(questions(language, "exam_answers")[one][1]) for language in chapters.LANGUAGES]
    assert found[0] == found[1]
    for code in found[0]:
        assert "assert" in code
        exec(compile(code, one, "exec"), {})


# ---- plans and playlists --------------------------------------------------------------------------------------------


def plans(language: str) -> list[list[set[str]]]:
    """Of each plan, week by week, the chapters that are taught or read."""
    found = []
    for section in page(language, "instructor").split("\n## "):
        lines = re.findall(r"^\| \d+ \|(.+?)\|(.*?)\|.*\|$", section, re.M)
        if re.match(r"(Six|Twelve|Sixteen) weeks|(六|十二|十六)周", section):
            found.append([set(re.findall(r"\b\d\d\b", " ".join(line))) for line in lines])
    return found


@pytest.mark.parametrize("language", chapters.LANGUAGES)
def test_each_plan_has_all_chapters_none_before_what_it_needs(language):
    found = plans(language)
    assert found == plans("en")
    assert [len(weeks) for weeks in found] == [6, 12, 16]
    for weeks in found:
        first = {number: min(k for k, week in enumerate(weeks) if number in week) for number in set().union(*weeks)}
        assert sorted(first) == PLANNED
        assert [(one, other) for one in first for other in NEEDS[one] if first[other] > first[one]] == []


@pytest.mark.parametrize("language", chapters.LANGUAGES)
def test_the_playlists_name_their_chapters_and_what_they_skip(language):
    sections = page(language, "paths").split("\n## ")[1:4]
    for text, way in zip(sections, hours.PATHS.values(), strict=True):
        assert set(way.split()) <= prerequisites.named(text) | set(re.findall(r"\b(?:19|20|21)\b", text))


@pytest.mark.parametrize("language", chapters.LANGUAGES)
def test_the_hours_are_what_the_rule_gives(language):
    lines = re.findall(r"^\| .* \| (\d+) \| (\d+) \|$", page(language, "paths"), re.M)
    wanted = hours.hours(COURSE)
    assert len(lines) == len(wanted) == 4
    for line, pair in zip(lines, wanted.values(), strict=True):
        assert all(abs(int(told) - found) <= 1 for told, found in zip(line, pair, strict=True)), "python tools/hours.py"
    assert hours.table(language, COURSE).count("\n") == 6


# ---- the words ------------------------------------------------------------------------------------------------------


def listed(language: str) -> list[str]:
    """The first column of the list of terms as the site shows it."""
    return re.findall(r"^\| ([^|]+?) \|", site_pages.glossary(language), re.M)[1:]


def test_the_english_list_of_terms_is_sorted_by_letters():
    found = listed("en")
    assert found == sorted(found, key=str.lower)
    assert len(found) > 180


def test_the_chinese_list_of_terms_is_sorted_by_pinyin():
    """The key knows the common characters alone; and a few whose sound is written down here, in their order."""
    found = listed("zh")
    spoken = "半难 饱和 标签 尺度 份额 几率 类中心 冒充者 难负样本 批 球冠 身份 投影 误识率 掩码 阈值 自助法"
    known = [term for term in spoken.split() if term in found]
    assert len(known) > 15
    assert [term for term in found if term in known] == known
    common = str.maketrans("阈熵", "玉商")
    for character in "".join(found).translate(common):
        code = character.encode("gb18030")
        assert len(code) == 1 or b"\xb0\xa1" <= code <= b"\xd7\xf9" or not "\u4e00" <= character <= "\u9fff", character
    latin = [bool(re.match(r"[A-Za-z0-9]", term)) for term in found]
    assert latin == sorted(latin, reverse=True)  # first what is written in letters
