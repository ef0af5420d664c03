"""The frame in which the checks of all exercises are written.

A check takes the learner's function and answers in one line, in the language of the notebook's folder. The module of a
chapter is data: inputs, a reference, and for each misunderstanding worth naming a function that commits it.

    from facelearn.check.framework import Case, Exercise, Mistake, Text

    def _reference(cos, margin): ...

    def _cases(generator):                                  # a seeded torch.Generator
        cos = 2 * torch.rand(64, generator=generator, dtype=torch.float64) - 1
        yield Case(cos, 0.5, name=Text("random cosines", "随机余弦"))
        yield Case(torch.tensor([1.0, -1.0], dtype=torch.float64), 0.5, name=Text("cos = ±1", "cos = ±1"))

    ex1 = Exercise(
        "ex1", _reference, _cases, gradients=(0,),
        mistakes=[
            Mistake(lambda cos, margin: _reference(cos, math.radians(margin)),
                    Text("the margin is taken for degrees; it is in radians", "把间隔当成了角度；它的单位是弧度")),
        ],
    )

What the frame finds by itself, in this order and for each case: a missing `return`, an exception, a changed input, a
wrong type, shape or dtype, NaN or inf, wrong values (named, where a `Mistake` gives the same ones), a missing, NaN or
wrong gradient. Then `rules` ask for whatever no reference can state: a function that must fall (`curve` gives its value
and slope), a test that must catch three bugs (`detector` makes that rule), a derivative by hand
(`by_autograd` sees the others). A pass speaks for the inputs tried, hence
"visible checks".
"""

from __future__ import annotations

import copy
import dis
import inspect
import itertools
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = [
    "Case",
    "Exercise",
    "Mistake",
    "Outcome",
    "Text",
    "by_autograd",
    "called_by",
    "curve",
    "detector",
    "language",
]

Function = Callable[..., Any]
STRAY_BLANK = re.compile(
    r" +(?=[\u3000-\u9fff\uff00-\uffef])(?<=[\u3000-\u9fff\uff00-\uffef] )| +(?=[\u3001-\u3011\uff01-\uff1f])"
)
"""In Chinese no blank stands between two Han characters, nor before full-width punctuation."""


class Text(NamedTuple):
    """One message in both languages."""

    en: str
    zh: str

    def format(self, **values: object) -> Text:
        """Fill `{placeholders}` in both; a value that is a `Text` itself goes in by language."""

        def fill(code: str) -> str:
            words = {k: getattr(v, code) if isinstance(v, Text) else v for k, v in values.items()}
            return str(getattr(self, code)).format(**words)

        return Text(fill("en"), fill("zh"))


def language() -> str:
    """`zh` in a folder called zh, else `en`; the environment variable FACELEARN_LANG overrides."""
    code = os.environ.get("FACELEARN_LANG") or next((p for p in reversed(Path.cwd().parts) if p in Text._fields), "en")
    if code not in Text._fields:
        raise ValueError(f"FACELEARN_LANG={code!r}: expected en or zh")
    return code


class Case:
    """One input: the arguments of the learner's function, and words for it where it is a special one."""

    def __init__(self, *args: Any, name: Text | None = None) -> None:
        self.args, self.name = args, name

    def words(self, names: Sequence[str], at: tuple[int, ...] | None = None) -> Text:
        """The input in words: its name, and the arguments; where `at` points into the output, what stands there."""
        inputs = ", ".join(_shown(name, arg, at) for name, arg in zip(names, self.args, strict=False))
        if self.name is None:
            return Text(inputs, inputs)
        return Text(f"{self.name.en} ({inputs})", f"{self.name.zh}（{inputs}）") if at is not None else self.name


class Mistake(NamedTuple):
    """A wrong answer that learners give, as a function like theirs, and what to tell the learner who gave it."""

    function: Function
    text: Text


class Outcome(int):
    """What a check found: true or false like a bool, with the printed line; a notebook does not echo it."""

    kind: str  # "passed", "to do", or what is wrong: "exception", "value", "shape", ...
    text: Text  # the printed line in both languages

    def __new__(cls, kind: str, text: Text) -> Outcome:
        outcome = super().__new__(cls, kind == "passed")
        outcome.kind, outcome.text = kind, text
        return outcome

    def __repr__(self) -> str:
        return str(bool(self))

    def _ipython_display_(self) -> None:
        """The line has been printed already."""


class _Wrong(Exception):
    """Carries a finding from where it is made to where it is reported."""

    def __init__(self, kind: str, text: Text) -> None:
        super().__init__(text.en)
        self.kind, self.text = kind, text


class _Raised(Exception):
    """The learner's function raised: type, message and line, without the traceback."""

    def __init__(self, error: Exception, function: Function) -> None:
        code = getattr(function, "__code__", None)
        lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code is code]
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        if lines and code is not None:
            line = lines[-1] - code.co_firstlineno + 1
            self.text = MESSAGES["line"].format(error=what, line=line)
        else:
            self.text = Text(what, what)
        super().__init__(self.text.en)


class _ToDo(Exception):
    """The learner has not begun; with the stub's own words, where it has some."""


# What the frame says by itself. {case} is the input, {part} which of several outputs.
MESSAGES = {
    "callable": Text("expected a function, got {got}", "需要传入一个函数，得到的是 {got}"),
    "exception": Text("your function raised {error}", "你的函数抛出了 {error}"),
    "exception at": Text(
        "your function raised {error}, for the input {case}", "输入为 {case} 时，你的函数抛出了 {error}"
    ),
    "line": Text("{error} (line {line} of the function)", "{error}（函数的第 {line} 行）"),
    "return": Text(
        "your function returns {got}: a `return` is missing, for all inputs or for some",
        "你的函数返回了 {got}：对全部或某些输入少了 `return`",
    ),
    "inputs": Text(
        "your function changes its input {argument}; work on a copy, or without in-place operations",
        "你的函数改动了输入 {argument}；请在副本上计算，或者不用原地（in-place）操作",
    ),
    "type": Text("{part}expected {expected}, got {got}", "{part}返回值的类型应为：{expected}；实际得到：{got}"),
    "keys": Text("{part}expected the keys {expected}, got {got}", "{part}应有的键是 {expected}，得到的是 {got}"),
    "length": Text("{part}expected {expected} values, got {got}", "{part}应返回 {expected} 个值，得到 {got} 个"),
    "shape": Text(
        "{part}the shape is {got}, expected {expected}, for the input {case}{why}",
        "{part}输入为 {case} 时，形状是 {got}，应为 {expected}{why}",
    ),
    "dtype": Text("{part}the dtype is {got}, expected {expected}{why}", "{part}dtype 是 {got}，应为 {expected}{why}"),
    "finite": Text("{part}the result is {got} for the input {case}", "{part}输入为 {case} 时，结果是 {got}"),
    "value": Text(
        "{part}for the input {case} got {got}, expected {expected}",
        "{part}输入为 {case} 时，得到 {got}，应为 {expected}",
    ),
    "no gradient": Text(
        "the values are right, but no gradient flows back to {argument} (detach, item or numpy on the way?)",
        "数值正确，但梯度传不回 {argument}（途中用了 detach、item 或 numpy？）",
    ),
    "gradient finite": Text(
        "the values are right, but the gradient is {got} for the input {case}",
        "数值正确，但输入为 {case} 时，梯度是 {got}",
    ),
    "gradient": Text(
        "the values are right, but the gradient is not: for the input {case} got {got}, expected {expected}",
        "数值正确，但梯度不对：输入为 {case} 时，得到 {got}，应为 {expected}",
    ),
    "curve": Text(
        "expected a float64 tensor of shape {shape} like {argument}, got {got}",
        "应返回与 {argument} 一样的 float64 张量，形状 {shape}；得到的是 {got}",
    ),
    "curve value": Text("the value at {argument} = {at} is {got}", "{argument} = {at} 处的值是 {got}"),
    "curve gradient": Text(
        "no gradient flows back to {argument} (detach, item or numpy on the way?)",
        "梯度传不回 {argument}（途中用了 detach、item 或 numpy？）",
    ),
    "curve slope": Text(
        "the gradient at {argument} = {at} is {got}: a root or acos has an infinite derivative at its end: guard it",
        "{argument} = {at} 处的梯度是 {got}：sqrt 和 acos 在端点处的导数是无穷大，需要防护",
    ),
    "bool": Text("expected True or False, got {got}", "应返回 True 或 False，得到的是 {got}"),
    "rejected": Text("your test rejects {name}{advice}", "你的测试拒绝了{name}{advice}"),
    "undetected": Text("your test lets this bug pass: {name}{advice}", "你的测试放过了这个错误：{name}{advice}"),
}

# What the usual wrong shapes and dtypes come from.
REASONS = {
    "": Text("", ""),
    "reduced": Text(": one number for all; is a mean or a sum too many?", "：只有一个数；是不是多求了一次平均或求和？"),
    "not reduced": Text(
        ": one number is asked for; is a mean or a sum missing?", "：题目要一个数；是不是少了平均或求和？"
    ),
    "axis": Text(": an axis of length 1 too many", "：多了一个长度为 1 的轴"),
    "no axis": Text(": an axis of length 1 is missing", "：少了一个长度为 1 的轴"),
    "transposed": Text(": rows and columns are swapped", "：行和列换了位置"),
    "float32": Text(
        ": beyond the 7th digit all is lost; keep the dtype of the input (torch.zeros, torch.tensor and .float() make"
        " float32)",
        "：第 7 位之后的数字都丢了；请保持输入的 dtype（torch.zeros、torch.tensor 和 .float() 给出的是 float32）",
    ),
}


class Exercise:
    """The check of one exercise; call it with the learner's function.

    name       "ex1": begins the printed line
    reference  the right function
    cases      function of a seeded torch.Generator that yields `Case`s; random ones first, edges after
    mistakes   wrong answers worth a sentence of their own; the first whose outputs equal the learner's is told
    gradients  positions of the arguments whose gradient is compared too (they must be float tensors)
    rules      functions of the learner's function that return None, or a `Text` saying what is wrong. They get it
               watched (a stub is to do, a missing return or an exception becomes a line); `.function` is the
               function itself
    rtol, atol |got - expected| <= atol + rtol * |expected|
    exact_dtype  compare float64 with float64; False: any float will do for a float
    """

    def __init__(
        self,
        name: str,
        reference: Function | None = None,
        cases: Callable[[torch.Generator], Iterable[Case]] | None = None,
        *,
        mistakes: Sequence[Mistake] = (),
        gradients: Sequence[int] = (),
        rules: Sequence[Callable[[Function], Text | None]] = (),
        rtol: float = 1e-6,
        atol: float = 1e-8,
        exact_dtype: bool = True,
    ) -> None:
        if (reference is None) != (cases is None) or (reference is None and not rules):
            raise ValueError(f"{name}: expected a reference with cases, or rules, or both")
        self.name, self.reference, self.cases = name, reference, cases
        self.mistakes, self.gradients, self.rules = mistakes, gradients, rules
        self.rtol, self.atol, self.exact_dtype = rtol, atol, exact_dtype

    def __call__(self, function: Function) -> Outcome:
        """Check the learner's function, print one line, return whether it passed; `record` keeps a learner's pass."""
        from facelearn.check import record

        outcome = self.examine(function)
        print(getattr(outcome.text, language()))
        if outcome and (trouble := record.note(self, function)):
            print(getattr(trouble, language()))
        return outcome

    def examine(self, function: Function) -> Outcome:
        """The same without printing. The learner's random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                self._compare(function)
            except _ToDo as stub:
                return self._outcome("to do", Text(*(": ".join(filter(None, ("to do", str(stub)))),) * 2))
            except _Wrong as wrong:
                return self._outcome(wrong.kind, wrong.text)
            except _Raised as raised:
                return self._outcome("exception", MESSAGES["exception"].format(error=raised.text))
        return self._outcome("passed", Text(*("passed (visible checks)",) * 2))

    def _outcome(self, kind: str, text: Text) -> Outcome:
        en, zh = (" ".join(words.split()) for words in text)
        return Outcome(kind, Text(f"{self.name}: {en}", f"{self.name}: {STRAY_BLANK.sub('', zh)}"))

    # ---- the steps, in the order in which findings are reported ----

    def _compare(self, function: Function) -> None:
        if function is None or function is Ellipsis:
            raise _ToDo
        if not callable(function):
            raise _finding("callable", got=type(function).__name__)
        learner = _Learner(function)
        cases = _Drawn(self.cases(torch.Generator().manual_seed(0)) if self.cases else ())
        try:
            for case in cases:
                self._values(learner, case)
        except _Wrong as wrong:
            if wrong.kind in ("shape", "dtype", "finite", "value") and (text := self._diagnose(function, cases)):
                raise _Wrong("mistake", text) from None
            raise
        for case in cases:
            for index in self.gradients:
                self._gradient(learner, case, index)
        for rule in self.rules:
            if text := rule(learner):
                raise _Wrong("rule", text)

    def _values(self, function: Function, case: Case) -> None:
        """Raise `_Wrong` where the outputs for this input differ from the reference's."""
        assert self.reference is not None
        args = copy.deepcopy(case.args)
        got = self._called(function, args, case)
        names = self._names()
        for i, (now, before) in enumerate(zip(args, case.args, strict=True)):
            if not _same(now, before):
                raise _finding("inputs", argument=names[i] if i < len(names) else i + 1)
        self._match(got, self.reference(*copy.deepcopy(case.args)), case, Text("", ""))

    def _called(self, function: Function, args: Sequence[Any], case: Case) -> Any:
        try:
            return function(*args)
        except _Raised as raised:
            raise _finding("exception at", error=raised.text, case=case.words(self._names())) from None

    def _names(self) -> list[str]:
        """Names of the arguments, as the reference has them."""
        return list(inspect.signature(self.reference).parameters) if self.reference else []

    def _match(self, got: Any, expected: Any, case: Case, part: Text) -> None:
        """Raise `_Wrong` at the first difference between an output and the expected one."""
        if not _kinds_agree(got, expected):
            raise _finding("type", part=part, expected=_kind(expected), got=_kind(got))
        if isinstance(expected, Mapping):
            if set(got) != set(expected):
                raise _finding("keys", part=part, expected=sorted(expected), got=sorted(got, key=str))
            for key in expected:
                self._match(got[key], expected[key], case, Text(f"{part.en}[{key!r}]: ", f"{part.zh}[{key!r}]："))
        elif isinstance(expected, (tuple, list)):
            if len(got) != len(expected):
                raise _finding("length", part=part, expected=len(expected), got=len(got))
            for i, (one, right) in enumerate(zip(got, expected, strict=True), start=1):
                self._match(one, right, case, Text(f"{part.en}output {i}: ", f"{part.zh}第 {i} 个输出："))
        elif _is_number(expected):
            self._match_numbers(got, expected, case, part)
        elif got != expected:
            where = case.words(self._names())
            raise _finding("value", part=part, case=where, got=_short(got), expected=_short(expected))

    def _match_numbers(self, got: Any, expected: Any, case: Case, part: Text) -> None:
        a, b = _array(got), _array(expected)
        if a.shape != b.shape:
            where = case.words(self._names())
            why = REASONS[_shape_reason(a.shape, b.shape)]
            raise _finding("shape", part=part, case=where, got=a.shape, expected=b.shape, why=why)
        families = (_family(a), _family(b))
        if _is_plain(got) or _is_plain(expected) or not self.exact_dtype:
            agree = families[0] == families[1] or families == ("int", "float")  # 0 is as good as 0.0
        else:
            agree = a.dtype == b.dtype
        if not agree:
            why = REASONS["float32" if (a.dtype, b.dtype) == (np.float32, np.float64) else ""]
            raise _finding("dtype", part=part, got=a.dtype, expected=b.dtype, why=why)
        self._close(a, b, case, part, "finite", "value")

    def _close(self, a: np.ndarray, b: np.ndarray, case: Case, part: Text, finite: str, value: str) -> None:
        bad = ~np.isfinite(a) & np.isfinite(b)
        if bad.any():
            at = _first(bad)
            raise _finding(finite, part=part, case=case.words(self._names(), at), got=str(a[at]))
        wrong = ~np.isclose(a, b, rtol=self.rtol, atol=self.atol, equal_nan=True)
        if wrong.any():
            at = _first(wrong)
            got, expected = (_piece(x, at)[1] for x in (a, b))
            if got == expected:  # they differ beyond the digits shown
                got, expected = (str(x[at]) for x in (a, b))
            raise _finding(value, part=part, case=case.words(self._names(), at), got=got, expected=expected)

    def _diagnose(self, function: Function, cases: Iterable[Case]) -> Text | None:
        """The text of the first mistake that gives what the learner's function gives, on every case."""
        for mistake in self.mistakes:
            twin = copy.copy(self)
            twin.reference = mistake.function
            try:
                for case in cases:
                    twin._values(_Learner(function), case)
            except Exception:  # the mistake itself may fail on an edge
                continue
            return mistake.text
        return None

    def _gradient(self, function: Function, case: Case, index: int) -> None:
        assert self.reference is not None
        if not (isinstance(case.args[index], torch.Tensor) and case.args[index].is_floating_point()):
            return
        expected = _backward(self.reference, case, index)
        got = self._called(_backward, (function, case, index), case)
        if got is None and expected is not None and expected.any():
            raise _finding("no gradient", argument=self._names()[index])
        zeros = torch.zeros_like(case.args[index])
        a, b = (_array(zeros if gradient is None else gradient) for gradient in (got, expected))
        self._close(a, b, case, Text("", ""), "gradient finite", "gradient")


class _Drawn:
    """Cases, each drawn when it is first asked for, and kept: a wrong answer is mostly told by the first."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._kept: list[Case] = []
        self._rest = iter(cases)

    def __iter__(self) -> Iterator[Case]:
        for place in itertools.count():
            if place == len(self._kept):
                self._kept.extend(itertools.islice(self._rest, 1))
            if place == len(self._kept):
                return
            yield self._kept[place]


class _Learner:
    """The learner's function, watched: a stub is to do, a missing return or an exception becomes one line."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        try:
            result = self.function(*args, **keywords)
        except NotImplementedError as stub:
            raise _ToDo(str(stub)) from None
        except Exception as error:
            raise _Raised(error, self.function) from None
        if result is None or result is Ellipsis:
            raise _ToDo if _is_stub(self.function) else _finding("return", got=result)
        return result


def _is_stub(function: Function) -> bool:
    """Has the function no body but a docstring, `...`, `pass` or `return None`?"""
    code = getattr(function, "__code__", None)
    empty = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}
    return code is not None and {step.opname for step in dis.get_instructions(code)} <= empty


# ---- rules that several chapters need -------------------------------------------------------------------------------


def curve(function: Function, x: torch.Tensor, *more: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and slope, entry by entry, of the learner's `function(x, *more)`, for a rule that judges a curve.

    x    (n,) float64, the places where it is asked; each output must depend on its own entry alone
    ->   two tensors (n,) without history

    A wrong type, shape or dtype, NaN or inf, a missing or infinite gradient is told to the learner from here.
    """
    argument = next(iter(inspect.signature(getattr(function, "function", function)).parameters), "x")
    leaf = x.detach().clone().requires_grad_()
    value = function(leaf, *more)
    if not isinstance(value, torch.Tensor) or value.shape != x.shape or value.dtype != x.dtype:
        got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise _finding("curve", argument=argument, shape=tuple(x.shape), got=got.removeprefix("torch."))
    if not torch.equal(leaf, x):
        raise _finding("inputs", argument=argument)

    def must_be_finite(found: torch.Tensor, kind: str) -> None:
        if (bad := ~found.isfinite()).any():
            raise _finding(kind, argument=argument, at=f"{float(x[bad][0]):g}", got=float(found[bad][0]))

    must_be_finite(value.detach(), "curve value")
    if not value.requires_grad:
        raise _finding("curve gradient", argument=argument)
    (slope,) = torch.autograd.grad(value.sum(), leaf, allow_unused=True)
    if slope is None:
        raise _finding("curve gradient", argument=argument)
    must_be_finite(slope, "curve slope")
    return value.detach(), slope


def called_by(code: CodeType) -> set[str]:
    """The global names in a function and in those inside it."""
    inner = (called_by(const) for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*inner)


_TRANSFORMS = {"grad", "grad_and_value", "vjp", "jvp", "jacrev", "jacfwd", "jacobian", "linearize"}


def _transforms(function: Any) -> bool:
    """Does it call one of torch's transforms? They work where grad mode is off; a helper of that name is not one."""
    code, scope = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    names = called_by(code) if code else set()
    whole = not names.isdisjoint({"func", "autograd"})  # torch.func.grad
    return any(
        scope[name].__module__.startswith("torch") if hasattr(scope.get(name), "__module__") else whole
        for name in names & _TRANSFORMS
    )


def by_autograd(function: Function, *inputs: Any) -> bool:
    """Does a function that gives the right values take them from autograd? For a rule of "put it together by hand"."""
    if _transforms(getattr(function, "function", function)):
        return True
    try:
        with torch.inference_mode():  # stricter than no_grad: enable_grad does not undo it
            function(*inputs)
    except Exception:  # it was right a moment ago: only the missing graph can fail it
        return True
    return False


def detector(
    cases: Sequence[tuple[Function, Text]],
    right: int,
    *,
    if_rejected: Text | None = None,
    if_passed: Text | None = None,
) -> Callable[[Function], Text | None]:
    """The rule of a "write the test" exercise: the learner's function must say True of some functions, False of others.

    cases   what is handed to the learner's test, one after the other, each with words for it: "a right implementation,
            which ...", "the margin is taken for degrees"
    right   so many of them, the first ones, are right
    if_rejected, if_passed  advice for a test that rejects a right one, or lets a wrong one pass
    """

    def rule(function: Function) -> Text | None:
        for place, (given, name) in enumerate(cases):
            answer = function(given)
            if _is_number(answer) and _array(answer).size == 1:
                answer = _array(answer).item()
            if not isinstance(answer, bool):
                return MESSAGES["bool"].format(got=_short(answer))
            if answer != (place < right):
                kind, advice = ("rejected", if_rejected) if place < right else ("undetected", if_passed)
                advice = Text(f": {advice.en}", f"：{advice.zh}") if advice else REASONS[""]
                return MESSAGES[kind].format(name=name, advice=advice)
        return None

    return rule


# ---- small helpers ------------------------------------------------------------------------------------------------


def _finding(kind: str, **values: object) -> _Wrong:
    return _Wrong(kind, MESSAGES[kind].format(**values))


def _backward(function: Function, case: Case, index: int) -> torch.Tensor | None:
    """Gradient of a fixed weighted sum of the outputs with respect to one argument; None where none flows."""
    args = list(copy.deepcopy(case.args))
    leaf = args[index] = args[index].detach().requires_grad_()
    outputs = function(*args)
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    total: Any = 0.0
    for output in outputs:
        if isinstance(output, torch.Tensor) and output.is_floating_point() and output.requires_grad:
            weights = torch.linspace(0.5, 1.5, output.numel(), dtype=output.dtype).reshape(output.shape)
            total = total + (output * weights).sum()
    if not isinstance(total, torch.Tensor):
        return None
    (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
    return gradient


def _same(a: Any, b: Any) -> bool:
    """Are the inputs what they were before the call? Objects that are neither numbers nor containers pass."""
    if isinstance(b, (torch.Tensor, np.ndarray)):
        x, y = _array(a), _array(b)
        return x.dtype == y.dtype and np.array_equal(x, y, equal_nan=y.dtype.kind == "f")
    if isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in b)
    return bool(a == b) if isinstance(b, (str, bool, int, float, set, frozenset)) else True


def _shape_reason(got: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """What a wrong shape usually comes from; empty where nothing is usual."""
    without = [tuple(size for size in shape if size != 1) for shape in (got, expected)]
    if got == expected[::-1]:
        return "transposed"
    if without[0] == without[1]:
        return "axis" if len(got) > len(expected) else "no axis"
    return "reduced" if not got else "not reduced" if not expected else ""


def _array(x: Any) -> np.ndarray:
    return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)


def _first(mask: np.ndarray) -> tuple[int, ...]:
    """Index of the first true element."""
    return tuple(int(i) for i in np.argwhere(mask)[0])


def _family(x: np.ndarray) -> str:
    return {"b": "bool", "i": "int", "u": "int", "f": "float"}.get(x.dtype.kind, x.dtype.kind)


def _is_plain(x: Any) -> bool:
    return isinstance(x, (bool, int, float, np.generic))


def _is_number(x: Any) -> bool:
    return _is_plain(x) or isinstance(x, (torch.Tensor, np.ndarray))


def _kinds_agree(got: Any, expected: Any) -> bool:
    """Plain numbers, and tensors or arrays without axes, stand for one another; a wrong shape is told later."""
    if _is_plain(expected) or (_is_number(expected) and expected.ndim == 0):
        return _is_number(got)
    for kind in (torch.Tensor, np.ndarray, Mapping, (tuple, list), str, (set, frozenset)):
        if isinstance(expected, kind):
            return isinstance(got, kind)
    return isinstance(got, type(expected))


def _kind(x: Any) -> Text:
    """What a learner calls the type."""
    if isinstance(x, torch.Tensor):
        return Text("a tensor", "张量")
    if isinstance(x, np.ndarray):
        return Text("a NumPy array", "NumPy 数组")
    if _is_plain(x):
        return Text("a number", "一个数")
    return Text(type(x).__name__, type(x).__name__)


def _shown(name: str, arg: Any, at: tuple[int, ...] | None) -> str:
    """One argument in words: whole where it is short, else the row or entry that `at` points to, else its shape."""
    if not (isinstance(arg, (torch.Tensor, np.ndarray)) and arg.ndim):
        return f"{name} = {_short(arg)}"
    values = _array(arg)
    if at is None or not values.size:
        return f"{name} {values.shape}"
    at = at[: values.ndim]
    if values.size > 6 and at not in np.ndindex(*values.shape):
        return f"{name} {values.shape}"
    where, shown = _piece(values, at)
    return f"{name}{where} = {shown}"


def _piece(values: np.ndarray, at: tuple[int, ...]) -> tuple[str, str]:
    """Of an array: all of it where it is small, else the row that holds `at` where that is short, else the entry."""
    if values.size <= 6:
        at = ()
    elif values.ndim > 1 and values.shape[-1] <= 6:
        at = at[:-1]
    return f"[{', '.join(map(str, at))}]" if at else "", _numbers(values[at])


def _numbers(x: Any) -> str:
    """All the values of a small array or a scalar."""
    return f"[{', '.join(map(_numbers, x))}]" if np.ndim(x) else _short(x)


def _short(x: Any) -> str:
    """A few characters for a value."""
    if isinstance(x, torch.Tensor):
        x = _array(x)
    if isinstance(x, np.ndarray) and x.size > 4:
        return str(x.shape)
    if isinstance(x, (np.ndarray, np.generic)):
        x = x.tolist()
    if isinstance(x, float):
        return f"{x:.6g}"
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(map(_short, x[:4])) + (", ...]" if len(x) > 4 else "]")
    return getattr(x, "__name__", None) or str(x)[:60]
