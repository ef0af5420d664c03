"""What chapters lean on: budget, banner, stored results, intervals, verdicts."""

import math
import os
import subprocess
import sys
from fractions import Fraction
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from facelearn import lesson


@pytest.fixture
def course(tmp_path, monkeypatch):
    """An empty course, with the working folder where a Chinese notebook's kernel has it."""
    for folder in ("results", "experiments", "assets", "zh"):
        (tmp_path / "course" / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "course" / "zh")
    return tmp_path / "course"


@pytest.fixture
def torch_as_before():
    yield
    torch.set_deterministic_debug_mode("default")
    plt.rcdefaults()


# ---- budget and banner ----


def test_unknown_budget_is_named(monkeypatch):
    monkeypatch.setenv("FACELEARN_BUDGET", "gpu")
    with pytest.raises(ValueError, match="FACELEARN_BUDGET='gpu': expected one of smoke, cpu, full"):
        lesson._budget()
    monkeypatch.delenv("FACELEARN_BUDGET")
    assert lesson._budget() == "cpu"


def test_a_plain_script_without_ipython(tmp_path):
    """Smoke budget, banner, figures into a folder: a chapter as it runs where there is no Jupyter."""
    code = """
import sys
sys.modules["IPython"] = None           # importing it would fail
from facelearn import lesson
from matplotlib import pyplot as plt
lesson.start("12_arcface", minutes=2)
print(lesson.pick(smoke=1, cpu=2, full=3))
for _ in range(2):
    fig, ax = plt.subplots()
    lesson.show(fig)
print(plt.get_fignums())
lesson.verdict("claim", table=True, live=False)
"""
    own = {"OMP_NUM_THREADS": "1", "FACELEARN_BUDGET": "smoke", "FACELEARN_FIGURES": str(tmp_path / "new")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where = lesson.device()
    banner = f"12_arcface | budget smoke | device {where} | about 0.6 min | torch {torch.__version__.split('+')[0]}"
    first, note, *rest = done.stdout.splitlines()
    assert first == banner
    assert note.startswith("smoke: ")
    assert rest == ["1", "[]", "claim holds: True | claim"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["12_arcface_01.png", "12_arcface_02.png"]


def test_start_seeds_everything(monkeypatch, torch_as_before, capsys):
    draws = []
    for _ in range(2):
        lesson.start("00_start", minutes=0.5, seed=3)
        draws.append((torch.rand(1).item(), np.random.rand()))  # noqa: NPY002
    assert draws[0] == draws[1]
    assert torch.are_deterministic_algorithms_enabled()
    assert "about 0.5 min" in capsys.readouterr().out


def test_pick_takes_the_value_of_the_budget(monkeypatch):
    for budget, value in {"smoke": 1, "cpu": 2, "full": 3}.items():
        monkeypatch.setattr(lesson, "BUDGET", budget)
        assert lesson.pick(smoke=1, cpu=2, full=3) == value


def test_show_closes_the_figure_and_writes_nothing_unasked(course, monkeypatch):
    monkeypatch.delenv("FACELEARN_FIGURES", raising=False)
    fig, _ = plt.subplots()
    lesson.show(fig)
    assert not plt.fignum_exists(fig.number)
    assert not list(course.rglob("*.png"))


def test_show_page_puts_the_whole_page_into_a_frame(course, monkeypatch):
    page = '<!doctype html><p lang="en">a & b</p><script>"use strict"; const x = 1 < 2;</script>'
    (course / "page.html").write_text(page)
    shown = []
    monkeypatch.setattr(lesson, "_in_kernel", lambda: True)
    monkeypatch.setattr(lesson, "_display", shown.append)
    lesson.show_page("page.html", height=700)
    frames = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attributes: frames.append((tag, dict(attributes)))
    reader.feed(shown[0]["text/html"])
    ((tag, attributes),) = frames  # nothing of the page has leaked out of the attribute
    assert tag == "iframe"
    assert attributes["srcdoc"] == page
    assert "700px" in attributes["style"]
    with pytest.raises(FileNotFoundError, match=r"none\.html is missing"):
        lesson.show_page("none.html")


def test_show_gif_names_what_is_missing(course):
    with pytest.raises(FileNotFoundError, match=r"arcs\.gif is missing"):
        lesson.show_gif("arcs.gif")
    (course / "assets" / "arcs.gif").write_bytes(b"GIF89a")
    assert lesson.show_gif("arcs.gif") is None


# ---- stored results ----

SETTINGS = {"margins": [0.0, 0.5], "scale": 16.0, "set": {"ids": 300, "seed": 11}}


def store(course, stamp, name="12_arcface"):
    path = course / "results" / f"{name}.csv"
    path.write_text(f"margin,kind,seed,auc,settings_hash\n0.5,None,0,0.1,{stamp}\n0.5,,1,0.30000000000000004,{stamp}\n")
    return path


def test_settings_hash_is_sha256_of_canonical_json():
    # printf '{"a":[1,2.5],"b":{"c":null,"d":"\\u03b8"}}' | sha256sum
    assert lesson.settings_hash({"b": {"d": "θ", "c": None}, "a": (1, 2.5)}) == "77ccbe6f10dc"
    assert lesson.settings_hash({"a": 1}) != lesson.settings_hash({"a": 2})


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, np.float32(1), object()])
def test_settings_must_be_plain(value):
    with pytest.raises(ValueError, match="settings: expected plain JSON values"):
        lesson.settings_hash({"x": value})


def test_results_are_found_above_and_read_exactly(course):
    store(course, lesson.settings_hash(SETTINGS))
    table = lesson.results("12_arcface", SETTINGS)
    assert list(table["auc"]) == [0.1, 0.1 + 0.2]
    assert table["kind"][0] == "None"
    assert table["kind"].isna()[1]


def test_results_missing(course):
    with pytest.raises(FileNotFoundError, match=r"12_arcface\.csv is missing: `make results CHAPTER=12`"):
        lesson.results("12_arcface", SETTINGS)


def test_results_stale(course):
    store(course, "0123456789ab")
    with pytest.raises(ValueError, match=r"stale: made with settings 0123456789ab.*CHAPTER=12"):
        lesson.results("12_arcface", SETTINGS)


@pytest.mark.parametrize("text", ["margin,seed\n0.5,0\n", "margin,settings_hash\n"])
def test_results_without_rows_or_stamp(course, text):
    store(course, "x").write_text(text)
    with pytest.raises(ValueError, match="expected rows with a column settings_hash"):
        lesson.results("12_arcface", SETTINGS)


def test_a_hash_that_looks_like_a_number_stays_text(course):
    store(course, "123456789012")
    with pytest.raises(ValueError, match=r"settings 123456789012,"):
        lesson.results("12_arcface", SETTINGS)


def test_outside_a_course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="no course folder"):
        lesson.course_folder()


# ---- intervals ----


def test_interval_against_a_textbook_value():
    # t(0.975, 4 degrees) = 2.776 (any table); x = 1..5: mean 3, s² = 5/2
    spread = lesson.interval([1, 2, 3, 4, 5])
    assert spread.mean == 3
    assert spread.half_width == pytest.approx(2.776445 * math.sqrt(Fraction(5, 2) / 5), rel=1e-6)
    assert str(spread) == "3.000 ± 1.963"


def test_two_seeds_have_the_cauchy_quantile():
    # with one degree of freedom t is Cauchy: the quantile is tan(π (p - 1/2))
    spread = lesson.interval([0.0, 2.0], level=0.9)
    assert spread.half_width == pytest.approx(math.tan(math.pi * 0.45) * math.sqrt(2) / math.sqrt(2))


def test_prediction_is_wider_than_the_interval_of_the_mean():
    values = [0.91, 0.92, 0.90, 0.93, 0.915]
    n = len(values)
    one, mean = lesson.prediction(values), lesson.interval(values)
    assert one.half_width / mean.half_width == pytest.approx(math.sqrt(n + 1))
    assert lesson.prediction(values, runs=10**9).half_width == pytest.approx(mean.half_width)


@pytest.mark.parametrize("runs", [1, 2])
def test_new_runs_fall_inside_as_often_as_promised(runs):
    rng = np.random.default_rng(1)
    trials = 4000
    inside = 0
    for sample in rng.normal(5, 2, size=(trials, 5 + runs)):
        inside += lesson.prediction(sample[:5], runs=runs, level=0.9).contains(sample[5:].mean())
    assert inside / trials == pytest.approx(0.9, abs=4 * math.sqrt(0.9 * 0.1 / trials))


def test_spread_contains():
    spread = lesson.Spread(1.0, 0.5)
    assert spread.contains(0.5, 1.5, torch.tensor(1.0))
    assert not spread.contains(1.0, 1.51)
    assert not spread.contains(float("nan"))
    assert (spread.low, spread.high) == (0.5, 1.5)
    assert lesson.prediction([0.1 + 0.2, 0.1 + 0.2]).contains(0.3)  # the same number, but for rounding


@pytest.mark.parametrize("values", [[], [1.0], [1.0, float("nan")], [[1.0, 2.0], [3.0, 4.0]]])
def test_interval_needs_numbers(values):
    with pytest.raises(ValueError, match="values="):
        lesson.interval(values)


def test_bad_level_and_runs():
    with pytest.raises(ValueError, match=r"level=95: expected a number between 0 and 1"):
        lesson.interval([1, 2], level=95)
    with pytest.raises(ValueError, match="runs=0: expected at least 1"):
        lesson.prediction([1, 2], runs=0)


# ---- verdicts ----

LINES = {
    (True, True): "claim holds: True | norms grow\n",
    (True, False): "claim holds: False [table True, live False] | norms grow\n",
    (False, True): "claim holds: False [table False, live True] | norms grow\n",
    (False, False): "claim holds: False [table False, live False] | norms grow\n",
}


@pytest.mark.parametrize("budget", ["cpu", "full"])
@pytest.mark.parametrize(("table", "live"), LINES)
def test_verdict_needs_both(budget, table, live, monkeypatch, capsys):
    monkeypatch.setattr(lesson, "BUDGET", budget)
    lesson.verdict("norms grow", table=np.bool_(table), live=torch.tensor(live))
    assert capsys.readouterr().out == LINES[table, live]


def test_verdict_at_smoke_rests_on_the_table(monkeypatch, capsys):
    monkeypatch.setattr(lesson, "BUDGET", "smoke")
    lesson.verdict("norms grow", table=True, live=False)
    assert capsys.readouterr().out == LINES[True, True]
    lesson.verdict("norms grow", table=False, live=True)
    assert capsys.readouterr().out == "claim holds: False [table False, live not tested] | norms grow\n"


@pytest.mark.parametrize("value", [1, 0.5, "True", None, np.array([True]), torch.tensor([True])])
def test_verdict_takes_bools_alone(value):
    with pytest.raises(ValueError, match="live="):
        lesson.verdict("norms grow", table=True, live=value)


# ---- what chapters show of their numbers --------------------------------------------------------------------------


def test_a_spread_takes_the_format_of_a_number():
    spread = lesson.Spread(-0.5678, 0.1)
    assert f"{spread:+.2f}" == "-0.57 ± 0.10"
    assert f"{spread:.1%}" == "-56.8% ± 10.0%"
    assert f"{spread}" == str(spread) == "-0.568 ± 0.100"


def test_a_live_run_is_judged_by_the_95_percent_prediction_alone(capsys):
    stored = [1.0, 2.0, 3.0, 4.0, 5.0]
    expected = lesson.prediction(stored, level=0.95)
    assert lesson.live(stored, expected.high - 1e-6, unit=" points")
    assert "inside True" in capsys.readouterr().out
    assert not lesson.live(stored, expected.high + 1e-6)
    assert "inside False" in capsys.readouterr().out


def test_agree_compares_value_and_every_gradient(capsys):
    x, w, y = torch.randn(4, 3), torch.randn(5, 3), torch.arange(4)

    def loss(x, w, y):
        return torch.nn.functional.cross_entropy(x @ w.T, y)

    def by_hand(x, w, y):
        z = x @ w.T
        return (z.logsumexp(1) - z[range(len(y)), y]).mean()

    assert lesson.agree(loss, by_hand, x, w, y)
    assert capsys.readouterr().out == "value equal: True   gradients equal: True, True\n"
    assert not lesson.agree(loss, lambda x, w, y: by_hand(x, w.detach(), y), x, w, y)
    assert capsys.readouterr().out == "value equal: True   gradients equal: True, False\n"
    assert not lesson.agree(loss, lambda x, w, y: by_hand(x, w, y) * (1 + 1e-9), x, w, y)
    assert x.dtype == torch.float32
    assert not x.requires_grad


def test_dots_draw_every_seed_their_mean_and_its_interval():
    groups = {"one": [1.0, 2.0, 3.0], "two": [-1.0, -1.5]}
    fig = lesson.dots(groups, "points", shades=["#112233", "#445566"])
    (ax,) = fig.axes
    assert [text.get_text() for text in ax.get_yticklabels()] == ["one", "two"]
    drawn = [sorted(line.get_xdata()) for line in ax.lines if line.get_marker() == "o"]
    assert drawn == [[1.0, 2.0, 3.0], [-1.5, -1.0]]
    means = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert means == [2.0, -1.25]
    ends = ax.collections[0].get_segments()[0][:, 0]
    np.testing.assert_allclose(ends, [lesson.interval(groups["one"]).low, lesson.interval(groups["one"]).high])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first group on top
    plt.close(fig)


def test_a_table_is_small_and_has_one_bold_cell(monkeypatch, capsys):
    lesson.table(["loss", "EER %"], [["ArcFace", "3.44"], ["m = 0", "4.01"]])
    assert capsys.readouterr().out == "loss     EER %\nArcFace   3.44\nm = 0     4.01\n"
    shown = []
    monkeypatch.setattr(lesson, "_in_kernel", lambda: True)
    monkeypatch.setattr(lesson, "_display", shown.append)
    lesson.table(["loss", "EER %"], [["ArcFace", 3.44]], bold=(0, 1))
    assert shown[0]["text/markdown"] == "| loss | EER % |\n| :-- | --: |\n| ArcFace | **3.44** |"
    with pytest.raises(ValueError, match="found 7 rows, 1 columns; expected at most 6 and 5"):
        lesson.table(["a"], [[1]] * 7)
