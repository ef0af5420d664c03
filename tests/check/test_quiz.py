"""The quizzes: what the chapters say of each choice is what the learner is told, and the handout does not print it."""

import base64
import json
from pathlib import Path

import pytest

from facelearn import check
from facelearn.check import quiz as frame
from facelearn.check import record
from tools import quiz as tool
from tools.chapters import Chapter, Failed

COURSE = Path(__file__).resolve().parents[2] / "course"
NAMES = tool.with_quiz(COURSE)


@pytest.fixture(autouse=True)
def _english(monkeypatch):
    monkeypatch.setenv("FACELEARN_LANG", "en")


@pytest.mark.parametrize("name", NAMES)
def test_stored_reasons_are_those_of_the_chapter(name):
    stored = json.loads((frame.FOLDER / f"{name[3:]}.json").read_text(encoding="utf-8"))
    assert stored == tool.gathered(COURSE, name), f"python tools/quiz.py {name}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_cell_of_the_chapter_asks_every_question(name, language):
    chapter = Chapter(COURSE / language / f"{name}.md")
    (cell,) = (cell for cell in chapter.section("Quiz") if cell.kind == "code")
    asked = ", ".join(f'q{question.number}=""' for question in chapter.questions)
    assert cell.source == f"check.{name[3:]}.quiz({asked})"


def test_every_choice_is_told_with_its_reason(capsys):
    quiz = check.arcface.quiz
    chapter = Chapter(COURSE / "en" / "12_arcface.md")
    for question in chapter.questions:
        for letter, reason in question.reasons.items():
            outcome = quiz(**{f"q{question.number}": letter.lower()})
            assert not outcome  # the others are to do
            assert capsys.readouterr().out.startswith(f"q{question.number} {letter} {reason}\n")


def test_only_right_answers_to_all_questions_pass_and_are_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "_person_present", lambda: True)
    monkeypatch.setenv(record.VARIABLE, str(tmp_path / "progress.json"))
    quiz = check.arcface.quiz
    right = {q: next(letter for letter, (ok, _) in choices.items() if ok) for q, choices in quiz.questions().items()}
    assert quiz().kind == quiz(q1=None).kind == "to do"
    assert quiz(**(right | {"q1": "A" if right["q1"] != "A" else "B"})).kind == "choice"
    assert quiz(**(right | {"q1": "F"})).kind == "choice"
    assert not (tmp_path / "progress.json").exists()
    assert quiz(**right)
    assert list(json.loads((tmp_path / "progress.json").read_text())["passed"]["arcface"]) == ["quiz"]
    with pytest.raises(TypeError, match="q9: the questions are q1, "):
        quiz(q9="A")


def test_an_unanswered_quiz_says_the_same_in_both_languages(monkeypatch, capsys):
    check.arcface.quiz(q1="", q2="")
    english = capsys.readouterr().out
    monkeypatch.setenv("FACELEARN_LANG", "zh")
    check.arcface.quiz()
    assert capsys.readouterr().out == english == "quiz: 0 of 4, to do: q1 q2 q3 q4\n"
    check.arcface.quiz(q1="B")
    assert "对" in capsys.readouterr().out


def test_no_reason_can_be_read_in_the_stored_file():
    text = (frame.FOLDER / "arcface.json").read_text(encoding="utf-8")
    assert not {"right", "wrong", "true", "false"} & set(text.replace('"', " ").split())
    assert json.loads(base64.b64decode(json.loads(text)["q1"]["A"]))[0] is False


QUIZ = """# T

## {head}

**1.** Q

- **A.** a
- **B.** b

<details><summary>{answer}</summary>

- **A** {a}
- **B** {b}

</details>
"""


@pytest.mark.parametrize(
    ("en", "zh", "words"),
    [
        (("right: x", "wrong: y"), ("对：甲", "错：乙"), ""),
        (("right: x", "wrong: y"), ("错：甲", "对：乙"), "found as right A in English and B in Chinese"),
        (("right: x", "right: y"), ("对：甲", "对：乙"), "found as right AB in English and AB in Chinese"),
        (("no: x", "wrong: y"), ("对：甲", "错：乙"), "found as right none in English"),
    ],
)
def test_a_quiz_whose_languages_disagree_is_refused(tmp_path, en, zh, words):
    for language, head, answer, (a, b) in (("en", "Quiz", "Answer", en), ("zh", "小测", "答案", zh)):
        (tmp_path / language).mkdir()
        text = QUIZ.format(head=head, answer=answer, a=a, b=b)
        (tmp_path / language / "09_x.md").write_text(text, encoding="utf-8")
    if words:
        with pytest.raises(Failed, match=words):
            tool.gathered(tmp_path, "09_x")
    else:
        assert tool.gathered(tmp_path, "09_x")["q1"]["B"] == frame.veiled(False, frame.Text("wrong: y", "错：乙"))
