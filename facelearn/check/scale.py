"""Checks of chapter 20: one pass over tiles, four ranks and a wire, a sampler that keeps whom it must."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text
from facelearn.check.quiz import Quiz

# ---- ex1: log-sum-exp and softmax mean in one pass -------------------------------------------------------------------

Tiles = Iterable[tuple[Tensor, Tensor]]


def _whole(tiles: Tiles) -> tuple[Tensor, Tensor]:
    """[(B, n), (n, d)] -> (B,), (B, d)"""
    parts = list(tiles)
    z, rows = (torch.cat([part[k] for part in parts], 1 - k) for k in (0, 1))
    return z.logsumexp(1), z.softmax(1) @ rows


def _running(tiles: Tiles, slip: str = "") -> tuple[Tensor, Tensor]:
    top: Tensor | None = None
    for z, rows in tiles:
        if top is None:
            top, total = z.new_full((len(z), 1), -torch.inf), z.new_zeros(len(z), 1)
            mean = z.new_zeros(len(z), rows.shape[1])
        higher = torch.maximum(top, z.amax(1, keepdim=True))
        safe = higher.masked_fill(higher == -torch.inf, 0.0)
        shrunk, e = (top - safe).exp(), (z - safe).exp()
        total = (total if slip == "no rescaling" else total * shrunk) + e.sum(1, keepdim=True)
        mean = (mean if slip in ("no rescaling", "vectors not rescaled") else mean * shrunk) + e @ rows
        top = higher
    assert top is not None
    return (top + total.log())[:, 0], mean if slip == "not divided" else mean / total


def _mean_of_means(tiles: Tiles) -> tuple[Tensor, Tensor]:
    parts = list(tiles)
    means = [z.masked_fill(z == -torch.inf, -1e300).softmax(1) @ rows for z, rows in parts]
    return _whole(parts)[0], torch.stack(means).mean(0)


def _last_alone(tiles: Tiles) -> tuple[Tensor, Tensor]:
    parts = list(tiles)
    return _whole(parts)[0], parts[-1][0].masked_fill(parts[-1][0] == -torch.inf, -1e300).softmax(1) @ parts[-1][1]


def _tilings(generator: torch.Generator) -> Iterator[Case]:
    def world(classes: int, tile: int, scale: float, hidden: int = 0, low: float = 0) -> list[tuple[Tensor, Tensor]]:
        z = scale * torch.randn(5, classes, generator=generator, dtype=torch.float64) - low
        rows = torch.randn(classes, 3, generator=generator, dtype=torch.float64)
        if hidden:  # the first rows have their own classes first: nothing is left of their first tile
            z[:2, : hidden * tile] = -torch.inf
        return list(zip(z.split(tile, 1), rows.split(tile), strict=True))

    yield Case(world(23, 6, 3.0), name=Text("23 classes in tiles of 6", "23 个类，每块 6 个"))
    yield Case(world(9, 9, 3.0), name=Text("a single tile", "只有一块"))
    yield Case(world(12, 1, 3.0), name=Text("tiles of one class", "每块 1 个类"))
    yield Case(world(20, 4, 900.0), name=Text("logits of some hundreds", "logit 大到几百"))
    yield Case(world(12, 4, 3.0, low=800), name=Text("logits of minus some hundreds", "logit 低到负几百"))
    yield Case(world(12, 3, 3.0, 1), name=Text("a first tile of nothing but -inf", "第一块全是 -inf"))
    yield Case(world(12, 3, 3.0, 2), name=Text("two tiles of nothing but -inf", "前两块全是 -inf"))


def _tile(generator: torch.Generator, rows: int, wide: int) -> tuple[Tensor, Tensor]:
    z, vectors = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((rows, wide), (wide, 3)))
    return z, vectors


def _keeps_no_tiles(function: Callable[..., Any]) -> Text | None:
    alive = [0]

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(1)
        seen: list[weakref.ref[Tensor]] = []
        for _ in range(12):
            tile = _tile(generator, 4, 5)
            seen.append(weakref.ref(tile[0]))
            yield tile
            del tile
            alive[0] = max(alive[0], sum(one() is not None for one in seen))

    found = function(stream())
    kept, wanted = alive[0], _whole(stream())
    if not all(
        isinstance(a, Tensor) and a.shape == b.shape and a.allclose(b) for a, b in zip(found, wanted, strict=False)
    ):
        return Text(
            "each pair is given once: if `tiles` can be read only once, the values are wrong; is there a second pass?",
            "每对只给一次：tiles 只能读一遍时，你的数值就不对了；是不是又遍历了一遍？",
        )
    if kept <= 3:
        return _keeps_no_copies(function)
    return Text(
        "the values are right, but {count} tiles are kept at once; each may be looked at once and then be forgotten",
        "数值正确，但同时留着 {count} 块；每块只能看一遍，看完就该放掉",
    ).format(count=kept)


def _numbers_alive() -> int:
    """How many numbers all tensors hold that Python knows of."""
    gc.collect()
    return sum(one.numel() for one in gc.get_objects() if issubclass(type(one), Tensor))


def _keeps_no_copies(function: Callable[..., Any]) -> Text | None:
    """What is kept must not grow like the tiles: copies in a list, a matrix that gets longer.

    A few numbers for each tile, its log-sum-exp and its mean, are no tile. NumPy copies are not seen: no object of
    Python's leads to them, and memory as a whole also grows by what others in the process keep.
    """
    generator, held = torch.Generator().manual_seed(1), []
    rows, wide = 8, 64

    def stream() -> Iterator[tuple[Tensor, Tensor]]:
        for k in range(48):
            yield _tile(generator, rows, wide)
            if k in (11, 46):
                held.append(_numbers_alive())

    function(stream())
    grown = held[1] - held[0]
    if grown < 35 * rows * wide // 2:  # of the logits that come between the two looks
        return None
    return Text(
        "the values are right, but from the 12th tile to the 47th {grown} numbers more are kept: copies of the tiles",
        "数值正确，但从第 12 块到第 47 块，多留了 {grown} 个数：留着各块的副本",
    ).format(grown=grown)


ex1 = Exercise(
    "ex1",
    _whole,
    _tilings,
    mistakes=[
        Mistake(lambda tiles, slip=slip: _running(tiles, slip), text)
        for slip, text in {
            "no rescaling": Text(
                "when a larger maximum comes, what was summed before must be shrunk to it",
                "出现更大的最大值时，之前累加的和要按新的最大值缩小",
            ),
            "vectors not rescaled": Text(
                "the log-sum-exp is right, but the sum of vectors is not shrunk when a larger maximum comes",
                "log-sum-exp 对了，但出现更大的最大值时，向量的和没有跟着缩小",
            ),
            "not divided": Text(
                "the vectors are summed, but not divided by the sum of the weights",
                "向量累加了，但没有除以权重之和",
            ),
        }.items()
    ]
    + [
        Mistake(
            _mean_of_means,
            Text(
                "this is the mean of the tiles' means; a tile counts as much as its exponentials weigh",
                "这是各块均值的平均；每块该按自己那些指数之和来加权",
            ),
        ),
        Mistake(_last_alone, Text("only the last tile is in the mean of the vectors", "向量的均值里只有最后一块")),
    ],
    rules=[_keeps_no_tiles],
    rtol=1e-9,
    atol=1e-11,
)

# ---- ex2: four ranks and a wire --------------------------------------------------------------------------------------


class Wire:
    """What ranks can say to each other: vectors (B,), of which all get the largest or the total. It counts them.

    touched   the number of an exchange whose answer is falsified, by 1
    """

    def __init__(self, touched: int | None = None) -> None:
        self.sent: list[tuple[int, ...]] = []
        self.calls: list[str] = []
        self.touched = touched

    def _answered(self, kind: str, messages: list[Tensor]) -> Tensor:
        self.calls.append(kind)
        self.sent += [tuple(one.shape) for one in messages]
        stacked = torch.stack(list(messages))
        answer = stacked.amax(0) if kind == "largest" else stacked.sum(0)
        return answer + 1 if len(self.calls) - 1 == self.touched else answer

    def largest(self, messages: list[Tensor]) -> Tensor:
        return self._answered("largest", messages)

    def total(self, messages: list[Tensor]) -> Tensor:
        return self._answered("total", messages)

    def __repr__(self) -> str:
        return "wire"


def _one_rank(shards: list[Tensor], places: list[Tensor], wire: Wire) -> Tensor:
    """[(B, n_r)], [(B,)], a wire -> (B,)"""
    z, offset = torch.cat(shards, 1), 0
    y = torch.zeros(len(z), dtype=torch.int64)
    for shard, place in zip(shards, places, strict=True):
        y = torch.where(place >= 0, place + offset, y)
        offset += shard.shape[1]
    return torch.nn.functional.cross_entropy(z, y, reduction="none")


def _ranks(shards: list[Tensor], places: list[Tensor], wire: Wire, slip: str = "") -> Tensor:
    own = [z.gather(1, place.clamp(min=0)[:, None])[:, 0] for z, place in zip(shards, places, strict=True)]
    if slip == "last column":
        own = [z[torch.arange(len(z)), place] for z, place in zip(shards, places, strict=True)]
    elif slip != "everybody's target":
        own = [torch.where(place >= 0, one, 0.0) for one, place in zip(own, places, strict=True)]
    target = wire.total(own)
    if slip == "sum of logs":
        return wire.total([z.logsumexp(1) for z in shards]) - target
    if slip == "largest of logs":
        return wire.largest([z.logsumexp(1) for z in shards]) - target
    tops = [z.amax(1) for z in shards]
    top = wire.largest(tops)
    used = tops if slip == "own maximum" else [top] * len(shards)
    total = wire.total([(z - one[:, None]).exp().sum(1) for z, one in zip(shards, used, strict=True)])
    if slip == "target twice":
        total = total + (target - top).exp()
    return top + total.log() - target


def _four(generator: torch.Generator) -> Iterator[Case]:
    def world(sizes: tuple[int, ...], scale: float, batch: int = 6) -> Case:
        shards = [scale * torch.randn(batch, n, generator=generator, dtype=torch.float64) for n in sizes]
        y, low, places = torch.randint(sum(sizes), (batch,), generator=generator), 0, []
        for n in sizes:
            places.append(torch.where((y >= low) & (y < low + n), y - low, -1))
            low += n
        name = Text(f"ranks with {sizes} classes", f"各进程的类数为 {sizes}")
        if scale > 100:
            name = Text("logits of some hundreds", "logit 大到几百")
        return Case(shards, places, Wire(), name=name)

    yield world((5, 5, 5, 5), 3.0)
    yield world((6, 6, 6, 1), 3.0)
    yield world((4, 4, 4, 4), 600.0)
    yield world((3, 2), 3.0, 4)


def _by_wire(function: Callable[..., Any]) -> Text | None:
    shards, places, wire = next(_four(torch.Generator().manual_seed(2))).args
    found = function(shards, places, wire)
    if not wire.sent:
        return Text(
            "the loss is right, but nothing went over the wire: no rank sees the logits of another",
            "损失正确，但没有用到 wire：任何进程都看不到别的进程的 logit",
        )
    if "largest" not in wire.calls:
        return Text(
            "the common maximum was read off the other ranks; it must go over the wire, too",
            "公共的最大值是直接从别的进程上读来的；它也必须经过 wire",
        )
    if any(shape != (len(places[0]),) for shape in wire.sent):
        return Text(
            "only vectors (B,) may go over the wire; yours have other shapes",
            "wire 上只能传形状为 (B,) 的向量；你传了别的形状",
        )
    if "total" not in wire.calls or len(wire.calls) < 3:
        return Text(
            "exchanges over the wire: {n}; maximum, sum and target must each travel",
            "wire 只用了 {n} 次；最大值、和、目标都必须经过它",
        ).format(n=len(wire.calls))
    used = 0  # a common maximum drops out of the answer; a sum and a target do not
    for turn in range(len(wire.calls)):
        used += not torch.allclose(function(shards, places, Wire(turn)), found, rtol=1e-6)
    if used < 2:
        return Text(
            "the answer does not hang on what came over the wire: sum and target must be taken from there",
            "答案与 wire 传来的内容无关：和与目标都必须取自 wire 传来的结果",
        )
    return None


ex2 = Exercise(
    "ex2",
    _one_rank,
    _four,
    mistakes=[
        Mistake(lambda shards, places, wire, slip=slip: _ranks(shards, places, wire, slip), text)
        for slip, text in {
            "everybody's target": Text(
                "a rank without the sample's class must send 0 for its target logit, not some logit of its own",
                "本类不在的进程，目标 logit 应发送 0，而不是自己的某个 logit",
            ),
            "last column": Text(
                "-1 means that this rank does not have the class; as an index it is the last column",
                "-1 表示本类不在这个进程上；拿它当下标，取到的是最后一列",
            ),
            "sum of logs": Text(
                "the log of a sum is not the sum of the logs: add the exponentials, then take the log",
                "和的对数不等于对数的和：先把指数相加，再取对数",
            ),
            "largest of logs": Text(
                "this takes the largest of the ranks' log-sum-exps; the others count, too",
                "这里只取了各进程 log-sum-exp 中最大的一个；其余的也要算进去",
            ),
            "own maximum": Text(
                "each rank subtracts its own maximum; sums can be added only if all subtract the same",
                "每个进程减的是自己的最大值；减去同一个数，各自的和才能相加",
            ),
            "target twice": Text(
                "the target is added to the denominator although one rank has it there already",
                "分母里又加了一次目标，而拥有本类的进程已经算过它",
            ),
        }.items()
    ],
    rules=[_by_wire],
    rtol=1e-9,
    atol=1e-11,
)

# ---- ex3: a sampler --------------------------------------------------------------------------------------------------

_BATCHES = (
    (torch.tensor([5, 5, 90, 7]), 100, 20),
    (torch.tensor([99, 0, 41, 42, 43]), 100, 30),
    (torch.arange(30, 0, -1), 50, 10),
    (torch.tensor([3]), 4, 4),
)


def _drawn(function: Callable[..., Any]) -> Text | None:
    """What holds for each draw."""
    for own, classes, size in _BATCHES:
        for seed in range(5):
            found = function(own.clone(), classes, size, torch.Generator().manual_seed(seed))
            if not (isinstance(found, tuple) and len(found) == 2 and all(isinstance(one, Tensor) for one in found)):
                return Text("expected two tensors, (chosen, place)", "应返回两个张量：(chosen, place)")
            chosen, place = found
            if chosen.dtype != torch.int64 or chosen.dim() != 1:
                return Text("expected `chosen` as int64, one axis", "chosen 应是一维 int64 张量")
            missing = sorted(set(own.tolist()) - set(chosen.tolist()))
            if missing:
                return Text(
                    "class {it} of the batch is not among the chosen: its sample has no target",
                    "批里的第 {it} 类没有被选中：它的样本就没有目标了",
                ).format(it=missing[0])
            if len(chosen.unique()) < len(chosen):
                return Text(
                    "a class is drawn twice: it would count twice in the denominator",
                    "同一个类抽到了两次：它在分母里会算两次",
                )
            if chosen.min() < 0 or chosen.max() >= classes:
                return Text("a number outside 0 … classes - 1 is drawn", "抽到了 0 … classes - 1 以外的编号")
            wanted = max(size, len(own.unique()))
            if len(chosen) != wanted:
                return Text(
                    "{got} classes for {own} of the batch and size {size}; expected {wanted}: the batch's count, too",
                    "批里有 {own} 个不同的类，size 为 {size}，得到 {got} 个类，应为 {wanted} 个：批里的类也算在内",
                ).format(got=len(chosen), own=len(own.unique()), size=size, wanted=wanted)
            if not torch.equal(chosen, chosen.sort().values):
                return Text("`chosen` must be sorted", "chosen 应按从小到大排序")
            if place.shape != own.shape or place.dtype != torch.int64:
                return Text("expected `place` like the labels: int64, shape (B,)", "place 应与标签同形：int64，(B,)")
            if not bool(((place >= 0) & (place < len(chosen))).all()) or not torch.equal(chosen[place], own):
                return Text(
                    "chosen[place] must be each sample's own class; yours is another",
                    "chosen[place] 必须是每个样本自己的类；你的不是",
                )
    return None


def _by_lot(function: Callable[..., Any]) -> Text | None:
    """What holds for many draws."""
    own, classes, size, drawn = torch.tensor([5, 5, 90, 7]), 100, 20, torch.zeros(400, 100)
    state = torch.random.get_rng_state()
    for seed in range(400):
        drawn[seed, function(own, classes, size, torch.Generator().manual_seed(seed))[0]] = 1
    again = [function(own, classes, size, torch.Generator().manual_seed(9))[0] for _ in range(2)]
    if not torch.equal(*again) or not torch.equal(state, torch.random.get_rng_state()):
        return Text(
            "draw from `generator` alone: the same one must give the same classes",
            "请只用 generator 抽取：同样的 generator 应给出同样的类",
        )
    others = torch.ones(classes, dtype=torch.bool)
    others[own] = False
    share, wanted = drawn[:, others].mean(0), 17 / 97
    if (share - wanted).abs().max() > 0.09:  # 4.7 standard errors
        return Text(
            "the others are not drawn alike: of 400 draws class {it} is in {got}, expected about {wanted}",
            "其余的类被抽到的机会不均等：400 次里第 {it} 类出现 {got} 次，应为 {wanted} 次左右",
        ).format(
            it=int(torch.where(others)[0][(share - wanted).abs().argmax()]),
            got=int(400 * share[(share - wanted).abs().argmax()]),
            wanted=round(400 * wanted),
        )
    one = torch.Generator().manual_seed(9)
    if torch.equal(*(function(own, classes, size, one)[0] for _ in range(2))):
        return Text(
            "the second draw from one generator is the first again: each step would meet the same rivals",
            "同一个 generator 连抽两次，结果一模一样：每一步遇到的都是同一批对手",
        )
    together = (drawn.T @ drawn).fill_diagonal_(0)
    together[own], together[:, own] = 0, 0
    if together.max() > 40:  # 8 standard errors
        a, b = divmod(int(together.argmax()), classes)
        return Text(
            "classes {a} and {b} are drawn together {got} times in 400, expected about {wanted}: draw no blocks",
            "第 {a} 类和第 {b} 类在 400 次里同时被抽到 {got} 次，应为 {wanted} 次左右：不要成块地抽",
        ).format(a=a, b=b, got=int(together.max()), wanted=round(400 * wanted * 16 / 96))
    return None


ex3 = Exercise("ex3", rules=[_drawn, _by_lot])

quiz = Quiz("scale")
