"""The first of the chapters' questions once more, of the net of `recipe.py` instead of a matrix: minutes a training.

    python -m facelearn.real_faces claims --net --run runs/lfw --csv course/results/real_faces_net_claims.csv

THE PLAN, written before the first of these trainings (1 December 2026). Everything is as in `claims.py`, but for what
follows. What was looked at before it: the page's own table, whose scale 16 and margin 0.3 had never been searched; the
answers of the matrix; and how long a training takes.

What is trained. The net of the page, its 1,200 steps, its five crops and their mirror images; compared by cosine.

Search. Rotation 2 alone, with a seed of its own. ArcFace and NormFace have five settings each: four of scale and margin
(NormFace: four scales) at the page's rate 0.003, then the best of them at 0.006.

Measurement. Rotations 1, 3 and 5, two fresh seeds. Of the questions the one of chapter 12 is left, and of its
comparisons ArcFace against NormFace. The other losses would take hours: the matrix stands for them.
"""

from __future__ import annotations

from typing import Any

import torch

from facelearn.real_faces import recipe
from facelearn.real_faces.claims import Array, Plan, Setting, Work
from facelearn.recipe import Recipe

GRIDS = {
    "normface": [f"normface:scale={s}" for s in (4, 8, 16, 32)],
    "arcface": [f"arcface:scale={s},margin={m}" for s, m in ((8, 0.3), (8, 0.6), (16, 0.3), (32, 0.3))],
}

PLAN = Plan(
    steps=recipe.STEPS, dimensions=0, chosen_on=(1,), search_seed=8200, seeds=(8201, 8202), rate=recipe.LR,
    rates=(6e-3,), grids=GRIDS,
)  # fmt: skip


class NetWork(Work):
    """Trainings of the net; `plan.dimensions` says nothing here."""

    trains = "the page's net"
    asks = ("12",)

    def basis(self) -> list[Any]:
        return ["net", *super().basis()]

    def trained(self, setting: Setting, held_out: int, seed: int) -> Array:
        """Embeddings of the images that the rotation tests, (n, 128), each the mean of ten crops."""
        rotation = self.rotation(held_out)
        chosen, labels = rotation.training
        views, loss = self.faces.views, Recipe.parse(setting.words)
        net = recipe.train(views[chosen], labels, loss, seed=seed, steps=self.plan.steps, lr=setting.lr)
        return recipe.embed_faces(net, views[torch.as_tensor(rotation.gallery)])[0].numpy()
