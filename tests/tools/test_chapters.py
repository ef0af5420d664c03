"""The one reader of a chapter: the same from source and notebook, in both languages, on a made-up chapter."""

import json

import pytest

from tests.tools import made_up
from tools.chapters import HEADINGS, Chapter, Failed, chosen, read


def with_aims(project, en="You need *sums*. About 60 minutes.", zh="需要先了解：*求和*。约 60 分钟，不含练习。"):
    cell = project.find("## You will")
    cell["en"], cell["zh"] = f"{cell['en']}\n\n{en}", f"{cell['zh']}\n\n{zh}"
    return project.write()


@pytest.mark.parametrize("kind", ["md", "ipynb"])
@pytest.mark.parametrize(
    ("lang", "title", "needs", "caption", "question", "reason", "exercise", "hint"),
    [
        ("en", "ArcFace", "*sums*", "**Figure 1.** The arcs open.", "Which way does it bend?",
         "right, because the angle grows", "Turn it", "Slowly."),
        ("zh", "ArcFace：一段弧", "*求和*", "**图 1** 弧慢慢张开。", "它往哪边弯？",
         "对，因为夹角变大了一点", "转一转", "慢慢来。"),
    ],
)  # fmt: skip
def test_what_a_chapter_says_of_itself(project, lang, kind, title, needs, caption, question, reason, exercise, hint):
    chapter = Chapter(with_aims(project).path(lang, kind))
    assert (chapter.title, chapter.needs, chapter.minutes, chapter.running) == (title, needs, 60, "0.5")
    assert {site: link.rpartition("/course/")[2] for site, link in chapter.badges.items()} == dict.fromkeys(
        ("colab", "mybinder"), f"{lang}/12_arcface.ipynb"
    )
    assert [heading for heading, _ in chapter.sections[1:]] == list(HEADINGS if lang == "en" else HEADINGS.values())
    assert sum(len(cells) for _, cells in chapter.sections) == len(chapter.cells)
    (figure,) = chapter.figures
    assert (figure.number, figure.caption, figure.above.source) == (1, caption, "lesson.show(fig)")
    assert figure.above.pictures == (kind == "ipynb")
    assert [(q.number, q.text, q.right) for q in chapter.questions] == [(n, question, "A") for n in (1, 2, 3, 4)]
    assert chapter.questions[1].choices == {"A": "$x$", "B": "$y$"}
    assert chapter.questions[1].reasons["A"] == reason
    found = [(e.number, e.title, e.stars, e.minutes, e.hint) for e in chapter.exercises]
    assert found == [(n, exercise, 2, 15, hint) for n in (1, 2, 3)]
    assert chapter.exercises[1].stub.source == "def mine(x): ...\n\ncheck.arcface.ex2(mine)"
    assert chapter.exercises[1].solution.source == "check.arcface.ex2(mine)"


@pytest.mark.parametrize(
    ("value", "message"),
    [("needs", "en/12_arcface.md: goals: found as last paragraph"), ("minutes", "expected `You need ... About 60"),
     ("running", "found no code cell with lesson.start")],
)  # fmt: skip
def test_what_is_missing_is_named(project, value, message):
    project.find("os.chdir")["en"] = "pass"
    chapter = Chapter(project.write().path("en"))
    with pytest.raises(Failed, match=message):
        getattr(chapter, value)


def test_a_page_without_a_title_is_called_by_its_name(project):
    assert Chapter(project.path("en")).title == "ArcFace"
    project.find("# ArcFace")["en"] = "## ArcFace"
    assert Chapter(project.write().path("en")).title == made_up.NAME


def test_the_notebook_of_a_source_is_what_the_source_says(project):
    source = Chapter(project.path("zh"))
    assert [cell.source for cell in source.executed.cells] == [cell.source for cell in source.cells]
    assert any(cell.outputs for cell in source.executed.cells)
    text = source.path.read_text(encoding="utf-8").replace("圆上的两个点。", "圆上的三个点。")
    source.path.write_text(text, encoding="utf-8")
    with pytest.raises(
        Failed, match=r"zh/12_arcface\.ipynb: cell 6 \('## 直觉'\): \.md and \.ipynb differ: `make execute"
    ):
        _ = Chapter(source.path).executed


def test_lines_that_a_notebook_keeps_apart_are_one_text(project):
    """As Jupyter itself stores them."""
    path = project.path("en", "ipynb")
    book, before = json.loads(path.read_text(encoding="utf-8")), read(path)
    for cell in book["cells"]:
        cell["source"] = "".join(cell["source"]).splitlines(keepends=True)
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = "".join(output["text"]).splitlines(keepends=True)
    path.write_text(json.dumps(book), encoding="utf-8")
    assert read(path) == before


def test_chapters_are_chosen_by_number_or_name():
    known = ["03_softmax", "12_arcface"]
    assert chosen(["12", "03_softmax"], known) == ["12_arcface", "03_softmax"]
    assert chosen([], known) == known
    with pytest.raises(Failed, match="chapter: found 07, arcface, expected one of 03_softmax, 12_arcface"):
        chosen(["12", "arcface", "07"], known)
