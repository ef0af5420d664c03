"""Chapter 20: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import numpy as np
import torch

# ---- ex1: log-sum-exp and softmax mean in one pass -------------------------------------------------------------------


def by_merging(tiles):
    """Each tile's own result, merged by the share of its exponentials."""
    rest = mean = None
    for z, rows in tiles:
        part = z.logsumexp(1)
        inner = torch.exp(z - part.masked_fill(part == -torch.inf, 0.0)[:, None]) @ rows
        if rest is None:
            rest, mean = part, inner
            continue
        both = torch.logaddexp(rest, part)
        a, b = ((one - both).exp().nan_to_num(0.0)[:, None] for one in (rest, part))
        rest, mean = both, a * mean + b * inner
    return rest, mean


def all_at_once(tiles):
    parts = list(tiles)
    z, rows = torch.cat([p[0] for p in parts], 1), torch.cat([p[1] for p in parts])
    return z.logsumexp(1), z.softmax(1) @ rows


def copies_in_a_list(tiles):
    return all_at_once((z.clone(), rows.clone()) for z, rows in tiles)


def grown_matrix(tiles):
    whole = vectors = None
    for z, rows in tiles:
        whole = z.clone() if whole is None else torch.cat([whole, z], 1)
        vectors = rows.clone() if vectors is None else torch.cat([vectors, rows])
    return whole.logsumexp(1), whole.softmax(1) @ vectors


def by_numpy(tiles):
    """In one pass, and nothing is kept."""
    top, total, mean = -np.inf, 0.0, 0.0
    for z, rows in tiles:
        high = np.maximum(top, z.numpy().max(1, keepdims=True))
        base = np.where(np.isinf(high), 0.0, high)
        e, shrunk = np.exp(z.numpy() - base), np.exp(top - base)
        total, mean = shrunk * total + e.sum(1, keepdims=True), shrunk * mean + e @ rows.numpy()
        top = high
    return torch.tensor((top + np.log(total))[:, 0]), torch.tensor(mean / total)


def merged_at_the_end(tiles):
    """Of each tile its log-sum-exp and its mean are kept, which is no tile."""
    logs, sums = [], []
    for z, rows in tiles:
        logs.append(z.logsumexp(1))
        sums.append((z - logs[-1].masked_fill(logs[-1] == -torch.inf, 0.0)[:, None]).exp() @ rows)
    every = torch.stack(logs)
    whole = every.logsumexp(0)
    return whole, ((every - whole).exp()[:, :, None] * torch.stack(sums)).sum(0)


def two_passes(tiles):
    rest, mean = torch.tensor(-torch.inf), 0.0
    for z, _ in tiles:
        rest = torch.logaddexp(rest, z.logsumexp(1))
    for z, rows in tiles:
        mean = mean + (z - rest[:, None]).exp() @ rows
    return rest, mean


def plain_sums(tiles):
    total = mean = 0
    for z, rows in tiles:
        e = z.exp()
        total, mean = total + e.sum(1), mean + e @ rows
    return total.log(), mean / total[:, None]


def from_zero(tiles):
    """A maximum that starts at 0: fine until all logits are far below."""
    top, total, mean = torch.zeros(1, 1, dtype=torch.float64), 0.0, 0.0
    for z, rows in tiles:
        high = torch.maximum(top, z.amax(1, keepdim=True))
        e, shrunk = (z - high).exp(), (top - high).exp()
        total, mean = shrunk * total + e.sum(1, keepdim=True), shrunk * mean + e @ rows
        top = high
    return (top + total.log())[:, 0], mean / total


def careless(tiles):
    """A first tile of nothing but -inf gives -inf - -inf."""
    top = total = mean = None
    for z, rows in tiles:
        high = z.amax(1, keepdim=True) if top is None else torch.maximum(top, z.amax(1, keepdim=True))
        e = (z - high).exp()
        if top is None:
            total, mean = e.sum(1, keepdim=True), e @ rows
        else:
            shrunk = (top - high).exp()
            total, mean = shrunk * total + e.sum(1, keepdim=True), shrunk * mean + e @ rows
        top = high
    return (top + total.log())[:, 0], mean / total


# ---- ex2: four ranks and a wire --------------------------------------------------------------------------------------


def with_largest(shards, places, wire):
    """The target by the largest, -inf where the class is not; log-sum-exps by their own largest."""
    own = []
    for z, place in zip(shards, places, strict=True):
        one = z[torch.arange(len(z)), place.clamp(min=0)]
        own.append(one.masked_fill(place < 0, -torch.inf))
    logs = [z.logsumexp(1) for z in shards]
    top = wire.largest(logs)
    return top + wire.total([(one - top).exp() for one in logs]).log() - wire.largest(own)


def joined(shards, places, wire):
    z, low, y = torch.cat(shards, 1), 0, torch.zeros(len(shards[0]), dtype=torch.int64)
    for shard, place in zip(shards, places, strict=True):
        y[place >= 0] = place[place >= 0] + low
        low += shard.shape[1]
    return torch.nn.functional.cross_entropy(z, y, reduction="none")


def whole_logits(shards, places, wire):
    for shard in shards:
        wire.largest([shard])
    return joined(shards, places, wire)


def maximum_by_hand(shards, places, wire):
    """Right, but the maximum of all was never sent."""
    top = torch.cat(shards, 1).amax(1)
    own = wire.total(
        [z.gather(1, p.clamp(min=0)[:, None])[:, 0] * (p >= 0) for z, p in zip(shards, places, strict=True)]
    )
    return top + wire.total([(z - top[:, None]).exp().sum(1) for z in shards]).log() - own


def own_target(shards, places):
    """Read off all ranks at once."""
    return sum(
        z.gather(1, p.clamp(min=0)[:, None])[:, 0].where(p >= 0, 0.0) for z, p in zip(shards, places, strict=True)
    )


def maximum_alone(shards, places, wire):
    top = wire.largest([z.amax(1) for z in shards])
    total = sum((z - top[:, None]).exp().sum(1) for z in shards)
    return top + total.log() - own_target(shards, places)


def target_by_hand(shards, places, wire):
    top = wire.largest([z.amax(1) for z in shards])
    total = wire.total([(z - top[:, None]).exp().sum(1) for z in shards])
    return top + total.log() - own_target(shards, places)


def target_by_hand_and_idle(shards, places, wire):
    wire.total([z[:, 0] for z in shards])
    return target_by_hand(shards, places, wire)


def joined_and_idle(shards, places, wire):
    wire.largest([z.amax(1) for z in shards])
    return joined(shards, places, wire)


def joined_and_thrice_idle(shards, places, wire):
    wire.total([z[:, 0] for z in shards])
    wire.total([z[:, 0] for z in shards])
    return joined_and_idle(shards, places, wire)


def no_maximum(shards, places, wire):
    own = wire.total(
        [z.gather(1, p.clamp(min=0)[:, None])[:, 0] * (p >= 0) for z, p in zip(shards, places, strict=True)]
    )
    return wire.total([z.exp().sum(1) for z in shards]).log() - own


# ---- ex3: a sampler --------------------------------------------------------------------------------------------------


def by_permutation(own, classes, size, generator):
    kept = own.unique()
    order = torch.randperm(classes, generator=generator)
    others = order[~torch.isin(order, kept)][: max(0, size - len(kept))]
    chosen = torch.cat([kept, others]).sort().values
    return chosen, (chosen[None] == own[:, None]).long().argmax(1)


def by_loop(own, classes, size, generator):
    chosen = set(own.tolist())
    while len(chosen) < size:
        chosen.add(int(torch.randint(classes, (1,), generator=generator)))
    chosen = sorted(chosen)
    return torch.tensor(chosen), torch.tensor([chosen.index(j) for j in own.tolist()])


def sampler(fault):
    def draw(own, classes, size, generator):
        kept = own.unique()
        order = torch.randperm(classes, generator=generator)
        if fault == "drops":
            chosen = order[:size].sort().values
        elif fault == "twice":
            chosen = torch.cat([kept, order[: size - len(kept)]]) if size > len(kept) else kept
        elif fault == "too many":
            chosen = torch.cat([kept, order[~torch.isin(order, kept)][:size]]).sort().values
        elif fault == "cut":
            chosen = torch.cat([kept, order[~torch.isin(order, kept)]])[:size].sort().values
        elif fault == "union":
            chosen = torch.cat([kept, order[:size]]).unique()
        elif fault == "first ones":
            others = torch.arange(classes)
            chosen = torch.cat([kept, others[~torch.isin(others, kept)][: max(0, size - len(kept))]]).sort().values
        else:
            chosen = torch.cat([kept, order[~torch.isin(order, kept)][: max(0, size - len(kept))]])
        if fault == "global":
            order = torch.randperm(classes)
            chosen = torch.cat([kept, order[~torch.isin(order, kept)][: max(0, size - len(kept))]])
        if fault not in ("unsorted", "twice"):
            chosen = chosen.sort().values
        place = torch.searchsorted(chosen.sort().values, own).clamp(max=len(chosen) - 1)
        return chosen, (own if fault == "old labels" else place)

    return draw


def in_blocks(step=1):
    """A start by lot, and from there on one after the other: each class has the same chance."""

    def draw(own, classes, size, generator):
        others = torch.arange(classes)
        others = others[~torch.isin(others, own)]
        count, start = max(0, size - len(own.unique())), torch.randint(classes, (1,), generator=generator)
        places = (start + (step if math.gcd(step, len(others)) == 1 else 1) * torch.arange(count)) % max(1, len(others))
        chosen = torch.cat([own.unique(), others[places]]).sort().values
        return chosen, torch.searchsorted(chosen, own)

    return draw


def from_the_seed(own, classes, size, generator):
    return by_permutation(own, classes, size, torch.Generator().manual_seed(generator.initial_seed()))


RIGHT = {"ex1": [by_merging, by_numpy, merged_at_the_end], "ex2": [with_largest], "ex3": [by_permutation, by_loop]}
WRONG = {
    "ex1": [
        (all_at_once, "tiles are kept at once"),
        (copies_in_a_list, "copies of the tiles"),
        (grown_matrix, "copies of the tiles"),
        (two_passes, "a second pass"),
        (plain_sums, "inf"),
        (careless, "nan"),
        (from_zero, "minus some hundreds"),
        (lambda tiles: by_merging(tiles)[0], "expected"),
        (lambda tiles: tuple(one.float() for one in by_merging(tiles)), "7th digit"),
    ],
    "ex2": [
        (joined, "nothing went over the wire"),
        (maximum_by_hand, "must go over the wire, too"),
        (whole_logits, "only vectors"),
        (maximum_alone, "wire: 1; maximum, sum and target"),
        (target_by_hand, "wire: 2; maximum"),
        (target_by_hand_and_idle, "does not hang on"),
        (joined_and_idle, "wire: 1;"),
        (joined_and_thrice_idle, "does not hang on"),
        (no_maximum, "inf"),
        (lambda shards, places, wire: with_largest(shards, places, wire).mean(), "a mean or a sum too many"),
    ],
    "ex3": [
        (sampler("drops"), "not among the chosen"),
        (sampler("twice"), "drawn twice"),
        (sampler("too many"), "the batch's count, too"),
        (sampler("cut"), "not among the chosen"),
        (sampler("union"), "the batch's count, too"),
        (sampler("unsorted"), "sorted"),
        (sampler("old labels"), "own class"),
        (sampler("first ones"), "not drawn alike"),
        (sampler("global"), "from `generator` alone"),
        (from_the_seed, "is the first again"),
        (in_blocks(), "draw no blocks"),
        (in_blocks(step=7), "draw no blocks"),
        (lambda own, classes, size, generator: torch.arange(classes), "two tensors"),
    ],
}
