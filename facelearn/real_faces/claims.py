"""What chapters conclude on drawn faces, asked on photographs, with settings that were searched there.

    python -m facelearn.real_faces claims --run runs/lfw --csv course/results/real_faces_claims.csv

THE PLAN, written before the first of these trainings (30 November 2026). What was looked at before it: how long nets
and matrices take, and what nets of few steps reach, with a seed of its own on rotation 2.

What is trained. A net of `recipe.py` takes a minute or more, a search needs hundreds of trainings, and in 200 steps it
is far from done. So here it is a matrix with batch normalisation on LBP (`heads.py`), a second or two each. LFW's
people, photographs, alignment and rotations are those of the page; settings found here are settings for this matrix.

Search. Rotations 2 and 4, a seed of its own. Criterion: the smallest EER of all pairs of the held-out people (at most
10 images each) by cosine, mean of the two rotations. Every loss has eight settings: six of scale and margin (`GRIDS`)
at the rate 0.01, then the best of them at two other rates. NormFace, which has no margin, has six scales, SupCon six
temperatures; softmax, which has neither, eight rates.
    Changed when the search had come to MV-Softmax, before the first measured training: the other rates were 0.003 and
0.03. NormFace, CosFace and ArcFace were all worse by 3 points at 0.003 and better by 1 at 0.03, the largest, so that
the two are 0.03 and 0.1 now. Scale and margin were chosen at 0.01 all the same.

Measurement. Rotations 1, 3 and 5, whose held-out people nothing was chosen on, three fresh seeds. EER and TAR at FAR
1e-3 of all pairs, each the mean of the rotations. A difference is paired: the same rotation, start, batches and people.
Its variance adds two parts: other people (bootstrap over the people of each rotation, all losses under the same draws;
thresholds move with it), and other seeds (variance of the seeds' means over their number). 95 % intervals from the
normal distribution; p-values by Holm within a question. Three seeds say little about seeds.

Questions, a chapter each; each loss with its own best settings unless said otherwise.

    12  A margin lowers the error of NormFace: CosFace and ArcFace against NormFace.
    14  Emphasising hard classes helps: MV-Arc-Softmax and CurricularFace against ArcFace.
    15  Circle loss's weights help: `CircleFace` against CosFace at its point of contact, which has the same scale 2mγ
        and the margin 1 - 2m, at the rate that is best for it; and against CosFace at its own best settings.
    18  The norms of MagFace and AdaFace know more of a picture than softmax's: of the images of the held-out people the
        30 % with the shortest embeddings are rejected; the gain is how much of the EER that takes off, in percent.
        Also whether softmax's, MagFace's and AdaFace's norms gain anything.
        Not planned, added when one of three seeds was there: the same against ArcFace's norm, which that loss divides
        by, and ArcFace's against softmax's.
    21  The loss that the search ranks first, which would be shipped, against every other.

Verdicts, for what a comparison's name puts first: "better" or "worse" where p after Holm is below .05; "practically no
difference" where the interval lies within the bound, ±0.5 points of EER, ±2 of TAR, ±5 % of the EER for a norm's gain
(chapter 18's own); else "open".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from facelearn.checkpoint import content_hash
from facelearn.files import whole, write_whole
from facelearn.grid import complete
from facelearn.real_faces.descriptors import unit_rows
from facelearn.real_faces.experiment import threads
from facelearn.real_faces.heads import lbp_features, train_head
from facelearn.real_faces.rotation import Faces, Rotation
from facelearn.real_faces.table import holm
from facelearn.recipe import Recipe

Array = NDArray[Any]
REJECTED = 0.3
BOUNDS = {"EER": 0.5, "TAR@1e-3": 2.0, "gain of the norm": 5.0}  # points; of the last, percent of the EER
BETTER = {"EER": -1, "TAR@1e-3": 1, "gain of the norm": 1}


SHAPES = ((8, 0.3), (8, 0.6), (16, 0.2), (16, 0.4), (32, 0.15), (32, 0.3))  # scale, margin in radians
SPACES = ((8, 0.2), (8, 0.4), (16, 0.1), (16, 0.25), (32, 0.1), (32, 0.2))  # scale, margin of the cosine

#: Settings of each loss that are tried at the first rate.
GRIDS: dict[str, list[str]] = {
    "softmax": ["softmax"],
    "normface": [f"normface:scale={s}" for s in (4, 8, 12, 16, 32, 64)],
    "cosface": [f"cosface:scale={s},margin={m}" for s, m in SPACES],
    "arcface": [f"arcface:scale={s},margin={m}" for s, m in SHAPES],
    "mv_softmax": [  # s t = 1.6 as in chapter 14, beside the smaller margin; a quarter of it beside the larger one
        f"mv_softmax:scale={s},margin={m},t={(0.4 if k % 2 else 1.6) / s:g}" for k, (s, m) in enumerate(SHAPES)
    ],
    "curricularface": [f"curricularface:scale={s},margin={m}" for s, m in SHAPES],
    "circleface": [f"circleface:gamma={s / (1 - m):.6g},margin={(1 - m) / 2:g}" for s, m in SPACES],  # touch CosFace's
    "magface": [  # lengths are near 11 at the start; margins around those of ArcFace, and two prices of a short one
        f"magface:scale={s},lower=6,upper=24,margin_lower={m / 2:g},margin_upper={1.5 * m:g},"
        f"regularizer_weight={20 if k % 2 else 5}"
        for k, (s, m) in enumerate(SHAPES)
    ],
    "adaface": [f"adaface:scale={s},margin={m}" for s, m in SHAPES],
    "supcon": [f"supcon:temperature={t}" for t in (0.05, 0.07, 0.1, 0.14, 0.2, 0.4)],
}
TANGENT = "cosface at circle's contact"


@dataclass(frozen=True)
class Plan:
    """What decides the numbers, beside the faces."""

    steps: int = 200  # 8 epochs, as in the chapters
    dimensions: int = 300  # of LBP after PCA
    chosen_on: tuple[int, ...] = (1, 3)  # rotations by the set that they hold out, counted from 0
    measured_on: tuple[int, ...] = (0, 2, 4)
    search_seed: int = 8100
    seeds: tuple[int, ...] = (8101, 8102, 8103)
    rate: float = 1e-2  # of all settings
    rates: tuple[float, ...] = (3e-2, 1e-1)  # of the best of them
    softmax_rates: tuple[float, ...] = (1e-3, 2e-3, 3e-3, 5e-3, 2e-2, 3e-2, 6e-2)
    resamples: int = 100
    grids: dict[str, list[str]] = field(default_factory=lambda: GRIDS)

    @property
    def hash(self) -> str:
        """First 12 hex digits, of what the numbers depend on."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()[:12]


class Setting(NamedTuple):
    words: str  # of a recipe
    lr: float


class Work:
    """Trainings, each kept in `run/claims` as the embeddings of the images that its rotation tests."""

    trains = "a matrix on LBP"
    asks: tuple[str, ...] = ("12", "14", "15", "18", "21")  # the chapters whose questions are answered

    def __init__(self, run: str | os.PathLike[str], faces: Faces, plan: Plan) -> None:
        self.folder, self.faces, self.plan = Path(run), faces, plan
        (self.folder / "claims").mkdir(parents=True, exist_ok=True)
        (self.folder / "descriptors").mkdir(exist_ok=True)
        arrays = {name: torch.as_tensor(getattr(faces, name)) for name in ("labels", "sets", "pairs", "folds")}
        self._faces = content_hash({"images": faces.images, **arrays})
        self._rows: dict[int, Array] = {}

    def rotation(self, held_out: int) -> Rotation:
        return next(r for r in self.faces.rotations if r.held_out == held_out)

    def rows(self, held_out: int) -> Array:
        """LBP after that rotation's PCA, (N, d)."""
        if held_out not in self._rows:
            dimensions = self.plan.dimensions
            path = self.folder / "descriptors" / f"lbp{dimensions}_rotation{held_out + 1}.npy"
            if not path.exists():
                features = lbp_features(self.faces, self.folder / "descriptors" / "lbp.npy")
                with whole(path) as kept:
                    np.save(kept, self.rotation(held_out).reduced(features, dimensions))
            self._rows[held_out] = np.load(path, allow_pickle=False)
        return self._rows[held_out]

    def file(self, setting: Setting, held_out: int, seed: int) -> Path:
        """Named by all that decides its content: of another plan or of other faces nothing is taken."""
        return self.folder / "claims" / f"{_short([*self.basis(), held_out, seed, *setting])}.npy"

    def basis(self) -> list[Any]:
        """What all trainings have in common."""
        return [self._faces, self.plan.steps, self.plan.dimensions]

    def trained(self, setting: Setting, held_out: int, seed: int) -> Array:
        """Embeddings of the images that the rotation tests, (n, 128)."""
        rotation = self.rotation(held_out)
        chosen, labels = rotation.training
        inputs = torch.from_numpy(self.rows(held_out)) * self.plan.dimensions**0.5  # entries of variance 1
        loss = Recipe.parse(setting.words)
        head = train_head(inputs[chosen], labels, loss, steps=self.plan.steps, seed=seed, lr=setting.lr)
        with torch.no_grad():
            return head(inputs[rotation.gallery]).numpy()

    def embeddings(self, setting: Setting, held_out: int, seed: int) -> Array:
        """What `trained` returns, kept."""
        path = self.file(setting, held_out, seed)
        if not path.exists():
            made = self.trained(setting, held_out, seed)
            with whole(path) as kept:
                np.save(kept, made)
        return np.load(path, allow_pickle=False)

    def judged(self, x: Array, held_out: int, reject: float = 0.0) -> Judged:
        return Judged(x, self.faces.labels[self.rotation(held_out).gallery], shortest_away(x, reject))

    # --- the search

    def tried(self, loss: str) -> dict[Setting, float]:
        """Each setting of the search with its EER, the mean of the rotations that settings are chosen on."""
        plan = self.plan
        found = {Setting(words, plan.rate): math.nan for words in plan.grids[loss]}
        for setting in found:
            found[setting] = self.searched(setting)
        best = min(found, key=found.__getitem__)
        for lr in plan.softmax_rates if loss == "softmax" else plan.rates:
            found[Setting(best.words, lr)] = self.searched(Setting(best.words, lr))
        return found

    def searched(self, setting: Setting) -> float:
        plan = self.plan
        return float(np.mean([self.eer(setting, held_out, plan.search_seed) for held_out in plan.chosen_on]))

    def eer(self, setting: Setting, held_out: int, seed: int) -> float:
        """Kept without the embeddings."""
        path = self.file(setting, held_out, seed).with_suffix(".json")
        if not path.exists():
            write_whole(path, json.dumps(self.judged(self.trained(setting, held_out, seed), held_out).rates().eer))
        return float(json.loads(path.read_text()))

    def search(self) -> dict[str, dict[Setting, float]]:
        """What was tried of each loss, and at last of circle loss's tangent at the point of contact: its rates."""
        found = {loss: self.tried(loss) for loss in self.plan.grids}
        if "circleface" in found:
            circle = Recipe.parse(best(found["circleface"]).words).terms[0].settings
            m, gamma = circle["margin"], circle["gamma"]
            words = f"cosface:scale={2 * m * gamma:.4g},margin={1 - 2 * m:.4g}"
            rates = (self.plan.rate, *self.plan.rates)
            found[TANGENT] = {Setting(words, lr): self.searched(Setting(words, lr)) for lr in rates}
        return found


def _short(key: list[Any]) -> str:
    return sha256(json.dumps(key).encode()).hexdigest()[:24]


def best(tried: dict[Setting, float]) -> Setting:
    return min(tried, key=tried.__getitem__)


# ---- numbers of one training ----------------------------------------------------------------------------------------


class Rates(NamedTuple):
    eer: float
    tar: float  # at FAR 1e-3


class Judged:
    """All pairs of embeddings (n, d) of people `labels` (n,), by cosine; `kept` (n,) bool: images that are used.

    `rates(times)`: when person i comes up times[i] times. A pair of i weighs w_i, one of i and j w_i w_j.
    """

    def __init__(self, x: Array, labels: Array, kept: Array) -> None:
        codes = np.unique(labels, return_inverse=True)[1]  # of all, so that one draw of people serves every `kept`
        self.people = int(codes.max()) + 1
        rows, person = unit_rows(np.asarray(x[kept], np.float64)), codes[kept]
        self._images = np.bincount(person, minlength=self.people)
        first, second = np.triu_indices(len(rows), 1)
        scores, same = (rows @ rows.T)[first, second], person[first] == person[second]
        genuine, impostor = (np.flatnonzero(kind)[np.argsort(-scores[kind])] for kind in (same, ~same))
        self._genuine = person[first[genuine]]  # (G,), best first
        self._above = np.searchsorted(-scores[impostor], -scores[genuine], side="right")  # impostors as good or better
        self._impostor = person[first[impostor]], person[second[impostor]]
        far = self._above / len(impostor)
        last = int(np.searchsorted(far, 2 * self.rates().eer + 0.05)) + 1  # worse scores decide nothing
        self._genuine, self._above = self._genuine[:last], self._above[:last]
        one, other = self._impostor
        self._impostor = one[: self._above[-1]], other[: self._above[-1]]

    def rates(self, times: Array | None = None) -> Rates:
        w = np.ones(self.people) if times is None else np.asarray(times, float)
        n, (one, other) = self._images, self._impostor
        pairs = (w * n * (n - 1)).sum() / 2, ((w * n).sum() ** 2 - (w * n).dot(w * n)) / 2
        tar = np.cumsum(w[self._genuine]) / pairs[0]  # (G,) when genuine k is accepted
        far = np.append(0, np.cumsum(w[one] * w[other]))[self._above] / pairs[1]
        at = int(np.argmax(far + tar >= 1))
        eer = min(far[at], 1 - (tar[at - 1] if at else 0.0))  # on the way to k, or with it
        allowed = int(np.searchsorted(far, 1e-3, side="right"))
        return Rates(float(eer), float(tar[allowed - 1]) if allowed else 0.0)


def shortest_away(x: Array, share: float) -> Array:
    """(n,) bool: all but that share of the rows, the shortest."""
    kept = np.ones(len(x), bool)
    kept[np.argsort(np.linalg.norm(x, axis=1), kind="stable")[: round(share * len(x))]] = False
    return kept


# ---- differences ----------------------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """A number in percent for each rotation and seed (R, S), and under each draw of people (R, S, B)."""

    value: Array
    draws: Array


class Effect(NamedTuple):
    value: float
    low: float  # 95 % interval
    high: float
    p: float  # two-sided, of "nothing"


def effect(a: Seen, b: Seen | None = None) -> Effect:
    """a - b, or a itself, the mean over rotations and seeds, with an interval for other people and other seeds."""
    value, draws = (a.value, a.draws) if b is None else (a.value - b.value, a.draws - b.draws)
    people = draws.mean(1).var(1, ddof=1).sum() / len(value) ** 2  # rotations share no people that are tested
    seeds = value.mean(0)
    variance = people + (seeds.var(ddof=1) / len(seeds) if len(seeds) > 1 else 0.0)
    mean, error = float(value.mean()), float(variance**0.5)
    p = float(2 * norm.sf(abs(mean) / error)) if error else float(mean == 0)
    return Effect(mean, mean - 1.96 * error, mean + 1.96 * error, p)


def verdict(measure: str, found: Effect, p_holm: float) -> str:
    """Of what a comparison names first, by the rule of the plan."""
    if p_holm < 0.05:
        return "better" if found.value * BETTER[measure] > 0 else "worse"
    bound = BOUNDS[measure]
    return "practically no difference" if -bound < found.low and found.high < bound else "open"


LATER = "not planned: against ArcFace's norm, which nobody trains"


class Question(NamedTuple):
    chapter: str
    claim: str
    pairs: tuple[tuple[str, str | None], ...]
    measures: tuple[str, ...] = ("EER", "TAR@1e-3")


def questions(first: str, losses: Sequence[str]) -> list[Question]:
    """`first`: the loss that the search ranks first."""
    norms, others = (tuple((loss, against) for loss in ("magface", "adaface")) for against in ("softmax", "arcface"))
    alone = tuple((loss, None) for loss in ("softmax", "magface", "adaface"))
    return [
        Question("12", "a margin gains over NormFace", (("cosface", "normface"), ("arcface", "normface"))),
        Question("14", "emphasising hard classes helps", (("mv_softmax", "arcface"), ("curricularface", "arcface"))),
        Question("15", "circle loss's weights help", (("circleface", TANGENT), ("circleface", "cosface"))),
        Question("18", "a norm trained for it rejects better", (*norms, *alone), ("gain of the norm",)),
        Question("18", LATER, (*others, ("arcface", "softmax")), ("gain of the norm",)),
        Question("21", "the loss to ship", tuple((first, loss) for loss in losses if loss != first)),
    ]


def seen(work: Work, setting: Setting) -> dict[str, Seen]:
    """All measures of one loss, by name; kept, since people are drawn many times."""
    plan = work.plan
    key = [[*work.basis(), *setting], plan.measured_on, plan.seeds, plan.resamples]
    path = work.folder / "claims" / f"seen_{_short(key)}.npy"
    if not path.exists():
        cells = [[_rates(work, setting, k, seed) for seed in plan.seeds] for k in plan.measured_on]
        with whole(path) as kept:
            np.save(kept, np.moveaxis(np.array(cells), 2, 0))  # (measures, R, S, 1 + B)
    return {
        name: Seen(x[..., 0], x[..., 1:]) for name, x in zip(BOUNDS, np.load(path, allow_pickle=False), strict=True)
    }


def _rates(work: Work, setting: Setting, held_out: int, seed: int) -> tuple[Array, Array, Array]:
    """Of one training, in percent: EER, TAR, and the gain of the norm; each as it is and under the draws, (1 + B,)."""
    x = work.embeddings(setting, held_out, seed)
    every, kept = (work.judged(x, held_out, share) for share in (0.0, REJECTED))
    rng = np.random.default_rng(held_out)  # the same draws for all losses and seeds
    times = [None, *(drawn(rng, every.people) for _ in range(work.plan.resamples))]
    (eer, tar), (left, _) = (np.array([one.rates(t) for t in times]).T for one in (every, kept))
    return 100 * eer, 100 * tar, 100 * (1 - left / eer)


def drawn(rng: np.random.Generator, people: int) -> Array:
    """How often each comes up in as many draws with replacement."""
    return np.bincount(rng.integers(people, size=people), minlength=people)


def compared(measured: dict[str, dict[str, Seen]], first: str, work: Work, date: str) -> pd.DataFrame:
    """A row for each comparison and measure whose losses are there."""
    made, plan = [], work.plan
    places = ", ".join(str(k + 1) for k in plan.measured_on)
    for question in questions(first, [loss for loss in measured if loss != TANGENT]):
        rows = []
        for a, b in question.pairs if question.chapter in work.asks else ():
            if a not in measured or (b is not None and b not in measured):
                continue
            for measure in question.measures:
                found = effect(measured[a][measure], measured[b][measure] if b else None)
                rows.append((f"{a} - {b}" if b else a, measure, found))
        adjusted = holm(np.array([found.p for *_, found in rows]))
        for (name, measure, found), p in zip(rows, adjusted, strict=True):
            made.append({
                "chapter": question.chapter, "claim": question.claim, "comparison": name, "measure": measure,
                "effect": found.value, "low": found.low, "high": found.high, "p": found.p, "p_holm": float(p),
                "bound": BOUNDS[measure], "verdict": verdict(measure, found, float(p)),
                "seeds": " ".join(map(str, plan.seeds)),
                "where": f"LFW, rotations {places}, {work.trains}", "date": date, "settings_hash": plan.hash,
            })  # fmt: skip
    return pd.DataFrame(made)


class Outcome(NamedTuple):
    search: pd.DataFrame  # loss, words, lr, EER in percent, and which was chosen
    measured: pd.DataFrame  # loss, words, lr, rotation, seed, and the measures
    compared: pd.DataFrame


def cells(work: Work) -> Iterator[tuple[str, tuple[Setting, int, int]]]:
    """What is left to be trained for the measurement, a seed at a time."""
    settings = {loss: best(tried) for loss, tried in work.search().items()}
    for seed in work.plan.seeds:
        for held_out in work.plan.measured_on:
            for loss, setting in settings.items():
                yield f"{loss} rotation {held_out + 1} seed {seed}", (setting, held_out, seed)


def ask(work: Work, *, date: str = "", say: Any = print) -> Outcome:
    """Train what is missing, and answer. `date` goes into the rows."""
    with threads(1):
        found = {}
        for loss in work.plan.grids:
            say(f"search: {loss}")
            found[loss] = work.tried(loss)
        found = work.search()
        missing = dict(cells(work))
        there = {name for name, cell in missing.items() if work.file(*cell).exists()}
        complete(missing, work.embeddings, lambda *_: None, there=there, say=say)
        settings = {loss: best(tried) for loss, tried in found.items()}
        measured = {}
        for loss, setting in settings.items():
            say(f"people drawn again: {loss}")
            measured[loss] = seen(work, setting)
    ranked = min((loss for loss in found if loss != TANGENT), key=lambda loss: found[loss][settings[loss]])
    search = [
        {"loss": loss, "words": s.words, "lr": s.lr, "eer": 100 * eer, "chosen": s == settings[loss]}
        for loss, tried in found.items() for s, eer in tried.items()
    ]  # fmt: skip
    rows = [
        {"loss": loss, "words": settings[loss].words, "lr": settings[loss].lr, "rotation": held_out + 1, "seed": seed,
         **{name: float(one.value[r, s]) for name, one in numbers.items()}}
        for loss, numbers in measured.items()
        for r, held_out in enumerate(work.plan.measured_on) for s, seed in enumerate(work.plan.seeds)
    ]  # fmt: skip
    return Outcome(pd.DataFrame(search), pd.DataFrame(rows), compared(measured, ranked, work, date))


def as_text(differences: pd.DataFrame) -> str:
    """The comparisons for a terminal."""
    lines = []
    for (chapter, claim), part in differences.groupby(["chapter", "claim"], sort=False):
        lines.append(f"{chapter}  {claim}")
        for row in part.to_dict("records"):
            span = f"{row['effect']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
            lines.append(
                f"    {row['comparison']:44}{row['measure']:18}{span:26}p = {row['p_holm']:.3f}  {row['verdict']}"
            )
    return "\n".join(lines)
