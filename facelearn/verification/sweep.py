"""All pairs of many images, counted without ever being listed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import combinations, combinations_with_replacement, pairwise, product
from typing import Any

import numpy as np
import torch
from scipy.ndimage import maximum_filter1d
from scipy.stats import t as student
from torch import Tensor

from facelearn.verification.bootstrap import Interval, exact_interval, logit_interval
from facelearn.verification.checks import (
    Array,
    check_far,
    check_rows,
    check_threshold,
    codes_of,
    cosines,
    error_bound,
    number_after,
    unit,
    warn_far,
)
from facelearn.verification.ranking import Curve, allowed, run_lasts
from facelearn.verification.result import RATES, ROC, Rates, threshold_of

BINS = 2**15  # bins of one unit of the cosine: 3.05e-5 wide
SIDE = 1024  # images on a side of a tile, at most
PARTS = 20  # parts into which the people are dealt for the intervals
BLOCK = 2**12  # pairs scored exactly at a time
SPREAD = 0.15  # a rank among n tiles differs from that among all by less than SPREAD / sqrt(n) of itself, as a rule
AUC_ERROR = 2.5e-7  # wanted standard error of the AUC by what bins leave open
FEW = 2**19  # impostor pairs up to which the AUC is exact
FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def evaluate_all_pairs(
    embeddings: Array | Tensor,
    labels: Array | Tensor | Sequence[Any],
    *,
    groups: Array | Tensor | Sequence[Any] | None = None,
    far: Sequence[float] | None = None,
    device: str | torch.device | None = None,
) -> AllPairsResult:
    """Measure an embedding on all N (N - 1) / 2 pairs of its images, or on all of gallery x probe.

    embeddings: (N, d) floating point, any positive scale per row; labels: (N,) person of each image, numbers or
    strings. groups: (N,) two or more groups, such as gallery and probe: a pair is then two images of different groups.
    far: those that are to be asked for (None: each power of ten from 1e-1 to 1e-6 that 10 or more impostor pairs
    decide); any other can be asked for later, at the price of another round through the pairs.
    device: CUDA where there is one, unless named.

    The score of a pair is that of `score_pairs`: the cosine in float64, rounded to 12 decimals. It depends on the two
    embeddings alone, not on tile, thread or device. Genuine pairs are few and are scored so, each. Of impostor pairs a
    float32 product in tiles says into which of 2^16 bins of the cosine each falls. The product is off by at most
    eps = gamma_(d+8) (`error_bound`), so all impostor scores but those within eps of a threshold lie on a known side
    of it. The bins round a threshold that is asked for are scored in float64, all their pairs. Therefore

        eer, tar_at, threshold_at, rates_at     exact: the counts of `evaluate_pairs`, ties included
        auc                                     exact up to 2^19 impostor pairs; then but for the order inside of bins,
                                                a standard error of at most 2.5e-7
        roc                                     TAR exact, FAR but for impostors within eps + half a bin of a threshold

    `auc_bound` is what the AUC can be off by at the very worst; bins that could matter (ties, a collapsed
    embedding) are scored in float64, too. If that is every pair, the time is about that of listing them.

    Memory beside the arguments: the embeddings in float64 and in float32, 12 bytes a tile's pair, 12 bytes a genuine
    pair and 12 a pair scored exactly. Time: under three float32 products at d = 128, under two at d = 512
    (`benchmarks/README.md`); of few images (under 2,000), listing their pairs is as quick.

    ValueError, before any work, where an argument has a wrong shape, dtype or value, where all pairs are of one kind,
    or for a FAR finer than 1 / impostor pairs.

        >>> rng = np.random.default_rng(0)
        >>> labels = np.arange(500) // 5
        >>> result = evaluate_all_pairs(rng.normal(size=(100, 8))[labels] + rng.normal(size=(500, 8)), labels)
        >>> result.num_genuine, result.num_impostor
        (1000, 123750)
        >>> f"{result.eer:.4f} {result.tar_at(1e-2):.3f}"
        '0.2253 0.185'
    """
    rows = check_rows("embeddings", embeddings)
    people = codes_of("labels", labels, len(rows))
    sides = np.zeros(len(rows), np.int64) if groups is None else codes_of("groups", groups, len(rows))
    if groups is not None and sides.max() == 0:
        raise ValueError("groups: found 1 group, expected 2 or more, such as gallery and probe")
    num_pairs, num_genuine = (_count(of, sides, groups is None) for of in (np.zeros_like(people), people))
    num_impostor = num_pairs - num_genuine
    if num_genuine == 0 or num_impostor == 0:
        found = f"{num_genuine} genuine and {num_impostor} impostor pairs"
        raise ValueError(f"labels: found {found}, expected at least one of each")
    if isinstance(far, (int, float, str)):
        raise ValueError(f"far: found {far!r}, expected several, such as (1e-2, 1e-3)")
    fars = [f for f in FARS if f * num_impostor >= 10] if far is None else list(far)
    for each in fars:
        check_far(each, num_impostor, "impostor pairs")
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return AllPairsResult(_Sweep(rows, people, sides, groups is None, place), num_genuine, num_impostor, fars)


def _count(people: Array, sides: Array, within: bool) -> int:
    """Pairs of one person: of all images, or of different sides."""
    together = np.bincount(people)
    apart = np.unique(np.stack([people, sides]), axis=1, return_counts=True)[1]
    return int(together @ together - (len(people) if within else apart @ apart)) // 2


class _Sweep:
    """Tiles of images against images, in which impostor pairs are binned by a float32 product.

    Images are sorted by side, part and person. A part holds whole people: one that is left out leaves a smaller set.
    """

    def __init__(self, rows: Array, people: Array, sides: Array, within: bool, device: torch.device) -> None:
        self.num_people = int(people.max()) + 1
        self.parts = min(PARTS, self.num_people)
        self.part_of = np.random.default_rng(0).permutation(self.num_people) % self.parts  # (K,)
        self.order = order = np.lexsort((people, self.part_of[people], sides))  # (N,) the image in each place
        self.people, self.sides = people[order], sides[order]  # (N,) each
        self.part = self.part_of[self.people]
        self.rows = np.empty(rows.shape)  # (N, d) float64
        self.fast = torch.empty(rows.shape, device=device)  # (N, d) float32
        for i in range(0, len(rows), BLOCK):
            self.rows[i : i + BLOCK] = unit(rows[order[i : i + BLOCK]])
            self.fast[i : i + BLOCK] = torch.from_numpy(self.rows[i : i + BLOCK])
        error = error_bound(rows.shape[1], np.float32)
        self.margin = int(2 * error * BINS) + 1  # bins that are wider than twice the error
        self.offset = BINS + self.margin + 1  # bins 0 and below: pairs that do not count
        self.size = 2 * self.offset + 1
        self.within = within
        self.tiles = self._tiles()
        # Kept from tile to tile: what is found in one would fill the place of a freed one, and the next need a new one.
        size = max((a.stop - a.start) * (b.stop - b.start) for a, b in self.tiles)
        kinds = torch.float32, torch.int32, torch.bool
        self._cos, self._bins, self._hit = (torch.empty(size, dtype=kind, device=device) for kind in kinds)

    def _tiles(self) -> list[tuple[slice, slice]]:
        key = self.sides * self.parts + self.part
        cuts = np.flatnonzero(np.diff(key, prepend=-1, append=-1))
        spans: dict[int, list[slice]] = {}  # of each side
        for start, stop in pairwise(cuts):
            ends = np.linspace(start, stop, math.ceil((stop - start) / SIDE) + 1).astype(int).tolist()
            spans.setdefault(int(self.sides[start]), []).extend(map(slice, ends[:-1], ends[1:]))
        if self.within:
            tiles = list(combinations_with_replacement(spans[0], 2))
        else:
            tiles = [tile for a, b in combinations(spans.values(), 2) for tile in product(a, b)]
        return [tiles[n] for n in np.random.default_rng(0).permutation(len(tiles))]

    def bin_of(self, scores: Array) -> Array:
        return np.floor(scores * BINS).astype(np.int64) + self.offset

    def bins(self, tile: tuple[slice, slice]) -> Tensor:
        """(n, m) int32 bin of each pair of a tile; 0 where it is genuine, or met elsewhere. Gone with the next tile."""
        a, b = tile
        shape = a.stop - a.start, b.stop - b.start
        cos, bins = (kept[: math.prod(shape)].view(shape) for kept in (self._cos, self._bins))
        torch.mm(self.fast[a] * BINS, self.fast[b].T, out=cos)  # a power of two: exact; autocast leaves out= alone
        bins.copy_(cos.add_(self.offset))
        ours, theirs = self.people[a], self.people[b]
        if self.part[a.start] == self.part[b.start] and ours[0] <= theirs[-1] and theirs[0] <= ours[-1]:
            left_out = ours[:, None] == theirs
            if a == b:
                left_out |= np.tri(len(ours), dtype=bool)
            bins.masked_fill_(torch.from_numpy(left_out).to(bins.device), 0)
        return bins

    def exact(self, tile: tuple[slice, slice], bins: Tensor, wanted: Tensor) -> tuple[Array, Array]:
        """Bin and exact score of the pairs of a tile whose bin is wanted."""
        number, scores, _, _ = self.exact_pairs(tile, bins, wanted)
        return number, scores

    def exact_pairs(self, tile: tuple[slice, slice], bins: Tensor, wanted: Tensor) -> tuple[Array, Array, Array, Array]:
        """... and the places of their two images."""
        hit = torch.index_select(wanted, 0, bins.flatten(), out=self._hit[: bins.numel()])
        at = hit.nonzero()[:, 0].cpu().numpy() if hit.is_cuda else np.flatnonzero(hit.numpy())
        first, second = np.divmod(at, bins.shape[1])
        number = bins.flatten()[torch.from_numpy(at).to(bins.device)].cpu().numpy()
        first, second = first + tile[0].start, second + tile[1].start
        scores = self.score(first, second)
        if len(at) and np.abs(self.bin_of(scores) - number).max() > self.margin:
            raise RuntimeError(
                "a float32 matrix product is less exact than float32: is a reduced precision switched on?"
            )
        return number, scores, first, second

    def score(self, first: Array, second: Array) -> Array:
        scores = np.empty(len(first))
        for i in range(0, len(first), BLOCK):
            part = slice(i, i + BLOCK)
            cosines(self.rows[first[part]], self.rows[second[part]], out=scores[part])
        return scores

    def genuine(self) -> tuple[Array, Array]:
        """(G,) score of each genuine pair, best first, and its person."""
        order = np.argsort(self.people, kind="stable")
        people, alive, scores, persons = self.people[order], np.arange(len(order)), [], []
        for lag in range(1, len(order)):
            alive = alive[alive + lag < len(order)]
            alive = alive[people[alive] == people[alive + lag]]
            if not len(alive):
                break
            first, second = order[alive], order[alive + lag]
            if not self.within:
                apart = self.sides[first] != self.sides[second]
                first, second = first[apart], second[apart]
            scores.append(self.score(first, second))
            persons.append(self.people[first].astype(np.int32))
        score, person = np.concatenate(scores), np.concatenate(persons)
        best = np.argsort(-score)
        return score[best], person[best]


class _Found:
    """Bins and exact scores in one array that grows: thousands of small ones would leave holes between tiles."""

    def __init__(self) -> None:
        self._held, self._count = np.empty(2**16, np.dtype([("bin", np.int32), ("score", np.float64)])), 0

    def add(self, bins: Array, scores: Array) -> None:
        end = self._count + len(bins)
        if end > len(self._held):
            self._held.resize(2 * end, refcheck=False)
        new = self._held[self._count : end]
        new["bin"], new["score"] = bins, scores
        self._count = end

    def keep(self, known: Array) -> Array:
        """Forget the scores of other bins; the rest, worst first."""
        held = self._held[: self._count]
        self._held, self._count = held[known[held["bin"]]], int(np.count_nonzero(known[held["bin"]]))
        return np.sort(self._held["score"])


class _Counts:
    """Genuine scores and impostor scores, the latter exact where `found` and else by the bins of `rest`."""

    def __init__(self, sweep: _Sweep, genuine: Array, rest: Array, found: Array) -> None:
        self._sweep, self.genuine, self.rest, self.found = sweep, genuine, rest, found  # best first; worst first
        self.upper = np.append(np.cumsum(rest[::-1])[::-1], 0)  # in this bin or above
        self.num_impostor = int(self.upper[0]) + len(found)
        last = np.flatnonzero(run_lasts(genuine))
        self.steps, self.accepted = genuine[last], last + 1  # (S,) distinct genuine scores, and how many reach each

    def impostors(self, scores: Array) -> tuple[Array, Array]:
        """How many impostor scores are above each score, and how many are not below; evenly spread in a bin."""
        bins = self._sweep.bin_of(scores)
        share = bins + 1 - self._sweep.offset - scores * BINS  # of its bin that lies above a score
        above = self.upper[bins + 1] + np.rint(self.rest[bins] * share).astype(np.int64) + len(self.found)
        return tuple(above - np.searchsorted(self.found, scores, side) for side in ("right", "left"))

    def bounds(self, scores: Array) -> tuple[Array, Array]:
        """How many impostor scores are above each score at least, and how many are not below at most."""
        bins, margin = self._sweep.bin_of(scores), self._sweep.margin
        least, most = (len(self.found) - np.searchsorted(self.found, scores, side) for side in ("right", "left"))
        return self.upper[bins + margin + 1] + least, self.upper[bins - margin] + most

    @cached_property
    def curve(self) -> Curve:
        return Curve(self.accepted, *self.impostors(self.steps), len(self.genuine), self.num_impostor)

    def rates_at(self, threshold: float) -> Rates:
        within = np.clip([threshold], -1, np.nextafter(1, 2))
        rejected = len(self.genuine) - np.searchsorted(-self.genuine, -within, "right")
        return Rates(float(self.impostors(within)[1][0] / self.num_impostor), float(rejected[0] / len(self.genuine)))

    def value(self, name: str) -> float:
        if not len(self.genuine) or not self.num_impostor:
            return math.nan
        if name.startswith("tar@"):
            return self.curve.tar_at(number_after("tar@", name))
        if name.startswith(RATES):
            rates = self.rates_at(threshold_of(name))
            return rates.far if name.startswith("far") else rates.frr
        return getattr(self.curve, name)()


class AllPairsResult:
    """What `evaluate_all_pairs` measured; see there for what is exact."""

    def __init__(self, sweep: _Sweep, num_genuine: int, num_impostor: int, far: Sequence[float]) -> None:
        self.num_genuine, self.num_impostor, self.far = num_genuine, num_impostor, tuple(far)
        self._sweep = sweep
        self._genuine, self._person = sweep.genuine()
        self._known = np.zeros(sweep.size, bool)  # bins of which every score was found
        self._found = _Found()
        self._first_round([allowed(each, num_impostor) for each in far])
        self._settle(far, auc=True)

    def _first_round(self, ranks: Sequence[int]) -> None:
        """Count the bins. What will be wanted is guessed from the tiles so far, and found in those to come."""
        sweep, tiles = self._sweep, self._sweep.tiles
        self._by_part = torch.zeros(sweep.parts, sweep.size, dtype=torch.int64, device=sweep.fast.device)
        total, numbers = torch.zeros_like(self._by_part[0]), torch.arange(sweep.size, device=sweep.fast.device)
        self._tops: list[Tensor] = []  # of each tile, its highest bin
        self._stages: list[tuple[Array, list[Any]]] = [(self._known.copy(), [])]  # bins found in these tiles
        wanted, due = None, max(1, len(tiles) // 16)
        for number, tile in enumerate(tiles):
            if number == due:
                due *= 2
                guess = self._guess(_Counts(sweep, self._genuine, _counted(total), np.empty(0)), ranks, number)
                wanted = torch.from_numpy(guess).to(total.device)
                self._stages.append((guess, []))
            bins = sweep.bins(tile)
            counts = torch.bincount(bins.flatten(), minlength=sweep.size)
            total += counts
            self._tops.append(torch.where(counts > 0, numbers, 0).amax())
            for part in {sweep.part[side.start] for side in tile}:
                self._by_part[part] += counts
            self._stages[-1][1].append(tile)
            if wanted is not None:
                self._found.add(*sweep.exact(tile, bins, wanted))
        self._counts = self._binned = _Counts(sweep, self._genuine, _counted(total), np.empty(0))
        self._known = self._binned.rest == 0

    def _guess(self, counts: _Counts, ranks: Sequence[int], tiles: int) -> Array:
        wanted, share = np.zeros_like(self._known), counts.num_impostor / self.num_impostor
        if not share:
            return wanted
        for rank in (*(rank * share for rank in ranks), counts.curve.eer() * counts.num_impostor):
            slack = 4 * math.sqrt(rank + 1) + SPREAD * rank / math.sqrt(tiles)
            wanted[self._round(counts, rank - slack, rank + slack)] = True
        return wanted

    def _round(self, counts: _Counts, low: float, high: float) -> slice:
        """The bins that decide where the impostors of these ranks lie, best 0."""
        ranks = np.clip([high, low], 0, counts.num_impostor - 1)
        first, last = len(counts.rest) - 1 - np.searchsorted(counts.upper[-2::-1], ranks, "right")
        return slice(max(first - self._sweep.margin, 1), last + self._sweep.margin + 1)

    def _settle(self, far: Sequence[float] = (), thresholds: Sequence[float] = (), auc: bool = False) -> None:
        """Find the scores in all bins that decide the EER and what else is asked for."""
        while True:
            wanted = self._unsure() if auc else np.zeros_like(self._known)
            for each in far:
                rank = allowed(each, self.num_impostor)
                wanted[self._round(self._binned, rank, rank)] = True
            for at in self._sweep.bin_of(np.append(np.clip(thresholds, -1, 1), self._crossing())):
                wanted[at - self._sweep.margin : at + self._sweep.margin + 1] = True
            if not (wanted & ~self._known).any():
                return
            self._find(wanted)

    def _crossing(self) -> list[float]:
        """The genuine scores round the EER whose counts are not known well enough to tell it."""
        counts, step, found = self._counts, self._counts.curve.eer_step(), []
        rejected = self.num_genuine - (counts.accepted[step - 1] if step else 0)  # ... before the step
        least, most = counts.bounds(counts.steps[max(step - 1, 0) : step + 1])
        frr = rejected / self.num_genuine
        if step and most[0] / self.num_impostor >= frr:
            found.append(counts.steps[step - 1])
        if least[-1] / self.num_impostor < frr:  # then the ROC crosses FAR = FRR in this step, perhaps
            found.append(counts.steps[step])
        return found

    def _unsure(self) -> Array:
        """The bins that could spoil the AUC. Genuine scores of one bin err independently where they differ."""
        wide = 2 * self._sweep.margin + 1
        times = np.diff(self._counts.accepted, prepend=0)
        weight = np.bincount(self._sweep.bin_of(self._counts.steps), times.astype(float) ** 2, self._sweep.size)
        doubt = weight * maximum_filter1d(self._counts.rest.astype(float), wide) ** 2 / 4  # variance of auc * G * I
        order = np.argsort(doubt)
        wanted, error = np.zeros_like(self._known), AUC_ERROR if self.num_impostor > FEW else 0.0
        wanted[order] = np.cumsum(doubt[order]) > (error * self.num_genuine * self.num_impostor) ** 2
        return maximum_filter1d(wanted, wide)

    def _find(self, wanted: Array) -> None:
        """Score all pairs in the wanted bins that have not been scored yet."""
        for done, tiles in self._stages:
            missing = torch.from_numpy(wanted & ~done & ~self._known).to(self._by_part.device)
            for tile in tiles if missing.any() else ():
                self._found.add(*self._sweep.exact(tile, self._sweep.bins(tile), missing))
            done[:] = wanted | self._known
        self._known |= wanted
        rest = np.where(self._known, 0, self._binned.rest)
        self._counts = _Counts(self._sweep, self._genuine, rest, self._found.keep(self._known))

    @property
    def auc(self) -> float:
        """P(a genuine pair scores above an impostor pair), ties count half; see `auc_bound`."""
        return self._counts.curve.auc()

    @property
    def auc_bound(self) -> float:
        """What `auc` may be off by at most, if in every bin all scores lay in the worst order."""
        least, most = self._counts.bounds(self._counts.steps)
        open_ = most - least - (self._counts.curve.impostors_accepted - self._counts.curve.impostors_above)
        times = np.diff(self._counts.accepted, prepend=0)
        return float(times @ (open_ / self.num_impostor)) / self.num_genuine

    @property
    def eer(self) -> float:
        """Equal error rate, as `VerificationResult.eer`."""
        return self._counts.curve.eer()

    def tar_at(self, far: float) -> float:
        """Highest TAR over all thresholds with FAR <= far, as `VerificationResult.tar_at`."""
        self._ask(far)
        return self._counts.curve.tar_at(far)

    def threshold_at(self, far: float) -> float:
        """The lowest threshold with FAR <= far, as `VerificationResult.threshold_at`."""
        self._ask(far)
        rank = allowed(far, self.num_impostor)
        above = self._counts.upper[self._round(self._binned, rank, rank).stop]  # ranks of impostors not in `found`
        return float(np.nextafter(self._counts.found[above - rank - 1], np.inf))

    def rates_at(self, threshold: float) -> Rates:
        """FAR and FRR of accepting every pair with score >= threshold."""
        self._settle(thresholds=[check_threshold(threshold)])
        return self._counts.rates_at(threshold)

    @cached_property
    def roc(self) -> ROC:
        """The ROC at the bins' edges where something changes, from "accept nothing" (inf) down."""
        edges = (np.arange(self._sweep.size)[::-1] - self._sweep.offset) / BINS
        impostors = self._counts.impostors(edges)[1]
        genuine = np.searchsorted(-self._genuine, -edges, "right")
        new = np.diff(impostors + genuine, prepend=0) > 0
        counts = (np.append(0, of[new]) for of in (impostors, genuine))
        far, tar = (of / num for of, num in zip(counts, (self.num_impostor, self.num_genuine), strict=True))
        return ROC(far, tar, np.append(np.inf, edges[new]))

    @cached_property
    def eer_threshold(self) -> float:
        """A threshold whose FAR and FRR are nearest to each other, of those at the edges of bins."""
        far, tar, thresholds = self.roc
        return float(thresholds[np.argmin(np.abs(far - (1 - tar)))])

    def about(self, name: str) -> float:
        """A number as `intervals` knows them, without another round through the pairs: as exact as `roc` is."""
        return self._counts.value(name)

    def histogram(self, bins: int = 40) -> tuple[Array, Array, Array]:
        """Edges (bins + 1,), and how many genuine and impostor pairs score between one and the next, impostors' bins
        as wholes.  (bins,) each
        """
        number = np.flatnonzero(self._binned.rest)
        middle = (number - self._sweep.offset + 0.5) / BINS
        ends = min(middle[0], self._genuine[-1]), max(middle[-1], self._genuine[0])
        edges = np.histogram_bin_edges(np.array(ends), bins)
        impostor = np.histogram(middle, edges, weights=self._binned.rest[number])[0]
        return edges, np.histogram(self._genuine, edges)[0], impostor.astype(np.int64)

    def worst_impostors(self, count: int = 10) -> tuple[Array, Array]:
        """The impostor pairs with the highest scores, best first: their images and scores.  (n, 2), (n,)"""
        sweep, reach = self._sweep, np.flatnonzero(self._binned.upper >= min(count, self.num_impostor))
        lowest = max(1, int(reach[-1]) - 2 * sweep.margin)  # an exact score may lie `margin` bins from where it counts
        wanted = torch.arange(sweep.size, device=self._by_part.device) >= lowest
        found = []
        for tile, top in zip(sweep.tiles, self._tops, strict=True):
            if int(top) >= lowest:
                _, scores, first, second = sweep.exact_pairs(tile, sweep.bins(tile), wanted)
                best = np.argsort(-scores, kind="stable")[:count]
                found.append((scores[best], first[best], second[best]))
        scores, first, second = (np.concatenate(kind) for kind in zip(*found, strict=True))
        return self._ranked(-scores, first, second, count)

    def worst_genuine(self, count: int = 10) -> tuple[Array, Array]:
        """The genuine pairs with the lowest scores, worst first: their images and scores.  (n, 2), (n,)"""
        own = [np.flatnonzero(self._sweep.people == person) for person in np.unique(self._person[-count:])]
        pairs = np.concatenate([places[np.stack(np.triu_indices(len(places), 1))] for places in own], axis=1)
        if not self._sweep.within:
            pairs = pairs[:, self._sweep.sides[pairs[0]] != self._sweep.sides[pairs[1]]]
        return self._ranked(self._sweep.score(pairs[0], pairs[1]), pairs[0], pairs[1], count)

    def _ranked(self, key: Array, first: Array, second: Array, count: int) -> tuple[Array, Array]:
        """Of pairs of places those with the least key: their images and scores."""
        images = np.sort(self._sweep.order[np.stack([first, second], axis=1)], axis=1)
        order = np.lexsort((images[:, 1], images[:, 0], key))[:count]
        return images[order], self._sweep.score(first[order], second[order])

    @property
    def _num_people(self) -> int:
        return self._sweep.num_people

    @property
    def parts(self) -> int:
        """Into how many parts the people are dealt for the intervals."""
        return self._sweep.parts

    def interval(self, name: str, *, level: float = 0.95) -> Interval:
        """Interval of one number; see `intervals`."""
        return self.intervals([name], level=level)[name]

    def intervals(
        self, names: Sequence[str] = ("auc", "eer"), *, level: float = 0.95, exact: bool = True
    ) -> dict[str, Interval]:
        """Intervals by people from J = 20 parts of them (one for each person where they are fewer).

        exact: round the number itself; else round that of `about`, as for a curve of many points.
        names: "auc", "eer", "tar@1e-3" (any FAR), "far>=0.35" or "frr<0.35" (any threshold).
        The people are dealt to J parts at random. x_j is the number without the people of part j, from the bins, which
        the round through the pairs counts for each part besides. The grouped jackknife takes

            variance = (J - 1) / J * sum_j (x_j - mean)^2        (Shao & Tu, The Jackknife and Bootstrap, 1995, 2.3)

        and the interval is mapped by the logit, with t of J - 1 degrees of freedom; 0 and 1 get an exact limit: both as
        in `VerificationResult.intervals`. A pair falls out with either of its people, as in that bootstrap, and widths
        agree with it on average (sets of 30 and 60 people: AUC, EER, TAR .91 to 1.13 of it), scattering by a sixth,
        since J - 1 differences say no more about a variance. But what is proper to a pair of people counts twice:
        where few false accepts decide, as in "far>=" of a strict threshold, widths are up to sqrt(2) times too large.
        """
        if not 0 < level < 1:
            raise ValueError(f"level: found {level}, expected a number in (0, 1)")
        if self._sweep.num_people < 4:
            raise ValueError(f"labels: found {self._sweep.num_people} people, expected 4 or more for intervals")
        found, parts = {}, self._sweep.parts
        people = len(np.unique(self._person)), self._sweep.num_people // 2  # couples share nobody
        for name in names:
            estimate = self._value(name) if exact else self.about(name)
            if estimate in (0.0, 1.0):
                trials = {"tar@": people[:1], "frr<": people[:1], "far>": people[1:]}.get(name[:4], people)
                found[name] = exact_interval(name, int(estimate), trials, level)
                continue
            without = np.array([counts.value(name) for counts in self._without])
            error = math.sqrt((parts - 1) ** 2 / parts * np.nanvar(without, ddof=1))
            found[name] = logit_interval(estimate, float(student.ppf((1 + level) / 2, parts - 1)) * error)
        return found

    def _value(self, name: str) -> float:
        if name in ("auc", "eer"):
            return float(getattr(self, name))
        if name.startswith("tar@"):
            return self.tar_at(number_after("tar@", name))
        if name.startswith(RATES):
            return getattr(self.rates_at(threshold_of(name)), name[:3])
        known = "auc, eer, tar@ and a FAR (tar@1e-3), far>= or frr< and a threshold (far>=0.35)"
        raise ValueError(f"name: found {name!r}, expected {known}")

    @cached_property
    def _without(self) -> list[_Counts]:
        """The counts without the people of each part."""
        part, found = self._sweep.part_of[self._person], []
        for number, counts in enumerate(self._by_part):
            rest = self._binned.rest - _counted(counts)
            found.append(_Counts(self._sweep, self._genuine[part != number], rest, np.empty(0)))
        return found

    def _ask(self, far: float) -> None:
        check_far(far, self.num_impostor, "impostor pairs")
        warn_far(far, self.num_impostor, "impostor pairs")
        self._settle([far])

    def __repr__(self) -> str:
        images, people = len(self._sweep.rows), self._sweep.num_people
        shown = "   ".join(f"TAR@FAR={far:.0e} {self._counts.curve.tar_at(far):.2%}" for far in self.far)
        return (
            f"AllPairsResult: {images:,} images of {people:,} people, "
            f"{self.num_genuine:,} genuine + {self.num_impostor:,} impostor pairs\n"
            f"  AUC {self.auc:.5f}   EER {self.eer:.2%}\n  {shown}"
        )


def _counted(bins: Tensor) -> Array:
    """Counts by bin, without those in bin 0, which do not count."""
    counts = bins.cpu().numpy().copy()
    counts[0] = 0
    return counts
