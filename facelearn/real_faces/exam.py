"""The exam: one frozen configuration, trained on the sets of LFW at hand, then measured on people it never saw.

    make exam PAIRS=pairs.txt IMAGES=lfw_aligned112.tar

Nothing is chosen here. Loss, steps, dimensions and the equal weights of the fusion were fixed in the rotation inside
the training sets (`course/en/real_faces.md`). A person of the exam who is found in the training sets is dropped from
training, and the exam says so.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facelearn.data.lfw import LFWPairs
from facelearn.real_faces import recipe
from facelearn.real_faces.descriptors import DESCRIPTORS
from facelearn.real_faces.experiment import threads
from facelearn.real_faces.rotation import Faces, Rotation, Scores, best_threshold, load, tar
from facelearn.real_faces.systems import FUSED, named, net_systems
from facelearn.verification import evaluate_scores

Array = NDArray[Any]
EXAM = 1  # the exam's people are this set, and all of the training people set 0: one rotation, held out once


@dataclass(frozen=True)
class Configuration:
    """What the exam runs. The defaults are the frozen ones; tests shorten the training."""

    loss: str = "supcon"
    steps: int = recipe.STEPS
    width: int = recipe.WIDTH
    descriptor_dimensions: int = 200
    feature_dimensions: int = 200
    resamples: int = 500
    seed: int = 0


def take_exam(
    pairs: str | os.PathLike[str],
    images: str | os.PathLike[str],
    train: str | os.PathLike[str] | None = None,
    configuration: Configuration | None = None,
    *,
    device: str | torch.device | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train, score the pairs, and return everything that was measured, as it goes into the JSON file.

    pairs: an official list of any number of folds; images: a folder or archive of aligned 112 x 112 images
    `Name/Name_0001.jpg`, below any other folders; train: see `rotation.load`; device: as for `fit`; `say` gets a line
    before each step. ValueError as for `LFWPairs`, and where the exam leaves too few people to train on.
    """
    chosen, began = configuration or Configuration(), time.process_time()
    say(f"reading {images}")
    asked = LFWPairs(pairs, images)
    if asked.images.shape[1:] != (3, 112, 112):
        raise ValueError(f"{images}: images of {tuple(asked.images.shape[1:])}; expected aligned ones, (3, 112, 112)")
    say("reading the training sets")
    known = load(train)
    faces, dropped = together(known, asked)
    folds, rotation = asked.folds.numpy(), Rotation(faces, EXAM)
    if len(rotation.training[1].unique()) < 2 or rotation.tested.all():
        raise ValueError(
            f"{pairs}: {len(dropped)} of the {len(known.names)} people of the training sets are in the exam, which "
            "leaves nobody to train on; expected a list of other people, such as folds 6 to 10 where sets 1 to 5 train"
        )
    with threads(1):
        found = systems(rotation, chosen, device, say)
        lines = {name: measured(faces, scores, folds, chosen) for name, scores in found}
    return {
        "configuration": asdict(chosen),
        "train": {"images": int((faces.sets != EXAM).sum()), "people": len(np.unique(faces.labels[faces.sets != EXAM])),
                  "dropped because they are in the exam": dropped},
        "exam": {"pairs": len(folds), "folds": len(np.unique(folds)), "images": len(asked.images),
                 "people": len(asked.names)},
        "systems": lines,
        "cpu_seconds": round(time.process_time() - began, 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
    }  # fmt: skip


def together(known: Faces, asked: LFWPairs) -> tuple[Faces, list[str]]:
    """One `Faces` of both: the training people are set 0, those of the exam set 1. And who was dropped from set 0."""
    shared = sorted(set(known.names) & set(asked.names))
    foreign = np.isin(known.labels, [known.names.index(name) for name in shared])  # (N,)
    kept = np.flatnonzero(~foreign)
    place = np.full(len(known.labels), -1)
    place[kept] = np.arange(len(kept))
    clean = (place[known.pairs] >= 0).all(1)
    first = len(kept)  # number of the exam's first image
    exam_pairs, number = asked.pairs.numpy(), len(known.names)
    return Faces(
        known.names + asked.names,
        torch.cat([known.images[kept], asked.images]),
        np.concatenate([known.labels[kept], asked.labels.numpy() + number]),
        np.repeat([0, EXAM], [first, len(asked.images)]),
        np.concatenate([place[known.pairs[clean]], exam_pairs + first]),
        np.concatenate([known.same[clean], asked.same.numpy()]),
        np.repeat([0, EXAM], [int(clean.sum()), len(exam_pairs)]),
    ), shared


def systems(
    rotation: Rotation, chosen: Configuration, device: str | torch.device | None, say: Callable[[str], None]
) -> Iterator[tuple[str, Scores]]:
    """The frozen systems and their scores, as the experiment makes them in each rotation."""
    faces = rotation.faces
    images, labels = rotation.training
    say(f"training on {len(images)} images of {int(labels.max()) + 1} people who have several, {chosen.steps} steps")
    net = recipe.train(
        faces.views[images], labels, chosen.loss,
        seed=chosen.seed, steps=chosen.steps, width=chosen.width, device=device,
    )  # fmt: skip
    say(f"embedding {len(faces.images)} images")
    embeddings, features = recipe.embed_faces(net, faces.views)
    reduced = rotation.reduced(features.numpy(), chosen.feature_dimensions)
    described = {}
    for name in FUSED:
        say(f"descriptor {name} of {len(faces.images)} images")
        rows = rotation.reduced(DESCRIPTORS[name](faces.images), chosen.descriptor_dimensions)
        described[name] = rotation.joint_bayesian(rows)
    say("scoring")
    yield "lbp + JB", described["lbp"]
    yield named(FUSED), reduce(add, described.values())
    yield from net_systems(rotation, embeddings.numpy(), reduced, described)


def measured(faces: Faces, scores: Scores, folds: Array, chosen: Configuration) -> dict[str, Any]:
    """Accuracy by both thresholds, EER, TAR at FAR 1 %, intervals; and the measures of all pairs of the people."""
    rotation = faces.rotations[EXAM]
    tested = rotation.tested
    several = len(np.unique(folds)) > 1
    result = evaluate_scores(
        scores.listed[tested], faces.pairs[tested], faces.same[tested],
        identities=faces.labels, folds=folds if several else None,
    )  # fmt: skip
    threshold = best_threshold(scores.listed[~tested], faces.same[~tested])
    right = (scores.listed[tested] >= threshold) == faces.same[tested]
    names = ["accuracy"] * several + ["eer"] + ["tar@1e-2"] * (result.num_impostor >= 1000)
    spans = result.intervals(names, resamples=chosen.resamples)
    every = evaluate_scores(scores.every, *rotation.every)
    return {
        "accuracy": result.accuracy if several else None,
        "fold_accuracies": result.fold_accuracies.tolist() if several else None,
        "accuracy_training_threshold": float(right.mean()),
        "eer": result.eer,
        "tar@1e-2": tar(result, 1e-2),
        "intervals": {name: list(span) for name, span in spans.items()},
        "all pairs": {"eer": every.eer, "tar@1e-2": tar(every, 1e-2), "tar@1e-3": tar(every, 1e-3)},
    }
