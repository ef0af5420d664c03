"""CPU time of an epoch of `fit` on the standard faces: this build beside an older one, and the convolutions alone.

    python benchmarks/training.py --against fb9254e     # a revision of this repository, taken out by git archive

Each build runs in a process of its own, one thread; in every round each trains four times one epoch from the same
start, in turns and shuffled order, and ratios are taken within the round. After each turn the values of all steps and
all weights of the builds are compared bit by bit. `floor` is what no rearrangement can save: the forward and backward
passes of the net's four convolutions, on tensors that lie ready.
"""

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rounds import place, ratio, table
from torch import Tensor, nn

from facelearn import data as sets
from facelearn import losses
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, fit, seed_everything

ROOT = Path(__file__).resolve().parents[1]
TURNS = 4  # of each build in a round: a neighbour on the processor disturbs an epoch by a tenth and more
BATCH, STEPS = 128, 46  # of an epoch of the standard set: 6,000 images
WANTED = 0.83


# ---- in the process of one build


def epoch(data: Any) -> tuple[float, str]:
    """CPU seconds of one epoch from a fixed start, and a hash of all loss values and weights."""
    seed_everything(0)
    net, loss = SmallFaceNet(), losses.ArcFace(64, 300, scale=8, margin=0.6)
    values: list[Tensor] = []
    loss.register_forward_hook(lambda module, given, value: values.append(value.detach()))
    began = time.process_time()
    fit(net, loss, data, epochs=1, batch_size=BATCH, augment=ShiftAndGain(), device="cpu", progress=False)
    seconds = time.process_time() - began
    digest = hashlib.sha256()
    for tensor in (torch.stack(values), *net.state_dict().values(), *loss.state_dict().values()):
        digest.update(tensor.contiguous().numpy().tobytes())
    return seconds, digest.hexdigest()


def convolutions() -> Callable[[], object]:
    """The convolutions of one step, forward and backward, on random tensors of the shapes that they meet."""
    layers: list[tuple[nn.Module, Tensor, Tensor]] = []
    net = SmallFaceNet()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda m, given, y: layers.append((m, given[0].detach(), y.detach())))
    net(torch.rand(BATCH, 3, 32, 32))
    inner = [(m, x.requires_grad_(i > 0), torch.rand_like(y)) for i, (m, x, y) in enumerate(list(layers))]

    def step() -> None:
        for module, x, slope in inner:
            module(x).backward(slope)

    return step


def serve(what: str) -> None:
    """One epoch for each line that arrives."""
    torch.set_num_threads(1)
    data, step = (None, convolutions()) if what == "floor" else (sets.standard("fit"), None)
    for _ in sys.stdin:
        if step is None:
            found = epoch(data)
        else:
            began = time.process_time()
            for _ in range(STEPS):
                step()
            found = time.process_time() - began, ""
        print(json.dumps(found), flush=True)


# ---- in the process that compares


class Build(NamedTuple):
    process: subprocess.Popen[str]
    seconds: list[float]

    def run(self) -> tuple[float, str]:
        """Let it train an epoch; returns its CPU seconds and the hash of what came out."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        seconds, digest = json.loads(self.process.stdout.readline())
        return seconds, digest


def start(root: str | Path, what: str) -> Build:
    command = [sys.executable, __file__, "--serve", what]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    return Build(process, [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", default="HEAD", metavar="REVISION", help="of this repository (default: HEAD)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--serve", choices=["build", "floor"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.serve)
    with tempfile.TemporaryDirectory() as old:
        archive = subprocess.run(["git", "archive", args.against, "facelearn"], cwd=ROOT, capture_output=True)
        if archive.returncode:
            sys.exit(f"--against: {archive.stderr.decode().strip()}")
        subprocess.run(["tar", "x", "-C", old], input=archive.stdout, check=True)
        builds = {"this build": start(ROOT, "build"), args.against: start(old, "build"), "floor": start(ROOT, "floor")}
        for build in builds.values():
            build.run()  # warm up
        equal = 0
        for _ in range(args.rounds):
            turns = [
                {name: builds[name].run() for name in random.sample(list(builds), len(builds))} for _ in range(TURNS)
            ]
            for name, build in builds.items():
                build.seconds.append(sum(turn[name][0] for turn in turns) / TURNS)
            equal += sum(turn["this build"][1] == turn[args.against][1] for turn in turns)
        for build in builds.values():
            build.process.communicate()
    print(f"{place()}, {args.rounds} rounds of {TURNS} epochs ({STEPS} steps of {BATCH} images)\n")
    before = builds[args.against].seconds
    rows = [(n, ratio(b.seconds, before), round(1e3 * statistics.median(b.seconds))) for n, b in builds.items()]
    table(["", f"× {args.against}, process time: median [quartiles] (min/min)", "ms an epoch, median"], rows)
    reached = ratio(builds["this build"].seconds, before).median
    goals = [
        (f"this build / {args.against}", f"≤ {WANTED}", f"{reached:.2f}", reached <= WANTED),
        ("epochs with every value and weight equal", args.rounds * TURNS, equal, equal == args.rounds * TURNS),
    ]
    table(["goal", "wanted", "found", ""], [(*goal, "met" if met else "MISSED") for *goal, met in goals])


if __name__ == "__main__":
    main()
