"""What every chapter does besides teaching: how big to run, where, with which seeds, and how a claim is judged.

    from facelearn import lesson
    lesson.start("12_arcface", minutes=0.7)             # banner, seeds, figure style
    epochs = lesson.pick(smoke=1, cpu=6, full=20)       # the only thing the budget may change
    full = lesson.results("12_arcface", experiment.SETTINGS)
    lesson.show(fig)
    lesson.verdict("margin opens the arc", table=..., live=...)

The budget is read once from the environment variable FACELEARN_BUDGET: `smoke` (does the code run?), `cpu` (what
a reader sees, and what the stored outputs hold; the default) or `full` (what stands behind a claim).
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from facelearn import figures
from facelearn.files import write_whole
from facelearn.training import seed_everything

__all__ = [
    "BUDGET",
    "Spread",
    "agree",
    "course_folder",
    "device",
    "dots",
    "interval",
    "live",
    "pick",
    "prediction",
    "results",
    "settings_hash",
    "show",
    "show_gif",
    "show_page",
    "start",
    "table",
    "verdict",
]

T = TypeVar("T")

# How long a chapter takes at each budget, relative to `cpu`: rough, for the banner alone.
BUDGETS = {"smoke": 0.3, "cpu": 1.0, "full": 10.0}


def _budget() -> str:
    budget = os.environ.get("FACELEARN_BUDGET", "cpu")
    if budget not in BUDGETS:
        raise ValueError(f"FACELEARN_BUDGET={budget!r}: expected one of {', '.join(BUDGETS)}")
    return budget


BUDGET: str = _budget()

# cuBLAS is deterministic only where this stands before CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


# ---- where and how big --------------------------------------------------------------------------------------------


def pick(*, smoke: T, cpu: T, full: T) -> T:
    """The value for the current budget. It sets the size of an experiment (epochs, seeds, points), nothing else."""
    return {"smoke": smoke, "cpu": cpu, "full": full}[BUDGET]


def device() -> torch.device:
    """CUDA where there is one, else the CPU. The budget has no say in it."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def start(chapter: str, *, minutes: float, seed: int = 0) -> None:
    """Begin a chapter: print the banner, seed every generator, make torch deterministic, set the figure style.

    `minutes` is the measured time of the chapter at the `cpu` budget on two cores; the banner scales it for the
    current budget. Threads are left to OMP_NUM_THREADS where that is set, else at most four: the nets are small.
    """
    seed_everything(seed)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(4, os.cpu_count() or 1))
    where = device()
    # Some CUDA kernels have no deterministic twin: there a warning must do, on the CPU it is an error.
    torch.set_deterministic_debug_mode("warn" if where.type == "cuda" else "error")
    if not _in_kernel():
        plt.switch_backend("agg")  # a plain script on a server: no window to open
    figures.use_style()
    _figure_number.update(chapter=chapter, count=0)

    torch_version = torch.__version__.partition("+")[0]
    expected = max(0.1, minutes * BUDGETS[BUDGET])
    print(f"{chapter} | budget {BUDGET} | device {where} | about {expected:.1f} min | torch {torch_version}")
    if BUDGET == "smoke":
        print("smoke: live runs are too small to test a claim; verdicts rest on the stored full run alone")


# ---- pictures -----------------------------------------------------------------------------------------------------

_figure_number: dict[str, Any] = {"chapter": "figure", "count": 0}


def _in_kernel() -> bool:
    """Are we inside a Jupyter kernel? Asked without importing IPython, which a plain script may not have."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def show(fig: Figure) -> None:
    """Display `fig` as a small PNG (at most 150 kB, the same bytes for the same figure) and close it.

    In a plain script (`jupytext --to py`) there is nothing to display in: the figure is saved as
    `<chapter>_<n>.png` in the folder named by the environment variable FACELEARN_FIGURES, if that is set.
    """
    if _in_kernel():
        _display({"image/png": figures.png(fig), "text/plain": "<figure>"})
    elif folder := os.environ.get("FACELEARN_FIGURES"):
        _figure_number["count"] += 1
        target = Path(folder) / f"{_figure_number['chapter']}_{_figure_number['count']:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, figures.png(fig))
    plt.close(fig)


def show_gif(name: str) -> None:
    """Display `course/assets/<name>`, a GIF made beforehand by `make assets`; in a plain script do nothing.

    Where the animation needs no code beside it, a Markdown image is better: it also shows on GitHub, and the
    bytes are not stored a second time in each notebook.
    """
    path = course_folder() / "assets" / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `python tools/assets.py` draws it")
    if _in_kernel():
        _display({"image/gif": path.read_bytes(), "text/plain": f"<{name}>"})


def show_page(name: str, *, height: int = 1000) -> None:
    """Display `course/<name>`, an HTML page that needs no other file, in a frame; in a plain script do nothing.

    The page's text goes into the output: it works offline, and wherever the notebook is taken. Jupyter shows frames
    of trusted notebooks only, that is, of those that have been run by their reader; GitHub shows none.
    """
    path = course_folder() / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: expected a page in the course's folder")
    if _in_kernel():
        page = html.escape(path.read_text(encoding="utf-8"))
        style = f"width: 100%; height: {height}px; border: 0"
        _display({"text/html": f'<iframe srcdoc="{page}" style="{style}"></iframe>', "text/plain": f"<{name}>"})


def _display(bundle: dict[str, Any]) -> None:
    from IPython.display import display

    display(bundle, raw=True)


# ---- stored full runs ---------------------------------------------------------------------------------------------


def settings_hash(settings: dict[str, Any]) -> str:
    """First 12 hex digits of the SHA-256 of the canonical JSON (sorted keys, no spaces) of `settings`."""
    try:
        text = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings: expected plain JSON values (numbers, text, lists, dicts): {error}") from error
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:12]


def course_folder() -> Path:
    """The course's folder (the one with `results/` and `experiments/`), looked for upward from the working folder."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        for candidate in (folder, folder / "course"):
            if (candidate / "results").is_dir() and (candidate / "experiments").is_dir():
                return candidate
    raise FileNotFoundError(f"no course folder (with results/ and experiments/) at or above {here}")


def results(chapter: str, settings: dict[str, Any]) -> pd.DataFrame:
    """The stored full run of a chapter, one row per setting and seed: `course/results/<chapter>.csv`.

    Columns: the fields of the setting, `seed`, the measured numbers, `settings_hash`, `device`, `torch`, `seconds`.
    Refuses a table that was made with other settings: a claim must not rest on an experiment nobody ran.
    """
    path = course_folder() / "results" / f"{chapter}.csv"
    remedy = f"`make results CHAPTER={chapter.partition('_')[0]}` repeats the full run"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {remedy}")
    table = pd.read_csv(path, dtype={"settings_hash": str}, keep_default_na=False, na_values=[""])
    if table.empty or "settings_hash" not in table:
        raise ValueError(f"{path}: expected rows with a column settings_hash: {remedy}")
    stored, expected = sorted(set(table["settings_hash"])), settings_hash(settings)
    if stored != [expected]:
        raise ValueError(
            f"{path} is stale: made with settings {', '.join(map(str, stored))}, "
            f"the chapter now has {expected}: {remedy}"
        )
    return table.copy()  # in one block a type instead of one a column: twice as quick to filter


# ---- from numbers to a verdict ------------------------------------------------------------------------------------


class Spread(NamedTuple):
    """A centre and the half-width of an interval round it; prints as `0.912 ± 0.004`."""

    mean: float
    half_width: float

    @property
    def low(self) -> float:
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        return self.mean + self.half_width

    def contains(self, *values: float) -> bool:
        """Are all `values` inside, ends included (up to rounding)? NaN is not."""
        slack = 1e-12 + 1e-9 * abs(self.mean)
        return all(self.low - slack <= float(value) <= self.high + slack for value in values)

    def __str__(self) -> str:
        return f"{self:.3f}"

    def __format__(self, spec: str) -> str:
        """Both numbers in this format, the sign of `+.2f` on the mean alone: `f"{spread:+.2f}"` is `-0.57 ± 0.10`."""
        return f"{self.mean:{spec or '.3f'}} ± {self.half_width:{(spec or '.3f').lstrip('+')}}"


def interval(values: Iterable[float], level: float = 0.95) -> Spread:
    r"""Mean over n seeds and the t-interval of that mean: $\bar x \pm t_{n-1,(1+level)/2}\, s / \sqrt n$.

    It says where the mean of MANY runs lies, not where the next run falls: for that see `prediction`.
    """
    x = _sample(values)
    return Spread(float(x.mean()), _t_quantile(len(x) - 1, level) * float(x.std(ddof=1)) / len(x) ** 0.5)


def prediction(values: Iterable[float], *, runs: int = 1, level: float = 0.95) -> Spread:
    r"""Where the mean of `runs` NEW runs should fall, given the runs of n seeds in `values`.

    $\bar x \pm t_{n-1,(1+level)/2}\, s\, \sqrt{1/runs + 1/n}$: the new runs scatter as the old ones did, and the
    old mean is itself uncertain. Exact for normal scatter. The new run must be the same experiment (same setting,
    same size) with another seed; even then it falls outside with probability 1 - level.
    """
    if runs < 1:
        raise ValueError(f"runs={runs}: expected at least 1")
    x = _sample(values)
    scale = float(x.std(ddof=1)) * (1 / runs + 1 / len(x)) ** 0.5
    return Spread(float(x.mean()), _t_quantile(len(x) - 1, level) * scale)


def live(stored: Iterable[float], new: float, *, unit: str = "") -> bool:
    """Does a run in the notebook with a seed of its own fall where the stored runs predict it? Prints what it compares.

    stored  one number a seed, of the same experiment
    new     that number from the live run

    The one rule of the course: the 95 % prediction interval, fixed beforehand. Of honest live runs one in twenty falls
    outside: then its seed goes into the table, and a fresh one is drawn; neither limit nor seed is chosen by result.
    """
    expected = prediction(stored)
    inside = expected.contains(new)
    print(f"live {new:+.2f}{unit}, 95 % prediction {expected.low:+.2f} to {expected.high:+.2f}{unit}: inside {inside}")
    return inside


def agree(mine: Callable[..., torch.Tensor], theirs: Callable[..., torch.Tensor], *inputs: Any) -> bool:
    """Do two functions give the same value and gradients, to 10 digits in float64? Prints a line, also where not.

    inputs  of both; floating tensors are taken as float64 copies, and the gradients with respect to them compared
    """
    found: list[list[torch.Tensor]] = []
    for function in (mine, theirs):
        own = [
            x.detach().double().clone().requires_grad_() if torch.is_tensor(x) and x.is_floating_point() else x
            for x in inputs
        ]
        leaves = [x for x in own if torch.is_tensor(x) and x.requires_grad]
        value = function(*own)
        slopes = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
        zeros = [torch.zeros_like(x) if g is None else g for g, x in zip(slopes, leaves, strict=True)]
        found.append([value.detach(), *zeros])
    same = [a.shape == b.shape and torch.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(*found, strict=True)]
    print(f"value equal: {same[0]}   gradients equal: {', '.join(map(str, same[1:]))}")
    return all(same)


def dots(groups: Mapping[str, Iterable[float]], label: str, *, shades: Sequence[str] = ()) -> Figure:
    """A row for each group: a dot for each seed, their mean as a diamond with its 95 % interval, a line at zero.

    groups  `{"ArcFace, m = 0.8": one number a seed}`, from top to bottom; what is drawn is usually a paired difference
    label   what the numbers are, with their unit
    shades  a colour for each row; `figures.colour(stem)` where a row is a loss
    """
    fig, ax = plt.subplots(figsize=(6.4, 0.8 + 0.42 * len(groups)))
    shades = shades or ["#444444"] * len(groups)
    for y, (values, shade) in enumerate(zip(groups.values(), shades, strict=True)):
        x = _sample(values)
        spread = interval(x)
        ax.plot(x, y + np.linspace(-0.08, 0.08, len(x)), "o", color=shade, markersize=4, alpha=0.5, markeredgewidth=0)
        ax.errorbar(spread.mean, y + 0.28, xerr=spread.half_width, fmt="D", color=shade, markersize=6, capsize=4)
    ax.axvline(0, color="#333333", linewidth=1)
    ax.set_yticks(range(len(groups)), labels=list(groups))
    ax.set(xlabel=label, ylim=(len(groups) - 0.4, -0.6))
    return fig


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, bold: tuple[int, int] | None = None) -> None:
    """Show a small table: at most 6 rows and 5 columns; `bold` is the row and column of the cell that decides."""
    if len(rows) > 6 or len(head) > 5 or any(len(row) != len(head) for row in rows):
        raise ValueError(
            f"table: found {len(rows)} rows, {len(head)} columns; expected at most 6 and 5, rows as the head"
        )
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    plain = "\n".join(
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in (head, *cells)
    )
    if not _in_kernel():
        print(plain)
        return
    marked = [[f"**{c}**" if bold == (i, j) else c for j, c in enumerate(row)] for i, row in enumerate(cells)]
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *marked]
    _display({"text/markdown": "\n".join(f"| {' | '.join(line)} |" for line in lines), "text/plain": plain})


def verdict(claim: str, *, table: bool, live: bool) -> None:
    """Print `claim holds: True` or `claim holds: False`, computed from the stored full run AND the live run.

    table  what the stored full run says about the claim (`results`, `interval`)
    live   whether the run in this notebook falls inside what the table predicts (`prediction(...).contains(...)`)

    At the `cpu` and `full` budgets the claim holds only where both are true. At the `smoke` budget the live run is
    too small to say anything: it is computed, so that its code runs, but only `table` counts, and the banner at the
    top of the chapter says so. The printed line is therefore the same at every budget as long as the claim
    stands, and a cell with the tag `nbval-check-output` can be compared at `smoke` with outputs stored at `cpu`.
    Where the claim fails the line tells which of the two failed: `claim holds: False [table True, live False]`.
    """
    table, live = _truth("table", table), _truth("live", live)
    holds = table and (live or BUDGET == "smoke")
    why = "" if holds else f" [table {table}, live {'not tested' if BUDGET == 'smoke' else live}]"
    print(f"claim holds: {holds}{why} | {claim}")


def _truth(name: str, value: Any) -> bool:
    """A bool, also numpy's and torch's; not the mere truthiness of a table or a number."""
    if isinstance(value, torch.Tensor) and value.dtype == torch.bool and value.ndim == 0:
        value = value.item()
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={value!r}: expected True or False")
    return bool(value)


def _sample(values: Iterable[float]) -> np.ndarray:
    x = np.asarray(list(values), dtype=np.float64)  # (n,)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"values={x.tolist()}: expected at least two finite numbers, one per seed")
    return x


def _t_quantile(degrees: int, level: float) -> float:
    """Two-sided quantile of Student's t."""
    if not 0 < level < 1:
        raise ValueError(f"level={level}: expected a number between 0 and 1")
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))
