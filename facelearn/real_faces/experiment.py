"""The experiment: trains what is missing, scores it, and keeps both in a run folder.

    run/descriptors/lbp.npy, lbp_rotation3.npy     of all images, (N, D); and after that rotation's PCA, (N, 200)
    run/nets/arcface_seed0_rotation3.safetensors   embeddings and features of all images, of LFW and ORL; seconds
    run/scored/arcface_seed0.json                  what the nets of five rotations reached, alone and together

Each file is written whole as soon as it is known, and what is there is not made again: a killed run goes on where it
was. Seeds are the outermost loop, so that a run cut short leaves whole columns of the table.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from facelearn.checkpoint import content_hash
from facelearn.data import SyntheticFaces
from facelearn.files import whole, write_whole
from facelearn.grid import complete
from facelearn.real_faces import recipe, systems
from facelearn.real_faces.descriptors import DESCRIPTORS
from facelearn.real_faces.rotation import Faces, Rotation, Scores, load, load_orl, measure, tar
from facelearn.training import best_device, show_progress
from facelearn.verification import all_pairs, evaluate_pairs

Array = NDArray[Any]
CLASSICAL = "classical"  # in place of a loss: no net at all
SYNTHETIC = "synthetic"  # in place of a loss: trained on drawn faces by ArcFace, never saw a real one
UNTRAINED = "untrained"  # in place of a loss: start weights
CONTROLS = (SYNTHETIC, UNTRAINED)
NAN = float("nan")


@dataclass(frozen=True)
class Settings:
    """What decides the numbers of a run, beside loss and seed."""

    steps: int = recipe.STEPS
    width: int = recipe.WIDTH
    descriptor_dimensions: int = 200  # after PCA
    feature_dimensions: int = 200
    synthetic_people: int = 400
    synthetic_images: int = 10
    resamples: int = 100  # of the bootstrap


@dataclass(frozen=True)
class System:
    """One line of the table: a name, and the scores of each rotation."""

    name: str
    scores: list[Scores]
    seconds: float = NAN  # of a training, mean over the rotations
    orl_eer: float = NAN


class Run:
    """A run folder for LFW `faces`, and for ORL's images `orl` (400, 3, 112, 112), ten of each person, if given."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        faces: Faces,
        settings: Settings,
        orl: Tensor | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        self.folder, self.faces, self.settings, self.orl = Path(folder), faces, settings, orl
        self.device = device  # as for `fit`
        self._descriptor_scores: dict[str, list[Scores]] = {}
        for name in ("descriptors", "nets", "scored"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        arrays = {name: torch.as_tensor(getattr(faces, name)) for name in ("labels", "sets", "pairs", "same", "folds")}
        about = {
            "settings": asdict(settings),
            "losses": {name: str(loss) for name, loss in recipe.LOSSES.items()},
            "faces": content_hash({"images": faces.images, **arrays}, "\n".join(faces.names)),
            "orl": None if orl is None else content_hash({"images": orl}),
        }
        config = self.folder / "config.json"
        if not config.exists():
            write_whole(config, json.dumps(about, indent=1))
        found = json.loads(config.read_text())
        if differ := [name for name, value in about.items() if found.get(name) != value]:
            raise ValueError(f"run: {folder} was begun with other {', '.join(differ)}; expected another run folder")

    def rotations(self, loss: str) -> list[Rotation | None]:
        """Those that a net is trained for: all five, but one for all where no real face is seen."""
        return [None] if loss in CONTROLS else list(self.faces.rotations)

    def net_file(self, loss: str, seed: int, rotation: Rotation | None) -> Path:
        where = "" if rotation is None else f"_rotation{rotation.held_out + 1}"
        return self.folder / "nets" / f"{loss}_seed{seed}{where}.safetensors"

    def scored_file(self, loss: str, seed: int) -> Path:
        return self.folder / "scored" / f"{loss}_seed{seed}.json"

    def train(self, loss: str, seed: int, rotation: Rotation | None) -> None:
        """Train a net and store what it makes of all images, unless that is there."""
        path = self.net_file(loss, seed, rotation)
        if path.exists():
            return
        net, seconds = self.net(loss, seed, rotation)
        embeddings, features = recipe.embed_faces(net, self.faces.views)
        tensors = {"embeddings": embeddings}
        for r in self.faces.rotations if rotation is None else [rotation]:
            reduced = r.reduced(features.numpy(), self.settings.feature_dimensions)
            tensors[f"features{r.held_out}"] = torch.from_numpy(reduced)
        if self.orl is not None:
            tensors["orl"] = recipe.embed_faces(net, recipe.face_views(self.orl))[0]
        write_whole(path, save(tensors, {"seconds": f"{seconds:.1f}"}))

    def net(self, loss: str, seed: int, rotation: Rotation | None) -> tuple[recipe.RealFaceNet, float]:
        """The trained net, and the processor seconds that it took."""
        if loss == UNTRAINED:
            return recipe.untrained(seed, self.settings.width).to(best_device(self.device)), 0.0
        if rotation is None:
            views, labels, objective = *self.drawn_faces(seed), "arcface"
        else:
            chosen, labels = rotation.training
            views, objective = self.faces.views[chosen], loss
        began = time.process_time()
        net = recipe.train(
            views, labels, objective,
            seed=seed, steps=self.settings.steps, width=self.settings.width, device=self.device,
        )  # fmt: skip
        return net, time.process_time() - began

    def drawn_faces(self, seed: int) -> tuple[Tensor, Tensor]:
        """Views and labels of synthetic faces."""
        people, each = self.settings.synthetic_people, self.settings.synthetic_images
        drawn = SyntheticFaces(people, each, size=112, seed=seed, difficulty=1.0, cache=False)
        return recipe.face_views(drawn.images), drawn.labels

    def finish(self, loss: str, seed: int) -> None:
        """Train what is missing for this loss and seed, and score it."""
        for rotation in self.rotations(loss):
            self.train(loss, seed, rotation)
        self.score(loss, seed)

    def score(self, loss: str, seed: int) -> None:
        """Score all systems that the nets of this loss and seed take part in, unless it is done."""
        path = self.scored_file(loss, seed)
        if path.exists():
            return
        found = self.classical() if loss == CLASSICAL else self.net_systems(loss, seed)
        lines = [self.line(system, loss, seed) for system in found]
        write_whole(path, json.dumps(lines, indent=1).encode())

    # --- the systems

    def classical(self) -> Iterator[System]:
        """Descriptors by themselves, by cosine and by joint Bayesian, and added."""
        for name in DESCRIPTORS:
            yield System(name, [r.cosine(self.described(name, r)) for r in self.faces.rotations])
            yield System(f"{name} + JB", self.descriptor_scores(name))
        for names in systems.CLASSICAL:
            yield System(systems.named(names), added(*map(self.descriptor_scores, names)))

    def net_systems(self, loss: str, seed: int) -> Iterator[System]:
        """The nets by themselves, with joint Bayesian, and added to descriptors, see `systems.py`."""
        nets = [(r, *self.stored(loss, seed, None if loss in CONTROLS else r)) for r in self.faces.rotations]
        seconds = float(np.mean([s for _, _, s in nets]))
        orl = float(np.mean([orl_eer(t["orl"]) for _, t, _ in nets])) if self.orl is not None else NAN
        scores: dict[str, list[Scores]] = {}
        for k, (r, t, _) in enumerate(nets):
            described = {name: self.descriptor_scores(name)[k] for name in systems.FUSED}
            for name, found in systems.net_systems(r, t["embeddings"], t[f"features{r.held_out}"], described):
                scores.setdefault(name, []).append(found)
        for name, rotations in scores.items():
            yield System(name, rotations, *((seconds, orl) if name == "net" else ()))

    def stored(self, loss: str, seed: int, rotation: Rotation | None) -> tuple[dict[str, Array], float]:
        """What `train` stored, and the seconds that the training took."""
        with safe_open(str(self.net_file(loss, seed, rotation)), "np") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, float(file.metadata()["seconds"])  # noqa: SIM118

    def descriptor(self, name: str) -> Array:
        """(N, D) of all images, from the run folder or computed."""
        return self.kept(name, lambda: DESCRIPTORS[name](self.faces.images))

    def described(self, name: str, rotation: Rotation) -> Array:
        """The descriptor after PCA, from the run folder or computed."""
        dimensions = self.settings.descriptor_dimensions
        place = f"{name}_rotation{rotation.held_out + 1}"
        return self.kept(place, lambda: rotation.reduced(self.descriptor(name), dimensions))

    def kept(self, name: str, make: Callable[[], Array]) -> Array:
        path = self.folder / "descriptors" / f"{name}.npy"
        if not path.exists():
            made = make()
            with whole(path) as file:
                np.save(file, made)
        return np.load(path, allow_pickle=False)

    def descriptor_scores(self, name: str) -> list[Scores]:
        """Joint Bayesian's; computed once in a process."""
        if name not in self._descriptor_scores:
            found = [r.joint_bayesian(self.described(name, r)) for r in self.faces.rotations]
            self._descriptor_scores[name] = found
        return self._descriptor_scores[name]

    def line(self, system: System, loss: str, seed: int) -> dict[str, Any]:
        """What is stored of a system."""
        found = measure(self.faces, system.scores)
        names = ["accuracy", "eer"] + ["tar@1e-2"] * (found.result.num_impostor >= 1000)
        spans = found.result.intervals(names, resamples=self.settings.resamples)
        rotations = {
            "rotation": [r.held_out + 1 for r in self.faces.rotations],
            "accuracy": found.accuracy, "accuracy_seen": found.accuracy_seen, "eer": found.eer,
            "every_eer": found.every_eer, "every_tar2": found.every_tar2, "every_tar3": found.every_tar3,
        }  # fmt: skip
        return {
            "system": system.name, "loss": loss, "seed": seed, "seconds": system.seconds, "orl_eer": system.orl_eer,
            "eer": found.result.eer, "tar2": tar(found.result, 1e-2),
            "intervals": {name: list(spans[name]) for name in names},
            "rotations": {key: np.asarray(values).tolist() for key, values in rotations.items()},
            "correct": base64.b64encode(np.packbits(found.correct).tobytes()).decode(),
        }  # fmt: skip


def compare_lfw(
    folder: str | os.PathLike[str] | None = None,
    *,
    run: str | os.PathLike[str] = "runs/lfw",
    losses: Sequence[str] = tuple(recipe.LOSSES),
    seeds: int = 3,
    settings: Settings | None = None,
    jobs: int = 1,
    device: str | torch.device | None = None,
    progress: bool | None = None,
) -> list[dict[str, Any]]:
    """Train and score whatever is missing in the run folder; the lines of all systems that are complete.

    folder: LFW, see `rotation.load`; losses: of `recipe.LOSSES`; seeds: 0 ... seeds - 1; jobs: processes, of one thread
    each, which changes no number. ValueError for an unknown loss, and where the folder was made with other settings.
    """
    unknown = [loss for loss in losses if loss not in recipe.LOSSES]
    if unknown or seeds < 1:
        found = f"losses {unknown}" if unknown else f"seeds {seeds}"
        raise ValueError(f"losses, seeds: {found}; expected some of {', '.join(recipe.LOSSES)}, and 1 or more")
    if jobs < 1:
        raise ValueError(f"jobs: {jobs}; expected 1 or more")
    settings = settings or Settings()
    work = Run(run, load(folder), settings, load_orl(), device)
    cells = {f"{loss} seed {seed}": (loss, seed) for seed in range(seeds) for loss in (*losses, *CONTROLS)}
    there = {name for name, cell in cells.items() if work.scored_file(*cell).exists()}
    say = print if show_progress(progress) else lambda _: None
    finish, start = (work.finish, None) if jobs == 1 else (_finish, (_start, (run, folder, settings, device)))
    with threads(1):
        work.score(CLASSICAL, 0)
        complete(cells, finish, lambda *_: None, there=there, jobs=jobs, start=start, say=say)
    return stored_lines(run)


_work: Run  # of a process that `compare_lfw` started


def _start(
    run: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None,
    settings: Settings,
    device: str | torch.device | None,
) -> None:
    """What a process of `compare_lfw` holds: the faces."""
    global _work
    torch.set_num_threads(1)
    _work = Run(run, load(folder), settings, load_orl(), device)


def _finish(loss: str, seed: int) -> None:
    _work.finish(loss, seed)


def stored_lines(run: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of a run folder, whatever is there."""
    files = sorted((Path(run) / "scored").glob("*.json"))
    return [line for file in files for line in json.loads(file.read_text())]


def added(*systems: list[Scores]) -> list[Scores]:
    """The fused system: the scores of several, added rotation by rotation."""
    return [reduce(add, scores) for scores in zip(*systems, strict=True)]


def orl_eer(embeddings: Array) -> float:
    """Equal error rate of all pairs of ORL's images, ten in turn of each person, by cosine."""
    return evaluate_pairs(embeddings, *all_pairs(np.arange(len(embeddings)) // 10)).eer


@contextmanager
def threads(number: int) -> Iterator[None]:
    """With so many threads: sums are added in another order with another number, and end in other last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
