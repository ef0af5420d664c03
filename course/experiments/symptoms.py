"""The symptoms of the page `symptoms.md`, each in a small training that shows it: the number that tells, seen.

The people are made up (`facelearn.check.training.crowd`): six numbers say who it is, ten how the picture was taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facelearn.check.training import crowd, log
from facelearn.losses import REGISTRY, ArcFace, CircleFace, MagFace, MarginHead, NPCFace, Softmax, Triplet
from facelearn.verification import all_pairs, evaluate_pairs

WORLD: dict[str, Any] = {"people": 40, "scale": 8.0, "margin": 0.5}


def expected(people: int, scale: float, ask: float, dim: int) -> float:
    """The loss before the first step, where the head asks for `ask` at 90 degrees and its other logits are s cos θ."""
    return math.log(people - 1) + scale * ask + scale**2 / (2 * dim)


def first_losses(scale: float, classes: int, dim: int, samples: int = 2000) -> dict[str, tuple[float, float]]:
    """Of every registered angular head, with its own margins: the loss on random embeddings, and what is expected."""
    found = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for stem, kind in REGISTRY.items():
            if not issubclass(kind, MarginHead):
                continue
            named: dict[str, Any] = {"gamma" if kind is CircleFace else "scale": scale}
            head: MarginHead = kind(dim, classes, **named)
            x, y = torch.randn(samples, dim), torch.randint(classes, (samples,))
            seen = head(x, y)
            found[stem] = float(seen), _said(head.eval(), x, classes)
    return found


def _said(head: MarginHead, x: Tensor, classes: int) -> float:
    """The formula, with the mean of exp(s N) over a normal cosine, and the mean over embeddings of these lengths."""
    share = (torch.arange(len(x)) + 0.5) / len(x)
    cos = torch.distributions.Normal(0, x.shape[1] ** -0.5).icdf(share ** (1 / head.num_subcenters))  # of the nearest
    rows = head.rows(x, cos)
    sums = (0 * cos, 0 * cos + 1) if isinstance(head, NPCFace) else ()  # hard ones: with a mean cosine of 0
    others = head.others(cos, torch.zeros(len(x), 1), tuple(row[:, None] for row in rows))
    rest = (head.scale * others.expand(len(x), -1)).logsumexp(1) + math.log((classes - 1) / len(x))
    own = head.scale * head.target(cos, (*rows, *sums))
    price = 0.0
    if isinstance(head, MagFace):
        a = head.clamped_length(x)
        price = float(head.regularizer_weight * (1 / a + a / head.upper**2).mean())
    return float(F.softplus(rest - own).mean()) + price


# ---- one function a symptom: what the page says is seen, as numbers -------------------------------------------------


def trained(
    make: Callable[[], Any], steps: int = 200, people: int = 40, rate: float = 1e-2, nuisance: float = 1.5
) -> tuple[nn.Module, Any, list[float]]:
    """A small net and its loss after some steps on made-up people; and the losses on the way."""
    (x, y), draws = crowd(people, 0, nuisance=nuisance), torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, loss = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16)), make()
    optimizer = torch.optim.AdamW([*net.parameters(), *loss.parameters()], lr=rate)
    losses = []
    for _ in range(steps):
        batch = torch.randint(len(y), (64,), generator=draws)
        value = loss(net(x[batch]), y[batch])
        losses.append(float(value.detach()))
        if not math.isfinite(losses[-1]):
            break
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return net, loss, losses


def first_loss_off() -> dict[str, float]:
    """The first loss over the expected one: sound, margin in degrees, without the scale, without the margin."""
    said = expected(40, 8.0, math.sin(0.5), 16)
    found = {name or "sound": log(name, 0, **WORLD, steps=1)["loss"][0] / said for name in ("", "degrees", "scale")}
    return found | {"margin lost": log("", 0, 40, 8.0, 0.0, steps=1)["loss"][0] / said}


def stuck_at_a_floor() -> dict[str, float]:
    """Without the scale: the loss at the end, the least that is possible, and the accuracy."""
    made, s, m, C = log("scale", 0, **WORLD), 1.0, 0.5, 40
    least = math.log(1 + (C - 1) * math.exp(-s * (math.cos(m) + 1 / (C - 1))))
    return {"loss": made["loss"][-1], "least": least, "accuracy": made["accuracy"][-1], "eer": made["eer"][-1]}


def nothing_is_learnt() -> dict[str, float]:
    """Rates a thousand times too large and too small: accuracy, length of the rows over the first, degrees turned.

    And the accuracy on the way to the right rate, a tenth at a time and ten times at a time.
    """
    found = {}
    with torch.random.fork_rng(devices=[]):
        rates = {"large": 10.0, "small": 1e-5, "1": 1.0, "0.1": 0.1, "1e-4": 1e-4, "1e-3": 1e-3}
        for name, rate in rates.items():
            first: list[Tensor] = []

            def make(first: list[Tensor] = first) -> nn.Module:
                head = ArcFace(16, 40, scale=8, margin=0.5, beyond_pi="linear")
                first.append(head.weight.detach().clone())
                return head

            net, loss, _ = trained(make, rate=rate)
            (x, y), w = crowd(40, 0), loss.weight.detach()
            with torch.no_grad():
                found[f"accuracy {name}"] = float((loss.logits(net(x)).argmax(1) == y).float().mean())
            found[f"length {name}"] = float(w.norm(dim=1).mean() / first[0].norm(dim=1).mean())
            turned = F.cosine_similarity(w.double(), first[0].double()).clamp(-1, 1).arccos().rad2deg()
            found[f"turned {name}"] = float(turned.mean())
    return found


def same_people_in_the_test() -> dict[str, float]:
    """The EER of strangers, of the images trained on, and of the same people in other images."""
    net = trained(lambda: ArcFace(16, 40, scale=8, margin=0.5), 400)[0]
    found = {}
    sets = {"strangers": crowd(40, 1000), "trained on": crowd(40, 0), "other images": crowd(40, 0, shots=20)}
    for name, (x, y) in sets.items():
        with torch.no_grad():
            found[name] = evaluate_pairs(net(x), *all_pairs(y)).eer
    return found


def names_are_random() -> dict[str, float]:
    """Every name drawn anew: training accuracy rises, and the EER of strangers stays where it was."""
    made = log("names", 1, **WORLD, steps=400)
    fell = made["loss"][0] - made["loss"][-1]
    return {"accuracy": made["accuracy"][-1], "loss fell by": fell, "eer": made["eer"][-1]}


def another_preparation() -> dict[str, float]:
    """A sound net, tested on inputs as in training and in another order: its accuracy, the EERs of strangers."""
    net, loss, _ = trained(lambda: ArcFace(16, 40, scale=8, margin=0.5))
    (x, y), (strangers, theirs) = crowd(40, 0), crowd(40, 1000)
    with torch.no_grad():
        found = {"accuracy": float((loss.logits(net(x)).argmax(1) == y).float().mean())}
        for name, seen in {"alike": strangers, "turned": strangers.flip(1)}.items():
            found[f"eer {name}"] = evaluate_pairs(net(seen), *all_pairs(theirs)).eer
    return found


def all_in_one_point() -> dict[str, float]:
    """Triplets: batch-hard from the first step on, or semi-hard. The loss, the mean cosine and the EER of strangers."""
    found, (x, y) = {}, crowd(40, 1000)
    for mining in ("batch-hard", "semi-hard"):
        net, _, losses = trained(partial(Triplet, margin=0.2, mining=mining))
        with torch.no_grad():
            unit = F.normalize(net(x))
        found[f"loss {mining}"] = losses[-1]
        found[f"cosine {mining}"] = float((unit @ unit.T)[y[:, None] != y].mean())
        found[f"eer {mining}"] = evaluate_pairs(unit, *all_pairs(y)).eer
    return found


def weights_in_half() -> dict[str, float]:
    """Weights in bfloat16, or in float32 with products in half: share that a step changes, accuracy, EER."""
    (x, y), (strangers, theirs) = crowd(40, 0), crowd(40, 1000)
    found = {}
    for name, kind in {"half": torch.bfloat16, "mixed": torch.float32}.items():
        draws = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 16)).to(kind)
            loss = ArcFace(16, 40, scale=8, margin=0.5, beyond_pi="linear")
        optimizer = torch.optim.AdamW([*net.parameters(), *loss.parameters()], lr=3e-4)
        for _ in range(400):
            batch = torch.randint(len(y), (64,), generator=draws)
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "mixed"):
                embeddings = net(x[batch].to(kind))
            optimizer.zero_grad()
            loss(embeddings.float(), y[batch]).backward()
            before = nn.utils.parameters_to_vector(net.parameters()).detach()
            optimizer.step()
        with torch.no_grad():
            moved = nn.utils.parameters_to_vector(net.parameters()) != before
            right = loss.logits(net(x.to(kind)).float()).argmax(1) == y
            found[f"changed {name}"], found[f"accuracy {name}"] = (
                float(moved.float().mean()),
                float(right.float().mean()),
            )
            found[f"eer {name}"] = evaluate_pairs(net(strangers.to(kind)).float(), *all_pairs(theirs)).eer
    return found


def net_is_frozen() -> dict[str, float]:
    """The EER of strangers, largest less smallest of the log, while the loss falls."""
    made = log("frozen", 0, **WORLD)
    return {"eer moved by": max(made["eer"]) - min(made["eer"]), "loss fell by": made["loss"][0] - made["loss"][-1]}


def accuracy_with_margin() -> dict[str, float]:
    """Share of training images that win with the margin, and without it; the EER of strangers."""
    net, loss, _ = trained(lambda: ArcFace(16, 40, scale=8, margin=1.0, beyond_pi="linear"), 120)
    (x, y), (strangers, theirs) = crowd(40, 0), crowd(40, 1000)
    with torch.no_grad():
        cos = loss.logits(net(x)) / 8
        own = cos.gather(1, y[:, None])
        rival = cos.scatter(1, y[:, None], -1).amax(1, keepdim=True)
        handicapped = (own.arccos() + 1.0).cos()
        eer = evaluate_pairs(net(strangers), *all_pairs(theirs)).eer
    return {
        "with": float((handicapped > rival).float().mean()),
        "without": float((own > rival).float().mean()),
        "eer": eer,
    }


def rewarded_beyond_pi() -> dict[str, float]:
    """A margin of 2 with plain cosines: the loss at the end, the accuracy, the mean angle to the own class."""
    net, loss, losses = trained(lambda: ArcFace(16, 40, scale=8, margin=2.0, beyond_pi="plain"))
    x, y = crowd(40, 0)
    with torch.no_grad():
        cos = loss.logits(net(x)) / 8
        angle = cos.gather(1, y[:, None]).arccos().rad2deg().mean()
    return {"loss": losses[-1], "accuracy": float((cos.argmax(1) == y).float().mean()), "angle": float(angle)}


class Naive(nn.Module):
    """Softmax cross-entropy as one would write it first: the log of a sum of exponentials."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, dim) / dim**0.5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        logits = x @ self.weight.T  # (B, C)
        self.largest = float(logits.detach().max())
        return (logits.exp().sum(1).log() - logits.gather(1, y[:, None])[:, 0]).mean()


def nan_on_the_way() -> dict[str, float]:
    """Norms grow until a logit passes 88.7, where float32 has no exponential: steps until then, the largest logit."""
    _, loss, losses = trained(lambda: Naive(16, 40), 3000, rate=0.1)
    _, _, stable = trained(lambda: Softmax(16, 40, bias=False), len(losses), rate=0.1)
    return {"steps": len(losses) - 1, "largest logit": loss.largest, "stable": stable[-1]}


def nan_at_once() -> dict[str, float]:
    """A class weight that starts as an embedding of its class, an arccos: share of the gradients that are NaN."""
    x = F.normalize(crowd(40, 0)[0][::10])
    found = {}
    targets: dict[str, Any] = {"naive": lambda c: (c.clamp(-1, 1).arccos() + 0.5).cos(), "guarded": None}
    for name, margin in targets.items():
        rows = x.clone().requires_grad_()
        if margin is None:
            head = ArcFace(32, 40, scale=8, margin=0.5)
            loss = torch.func.functional_call(head, {"weight": x}, (rows, torch.arange(40)))
        else:
            cos = rows @ x.T
            target = margin(cos.diagonal())[:, None]
            loss = F.cross_entropy(8 * cos.scatter(1, torch.arange(40)[:, None], target), torch.arange(40))
        (gradient,) = torch.autograd.grad(loss, rows)
        found[name] = float((~gradient.isfinite()).any(1).float().mean())
    return found


def two_names_in_the_test() -> dict[str, float]:
    """Half of the pictures of three of 60 strangers under a second name, in the test: EER and TAR at FAR 1e-4."""
    net = trained(lambda: ArcFace(16, 40, scale=8, margin=0.5), nuisance=0.15)[0]
    x, y = crowd(60, 1000, nuisance=0.15)
    with torch.no_grad():
        embeddings = net(x)
    twice = y.clone()
    for person in range(3):
        twice[10 * person : 10 * person + 5] = 60 + person
    found: dict[str, float] = {}
    for name, labels in {"right": y, "twice": twice}.items():
        result = evaluate_pairs(embeddings, *all_pairs(labels))
        found |= {f"eer {name}": result.eer, f"tar {name}": result.tar_at(1e-4)}
    cos = F.normalize(embeddings) @ F.normalize(embeddings).T
    impostors = torch.triu(twice[:, None] != twice, 1)
    top = cos.where(impostors, -1.0).flatten().topk(10).indices
    pair = twice[top // len(twice)], twice[top % len(twice)]
    return found | {"of the ten worst": float(((pair[0] >= 60) | (pair[1] >= 60)).float().mean())}


def too_few_people() -> dict[str, float]:
    """Training accuracy and EER of strangers, with 10 people and with 160."""
    found = {}
    for people in (10, 160):
        net, loss, _ = trained(partial(ArcFace, 16, people, scale=8, margin=0.5), 400, people)
        (x, y), (strangers, theirs) = crowd(people, 0), crowd(40, 1000)
        with torch.no_grad():
            found[f"accuracy {people}"] = float((loss.logits(net(x)).argmax(1) == y).float().mean())
            found[f"eer {people}"] = evaluate_pairs(net(strangers), *all_pairs(theirs)).eer
    return found


SYMPTOMS: dict[str, Callable[[], dict[str, float]]] = {
    one.__name__: one
    for one in (
        first_loss_off,
        stuck_at_a_floor,
        nothing_is_learnt,
        names_are_random,
        another_preparation,
        net_is_frozen,
        all_in_one_point,
        weights_in_half,
        accuracy_with_margin,
        rewarded_beyond_pi,
        nan_on_the_way,
        nan_at_once,
        two_names_in_the_test,
        too_few_people,
        same_people_in_the_test,
    )
}
