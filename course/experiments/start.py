"""Chapter 00: what a classifier of few or many people knows of people whom it has never seen.

A classifier is trained with plain softmax on 6,000 drawn images, of 10, 30, 100 or 300 people; nothing else varies.
Then three questions: how well does it name its own people, how well do its embeddings tell *seen* people apart in new
images, and how well people whom it has never seen? Nothing was chosen by these numbers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from experiments import faces, game
from experiments.faces import Setting, Trained, paired, rows
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data import SyntheticFaces, standard
from facelearn.losses import Softmax
from facelearn.models import SmallFaceNet, pretrained
from facelearn.training import embed, seed_everything
from facelearn.verification import evaluate_all_pairs, evaluate_scores

__all__ = ["paired", "rows"]  # the chapter calls them from here

CHAPTER = "00_start"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "images": 6000,
    "people": [10, 30, 100, 300],
    "held_out": 10,  # further images of each person of the training, to measure with
    "alarms": 0.1,  # the share of strangers' images that may be given a name
    "seeds": [50, 51, 52, 53, 54, 55, 60],  # 60 was the first live seed, and fell outside the table
    "more_seeds": [62, 63, 64, 65, 66],  # for the fewest people alone: there seeds scatter most
    "elsewhere": "softmax",  # a net of the package, trained on other people than any of the table's
    "live_seed": 61,
}
PEOPLE = SETTINGS["people"]
CONTROLS = {"pixels": "raw pixels", "untrained": "untrained net", "shuffled": "shuffled labels"}


def setting(people: int, arm: str = "trained") -> Setting:
    """One row of the table: so many people in training, and what is compared: a net, or one of the `CONTROLS`, or a net
    from elsewhere, which has seen neither the people of the training nor the strangers."""
    return {"people": people, "arm": arm}


def grid() -> Iterator[tuple[Setting, int]]:
    for seed in SETTINGS["seeds"]:
        yield from ((setting(people), seed) for people in PEOPLE)
        yield from ((setting(PEOPLE[-1], arm), seed) for arm in (*CONTROLS, "elsewhere"))
    yield from ((setting(PEOPLE[0]), seed) for seed in SETTINGS["more_seeds"])


# ---- one row of the table -------------------------------------------------------------------------------------------


def shown(people: int, seed: int, budget: str = "full") -> tuple[SyntheticFaces, SyntheticFaces]:
    """Training images of so many people, always as many in all; and further images of the same people."""
    each = (SETTINGS["images"] if budget != "smoke" else 600) // people
    options = {"seed": seed, "identities": people, "cache": False}
    held_out = {"images_per_identity": SETTINGS["held_out"], "first_shot": each}
    return standard("fit", **options, images_per_identity=each), standard("fit", **options, **held_out)


def train(wanted: Setting, seed: int, training: SyntheticFaces, budget: str = "full") -> Trained:
    """A classifier with plain softmax; with labels that are shuffled among the images, or not trained at all."""
    if wanted["arm"] == "shuffled":
        order = torch.randperm(len(training.labels), generator=torch.Generator().manual_seed(seed))
        training = copy.copy(training)
        training.labels = training.labels[order]
    if wanted["arm"] == "untrained":
        seed_everything(seed)
        net = SmallFaceNet(**SETTINGS["net"])
        for module in net.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = None  # plain means over all that it sees
        with torch.no_grad():
            for batch in training.images.split(500):  # statistics alone: no label, no gradient
                net(batch.float() / 127.5 - 1)
        return Trained(net.eval(), Softmax(net.embedding_dim, wanted["people"]), training)
    return faces.train(Softmax, seed, budget, epochs=SETTINGS["epochs"], shown=training)


def auc(x: Tensor, labels: Tensor) -> float:
    return evaluate_all_pairs(x, labels).auc


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table.

    auc_seen, auc_unseen  over all pairs of new images, of people of the training, of strangers
    eer                   of strangers
    train_accuracy        share of training images that the classifier names rightly
    sure                  share of strangers' images to which it gives one of its own names with over 90 %
    named_softmax, named_cosine  share of new images of its people that get the right name, while 1 in 10 of the
                          strangers' images gets one; the threshold is on the largest probability, or on the cosine
                          to the mean of a person's training embeddings
    """
    few = budget == "smoke"
    people = min(wanted["people"], 30) if few else wanted["people"]
    strangers = faces.people("open", seed, few)
    training, held_out = shown(people, seed, budget)
    if wanted["arm"] == "pixels":
        seen, unseen = (one.images.flatten(1).double() for one in (held_out, strangers))
        middle = training.images.flatten(1).double().mean(0)
        return {"auc_seen": auc(seen - middle, held_out.labels), "auc_unseen": auc(unseen - middle, strangers.labels)}
    if wanted["arm"] == "elsewhere":
        seen, unseen = (embed(pretrained(SETTINGS["elsewhere"]), one) for one in (held_out, strangers))
        return {"auc_seen": auc(seen, held_out.labels), "auc_unseen": auc(unseen, strangers.labels)}
    trained = train(wanted | {"people": people}, seed, training, budget)
    seen, unseen, known = (embed(trained.net, one) for one in (held_out, strangers, training))
    row = {"auc_seen": auc(seen, held_out.labels), "auc_unseen": auc(unseen, strangers.labels)}
    if wanted["arm"] != "trained":
        return row
    with torch.no_grad():
        p_seen, p_unseen, p_known = (trained.loss.logits(x).softmax(1) for x in (seen, unseen, known))
    row["eer"] = evaluate_all_pairs(unseen, strangers.labels).eer
    row["train_accuracy"] = float((p_known.argmax(1) == training.labels).float().mean())
    row["sure"] = float((p_unseen.amax(1) > 0.9).float().mean())
    row["named_softmax"] = named(p_seen, held_out.labels, p_unseen)
    means = torch.zeros(people, known.shape[1]).index_add_(0, training.labels, F.normalize(known))
    gallery = F.normalize(means).T  # (d, C)
    row["named_cosine"] = named(F.normalize(seen) @ gallery, held_out.labels, F.normalize(unseen) @ gallery)
    return row


def named(seen: Tensor, labels: Tensor, unseen: Tensor, alarms: float = SETTINGS["alarms"]) -> float:
    """Scores for each known person, (N, C) of known people's images, (M, C) of strangers': how many of the former get
    the right name at the threshold at which no more than this share of the latter gets any."""
    best, who = seen.max(1)
    best = torch.where(who == labels, best, -torch.inf)  # a wrong name is no success at any threshold
    scores = torch.cat([best, unseen.amax(1)]).double().numpy()
    return evaluate_scores(scores, np.arange(len(scores)) < len(best)).tar_at(alarms)


# ---- what the chapter reads off the table ---------------------------------------------------------------------------


def of(table: pd.DataFrame, number: str, people: int, arm: str = "trained") -> pd.Series:
    """One number in percent, seed by seed."""
    return 100 * rows(table, setting(people, arm))[number]


def advantage(table: pd.DataFrame, people: int, arm: str = "trained") -> pd.Series:
    """By how many points of AUC people of the training are told apart better than strangers, seed by seed."""
    return of(table, "auc_seen", people, arm) - of(table, "auc_unseen", people, arm)


def claims(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The differences on which the claim rests, in points, seed by seed: all must be above 0."""
    found = {}
    for few, many in pairwise(PEOPLE):
        steps = of(table, "auc_unseen", many) - of(table, "auc_unseen", few)
        found[f"AUC, strangers: {many} - {few} people"] = steps
    for people in PEOPLE:
        found[f"AUC: seen - strangers, {people}"] = advantage(table, people)
    accuracy = of(table, "train_accuracy", PEOPLE[0]) - of(table, "train_accuracy", PEOPLE[-1])
    found[f"training accuracy: {PEOPLE[0]} - {PEOPLE[-1]}"] = accuracy
    for arm, name in CONTROLS.items():
        control = of(table, "auc_unseen", PEOPLE[-1], arm)
        found[f"AUC, strangers: {PEOPLE[0]} people - {name}"] = of(table, "auc_unseen", PEOPLE[0]) - control
    return {name: points.dropna() for name, points in found.items()}  # some rows have more seeds than others


def summary(table: pd.DataFrame, *numbers: str, digits: int = 1) -> list[list[str]]:
    """A row for each number of people: means over seeds with their 95 % intervals, in percent."""
    return [
        [str(people), *(f"{lesson.interval(of(table, number, people)):.{digits}f}" for number in numbers)]
        for people in PEOPLE
    ]


def table_figure(table: pd.DataFrame) -> Figure:
    """Left: accuracy on the training images. Right: AUC of seen people and of strangers, and the controls."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.5))
    styles = {"train_accuracy": ("#777777", 0), "auc_seen": (figures.BLUE, -0.08), "auc_unseen": (figures.ORANGE, 0.08)}
    for number, (shade, aside) in styles.items():
        ax = left if number == "train_accuracy" else right
        middle = []
        for place, people in enumerate(PEOPLE):
            values = of(table, number, people)
            spread = lesson.interval(values)
            middle.append(spread.mean)
            figures.seeds(ax, place + aside, values, spread.low, spread.high, shade)
        ax.plot(np.arange(len(PEOPLE)) + aside, middle, color=shade, linewidth=1)
    for arm, name in CONTROLS.items():
        level = of(table, "auc_unseen", PEOPLE[-1], arm).mean()
        right.axhline(level, color="#999999", linewidth=1, linestyle=(0, (4, 2)))
        right.text(3.35, level + 0.2, name, ha="right", va="bottom", fontsize=8, color="#666666")
    right.text(0.35, 100.2, "seen people, new images", color=figures.BLUE, va="bottom")
    right.text(1.25, 96.2, "strangers", color=figures.ORANGE)
    left.set(title="training images named rightly (%)", ylim=(None, 100.6))
    right.set(title="AUC (%)", xlim=(-0.35, 3.4), ylim=(None, 102.3))
    for ax in (left, right):
        ax.set_xticks(range(len(PEOPLE)), PEOPLE)
        ax.set_xlabel("people in training, 6,000 images in all")
    return fig


# ---- the stranger and the classifier --------------------------------------------------------------------------------


@torch.no_grad()
def two_answers(net: nn.Module, head: nn.Module, known: SyntheticFaces, strangers: SyntheticFaces) -> Figure:
    """A stranger whom the classifier names firmly and whose pictures keep together: its answers, and where they lie."""
    x, own = (embed(net, one) for one in (strangers, known))
    chances, unit = head(x).softmax(1), F.normalize(x)
    middle = F.normalize(torch.stack([F.normalize(own[known.labels == k]).mean(0) for k in known.labels.unique()]))

    def shows(k: int) -> float:
        """How much nearer to one another than to anybody known its pictures are; firmly named ones alone count."""
        of = strangers.labels == k
        together = float((unit[of] @ unit[of].T).mean() - (unit[of].mean(0) @ middle.T).max())
        return together + float(chances[of].max() > 0.9)

    of = strangers.labels == max(range(int(strangers.labels.max()) + 1), key=shows)
    place = int(chances[of].amax(1).argmax())
    given = F.one_hot(chances[of].argmax(1), chances.shape[1]).sum(0)  # (C,) how many pictures got each name
    names = (given + chances[of].mean(0)).topk(5).indices
    fig, shades = plt.figure(figsize=(9.6, 3.9), layout="none"), [figures.CLASSES[k] for k in (0, 1, 3, 6, 8)]

    def face(box: tuple[float, float, float, float], image: Tensor, words: str) -> None:
        ax = fig.add_axes(box)
        ax.imshow(image.permute(1, 2, 0))
        ax.set_title(words, fontsize=9, y=1.0 if words.startswith("a") else -0.4)
        ax.axis("off")

    face((0.005, 0.4, 0.11, 0.27), strangers.images[of][place], "a stranger")
    bars = fig.add_axes((0.19, 0.31, 0.29, 0.56))
    bars.bar(range(5), given[names], color=shades)
    bars.set(xlim=(-0.55, 4.55), xticks=[], yticks=range(int(given.max()) + 1), ylabel="pictures")
    bars.set(title=f"names for its {int(of.sum())} pictures")
    sure = chances[of].amax(1)
    words = f"probability of the name:\nmedian {sure.median():.0%}, highest {sure.max():.0%}"
    bars.text(4.5, 0.97 * bars.get_ylim()[1], words, ha="right", va="top", fontsize=9)
    for k, name in enumerate(names):
        face((0.1965 + 0.0569 * k, 0.16, 0.0525, 0.14), known.images[known.labels == name][0], f"no. {int(name)}")
    fig.text(0.335, 0.02, "40 boxes, none for strangers", ha="center")
    clouds = [F.normalize(own[known.labels == name]) for name in names] + [unit[of]]
    flat, right = _plane(clouds), fig.add_axes((0.55, 0.03, 0.44, 0.84))
    for cloud, shade, name in zip(clouds[:-1], shades, names, strict=True):
        dots = (cloud @ flat).numpy()
        right.plot(*dots.T, "o", color=shade, markersize=5, alpha=0.8, markeredgewidth=0, label=f"no. {int(name)}")
    right.plot(*(clouds[-1] @ flat).numpy().T, "*", color="#111111", markersize=9, label="the stranger")
    right.legend(loc="best", fontsize=9)
    right.set(xticks=[], yticks=[], title="the embedding space, from one side")
    right.set_aspect("equal", "datalim")
    return fig


def _plane(clouds: list[Tensor]) -> Tensor:
    """The plane in which the means of these clouds spread most.  (d, 2)"""
    means = torch.stack([cloud.mean(0) for cloud in clouds])
    return torch.linalg.svd(means - means.mean(0), full_matrices=False).Vh[:2].T


# ---- the stored pictures --------------------------------------------------------------------------------------------


def open_training(people: int = 40, epochs: int = 15, look: int = 1) -> list[tuple[int, float, nn.Module]]:
    """The training loop that the chapter prints, with a copy of the net every `look` steps: (step, loss, net)."""
    seed_everything(0)
    training = standard("fit", identities=people)
    images, labels = training.images.float() / 127.5 - 1, training.labels
    layers: list[nn.Module] = []
    for inside, outside in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.ReLU()]
    net, head = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 64)), nn.Linear(64, people)
    optimizer = torch.optim.AdamW([*net.parameters(), *head.parameters()], lr=2e-3)
    found: list[tuple[int, float, nn.Module]] = []
    step = 0
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(50):
            loss = F.cross_entropy(head(net(images[batch])), labels[batch])
            if step % look == 0:
                found.append((step, loss.item(), copy.deepcopy(net)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return found


def measured() -> Tensor:
    """Scores (100, 100) of strangers against other people, by the net `arcface` that comes with the package."""
    world = standard("open", images_per_identity=2)
    x = F.normalize(embed(pretrained("arcface"), world).double())
    return x[1:200:2] @ x[200::2].T


def assets(folder: Path) -> None:
    """The twelve pairs of the game; and new pictures of five people who part, of whom one was not in training."""
    figures.save_png(folder / "00_pairs.png", game.picture())
    seen = standard("fit", identities=40, images_per_identity=12, first_shot=20, cache=False)
    stranger = standard("open", identities=1, images_per_identity=12, cache=False)
    frames = open_training(look=6)
    x = [
        F.normalize(torch.cat([embed(net, seen), embed(net, stranger)])).unflatten(0, (41, 12)) for _, _, net in frames
    ]
    means, shown = x[-1].mean(1), [40]  # the stranger, and one after the other whoever lies farthest from those there
    while len(shown) < 5:
        shown.append(int(torch.cdist(means, means[shown]).amin(1).argmax()))
    clouds = [list(one[shown]) for one in x]
    flat = _plane(clouds[-1])
    every = torch.stack([torch.cat(cloud) @ flat for cloud in clouds])  # (frames, 60, 2)
    low, high = every.amin((0, 1)) - 0.08, every.amax((0, 1)) + 0.08

    def draw(number: int) -> Figure:
        step, loss, _ = frames[number]
        fig, ax = plt.subplots(figsize=(5.0, 4.2))
        for cloud, shade in zip(clouds[number][1:], figures.CLASSES[::2], strict=False):
            ax.plot(*(cloud @ flat).numpy().T, "o", color=shade, markersize=6, alpha=0.85, markeredgewidth=0)
        ax.plot(*(clouds[number][0] @ flat).numpy().T, "*", color="#111111", markersize=10)
        ax.set_title(f"step {step:3d}   loss {loss:4.2f}", family="DejaVu Sans Mono")
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        ax.axis("off")
        return fig

    figures.save_gif(folder / "00_parting.gif", draw, range(len(frames)), seconds=0.12, hold=2.5, dpi=75, colours=32)
