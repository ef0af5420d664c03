"""The standard sets of the course: every number that defines them is in this one table.

``fit`` is for training, ``tune`` for choosing settings, ``open`` for the final measurement, and for nothing before.
Their people differ. Another ``seed`` gives another draw of people and shots from the same world: measure with
several before believing a small difference.
"""

from __future__ import annotations

from typing import Any

from facelearn.data.faces import SyntheticFaces

STANDARD: dict[str, dict[str, Any]] = {
    "fit": {"identities": 300, "images_per_identity": 20, "size": 32, "difficulty": 0.6, "seed": 1},
    "tune": {"identities": 100, "images_per_identity": 10, "size": 32, "difficulty": 0.6, "seed": 500},
    "open": {"identities": 200, "images_per_identity": 10, "size": 32, "difficulty": 0.6, "seed": 900},
}


def standard(name: str, seed: int | None = None, **changes: Any) -> SyntheticFaces:
    """The standard set ``name`` ("fit", "tune" or "open"), with another data ``seed`` if given.

    ``changes`` replace single arguments of ``SyntheticFaces`` (``identities=30`` for a quick look); a set that
    was changed is no longer the standard one, so say so wherever its numbers are shown.
    """
    if name not in STANDARD:
        raise ValueError(f"name: found {name!r}, expected one of {', '.join(map(repr, STANDARD))}")
    arguments = STANDARD[name] | changes
    if seed is not None:
        arguments["seed"] = seed
    return SyntheticFaces(split=name, **arguments)
