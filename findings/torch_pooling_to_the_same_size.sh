#!/usr/bin/env bash
# torch 2.13.0 on a CPU: adaptive average pooling of a map that has the wanted size already is no pass-through.
#
# Seen: AdaptiveAvgPool2d(4) of maps of 4 x 4 returns a copy, equal to the bit, at a normal price; its backward pass also
# hands the gradient through unchanged, and takes more than ten times as long as copying the gradient when the map is
# channels last (one thread). Expected: about the price of a copy, or none at all.
# Why it matters: nets for images of any size end in such a layer, and at the usual size it does nothing. In a small
# convolutional net it was a tenth of each training step.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'END'
import time

import torch

torch.set_num_threads(1)
print("torch", torch.__version__)
pool = torch.nn.AdaptiveAvgPool2d(4)
x = torch.rand(128, 64, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
slope = torch.rand(128, 64, 4, 4)
y = pool(x)
assert torch.equal(x, y)
assert x.data_ptr() != y.data_ptr()
assert torch.equal(torch.autograd.grad(y, x, slope)[0], slope)


def quickest(act):
    times = []
    for _ in range(50):
        began = time.process_time()
        act()
        times.append(time.process_time() - began)
    return min(times)


y = pool(x)
pooling = quickest(lambda: torch.autograd.grad(y, x, slope, retain_graph=True))
copying = quickest(lambda: slope.contiguous(memory_format=torch.channels_last))
print(f"backward {1e6 * pooling:.0f} us, a copy of the gradient {1e6 * copying:.0f} us: {pooling / copying:.0f} times")
assert pooling > 4 * copying, "the behaviour has changed"
END
