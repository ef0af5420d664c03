#!/usr/bin/env bash
# torch 2.13.0 on a CPU: an elementwise function of the same numbers gives other bits where they lie apart in memory.
#
# Seen (x86 with AVX2 or AVX-512, one thread): of 2,000 numbers, each function below gives another last digit for some
# when it is called on a view with stride 2 instead of a tensor that holds the same numbers side by side. exp, tanh, erf,
# sin and sqrt do not. Expected: a function of a number.
# Why it matters: `x.T`, `x[:, 0]` and `x.contiguous()` are not the same input, so a change of layout alone (channels
# last, a slice in place of a copy) can change the bits of a training that was to be repeated.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'END'
import torch
from torch.nn import functional as F

torch.set_num_threads(1)
print("torch", torch.__version__, torch.backends.cpu.get_cpu_capability())
x = torch.rand(2000, generator=torch.Generator().manual_seed(0)) * 4 - 2
apart = x.repeat_interleave(2)[::2]
assert torch.equal(x, apart)


def differ(f):
    return int((f(x) != f(apart)).sum())


depends = {f.__name__: differ(f) for f in (torch.sigmoid, F.silu, F.gelu, F.softplus, F.elu, F.mish)}
steady = {f.__name__: differ(f) for f in (torch.exp, torch.tanh, torch.erf, torch.sin, F.relu)}
largest = (F.softplus(x) - F.softplus(apart)).abs().max().item()
print("of 2,000 values, other bits in a view of stride 2:", depends, steady, f"softplus differs by up to {largest:.1e}")
assert all(n > 0 for n in depends.values()), "these gave equal bits: the behaviour has changed"
assert not any(steady.values()), "these gave other bits: the behaviour has changed"
END
