#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0: `CrossBatchMemory` writes its memory into the state_dict and, loaded from it, leaves the
# memory unread: how full it is and where it stands are plain attributes.
#
# Seen: a memory of 32 rows is filled by three batches of 16. Its state_dict holds embeddings and labels; a new object
# takes them ("All keys matched"), but stands at row 0 and "not filled". For the next batch the running object compares
# with 32 rows, the restored one with the batch alone, exactly as the loss without a memory; then it writes over the
# restored rows. Expected: the same loss before and after, or no memory in the state_dict.
# Why it matters: a training that is resumed goes on with another loss for memory_size / batch_size steps (that is many:
# memories of tens of thousands are usual), and nothing says so; it is not the run that was interrupted.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch-metric-learning==2.9.0
cd "$folder"
"$folder/venv/bin/python" - <<'END'
import pytorch_metric_learning
import torch
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory

print("pytorch-metric-learning", pytorch_metric_learning.__version__, "torch", torch.__version__)
torch.manual_seed(0)
labels = torch.arange(4).repeat_interleave(4)
running = CrossBatchMemory(ContrastiveLoss(), embedding_size=8, memory_size=32)
for _ in range(3):
    running(torch.randn(16, 8), labels)
restored = CrossBatchMemory(ContrastiveLoss(), embedding_size=8, memory_size=32)
print("saved:", {name: tuple(saved.shape) for name, saved in running.state_dict().items()})
print("loaded:", restored.load_state_dict(running.state_dict()))
assert torch.equal(restored.embedding_memory, running.embedding_memory)

batch = torch.randn(16, 8)
losses = [float(loss(batch, labels)) for loss in (running, restored, ContrastiveLoss())]
print("next batch: running {:.6f}, restored {:.6f}, without a memory {:.6f}".format(*losses))
assert abs(losses[0] - losses[1]) > 1e-3 and losses[1] == losses[2], losses
END
echo "as seen"
