#!/usr/bin/env bash
# torch 2.13.0: FlopCounterMode counts nothing for a matrix product that is added in place, nor for one with a vector.
#
# Seen (CPU, one thread): torch.addmm(c, a, b) counts 2 n^3 operations, also with `out=c`; c.addmm_(a, b), the same sum in
# the same memory, counts none, and nothing is said. So for baddbmm against baddbmm_, and for a @ b[0] (mv) against
# a @ b[:1].T (mm). Expected: the same product, the same count.
# Why it matters: gradients that are summed over tiles of classes or blocks of pairs are added in place, to hold no
# second matrix; a head in tiles then seems to need one product fewer than the plain one, where it needs one more.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'END'
import torch
from torch.utils.flop_counter import FlopCounterMode

torch.set_num_threads(1)
n = 64
a, b, c = torch.rand(3, n, n)
x, y, z = torch.rand(3, 2, n, n)


def counted(f):
    with FlopCounterMode(display=False) as counter:
        made = f()
    return counter.get_total_flops(), made


pairs = {
    "addmm, addmm_": (lambda: torch.addmm(c, a, b), lambda: c.clone().addmm_(a, b), 2 * n**3),
    "baddbmm, baddbmm_": (lambda: torch.baddbmm(z, x, y), lambda: z.clone().baddbmm_(x, y), 4 * n**3),
    "mm, mv": (lambda: (a @ b[:1].T)[:, 0], lambda: a @ b[0], 2 * n**2),
}
print("torch", torch.__version__)
for name, (plain, other, expected) in pairs.items():
    (seen, result), (missed, same) = counted(plain), counted(other)
    print(f"{name:18} {seen:9,} {missed:9,} operations; results agree: {torch.allclose(result, same)}")
    assert torch.allclose(result, same), "the results differ"
    assert seen == expected, "the plain product is counted otherwise"
    assert missed == 0, "it is counted now: the behaviour has changed"
END
