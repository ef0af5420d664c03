"""Write the batch of the circle explorer into its page: similarities of a trained net on drawn faces.

    python tools/explorer_batch.py

Twelve people the net has never seen, four images each. Every image is an anchor and gives two points [s_n, s_p]:
"hardest" has its least similar image of the same person and its most similar one of another, as `Triplet` with
"batch-hard" takes them; "next" has whatever comes next, chosen by place alone. The page holds them in thousandths.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from facelearn.data import standard
from facelearn.files import write_whole
from facelearn.losses.margin import unit
from facelearn.models import pretrained

PAGE = Path(__file__).resolve().parents[1] / "course" / "site" / "explorer_circle.html"
NET, PEOPLE, SHOTS = "softmax", 12, 4  # a net whose loss knows no pairs
LINE = re.compile(r"^const BATCH = .*$", re.M)


def embeddings() -> tuple[Tensor, Tensor]:
    """Embeddings of length 1, and whose they are.  -> (48, 64), (48,)"""
    faces = standard("tune", identities=PEOPLE, images_per_identity=SHOTS)
    images, labels = zip(*(faces[i] for i in range(len(faces))), strict=True)
    with torch.no_grad():
        return unit(pretrained(NET).eval()(torch.stack(images))), torch.as_tensor(labels)


def points(x: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Two points [s_n, s_p] of each image.  (B, d), (B,) -> two of (B, 2)"""
    s, same = x @ x.T, labels[:, None] == labels  # (B, B)
    least = s.masked_fill(~same | torch.eye(len(s), dtype=torch.bool), 2).amin(1)
    most = s.masked_fill(same, -2).amax(1)
    grid = torch.arange(len(s)).view(-1, SHOTS)  # images of one person stand side by side
    own, other = (grid.roll(-1, dims).flatten() for dims in (1, 0))  # next image of the person; next person
    each = torch.arange(len(s))
    return {"hardest": torch.stack([most, least], 1), "next": torch.stack([s[each, other], s[each, own]], 1)}


def line(batch: dict[str, Tensor]) -> str:
    """The page's line, in thousandths."""
    lists = (f"{name}: {[round(1000 * v) for v in at.flatten().tolist()]}" for name, at in batch.items())
    return f"const BATCH = {{ {', '.join(lists)} }};"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    write_whole(PAGE, LINE.sub(line(points(*embeddings())), page).encode())
