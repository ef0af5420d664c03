"""The frame of the checks: what it accepts, what it finds, and what it says."""

import math

import numpy as np
import pytest
import torch

from facelearn import check
from facelearn.check.framework import Case, Exercise, Mistake, Text, curve, detector, language
from tests.check.conformance import assert_message


def shifted(cos, margin):
    """cos(θ + margin): the exercise that the tests below are about."""
    sin = (1 - cos**2).clamp_min(0).sqrt()
    return cos * math.cos(margin) - sin * math.sin(margin)


def cases(generator):
    cos = 1.8 * torch.rand(16, generator=generator, dtype=torch.float64) - 0.9
    yield Case(cos, 0.5)
    yield Case(torch.tensor([0.0, 0.5], dtype=torch.float64), 0.3, name=Text("two angles", "两个角"))


DEGREES = Mistake(
    lambda cos, margin: shifted(cos, math.radians(margin)),
    Text("the margin is in radians, not degrees", "间隔的单位是弧度，不是角度"),
)


@pytest.fixture
def exercise():
    return Exercise("ex1", shifted, cases, mistakes=[DEGREES], gradients=(0,))


def wrong_sign(cos, margin):
    return shifted(cos, -margin)


def no_margin(cos, margin):
    return cos * 1.0


def detached(cos, margin):
    return shifted(cos.detach(), margin) + 0 * cos


def test_accepts_the_solution_and_rejects_planted_answers(exercise):
    assert exercise.examine(shifted).text == ("ex1: passed (visible checks)",) * 2
    wrong = {wrong_sign: "expected", no_margin: "expected", DEGREES.function: "radians", detached: "gradient"}
    for answer, words in wrong.items():
        outcome = exercise.examine(answer)
        assert not outcome
        assert words in outcome.text.en
        assert_message(outcome, "ex1")


def test_accepts_another_way_to_the_same_values(exercise):
    assert exercise.examine(lambda cos, margin: torch.cos(torch.arccos(cos) + margin))


FINDINGS = {
    "inputs": lambda cos, margin: shifted(cos.mul_(1.0001), margin),
    "shape": lambda cos, margin: shifted(cos, margin)[:, None],
    "dtype": lambda cos, margin: shifted(cos, margin).float(),
    "type": lambda cos, margin: shifted(cos, margin).tolist(),
    "finite": lambda cos, margin: torch.sqrt(shifted(cos, margin)),
    "value": lambda cos, margin: shifted(cos, margin) * torch.where(cos > 0.4, 1.01, 1.0),
    "no gradient": lambda cos, margin: shifted(cos.detach(), margin),
    "gradient": lambda cos, margin: shifted(cos, margin).detach() + cos - cos.detach(),
    "exception at": lambda cos, margin: cos.nothing,
}


@pytest.mark.parametrize("kind", FINDINGS)
def test_each_kind_of_error_is_told_as_such(kind, exercise):
    outcome = exercise.examine(FINDINGS[kind])
    assert outcome.kind == kind
    assert_message(outcome, "ex1")


def test_a_gradient_that_is_nan_where_the_value_is_right():
    edge = Exercise("ex2", lambda cos: 1.0 * cos, lambda g: [Case(torch.ones(1, dtype=torch.float64))], gradients=(0,))
    plain = edge.examine(lambda cos: torch.cos(torch.arccos(cos)))
    assert plain.kind == "gradient finite"
    assert "nan" in plain.text.en
    assert "cos = [1]" in plain.text.en


def test_the_message_shows_input_answer_and_right_answer(exercise):
    def off_at_one_half(cos, margin):
        return torch.where(cos == 0.5, 0.25, shifted(cos, margin))

    line = exercise.examine(off_at_one_half).text.en
    first, second = (f"{math.cos(angle + 0.3):.6g}" for angle in (math.pi / 2, math.pi / 3))
    told = "ex1: for the input two angles (cos = [0, 0.5], margin = 0.3)"
    assert line == f"{told} got [{first}, 0.25], expected [{first}, {second}]"


def test_a_difference_beyond_the_digits_shown_is_still_visible(exercise):
    got, expected = (
        exercise.examine(lambda cos, margin: shifted(cos, margin) * (1 + 3e-6))
        .text.en.partition("got ")[2]
        .split(", expected ")
    )
    assert got != expected


def test_an_exception_is_one_line_with_its_place(exercise, capsys):
    def broken(cos, margin):
        rows = cos.shape[0]
        return cos.reshape(rows + 1)

    assert not exercise(broken)
    (line,) = capsys.readouterr().out.splitlines()
    assert "RuntimeError" in line
    assert "(line 3 of the function)" in line


def test_the_line_is_in_the_language_of_the_folder(exercise, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("FACELEARN_LANG", raising=False)
    lines = {}
    for folder in ("en", "zh", "elsewhere"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        exercise(DEGREES.function)
        lines[folder] = capsys.readouterr().out
    assert lines["en"] == lines["elsewhere"] == "ex1: the margin is in radians, not degrees\n"
    assert lines["zh"] == "ex1: 间隔的单位是弧度，不是角度\n"
    monkeypatch.setenv("FACELEARN_LANG", "zh")
    assert language() == "zh"
    monkeypatch.setenv("FACELEARN_LANG", "fr")
    with pytest.raises(ValueError, match=r"FACELEARN_LANG='fr': expected en or zh"):
        language()


def test_outcome_is_true_or_false_and_leaves_no_output_of_its_own(exercise):
    passed, failed = exercise.examine(shifted), exercise.examine(no_margin)
    assert passed == True  # noqa: E712 - like a bool
    assert failed == False  # noqa: E712
    assert (repr(passed), repr(failed)) == ("True", "False")
    assert passed._ipython_display_() is None


def test_a_missing_return_is_told_even_where_it_is_missing_for_some_inputs_only(exercise):
    def forgot_a_return(cos, margin):
        return shifted(cos, margin) if len(cos) > 2 else None

    def never_returns(cos, margin):
        shifted(cos, margin)

    for answer in (forgot_a_return, never_returns):
        outcome = exercise.examine(answer)
        assert outcome.kind == "return"
        assert "a `return` is missing" in outcome.text.en
        assert_message(outcome, "ex1")
    assert exercise.examine(lambda cos, margin: ...).kind == "to do"
    assert exercise.examine(3).kind == "callable"


def test_usual_shapes_and_float32_are_told_with_what_they_come_from(exercise):
    def batch(function):
        rows = Exercise("ex1", lambda x: x.sum(1), lambda g: [Case(torch.ones(4, 3, dtype=torch.float64))])
        return rows.examine(function).text.en

    assert "is a mean or a sum too many?" in batch(lambda x: x.sum())
    assert "an axis of length 1 too many" in batch(lambda x: x.sum(1, keepdim=True))
    assert "dtype is float32, expected float64: beyond the 7th digit" in batch(lambda x: x.sum(1).float())
    whole = Exercise("ex1", lambda x: x.mean(), lambda g: [Case(torch.ones(4, 3, dtype=torch.float64))])
    assert "is a mean or a sum missing?" in whole.examine(lambda x: x.mean(1)).text.en
    turned = Exercise("ex1", lambda x: x, lambda g: [Case(torch.ones(4, 3, dtype=torch.float64))])
    assert "rows and columns are swapped" in turned.examine(lambda x: x.T).text.en
    assert exercise.examine(FINDINGS["shape"]).text.en.endswith("an axis of length 1 too many")
    assert "changes its input cos;" in exercise.examine(FINDINGS["inputs"]).text.en


def test_a_curve_has_value_and_slope_or_says_what_is_wrong():
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)
    value, slope = curve(lambda c, m: m * c**2, x, 3.0)
    torch.testing.assert_close(value, 3 * x**2)
    torch.testing.assert_close(slope, 6 * x)
    assert not value.requires_grad

    exercise = Exercise("ex3", rules=[lambda function: curve(function, x) and None])
    wrong = {
        "like cos, got list": lambda cos: cos.tolist(),
        "got float64 ()": lambda cos: cos.sum(),
        "got float32 (9,)": lambda cos: cos.float(),
        "the value at cos = -1 is nan": lambda cos: (cos + 0.5).sqrt(),
        "no gradient flows back to cos": lambda cos: cos.detach() * 2,
        "the gradient at cos = -1 is inf": lambda cos: cos.acos().cos(),
        "changes its input cos": lambda cos: (cos.data.mul_(2), 1.0 * cos)[1],
        "no gradient": lambda cos: torch.ones(9, dtype=torch.float64, requires_grad=True),
    }
    assert exercise.examine(lambda cos: cos**3)
    for words, answer in wrong.items():
        outcome = exercise.examine(answer)
        assert words in outcome.text.en
        assert_message(outcome, "ex3")


def test_a_detector_must_accept_the_right_ones_and_catch_every_wrong_one():
    cases = [(abs, Text("abs", "绝对值")), (math.fabs, Text("fabs", "浮点绝对值")), (float, Text("identity", "恒等"))]
    advice = Text("allow a tolerance", "留容差"), Text("try a negative number", "试试负数")
    exercise = Exercise("ex2", rules=[detector(cases, 2, if_rejected=advice[0], if_passed=advice[1])])
    assert exercise.examine(lambda f: f(-2.0) == 2)
    assert exercise.examine(lambda f: torch.tensor(f(-2.0) == 2))
    assert exercise.examine(lambda f: f(2.0) == 2).text == (
        "ex2: your test lets this bug pass: identity: try a negative number",
        "ex2: 你的测试放过了这个错误：恒等：试试负数",
    )
    rejects = exercise.examine(lambda f: isinstance(f(-2), int)).text.en
    assert rejects == "ex2: your test rejects fabs: allow a tolerance"
    assert exercise.examine(lambda f: 0.7).text.en == "ex2: expected True or False, got 0.7"
    assert exercise.examine(lambda f: None).kind == "to do"
    assert exercise.examine(lambda f: print(end="")).kind == "return"


def test_a_mistake_must_match_everywhere():
    """A learner whose answers equal a named mistake on some inputs only is not told of that mistake."""
    half = Mistake(lambda x: abs(x), Text("abs", "绝对值"))
    identity = Exercise("ex1", lambda x: x, lambda g: [Case(1.0), Case(-1.0), Case(-2.0)], mistakes=[half])
    assert identity.examine(abs).kind == "mistake"
    assert identity.examine(lambda x: max(x, -1.0)).kind == "value"


def test_the_learners_random_state_is_left_alone(exercise):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    exercise.examine(lambda cos, margin: shifted(cos, margin) + 0 * torch.rand(1, dtype=cos.dtype))
    assert torch.rand(1) == expected


@pytest.mark.parametrize(
    ("expected", "good", "bad"),
    [
        (2.0, [2, 2.0, np.float64(2), torch.tensor(2.0)], [True, "2", [2.0], 3, torch.tensor([2.0])]),
        (True, [True, np.True_, torch.tensor(True)], [False, 1, 1.0, "True"]),
        ("arcface", ["arcface"], ["cosface", 3]),
        ({(0, 1), (1, 2)}, [{(1, 2), (0, 1)}], [{(0, 1)}, [(0, 1), (1, 2)]]),
        ((1.0, "a"), [(1.0, "a"), [1.0, "a"]], [(1.0,), (1.0, "b"), 1.0]),
        ({"far": 0.1}, [{"far": 0.1}], [{"tar": 0.1}, {"far": 0.2}, 0.1]),
        (np.arange(3), [np.arange(3)], [np.arange(4), np.arange(3.0), [0, 1, 2], np.arange(3) + 1]),
        (float("nan"), [float("nan")], [0.0]),
        (float("-inf"), [float("-inf")], [0.0, float("inf")]),
    ],
)
def test_kinds_of_answers(expected, good, bad):
    exercise = Exercise("ex1", lambda x: expected, lambda g: [Case(1)])
    assert all(exercise.examine(lambda x, answer=answer: answer) for answer in good)
    for answer in bad:
        outcome = exercise.examine(lambda x, answer=answer: answer)
        assert not outcome, answer
        assert_message(outcome, "ex1")


def test_rules_ask_for_what_has_no_reference():
    def rising(function):
        angles = torch.linspace(0, math.pi, 50, dtype=torch.float64)
        return None if (function(angles).diff() < 0).all() else Text("not falling on (0, π)", "在 (0, π) 上不递减")

    exercise = Exercise("ex3", rules=[rising])
    assert exercise.examine(torch.cos)
    for answer in (lambda a: torch.cos(2 * a), lambda a: a, lambda a: torch.cos(a + 0.5)):
        assert exercise.examine(answer).text.en == "ex3: not falling on (0, π)"
    assert exercise.examine(lambda a: a.nothing).kind == "exception"


def test_an_exercise_needs_something_to_ask_for():
    with pytest.raises(ValueError, match="ex9: expected a reference with cases"):
        Exercise("ex9")
    with pytest.raises(ValueError, match="ex9"):
        Exercise("ex9", shifted)


def test_modules_are_found_by_name():
    assert check.framework.Exercise is Exercise
    with pytest.raises(AttributeError, match=r"no file facelearn/check/nosuch\.py"):
        _ = check.nosuch


def test_no_input_is_shown_as_empty_brackets_or_as_a_bare_entry():
    """A scalar answer points at no entry: small inputs are shown whole, large ones by shape, matrices by row."""
    small, wide = torch.tensor([[1.0, 2.0]]), torch.zeros(3, 40)
    total = Exercise("ex1", lambda a, b: a.sum() + b.sum(), lambda g: [Case(small, wide, name=Text("a", "甲"))])
    wrong = total.examine(lambda a, b: a.sum() + b.sum() + 1)
    assert "input a (a = [[1, 2]], b (3, 40))" in wrong.text.en
    assert wrong.text.zh == "ex1: 输入为甲（a = [[1, 2]], b (3, 40)）时，得到 4，应为 3"
    table = torch.arange(12.0).reshape(4, 3)
    rows = Exercise("ex1", lambda t: 2 * t, lambda g: [Case(table)])
    assert "t[2] = [6, 7, 8]" in rows.examine(lambda t: torch.where(t == 7, 0.0, 2 * t)).text.en
    long = Exercise("ex1", lambda t: 2 * t, lambda g: [Case(torch.arange(12.0))])
    assert "t[7] = 7 " in long.examine(lambda t: torch.where(t == 7, 0.0, 2 * t)).text.en


def test_a_stub_that_raises_is_to_do_in_its_own_words(exercise):
    def stub(cos, margin):
        raise NotImplementedError("write\nstub(cos, margin)")

    assert exercise.examine(stub).kind == "to do"
    assert exercise.examine(stub).text == ("ex1: to do: write stub(cos, margin)",) * 2
