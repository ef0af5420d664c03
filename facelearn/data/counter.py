"""Random numbers without a generator: every draw is a hash of its own address.

A draw is named by integers (seed, split, identity, shot) and by the name of what is drawn. Its value depends on
nothing else: not on the batch, the order, the number of threads or the device. The hash is the finaliser of
SplitMix64 (Steele, Lea, Flood 2014), chained once per integer; all arithmetic is int64 that wraps around, hence
exact everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import torch
from torch import Tensor


def _signed(word: int) -> int:
    """The int64 with the same 64 bits as ``word``."""
    return word - (1 << 64) if word >= 1 << 63 else word


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST, _SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Unsigned shift to the right (torch's own copies the sign bit)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser: a bijection of int64 in which every input bit moves every output bit."""
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def key(*parts: int | Tensor) -> Tensor:
    """Chain integers (broadcast against each other) into one int64 key."""
    state = torch.zeros((), dtype=torch.int64)
    for part in parts:
        state = mix((state ^ part) + _GOLDEN)
    return state


def streams(keys: Tensor, names: Sequence[str]) -> Tensor:
    """One independent 64-bit word per key and name, ``(N,) -> (N, len(names))``.

    A name's stream is its CRC-32, so adding or reordering names leaves the other streams as they are.
    """
    codes = torch.tensor([zlib.crc32(name.encode()) for name in names], dtype=torch.int64)
    return key(keys[:, None], codes)


def uniform(words: Tensor) -> Tensor:
    """64-bit words -> float64 in (0, 1): the upper 52 bits, centred in their cells."""
    return (_shifted(words, 12).double() + 0.5) * 2.0**-52


def normal(words: Tensor) -> Tensor:
    """64-bit words -> float64, mean 0, variance 1, nearly normal, |x| <= 3.46.

    The sum of the word's four 16-bit fields: within .01 of the normal distribution function, and unlike the
    inverse of that function it is exact integer arithmetic.
    """
    total = sum(_shifted(words, shift) & 0xFFFF for shift in (0, 16, 32, 48))
    assert isinstance(total, Tensor)
    return ((total.double() + 2) / 65536 - 2) * 3**0.5
