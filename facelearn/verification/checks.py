"""Checks of arguments, and unit rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]


def to_numpy(values: Any) -> Array:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def unit_rows(name: str, values: Any) -> Array:
    """(N, d) floating point -> float64 rows of length 1."""
    return unit(check_rows(name, values))


def check_rows(name: str, values: Any, block: int = 4096) -> Array:
    """(N, d) floating point, as they are: finite, and a direction in every row."""
    rows = to_numpy(values)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(f"{name}: found shape {rows.shape}, expected (N, d) with N, d >= 1")
    if not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"{name}: found dtype {rows.dtype}, expected floating point")
    peak = np.concatenate([np.abs(rows[i : i + block]).max(axis=1) for i in range(0, len(rows), block)])  # (N,)
    bad = np.flatnonzero(~np.isfinite(peak))
    if len(bad):
        raise ValueError(f"{name}: found NaN or inf in {len(bad)} rows, {first_of(bad)}, expected finite numbers")
    zero = np.flatnonzero(peak == 0)
    if len(zero):
        raise ValueError(f"{name}: found {len(zero)} zero rows, {first_of(zero)}, expected a direction in every row")
    return rows


def unit(rows: Array) -> Array:
    """(N, d) checked rows -> float64 rows of length 1; each depends on itself alone, to the bit."""
    rows = rows.astype(np.float64, order="C")
    rows /= np.maximum(rows.max(axis=1), -rows.min(axis=1))[:, None]  # first, so that no square over- or underflows
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def cosines(a: Array, b: Array, out: Array | None = None) -> Array:
    """(n, d) and (n, d) rows of length 1 -> (n,) cosines, 12 decimals; each depends on its two rows alone."""
    scores = np.einsum("pd,pd->p", a, b, out=out)
    return np.clip(np.round(scores, 12, out=scores), -1, 1, out=scores)


def error_bound(d: int, dtype: type) -> float:
    """How far a matrix product in `dtype` may be from an exact score, and a bit more.

    n rounding errors make at most gamma_n = n u / (1 - n u) times sum |x_i y_i| <= 1, in whatever order the product
    adds (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed. 2002, sec. 3.1): d for the product, 2 for
    rounding the rows to `dtype`, 1 for the threshold, the rest to spare. Exact scores are rounded to 12 decimals.
    """
    roundings = (d + 8) * float(np.finfo(dtype).eps) / 2
    return roundings / (1 - roundings) + 2e-12


def check_pairs(pairs: Any, num_images: int) -> Array:
    index = to_numpy(pairs)
    if index.ndim != 2 or index.shape[1] != 2 or len(index) == 0:
        raise ValueError(f"pairs: found shape {index.shape}, expected (P, 2) with P >= 1")
    if not np.issubdtype(index.dtype, np.integer):
        raise ValueError(f"pairs: found dtype {index.dtype}, expected integers")
    low, high = int(index.min()), int(index.max())
    if low < 0 or high >= num_images:
        raise ValueError(f"pairs: found indices {low} to {high}, expected 0 to {num_images - 1}")
    return index.astype(np.int64, copy=False)


def check_same(same: Any, num_pairs: int) -> Array:
    truth = to_numpy(same)
    if truth.shape != (num_pairs,):
        raise ValueError(f"same: found shape {truth.shape}, expected ({num_pairs},), one for each pair")
    if truth.dtype != np.bool_:
        if truth.dtype.kind not in "iuf" or not np.isin(truth, (0, 1)).all():
            values = np.unique(truth)[:3].tolist() if truth.dtype.kind in "iuf" else f"dtype {truth.dtype}"
            raise ValueError(f"same: found {values}, expected True and False, or 1 (one person) and 0 (two people)")
        truth = truth.astype(bool)
    if truth.all() or not truth.any():
        found = f"{int(truth.sum())} genuine and {int((~truth).sum())} impostor pairs"
        raise ValueError(f"same: found {found}, expected at least one of each")
    return truth.copy()  # as in check_scores


def check_scores(scores: Any, num_pairs: int) -> Array:
    values = to_numpy(scores)
    if values.shape != (num_pairs,):
        raise ValueError(f"scores: found shape {values.shape}, expected ({num_pairs},), one for each pair")
    if values.dtype.kind not in "iuf":
        raise ValueError(f"scores: found dtype {values.dtype}, expected numbers")
    values = values.astype(np.float64)  # a copy: the result must not change when the caller's array does
    bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
    if len(bad):
        expected = "finite numbers, or -inf where no score could be had"
        raise ValueError(f"scores: found NaN or inf in {len(bad)} places, {first_of(bad)}, expected {expected}")
    return values  # a copy: the result must not change when the caller's array does


def check_labels(name: str, labels: Any, length: int | None = None) -> Array:
    """(N,) whole numbers -> int64, strings as they are."""
    values = to_numpy(labels)
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat):  # pandas keeps text so
        values = values.astype(str)
    if values.ndim != 1 or len(values) == 0 or (length is not None and len(values) != length):
        expected = "(N,)" if length is None else f"({length},), one for each image"
        raise ValueError(f"{name}: found shape {values.shape}, expected {expected}")
    if values.dtype.kind not in "biuUS":
        raise ValueError(f"{name}: found dtype {values.dtype}, expected whole numbers or strings")
    if values.dtype.kind == "u" and values.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: found {values.max()}, expected numbers that fit into int64")
    return values if values.dtype.kind in "US" else values.astype(np.int64)


def codes_of(name: str, labels: Any, length: int | None = None) -> Array:
    """(N,) labels of any kind -> (N,) whole numbers 0, 1, ... in the labels' sorted order."""
    return np.unique(check_labels(name, labels, length), return_inverse=True)[1]


def check_folds(folds: Any, people: Array | None, same: Array) -> Array:
    numbers, num_pairs = to_numpy(folds), len(same)
    if numbers.shape != (num_pairs,):
        raise ValueError(f"folds: found shape {numbers.shape}, expected ({num_pairs},), one for each pair")
    if not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"folds: found dtype {numbers.dtype}, expected integers")
    names, codes = np.unique(numbers, return_inverse=True)
    if (names >= 0).sum() < 2:
        raise ValueError(f"folds: found {names[names >= 0].tolist()}, expected two or more different folds")
    if people is not None:
        seen = np.zeros((people.max() + 1, len(names)), bool)
        seen[people[:, 0], codes] = seen[people[:, 1], codes] = True
        shared = int((seen[:, names >= 0].sum(axis=1) > 1).sum())
        if shared:
            leak = f"{shared} people are in more than one fold: thresholds are chosen on people they are tested on"
            warnings.warn(f"folds: {leak}", UserWarning, stacklevel=4)
    tested = [len(np.unique(same[numbers == name])) for name in names if name >= 0]
    if min(tested) < 2:
        lone = f"{sum(count < 2 for count in tested)} of {len(tested)} folds hold pairs of one kind only"
        warnings.warn(f"folds: {lone}: their accuracies are no accuracies of the whole", UserWarning, stacklevel=4)
    return numbers.astype(np.int64)


def first_of(places: Array) -> str:
    """The first three of these places, in words: "first 4, 9, 12"."""
    return "first " + ", ".join(map(str, places[:3]))


def check_failed(name: str, failed: Any, length: int) -> Array:
    """(N,) bool: images of which no embedding could be made; all False for None."""
    if failed is None:
        return np.zeros(length, bool)
    lost = to_numpy(failed)
    if lost.shape != (length,) or lost.dtype != np.bool_:
        raise ValueError(f"{name}: found {lost.dtype} of shape {lost.shape}, expected bool of shape ({length},)")
    if lost.all():
        raise ValueError(f"{name}: found all {length} images, expected at least one with an embedding")
    return lost


def check_threshold(threshold: Any) -> float:
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float, np.number)) or math.isnan(threshold):
        raise ValueError(f"threshold: found {threshold!r}, expected a number")
    return float(threshold)


def check_far(far: Any, count: int, what: str) -> None:
    if isinstance(far, bool) or not (isinstance(far, (int, float, np.number)) and 0 <= far < 1):
        raise ValueError(f"far: found {far!r}, expected a number in [0, 1)")
    if 0 < far < 1 / count:
        limit = f"at least 1 / {count} {what} = {1 / count:.3g}"
        raise ValueError(f"far: found {far:g}, expected {limit}, the finest FAR these {what.split()[-1]} can show")


def warn_far(far: float, count: int, what: str) -> None:
    if far < 10 / count:
        few = f"fewer than 10 of {count} {what} decide; expect a wide interval"
        warnings.warn(f"far={far:g}: {few}", UserWarning, stacklevel=4)


def number_after(prefix: str, name: str) -> float:
    """The number in a name like "tar@1e-3"."""
    try:
        return float(name[len(prefix) :])
    except ValueError:
        raise ValueError(f"name: found {name!r}, expected a number after {prefix}") from None


def check_bootstrap(level: float, resamples: int, by: str, ways: Sequence[str]) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level: found {level}, expected a number in (0, 1)")
    if not isinstance(resamples, (int, np.integer)) or resamples < 10:
        raise ValueError(f"resamples: found {resamples}, expected 10 or more")
    if by not in ways:
        raise ValueError(f"by: found {by!r}, expected {' or '.join(map(repr, ways))}")
