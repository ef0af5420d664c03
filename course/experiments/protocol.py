"""The synthetic protocol: how the settings of every loss are chosen, and how the chosen ones are then compared.

Search: each setting of `GRIDS` is trained once, for 10 epochs, and measured on people of the split "tune", on nothing
else. `choose` takes the smallest EER (a tie: the larger TAR at FAR 1e-2). The grids were written before the first run
and have at most 6 settings for every loss; they are small, so a best setting at their edge says "look further".
Rates: then each loss with its chosen setting, once at each of the learning rates `RATES`, by the same criterion; the
search has it at 4e-3 already. So the rate is searched after the loss's own settings, which were all tried at 4e-3, and
not together with them.
Finals: each loss with its chosen setting, 20 epochs, five seeds of their own, measured on the split "open"; once at
4e-3 for all (`results/protocol.csv`), and once each at its own rate (`results/protocol_rates.csv`). A final seed draws
everything: people, start weights of the net, order of the batches. Runs with one seed are paired.

`settings("arcface")` gives the chosen recipe as plain values, from which `facelearn.recipe.Recipe` builds the loss;
`rate("arcface")` the learning rate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from facelearn.data import STANDARD, SyntheticFaces, standard
from facelearn.data.face_renderer import VERSION
from facelearn.models import SmallFaceNet
from facelearn.recipe import Recipe
from facelearn.training import ShiftAndGain, embed, fit, seed_everything
from facelearn.verification import evaluate_all_pairs, evaluate_pairs, fold_pairs

Array = np.ndarray
Plain = dict[str, Any]  # a recipe as plain values, see `facelearn.recipe`
CHOSEN = Path(__file__).resolve().parents[1] / "settings.json"

# All that decides a number of the tables beside the recipe and the seed.
SETTINGS: dict[str, Any] = {
    "data": {"standard": STANDARD, "renderer": VERSION},
    "net": {"embedding_dim": 64, "width": 8},
    "training": {"batch_size": 128, "lr": 4e-3, "weight_decay": 5e-4},
    "epochs": {"tune": 10, "open": 20},
    "criterion": "smallest EER on tune; a tie: the largest TAR at FAR 1e-2",
}
SEARCH_SEED = 1  # start weights and batches; the people are those of the standard sets "fit" and "tune"
FINAL_SEEDS = (1001, 1002, 1003, 1004, 1005)  # used nowhere else
MOST = 6  # settings for one loss
DRAWS = 200  # tests with people drawn anew, of each final
MEASURES = ("accuracy", "eer", "tar_1e2", "tar_1e3")
RATES = (1.6e-2, 3.2e-2)  # beside the 4e-3 of the search; half or twice as much where the best is at an end


# ---- the grids, fixed before the first run --------------------------------------------------------------------------


def _each(loss: str, *arguments: dict[str, Any], **more: Any) -> list[Plain]:
    """One recipe for each set of keywords."""
    return [{"loss": loss, "arguments": keywords, **more} for keywords in arguments]


def _scales(loss: str, *pairs: tuple[float, float], **fixed: Any) -> list[Plain]:
    """One recipe for each (scale, margin)."""
    return _each(loss, *({"scale": scale, "margin": margin, **fixed} for scale, margin in pairs))


def _beside(loss: str, *weights: float, start: float = 0.0) -> list[Plain]:
    """Softmax without bias plus weight · loss, from the share `start` of all steps on."""
    return [
        {"loss": loss, "arguments": {}, "beside_softmax": {"weight": w, "start": start, "bias": False}} for w in weights
    ]


def _magface(scale: float, low: float, high: float, weight: float) -> Plain:
    lengths = {"lower": 4.0, "upper": 16.0}
    margins = {"margin_lower": low, "margin_upper": high}
    return {"loss": "magface", "arguments": {"scale": scale, **lengths, **margins, "regularizer_weight": weight}}


PK = {"identities_per_batch": 32, "images_per_identity": 4}  # 128 images, as many steps an epoch as the others
ARC = {"stem": "arcface", "scale": 8, "margin": 0.6}
COS = {"stem": "cosface", "scale": 8, "margin": 0.4}

# Where the numbers come from. Papers train for days on thousands of people at s = 64; here 300 people and 10 epochs
# decide, and first trials at 8 epochs put s = 8 ahead of 16 and 32, s = 4 close behind. So a scale of 8 is the
# middle of every grid, with 4 and 16 beside it, and around it the margins from half to twice what a paper takes.
# Margins are not warmed up. The last layer of the net normalises the embedding's batch: lengths lie near √64 = 8, and
# what a loss measures in lengths is set to that.
GRIDS: dict[str, list[Plain]] = {
    "softmax": _each("softmax", {"bias": True}, {"bias": False}),  # nothing else to choose
    "normface": _each("normface", *({"scale": s} for s in (4, 8, 16, 32))),
    "l2_softmax": _each("l2_softmax", *({"alpha": a} for a in (4, 8, 16, 32))),  # as normface; its weights stay free
    "contrastive": _each(  # a distance: at most 2 between unit vectors, about 11 between strangers otherwise
        "contrastive",
        *({"margin": m, "normalize": True} for m in (0.5, 0.8, 1.1, 1.4)),
        {"margin": 8.0, "normalize": False},
        batches=PK,
    ),
    "supcon": _each("supcon", *({"temperature": t} for t in (0.05, 0.1, 0.2, 0.4)), batches=PK),  # paper 0.1; 1/s
    "triplet": _each(  # a squared distance, FaceNet's is 0.2; mining by either of the usual rules
        "triplet",
        *({"margin": m, "mining": "semi-hard"} for m in (0.2, 0.4, 0.8)),
        *({"margin": m, "mining": "batch-hard"} for m in (0.2, 0.4)),
        {"margin": 0.4, "mining": "all"},
        batches=PK,
    ),
    "circle": _each(  # paper: 256 with 0.25 for faces, 64 to 128 with 0.4 elsewhere
        "circle",
        *({"margin": 0.25, "gamma": g} for g in (16, 64, 256)),
        *({"margin": 0.4, "gamma": g} for g in (16, 64)),
        batches=PK,
    ),
    "center": _beside("center", 0.003, 0.01, 0.03, 0.1),  # ½‖x - c‖² starts near 32, the cross-entropy near 6
    "ring": _beside("ring", 0.003, 0.01, 0.03, 0.1, start=0.3),  # late: lengths of an untrained net mean nothing
    "lgm": _each(  # distances start near 30: a factor 1 + α adds 30 α nats; 20 images say little about 64 variances
        "lgm",
        *({"alpha": a, "likelihood_weight": 0.01, "covariance": "identity"} for a in (0.03, 0.1, 0.3)),
        {"alpha": 0.1, "likelihood_weight": 0.1, "covariance": "identity"},
        {"alpha": 0.1, "likelihood_weight": 0.01, "covariance": "diagonal"},
        {"alpha": 0.3, "likelihood_weight": 0.1, "covariance": "diagonal"},
    ),
    "sphereface": [  # with a scale: SphereFace-R. Without: the first one, its λ falling to 5 within a third of a search
        *_scales("sphereface", (8, 1.3), (8, 1.5), (8, 1.8), (16, 1.5)),
        *_each("sphereface", {"margin": 4, "lam_base": 100.0}, {"margin": 2, "lam_base": 100.0, "lam_min": 1.0}),
    ],
    "cosface": _scales("cosface", (4, 0.4), (8, 0.2), (8, 0.4), (8, 0.8), (16, 0.2), (16, 0.4)),
    "arcface": _scales("arcface", (4, 0.6), (8, 0.4), (8, 0.6), (8, 0.8), (16, 0.4), (16, 0.6)),
    "combined_margin": _each(  # (1, .3, .2) and (.9, .4, .15) are the paper's
        "combined_margin",
        {"scale": 8, "m1": 1.0, "m2": 0.3, "m3": 0.2},
        {"scale": 8, "m1": 1.0, "m2": 0.5, "m3": 0.2},
        {"scale": 8, "m1": 1.0, "m2": 0.3, "m3": 0.4},
        {"scale": 8, "m1": 0.9, "m2": 0.4, "m3": 0.15},
        {"scale": 16, "m1": 1.0, "m2": 0.3, "m3": 0.2},
    ),
    "subcenter_arcface": [
        *_scales("subcenter_arcface", (8, 0.4), (8, 0.6), (8, 0.8), (16, 0.4), num_subcenters=3),
        *_scales("subcenter_arcface", (8, 0.6), num_subcenters=2),
    ],
    "mv_softmax": [
        *_scales("mv_softmax", (8, 0.4), (8, 0.6), (16, 0.4), kind="arc", t=0.2),
        *_scales("mv_softmax", (8, 0.6), kind="arc", t=0.1),
        *_scales("mv_softmax", (8, 0.4), kind="am", t=0.2),
    ],
    "curricularface": _scales("curricularface", (4, 0.6), (8, 0.4), (8, 0.6), (8, 0.8), (16, 0.4)),
    "circleface": _each(  # where a target cosine is halfway its slope is about γ: a scale
        "circleface",
        *({"margin": 0.25, "gamma": g} for g in (8, 16, 32, 64)),
        *({"margin": 0.4, "gamma": g} for g in (16, 32)),
    ),
    "discface": _each(  # on the two usual heads; paper: weight 0.4, bound 0.05
        "discface",
        *({"base_loss": ARC, "weight": w, "bound": 0.05} for w in (0.1, 0.4, 1.0)),
        {"base_loss": ARC, "weight": 0.4, "bound": 0.2},
        {"base_loss": COS, "weight": 0.4, "bound": 0.05},
    ),
    "npcface": _each(
        "npcface",
        {"scale": 8, "m0": 0.4, "m1": 0.2},
        {"scale": 8, "m0": 0.6, "m1": 0.2},
        {"scale": 8, "m0": 0.4, "m1": 0.4},
        {"scale": 8, "m0": 0.6, "m1": 0.2, "t": 1.0, "a": 0.1},
        {"scale": 16, "m0": 0.4, "m1": 0.2},
    ),
    # lengths 4 to 16 around 8; at weight 20 the price on short ones matches the pull of the margin at s = 8
    "magface": [
        _magface(8, 0.4, 0.8, 5),
        _magface(8, 0.4, 0.8, 20),
        _magface(8, 0.4, 0.8, 80),
        _magface(8, 0.2, 0.6, 20),
        _magface(16, 0.4, 0.8, 20),
    ],
    "adaface": _scales("adaface", (4, 0.4), (8, 0.2), (8, 0.4), (8, 0.8), (16, 0.4)),
    "elasticface": [
        *_scales("elasticface", (8, 0.6), kind="arc", std=0.0125),
        *_scales("elasticface", (8, 0.6), (8, 0.8), kind="arc", std=0.05),
        *_scales("elasticface", (8, 0.6), kind="arc", std=0.05, plus=True),
        *_scales("elasticface", (8, 0.4), kind="cos", std=0.05),
    ],
}  # fmt: skip


# ---- one run --------------------------------------------------------------------------------------------------------


def settings(loss: str) -> Plain:
    """The chosen recipe of a loss, from `course/settings.json`. ValueError for a loss that is not in it."""
    return _stored("losses", loss)


def rate(loss: str) -> float:
    """The chosen learning rate of a loss, from `course/settings.json`. ValueError for a loss that is not in it."""
    return _stored("rates", loss)


def _stored(what: str, loss: str) -> Any:
    found = json.loads(CHOSEN.read_text(encoding="utf-8"))[what]
    if loss not in found:
        raise ValueError(f"loss={loss!r}: expected one of {', '.join(found)}")
    return found[loss]


@lru_cache(maxsize=2)
def people(split: str, seed: int | None, few: bool) -> SyntheticFaces:
    """The standard set of this split, with the people of this seed; `few` of them where only the code is tried."""
    return standard(split, seed=seed, **({"identities": 34} if few else {}))


def run(recipe: Plain, split: str, seed: int, budget: str = "full") -> dict[str, float]:
    """Train one recipe and measure it on people of `split`: "tune" in the search, "open" in the finals.

    A recipe may have a learning rate of its own, "lr".
    All numbers are NaN where the training diverged. At the budget "smoke" it is one epoch with a few people.
    """
    few = budget == "smoke"
    data_seed = None if split == "tune" else seed
    faces = people("fit", data_seed, few)
    rate = {"lr": recipe["lr"]} if "lr" in recipe else {}
    epochs = 1 if few else SETTINGS["epochs"][split]
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"])  # before the loss: it starts the same whatever the loss draws
    made = Recipe.from_json({name: value for name, value in recipe.items() if name != "lr"})
    loss, on_step = made.build(net.embedding_dim, int(faces.labels.max()) + 1)
    options = SETTINGS["training"] | rate | {"epochs": epochs, "batches": made.batches}
    try:
        fit(net, loss, faces, seed=seed, augment=ShiftAndGain(), on_step=on_step, **options)
    except FloatingPointError:
        return dict.fromkeys(MEASURES, math.nan)
    strangers = people(split, data_seed, few)
    found = measure(net, strangers)
    if split == "open" and not math.isnan(found["eer"]):
        return found | besides(embed(net, strangers), strangers.labels, found["eer"])
    return found


def measure(net: nn.Module, strangers: SyntheticFaces) -> dict[str, float]:
    """Error rates over all pairs, and the accuracy of 10 folds that share no people, 300 + 300 pairs each."""
    embeddings = embed(net, strangers)
    if not (embeddings.isfinite().all() and embeddings.abs().amax(1).gt(0).all()):
        return dict.fromkeys(MEASURES, math.nan)  # collapsed: some embedding has no direction
    found = evaluate_all_pairs(embeddings, strangers.labels)
    per_fold = 300 if len(strangers) >= 1000 else 30
    pairs, same, folds = fold_pairs(strangers.labels, per_fold=per_fold)
    in_folds = evaluate_pairs(embeddings, pairs, same, folds=folds)
    numbers = (in_folds.accuracy, found.eer, found.tar_at(1e-2), found.tar_at(1e-3))
    return dict(zip(MEASURES, map(float, numbers), strict=True))


def besides(embeddings: Tensor, labels: Tensor, eer: float) -> dict[str, Any]:
    """What the finals record beside the error rates, for chapter 21.  (N, d), (N,)

    dimension     effective dimension of the unit embeddings, (Σ e)² / Σ e², e the eigenvalues of their covariance
    tail          the cosine above which one impostor pair in a thousand lies
    people_draws  EER, in units of 1e-5, of `DRAWS` tests with the people drawn anew; draw k is the same for all losses
    """
    x = normalize(embeddings.double())
    covariance = x.T.cov()
    first, second = torch.triu_indices(len(x), len(x), 1)
    scores, same = (x @ x.T)[first, second], labels[first] == labels[second]  # (P,), (P,)
    who = labels[torch.stack([first, second])].numpy()
    drawn = eer_of_draws(scores.numpy(), same.numpy(), who, DRAWS, min(1.0, 3 * eer + 0.01))
    return {
        "dimension": float(covariance.trace() ** 2 / covariance.square().sum()),
        "tail": float(np.quantile(scores[~same].numpy(), 0.999)),
        "people_draws": " ".join(f"{1e5 * rate:.0f}" for rate in drawn),
    }


def eer_of_draws(scores: Array, same: Array, who: Array, draws: int, most: float = 1.0) -> list[float]:
    """The EER with everybody once, and of `draws` tests that draw as many people with replacement.

    Who comes up w times has each genuine pair w times, and each impostor pair with one who comes up v times w v times.
    scores (P,), same (P,), who (2, P): the people of each pair, numbered from 0
    most: a rate that none of these tests exceeds; impostor pairs that lie lower are counted, not sorted
    """
    size, rng = int(who.max()) + 1, np.random.default_rng(0)
    kept = np.flatnonzero(scores >= np.quantile(scores[~same], 1 - most))
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    genuine, (a, b) = same[kept], who[:, kept]
    couples = np.bincount((who[0] * size + who[1])[~same], minlength=size**2).reshape(size, size)
    every = np.bincount(who[0][same], minlength=size), couples
    found = []
    for k in range(draws + 1):
        w = np.bincount(rng.integers(size, size=size), minlength=size) if k else np.ones(size, int)
        times = np.where(genuine, w[a], w[a] * w[b])
        far = np.cumsum(times * ~genuine) / (w @ every[1] @ w)
        frr = 1 - np.cumsum(times * genuine) / (w @ every[0])
        at = int(np.argmax(far >= frr))  # no two scores are equal: one of the rates stands still here
        found.append(float(max(far[at - 1], frr[at]) if at else far[at]))
    return found


# ---- which runs there are, and what was chosen ----------------------------------------------------------------------


def search() -> Iterator[tuple[Plain, str, int]]:
    """Every setting of every loss, once, on `tune`."""
    return ((recipe, "tune", SEARCH_SEED) for recipes in GRIDS.values() for recipe in recipes)


def rates(chosen: dict[str, Plain], table: pd.DataFrame | None = None) -> list[tuple[Plain, str, int]]:
    """Every loss with its chosen setting at each further rate, on `tune`.

    With a table that has these and the search: one rate more where the best stands at an end, half or twice as much.
    """
    asked = [{**recipe, "lr": lr} for recipe in chosen.values() for lr in RATES]
    if table is not None:
        ends = {SETTINGS["training"]["lr"]: 0.5, RATES[-1]: 2}
        best = _at_rates(chosen, asked, table).values()
        asked += [recipe | {"lr": ends[recipe["lr"]] * recipe["lr"]} for recipe in best if recipe["lr"] in ends]
    return [(recipe, "tune", SEARCH_SEED) for recipe in asked]


def finals(chosen: dict[str, Plain]) -> Iterator[tuple[Plain, str, int]]:
    """Every loss with its chosen setting, on `open`; a whole seed at a time, so that a table cut short has pairs."""
    return ((recipe, "open", seed) for seed in FINAL_SEEDS for recipe in chosen.values())


def words(recipe: Plain) -> str:
    """A recipe without its loss as one line of JSON: a cell of the tables."""
    return json.dumps({name: value for name, value in recipe.items() if name != "loss"}, sort_keys=True)


def choose(table: pd.DataFrame) -> dict[str, Plain]:
    """For each loss all of whose settings are in the table, the best of them on `tune`."""
    return _best(GRIDS, table)


def best_rates(chosen: dict[str, Plain], table: pd.DataFrame) -> dict[str, Plain]:
    """For each loss whose rates are all in the table, its chosen setting with the best of them."""
    return _at_rates(chosen, [recipe for recipe, *_ in rates(chosen, table)], table)


def _at_rates(chosen: dict[str, Plain], asked: list[Plain], table: pd.DataFrame) -> dict[str, Plain]:
    """The best of these recipes and of the search's, for each loss; all name their rate."""
    tried = {loss: [recipe, *(one for one in asked if one["loss"] == loss)] for loss, recipe in chosen.items()}
    usual = {"lr": SETTINGS["training"]["lr"]}
    return {loss: usual | recipe for loss, recipe in _best(tried, table).items()}


def _best(tried: dict[str, list[Plain]], table: pd.DataFrame) -> dict[str, Plain]:
    rows = {(row["loss"], row["setting"]): row for row in table[table["split"] == "tune"].to_dict("records")}
    chosen = {}
    for loss, recipes in tried.items():
        found = [rows.get((loss, words(recipe))) for recipe in recipes]
        # Rates are shares of a few thousand pairs: what differs in the twelfth digit is a tie, in other last digits.
        ranks = [
            (round(row["eer"], 12), -row["tar_1e2"], i)
            for i, row in enumerate(found)
            if row and not math.isnan(row["eer"])
        ]
        if None not in found and ranks:
            chosen[loss] = recipes[min(ranks)[2]]
    return chosen


def edges(recipe: Plain) -> list[str]:
    """The numbers of a recipe that are the smallest or largest its grid tried, as "margin 0.8": look further there.

    Compared are the settings `alike`.
    """
    mine, tried = _numbers(recipe)[0], alike(recipe)
    ends = {name: (min(values), max(values)) for name in mine if len(values := {other[name] for other in tried}) > 1}
    return [f"{name} {mine[name]:g}" for name in ends if mine[name] in ends[name]]


def alike(recipe: Plain) -> list[dict[str, float]]:
    """The numbers of every setting in its grid that differs from this one in numbers alone; itself included."""
    kind = _numbers(recipe)[1]
    return [numbers for numbers, other in map(_numbers, GRIDS[recipe["loss"]]) if other == kind]


def _numbers(recipe: Plain) -> tuple[dict[str, float], str]:
    """What of a recipe is a number, and the rest of it as text."""
    flat = {**recipe["arguments"], **recipe.get("beside_softmax", {})}
    numbers = {name: v for name, v in flat.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return numbers, json.dumps([sorted(numbers), {k: v for k, v in flat.items() if k not in numbers}], sort_keys=True)
