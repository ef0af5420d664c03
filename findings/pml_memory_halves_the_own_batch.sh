#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0: wrapping a loss in `CrossBatchMemory` halves its gradient inside the batch, at the same
# value; with a miner that wants the easiest positive nothing is left.
#
# Seen: at the first step the memory holds the batch itself and no more. The loss is that of the bare loss to the last
# digit; the gradient of `ContrastiveLoss` is exactly half of it, and that of triplet, SupCon, circle and multi-similarity
# .51 to .53 of its length, for the three last in another direction (cosine .93 to .95): the copies in the memory are
# constants, so a pair pulls at its anchor alone. With `BatchEasyHardMiner` (its default: easiest positive) the bare
# triplet loss is positive and the wrapped one 0 with gradient 0: every image's easiest positive is its own copy, which
# is mined first and removed afterwards.
# Expected: a memory that holds only the batch changes nothing; who adds one compares losses and finds them equal.
# Why it matters: a comparison "with and without memory" at one learning rate compares two step sizes as well (SGD), or
# two directions (any optimiser), and one with that miner compares with no training.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch-metric-learning==2.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import pytorch_metric_learning
import torch
from pytorch_metric_learning import losses, miners
from torch.nn.functional import cosine_similarity

print("pytorch-metric-learning", pytorch_metric_learning.__version__, "torch", torch.__version__)
torch.manual_seed(0)
labels = torch.arange(4).repeat_interleave(4)
bare = {
    "contrastive": losses.ContrastiveLoss(),
    "triplet": losses.TripletMarginLoss(margin=0.5),
    "SupCon": losses.SupConLoss(),
    "circle": losses.CircleLoss(),
    "multi-similarity": losses.MultiSimilarityLoss(),
}
for name, loss in bare.items():
    batch = torch.randn(16, 8, dtype=torch.float64, requires_grad=True)
    wrapped = losses.CrossBatchMemory(loss, embedding_size=8, memory_size=64)
    values = loss(batch, labels), wrapped(batch, labels)
    without, having = (torch.autograd.grad(value, batch)[0].flatten() for value in values)
    ratio = float(having.norm() / without.norm())
    same = float(cosine_similarity(having, without, dim=0))
    print(f"{name:16s} value {values[0].item():.6f} and {values[1].item():.6f}, gradient {ratio:.3f} of it, cosine {same:.3f}")
    assert torch.isclose(*values, rtol=1e-12) and 0.49 < ratio < 0.6
    assert same > 0.99 if name in ("contrastive", "triplet") else same < 0.97
    assert name != "contrastive" or abs(ratio - 0.5) < 1e-12

batch = torch.randn(16, 8, requires_grad=True)
easiest, triplet = miners.BatchEasyHardMiner(), losses.TripletMarginLoss(0.2)
alone = triplet(batch, labels, easiest(batch, labels)).item()
wrapped = losses.CrossBatchMemory(triplet, embedding_size=8, memory_size=64, miner=easiest)(batch, labels)
(gradient,) = torch.autograd.grad(wrapped, batch)
print(f"BatchEasyHardMiner: {alone:.4f} alone, {wrapped.item()} with a memory, its gradient {gradient.norm().item()}")
assert alone > 0.1 and wrapped.item() == 0 and gradient.norm() == 0
END
echo "as seen"
