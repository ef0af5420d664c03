"""Identification: who is this? Each probe image is compared with everybody in a gallery."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import t

from facelearn.verification import bootstrap
from facelearn.verification.bootstrap import Interval, multiplicities
from facelearn.verification.checks import (
    Array,
    check_failed,
    check_far,
    check_labels,
    check_rows,
    cosines,
    error_bound,
    first_of,
    number_after,
    to_numpy,
    unit,
    warn_far,
)
from facelearn.verification.ranking import Curve, Ranking, Weigh, Weights

SCORES_PER_BLOCK = 2**23  # 32 MB in float32
CROWDED = 1 / 64  # a share of scores in doubt above which float64 decides faster


class OpenSetCurve(NamedTuple):
    """Detection and identification rate against the false alarm rate, one point per distinct score of a hit."""

    far: Array  # (T,) share of non-mated probes that raise an alarm
    dir: Array  # (T,) share of mated probes identified and detected
    thresholds: Array  # (T,) descending from inf; an alarm is a best score >= threshold


def evaluate_identification(
    gallery: Array | torch.Tensor,
    gallery_labels: Array | torch.Tensor | Sequence[Any],
    probes: Array | torch.Tensor,
    probe_labels: Array | torch.Tensor | Sequence[Any],
    *,
    failed: Array | torch.Tensor | Sequence[bool] | None = None,
    block: int | None = None,
    ranks: Sequence[int] = (1, 5, 10),
) -> IdentificationResult:
    """Look every probe up in the gallery.

    gallery: (G, d), probes: (P, d) floating point, any positive scale per row; labels: (G,) and (P,) whole numbers or
    strings, the person of each image. The score of a probe and a person is the best cosine over that person's gallery
    images. A probe is *mated* if its person is in the gallery; the others are the impostors of open-set measures.

    Definitions:
        rank of a mated probe = 1 + the number of OTHER people whose score is at least as high as that of its own
            person (ties count against it: an embedding that maps all faces to one point ranks last, not first)
        rank-k identification rate = mated probes of rank <= k / mated probes                         (CMC, closed set)
        FAR(t) = non-mated probes whose best score is >= t / non-mated probes      (false alarm rate, ISO's FPIR)
        DIR(t, k) = mated probes of rank <= k and own score >= t / mated probes   (ISO's TPIR = 1 - FNIR)

    Sources: Phillips, Grother & Micheals, "Evaluation Methods in Face Recognition", Handbook of Face Recognition (Li &
    Jain, 2nd ed. 2011, ch. 21); ISO/IEC 19795-1:2021 (identification rates).

    Exact and repeatable: scores are those of `score_pairs` (float64, 12 decimals). A float32 matrix product only sorts
    out what is further from a decision than its proven error bound, (d + 8) 2^-24; everything nearer is decided in
    float64, each score computed on its own. So no result depends on the block size, the number of threads or the
    machine's BLAS. Where scores crowd (many people within 1e-4 of a decision), the block is sorted out in float64
    instead, at half the speed; exact ties cost 1 to 2 µs each (a collapsed embedding is all ties).

    failed: (P,) bool, probes in which no face was found or of which no embedding could be made. Their rows are not
    looked at, they find nobody and raise no alarm: a mated one is a miss at every rank and threshold.
    block: probes compared at a time (None: blocks of 2^23 scores, 32 MB); ranks: those that `repr` and `intervals`
    show.
    Memory beside the arguments: the gallery once in float32, two to three blocks, and per probe a few numbers; where
    scores crowd, also the gallery in float64.
    ValueError where an argument has a wrong shape, dtype or value, or the two kinds of labels cannot be compared.
    """
    gallery_rows = check_rows("gallery", gallery)
    lost = check_failed("failed", failed, len(probes))
    if lost.any():
        probes = to_numpy(probes).copy()
        probes[lost] = 1  # any direction: what it finds is not kept
    probe_rows = check_rows("probes", probes)
    d = gallery_rows.shape[1]
    if probe_rows.shape[1] != d:
        raise ValueError(f"probes: found {probe_rows.shape[1]} columns, expected {d}, as in gallery")
    if block is not None and not (isinstance(block, (int, np.integer)) and block >= 1):
        raise ValueError(f"block: found {block!r}, expected a whole number >= 1, or None")
    people, codes, wanted, own = _people(gallery_labels, len(gallery_rows), probe_labels, len(probe_rows))
    shown = _check_ranks(ranks)
    search = _Search(gallery_rows, codes, probe_rows, own)
    blocks = search.run(block or max(16, SCORES_PER_BLOCK // len(codes)))
    rank, mate, top, best = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    rank[lost & (own >= 0)], mate[lost & (own >= 0)], top[lost] = len(people) + 1, -np.inf, -np.inf
    return IdentificationResult(people, wanted, rank, mate, top, people[best], shown)


def evaluate_identification_scores(
    scores: Array | torch.Tensor,
    gallery_labels: Array | torch.Tensor | Sequence[Any],
    probe_labels: Array | torch.Tensor | Sequence[Any],
    *,
    ranks: Sequence[int] = (1, 5, 10),
) -> IdentificationResult:
    """Identification from another program's scores: the definitions of `evaluate_identification`.

    scores: (P, G) numbers, a row for each probe and a column for each gallery image, higher means more alike, taken as
    they are; -inf where a comparison failed. A probe whose own person has only failed comparisons is a miss at every
    rank. The whole matrix and the best score of each person are in memory.

        >>> found = evaluate_identification_scores(np.array([[0.9, 0.2], [0.6, 0.5]]), ["ann", "bob"], ["ann", "bob"])
        >>> found.rank1
        0.5
    """
    values = to_numpy(scores)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "iuf":
        raise ValueError(f"scores: found {values.dtype} of shape {values.shape}, expected numbers (P, G), P, G >= 1")
    bad = np.flatnonzero((np.isnan(values) | (values == np.inf)).any(axis=1))
    if len(bad):
        found = f"NaN or inf in {len(bad)} rows, {first_of(bad)}"
        raise ValueError(f"scores: found {found}, expected finite numbers, or -inf where a comparison failed")
    people, codes, wanted, own = _people(gallery_labels, values.shape[1], probe_labels, len(values))
    order = np.argsort(codes, kind="stable")
    best = np.maximum.reduceat(
        values[:, order], np.searchsorted(codes[order], np.arange(len(people))), axis=1
    )  # (P, K)
    mate = np.where(own < 0, np.nan, best[np.arange(len(best)), own].astype(np.float64))
    rank = np.where(own < 0, 0, (best >= mate[:, None]).sum(axis=1))  # itself among them
    rank[mate == -np.inf] = len(people) + 1
    at = best.argmax(axis=1)
    top = best[np.arange(len(best)), at].astype(np.float64)
    return IdentificationResult(people, wanted, rank, mate, top, people[at], _check_ranks(ranks))


def _people(gallery_labels: Any, num_gallery: int, probe_labels: Any, num_probes: int) -> tuple[Array, ...]:
    """The K people of the gallery, the code of each of its images, the probes' labels, and their codes or -1."""
    names = check_labels("gallery_labels", gallery_labels, num_gallery)
    wanted = check_labels("probe_labels", probe_labels, num_probes)
    if names.dtype.kind != wanted.dtype.kind:
        raise ValueError(f"probe_labels: found dtype {wanted.dtype}, expected {names.dtype}, as in gallery_labels")
    people, codes = np.unique(names, return_inverse=True)
    own = np.searchsorted(people, wanted)  # (P,)
    own[own == len(people)] = 0
    own[people[own] != wanted] = -1
    return people, codes, wanted, own


# ---------------------------------------------------------------------------------------------------------- search


class _Search:
    """Ranks and best candidates of all probes.

    A person is a code 0..K-1, in the order of the labels, and a column of the block of scores. Columns are ordered by
    the number n of images, so that the m people with n images each take n x m rows of the product, first images
    first: their best scores are then one elementwise maximum.
    """

    def __init__(self, gallery: Array, codes: Array, probes: Array, own: Array) -> None:
        self.gallery, self.probes = gallery, probes
        counts = np.bincount(codes)  # (K,) images of each person
        self.code_of_column = np.argsort(counts, kind="stable")  # (K,)
        self.counts = counts[self.code_of_column]  # from here on by column
        numbers, sizes = np.unique(self.counts, return_counts=True)
        self.groups = [(int(n), int(m)) for n, m in zip(numbers, sizes, strict=True)]
        column = np.arange(len(counts))
        start = np.repeat(np.cumsum(numbers * sizes) - numbers * sizes, sizes)  # of the group in the product
        self.first_row = start + column - np.repeat(np.cumsum(sizes) - sizes, sizes)  # (K,) of the first image
        self.step = np.repeat(sizes, sizes)  # (K,) rows from one image of a person to the next
        self.image_of_row = np.empty(len(codes), np.int64)
        by_person = np.argsort(codes, kind="stable")  # images of person 0, then of person 1, ...
        column_of_code = np.argsort(self.code_of_column)
        of_image = column_of_code[codes[by_person]]  # (G,)
        number = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)  # 0, 1, ... of its person
        self.image_of_row[self.first_row[of_image] + self.step[of_image] * number] = by_person
        self.own = np.where(own < 0, -1, column_of_code[own])  # (P,) column of the probe's person, -1 for none
        self._products: dict[type, Array] = {}

    def run(self, block: int) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Block by block: rank (0 for non-mated), score of the own person (NaN), best score, code of its person."""
        for start in range(0, len(self.own), block):
            yield self._block(unit(self.probes[start : start + block]), self.own[start : start + block])

    def _block(self, rows: Array, own: Array) -> tuple[Array, Array, Array, Array]:
        """(b, d) probes of length 1 in float64, (b,) columns of their people or -1."""
        mated = np.flatnonzero(own >= 0)
        mate = np.full(len(rows), np.inf)
        mate[mated] = self._exact(rows, mated, own[mated])
        others, near, above = self._sort_out(rows, mate, np.float32)
        if len(near) > CROWDED * len(rows) * len(self.counts):
            others, near, above = self._sort_out(rows, mate, np.float64)
        probe, column = np.divmod(near, len(self.counts))  # (n,) sorted by probe, each probe at least once
        exact = self._exact(rows, probe, column)
        rival = (exact >= mate[probe]) & ~above & (column != own[probe])
        others += np.bincount(probe[rival], minlength=len(rows))
        first = np.searchsorted(probe, np.arange(len(rows)))
        top = np.maximum.reduceat(exact, first)
        code = np.where(exact == top[probe], self.code_of_column[column], len(self.counts))
        rank = np.where(own < 0, 0, 1 + others)
        return rank, np.where(own < 0, np.nan, mate), top, np.minimum.reduceat(code, first)

    def _sort_out(self, rows: Array, mate: Array, dtype: type) -> tuple[Array, Array, Array]:
        """(b,) people surely better than the mate; (n,) flat places in (b, K) where a score is in doubt, that is,
        near the mate's or near the best; and whether that is surely better than the mate (and counted already)."""
        slack = error_bound(rows.shape[1], dtype)
        scores = self._best_of_person(rows.astype(dtype) @ self._product(dtype).T)  # (b, K)
        above = scores > (mate + slack).astype(dtype)[:, None]
        doubt = scores >= (mate - slack).astype(dtype)[:, None]
        doubt &= ~above
        doubt |= scores >= scores.max(axis=1, keepdims=True) - dtype(2 * slack)
        near = np.flatnonzero(doubt)
        return np.count_nonzero(above, axis=1), near, above.ravel()[near]

    def _best_of_person(self, scores: Array) -> Array:
        """(b, G) scores of images, ordered as in `_product` -> (b, K) best score of each person."""
        if self.groups[-1][0] == 1:
            return scores
        best = np.empty((len(scores), len(self.counts)), scores.dtype)
        image = person = 0
        for n, m in self.groups:
            part = scores[:, image : image + n * m].reshape(len(scores), n, m)
            part.max(axis=1, out=best[:, person : person + m])
            image, person = image + n * m, person + m
        return best

    def _product(self, dtype: type, block: int = 4096) -> Array:
        """(G, d) gallery rows of length 1 in the order of the product, kept for the next block of probes."""
        if dtype not in self._products:
            rows: Array = np.empty(self.gallery.shape, dtype)
            for i in range(0, len(rows), block):
                rows[i : i + block] = unit(self.gallery[self.image_of_row[i : i + block]])
            self._products[dtype] = rows
        return self._products[dtype]

    def _exact(self, rows: Array, probe: Array, column: Array) -> Array:
        """(n,) score of each probe and person: the best of the person's images, float64, each computed on its own."""
        scores = np.empty(len(probe))
        size = max(1, 2**18 // int(self.counts[-1]))
        for i in range(0, len(probe), size):
            part = slice(i, i + size)
            counts = self.counts[column[part]]
            first = np.cumsum(counts) - counts
            number = np.arange(counts.sum()) - np.repeat(first, counts)
            row = np.repeat(self.first_row[column[part]], counts) + np.repeat(self.step[column[part]], counts) * number
            scores[part] = np.maximum.reduceat(self._cosines(rows, np.repeat(probe[part], counts), row), first)
        return scores

    def _cosines(self, rows: Array, probe: Array, row: Array, block: int = 1024) -> Array:
        """(n,) cosine of each probe and row of the product."""
        ready = self._products.get(np.float64)  # the same bits: a row's length depends on that row alone
        scores = np.empty(len(row))
        for i in range(0, len(row), block):
            part = row[i : i + block]
            images = unit(self.gallery[self.image_of_row[part]]) if ready is None else ready[part]
            scores[i : i + block] = cosines(rows[probe[i : i + block]], images)
        return scores


# ---------------------------------------------------------------------------------------------------------- result


class IdentificationResult:
    """What `evaluate_identification` measured; see there for the definitions.

    people: (K,) labels in the gallery; probe_labels (P,); probe_ranks (P,) 0 where not mated, K + 1 where the probe
    failed; mate_scores (P,) score of the probe's own person, NaN where not mated; top_scores (P,) and predicted (P,):
    score and label of the best person in the gallery, of several equals the first of `people`. Both are -inf for a
    failed probe, whose `predicted` means nothing.
    """

    def __init__(
        self,
        people: Array,
        probe_labels: Array,
        probe_ranks: Array,
        mate_scores: Array,
        top_scores: Array,
        predicted: Array,
        ranks: Sequence[int] = (1, 5, 10),
    ) -> None:
        self.people, self.probe_labels, self.probe_ranks = people, probe_labels, probe_ranks
        self.mate_scores, self.top_scores, self.predicted = mate_scores, top_scores, predicted
        self.ranks = tuple(ranks)
        self.mated = probe_ranks > 0  # (P,)
        self.num_mated = int(self.mated.sum())
        self.num_nonmated = len(probe_labels) - self.num_mated
        self._curves: dict[int, tuple[Ranking, Curve]] = {}

    # --- closed set

    @property
    def rank1(self) -> float:
        """Rank-1 identification rate."""
        return self.rank_rate(1)

    def rank_rate(self, k: int) -> float:
        """Share of mated probes of rank <= k. ValueError where there is no mated probe."""
        _check_ranks([k])
        self._need_mated()
        return int((self.probe_ranks[self.mated] <= k).sum()) / self.num_mated

    @property
    def cmc(self) -> Array:
        """(K,) cumulative match characteristic: the rank-k identification rates for k = 1..K people."""
        self._need_mated()
        counts = np.bincount(self.probe_ranks[self.mated], minlength=len(self.people) + 1)[1 : len(self.people) + 1]
        return np.cumsum(counts) / self.num_mated

    # --- open set

    def dir_at(self, far: float, rank: int = 1) -> float:
        """Detection and identification rate: the highest DIR(t, rank) over all thresholds with FAR(t) <= far.

        far: share of non-mated probes allowed to raise an alarm (not the FAR of pairs: a probe meets the whole
        gallery at once). ValueError for far outside [0, 1), or above 0 and finer than 1 / non-mated probes; a warning
        below 10 / non-mated probes.
        """
        self._check_far(far, warn=True)
        return self._curve(rank)[1].tar_at(far)

    def threshold_at(self, far: float, rank: int = 1) -> float:
        """The lowest threshold with FAR <= far, the one to deploy: see `VerificationResult.threshold_at`."""
        self._check_far(far, warn=True)
        return self._curve(rank)[0].lowest_threshold(far)

    def open_set(self, rank: int = 1) -> OpenSetCurve:
        """DIR(t, rank) and FAR(t) at "no alarm at all" and at each distinct own score of a probe of rank <= rank."""
        self._need_nonmated()
        ranking, curve = self._curve(rank)
        hits = ranking.steps < np.inf  # without the misses
        far = curve.impostors_accepted[hits] / self.num_nonmated
        dir_ = curve.accepted[hits] / self.num_mated
        return OpenSetCurve(np.append(0.0, far), np.append(0.0, dir_), np.append(np.inf, -ranking.steps[hits]))

    def _curve(self, rank: int) -> tuple[Ranking, Curve]:
        """The ROC of own scores against non-mated best scores; a probe of a worse rank is never accepted (-inf)."""
        _check_ranks([rank])
        self._need_mated()
        if rank not in self._curves:
            own = np.where(self.probe_ranks <= rank, self.mate_scores, -np.inf)
            ranking = Ranking(np.where(self.mated, own, self.top_scores), self.mated)
            self._curves[rank] = ranking, ranking.curve()
        return self._curves[rank]

    # --- intervals

    def interval(
        self, name: str, *, level: float = 0.95, resamples: int = 500, seed: int = 0, by: str = "identities"
    ) -> Interval:
        """Bootstrap interval of one number: "rank1", "rank5" (any rank) or "dir@0.01" (any FAR). See `intervals`."""
        return self.intervals([name], level=level, resamples=resamples, seed=seed, by=by)[name]

    def intervals(
        self,
        names: Sequence[str] | None = None,
        *,
        level: float = 0.95,
        resamples: int = 500,
        seed: int = 0,
        by: str = "identities",
    ) -> dict[str, Interval]:
        """Bootstrap intervals of several numbers from one set of resamples; by default of the `ranks`.

        by="identities": the people of the mated probes and, apart from them, those of the non-mated probes are drawn
        with replacement, each with all its probes: images of one person fail together. The gallery stays as it is, so
        the interval tells what other probe people would give in this gallery, and nothing about another gallery or
        a larger one (rates fall as a gallery grows).
        The interval is logit(estimate) -+ t * sd / (estimate (1 - estimate)), mapped back; the variance is scaled by
        K / (K - 1), t has K - 1 degrees of freedom, K the number of mated people, for "dir@" the smaller of the two
        numbers. The open end of a rate of exactly 0 or 1 is Clopper and Pearson's limit for as many trials as there are
        mated people. With fewer than 4 people there is no interval.
        by="probes": probes drawn as if they were independent; too short where people repeat.

        Simulated coverage of 95 % intervals (rank 1 and DIR@0.1; 20 to 200 people of each kind with 2 to 6 probes, 200
        rounds, standard error .015): .92 to .97; drawing probes gives .80 to .93.
        """
        names = [f"rank{k}" for k in self.ranks] if names is None else names
        return bootstrap.intervals(self, names, level, resamples, seed, by)

    # --- inside: what `bootstrap.Measured` asks for

    def _check_names(self, names: Sequence[str]) -> None:
        for name in names:
            if name.startswith("dir@"):
                self._check_far(number_after("dir@", name))
            elif not re.fullmatch(r"rank[1-9]\d*", name):
                raise ValueError(f"name: found {name!r}, expected rank and a number, as rank1, or dir@ and a FAR")
            self._need_mated()

    def _ways(self) -> Sequence[str]:
        return "identities", "probes"

    def _check_people(self, names: Sequence[str], by: str) -> None:
        few = min(self._deciding(name, by) for name in names)
        if few < 4:
            raise ValueError(f"probe_labels: found {few} {by} of one kind, expected 4 or more to resample")

    def _design(self) -> dict[str, Array | None]:
        return {"gallery people": self.people, "probe labels": self.probe_labels}

    @cached_property
    def _units(self) -> dict[str, tuple[Array, Array]]:
        """What is resampled: the number of each probe's unit (P,), and which units are mated (U,)."""
        person = np.unique(self.probe_labels, return_inverse=True)[1]
        mated = np.zeros(person.max() + 1, bool)
        mated[person] = self.mated
        return {"identities": (person, mated), "probes": (np.arange(len(person)), self.mated)}

    def _deciding(self, name: str, by: str) -> int:
        """How many independent units a number rests on; for "dir@" of the scarcer kind."""
        mated = self._units[by][1]
        return int(min(mated.sum(), (~mated).sum()) if name.startswith("dir@") else mated.sum())

    def _statistics(self, names: Sequence[str], weigh: Weigh | None = None) -> list[float]:
        values = []
        for name in names:
            rank = 1 if name.startswith("dir@") else int(name[4:])
            ranking, curve = self._curve(rank)
            if name.startswith("dir@"):
                curve = curve if weigh is None else ranking.curve(weigh(ranking))
                values.append(curve.tar_at(float(name[4:])))
                continue
            weights = np.ones(self.num_mated, np.int64) if weigh is None else weigh(ranking).genuine
            hits = np.searchsorted(ranking.genuine_keys, np.inf)  # best first: the misses come last
            values.append(float(weights[:hits].sum() / weights.sum()))
        return values

    def _draw(self, rng: np.random.Generator, by: str) -> Sequence[Weigh]:
        unit_of_probe, mated = self._units[by]
        times = np.empty(len(mated), np.int64)
        for kind in (mated, ~mated):
            times[kind] = multiplicities(rng, int(kind.sum())) if kind.any() else 0
        times = times[unit_of_probe]
        return [lambda ranking: Weights(times[ranking.genuine], times[ranking.impostor])]

    def _half_width(self, draws: Array, name: str, level: float, by: str) -> float:
        size = self._deciding(name, by)
        return float(t.ppf((1 + level) / 2, size - 1)) * math.sqrt(np.var(draws[0], ddof=1) * size / (size - 1))

    def _trials(self, name: str, by: str) -> Sequence[int]:
        return [int(self._units[by][1].sum())]

    # --- checks

    def _need_mated(self) -> None:
        if not self.num_mated:
            raise ValueError("probe_labels: found nobody who is in the gallery, expected at least one mated probe")

    def _need_nonmated(self) -> None:
        if not self.num_nonmated:
            raise ValueError("probe_labels: found everybody in the gallery, expected at least one non-mated probe")

    def _check_far(self, far: float, warn: bool = False) -> None:
        self._need_nonmated()
        check_far(far, self.num_nonmated, "non-mated probes")
        if warn:
            warn_far(far, self.num_nonmated, "non-mated probes")

    def __repr__(self) -> str:
        lines = [
            f"IdentificationResult: gallery of {len(self.people):,} people, {self.num_mated:,} mated + "
            f"{self.num_nonmated:,} non-mated probes"
        ]
        if self.num_mated:
            lines.append("  " + "   ".join(f"rank-{k} {self.rank_rate(k):.2%}" for k in self.ranks))
        fars = [far for far in (1e-1, 1e-2, 1e-3, 1e-4) if self.num_nonmated and far >= 10 / self.num_nonmated]
        if self.num_mated and fars:
            curve = self._curve(1)[1]
            lines.append("  " + "   ".join(f"DIR@FAR={far:.0e} {curve.tar_at(far):.2%}" for far in fars))
        return "\n".join(lines)


def _check_ranks(ranks: Sequence[int]) -> Sequence[int]:
    for k in ranks:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
            raise ValueError(f"ranks: found {k!r}, expected whole numbers >= 1")
    return ranks
