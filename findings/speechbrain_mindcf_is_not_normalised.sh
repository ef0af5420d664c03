#!/usr/bin/env bash
# speechbrain 1.1.2: `utils.metric_stats.minDCF` is not divided by the cost of deciding without looking, and the decision
# "accept everybody" is not among its thresholds.
#
# Seen: scores that know nothing (genuine and impostor from one distribution) have a minDCF of .00999 at the default
# p_target = .01: the number is a hundredth of the one in evaluation plans and papers, where such a system has 1. The
# scale changes with p_target: .0999 at .1. And the smallest threshold is the smallest score, which itself is rejected:
# four genuine and four impostor scores, all equal to each other in pairs, have a minDCF of .255 at p_target = .99, where
# accepting everybody costs .01. Expected: the normalised value, as in the NIST plans that the function's costs come
# from, and the trivial decisions among the candidates, so that it never exceeds 1.
# Why it matters: .22 in a paper stands beside .0022 in a log, and a bad system (.0092) looks as if it were excellent.
# (`torchaudio`, which speechbrain imports at once, is not used by this function; an empty module stands in for it, so
# that the script runs where torchaudio's build does not fit torch's.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 hyperpyyaml joblib cloudpickle loky packaging scipy \
    tqdm sentencepiece huggingface_hub pyyaml requests soundfile
"$folder/venv/bin/pip" install --quiet --no-deps speechbrain==1.1.2
cd "$folder"
"$folder/venv/bin/python" - <<'END_OF_PYTHON'
import importlib.machinery
import sys
import types
from importlib.metadata import version

audio = types.ModuleType("torchaudio")
audio.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
audio.__version__, audio.list_audio_backends = "2.11.0", lambda: ["none"]
sys.modules["torchaudio"] = audio

import torch  # noqa: E402
from speechbrain.utils.metric_stats import minDCF  # noqa: E402

print("speechbrain", version("speechbrain"), "torch", torch.__version__)


def by_hand(genuine, impostor, target):
    """The smallest cost over all thresholds, "accept all" and "reject all" among them; then that over the trivial cost."""
    scores = torch.unique(torch.cat([genuine, impostor])).double()
    thresholds = torch.cat([torch.tensor([-torch.inf]).double(), scores])
    miss = torch.stack([(genuine <= threshold).double().mean() for threshold in thresholds])
    false = torch.stack([(impostor > threshold).double().mean() for threshold in thresholds])
    cost = float((miss * target + false * (1 - target)).min())
    return cost, cost / min(target, 1 - target)


draw = torch.Generator().manual_seed(0)
for apart in (0, 2, 4):
    genuine = torch.randn(500, generator=draw) + apart
    impostor = torch.randn(1000, generator=draw)
    for target in (0.01, 0.1):
        theirs = minDCF(genuine, impostor, p_target=target)[0]
        cost, normalised = by_hand(genuine, impostor, target)
        print(f"{apart} sd apart, p_target {target}: speechbrain {theirs:.5f}, by hand {cost:.5f}, normalised {normalised:.3f}")
        assert abs(theirs - cost) < 1e-6 and theirs <= target + 1e-6
        assert normalised > 0.9 or apart > 0
tied = torch.tensor([0.1, 0.2, 0.3, 0.4])
theirs, (cost, normalised) = minDCF(tied, tied, p_target=0.99)[0], by_hand(tied, tied, 0.99)
print(f"tied scores, p_target 0.99: speechbrain {theirs:.4f}, by hand {cost:.4f}, normalised {normalised:.2f}")
assert theirs > 0.2 and abs(normalised - 1) < 1e-9
END_OF_PYTHON
echo "as seen"
