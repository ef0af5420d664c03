"""What a training step of a head with many classes costs: bytes by part, and the arithmetic, before anything is made.

With n class rows on a device, m of them met in a step, N samples compared with them, and b bytes a number:

    weights    n · d                     optimizer  0, n · d or 2 n · d
    gradient   m · d                     scratch    the most that a step needs beside these for a while

The dense form has two peaks, and `scratch` is the higher: five (N, m) matrices while the softmax is differentiated
(cosines, logits, logits without the target, their gradient, one more), or four of the size of the weights while their
normalisation is. In tiles there is neither. Then the optimiser's own step may be the peak: AdamW needs two more copies.

`TILE` and the sizes up to which tiles are kept are those of `tiles.py`. Counted are tensors; a framework has some
hundred megabytes of its own, and a network with its activations comes on top.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from facelearn.losses.tiles import KEEP_UP_TO, tile_size

#: numbers kept for each weight, and copies of the gradient that a step makes for a while (torch's loop on a CPU)
OPTIMIZERS = {"SGD": (0, 0), "momentum": (1, 1), "AdamW": (2, 2)}


class Costs(NamedTuple):
    """Bytes on each device, floating-point operations of the matrix products on it, and bytes it sends in a step."""

    weights: int
    gradient: int
    optimizer: int
    scratch: int
    flop: int
    sent: int

    @property
    def memory(self) -> int:
        """All bytes at the highest point of a step."""
        return self.weights + self.gradient + self.optimizer + self.scratch


def step_costs(
    num_classes: int,
    embedding_dim: int = 512,
    batch_size: int = 128,
    *,
    tile: str | int | None = "auto",
    ranks: int = 1,
    sample_rate: float = 1.0,
    optimizer: str = "AdamW",
    itemsize: int = 4,
) -> Costs:
    """Count a step of `NormFace` or another head that changes only the target, forward, backward and optimiser.

    Args:
        num_classes, embedding_dim: C and d.
        batch_size: B, samples on each device; with several ranks all B · ranks are compared with a device's classes.
        tile, sample_rate: as the heads take them. `ranks`: how many share the classes out.
        optimizer: "SGD", "momentum" (SGD with it, and weight decay) or "AdamW".
        itemsize: bytes of a number, the same everywhere.

    Example:
        >>> dense = step_costs(1_000_000, 512, 1024, tile=None)
        >>> tiled = step_costs(1_000_000, 512, 1024)
        >>> f"{dense.memory / 1e9:.1f} GB, {tiled.memory / 1e9:.1f} GB"
        '28.7 GB, 12.3 GB'

    With a `sample_rate` below 1 the rows that are met are copied, and so are those of the optimiser's state while it
    steps (`touched_rows_only`). What is sent: a device's embeddings; of every sample its target cosine (also in
    float64), a maximum and a sum; backwards two gradients, of the target cosines and of all embeddings. An all-reduce
    is counted as one sending.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}: expected one of {', '.join(OPTIMIZERS)}")
    n, N, d = -(-num_classes // ranks), batch_size * ranks, embedding_dim
    m = n if sample_rate == 1 else min(n, max(math.ceil(sample_rate * n), N))
    states, temporary = OPTIMIZERS[optimizer]
    size = tile_size(tile, N, m) or (m if ranks > 1 else None)  # several ranks: at least one tile, never `dense`
    drawn = 0 if sample_rate == 1 else m * d  # the rows that are met, copied
    if size is None:
        head = drawn + max(4 * m * d, 5 * N * m)
    else:
        kept = N * m if N * m <= KEEP_UP_TO else 0
        head = drawn + kept + m + 4 * N * min(size, m) + 8 * N * d
    step = temporary * m * d if sample_rate == 1 else (2 + states + temporary) * m * d
    return Costs(
        weights=itemsize * n * d,
        gradient=itemsize * m * d,
        optimizer=itemsize * states * n * d,
        scratch=itemsize * max(head, step),
        flop=2 * N * m * d * (3 if size is None or N * m <= KEEP_UP_TO else 4),
        sent=itemsize * (batch_size * d + 6 * N + N * d) if ranks > 1 else 0,
    )
