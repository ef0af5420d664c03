"""Checks of appendix A: five warm-ups, each with a tool that the chapters use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from scipy.special import betainc
from torch import Tensor

from facelearn.check.framework import Case, Exercise, Mistake, Text, by_autograd

# ---- ex1: the gradient of the angle ---------------------------------------------------------------------------------


def _angle_gradient(x: Tensor, w: Tensor, slip: str = "") -> Tensor:
    """(B, d), (d) -> (B, d)"""
    norm = x.norm(dim=1, keepdim=True)
    unit, aim = x / norm, F.normalize(w, dim=0)
    cos = (unit @ aim)[:, None]
    tangent = (w if slip == "raw w" else aim) - cos * unit
    sine = (aim - cos * unit).norm(dim=1, keepdim=True)  # of the angle
    if slip == "unguarded":
        return -tangent / (sine * norm)
    if slip == "radial":
        tangent = aim.expand_as(x)
    whole = -tangent / torch.where(sine > 1e-12, sine, math.inf) / norm
    factor: Any = {"sign": -1.0, "cosine": -sine, "fades": sine, "long": norm, "degrees": 180 / math.pi}.get(slip, 1.0)
    return factor * whole


def _turned(generator: torch.Generator) -> Iterator[Case]:
    for batch, dim, name in ((6, 4, Text("six rows", "六行")), (30, 64, Text("thirty rows", "三十行"))):
        x, w = (torch.randn(n, dim, generator=generator, dtype=torch.float64) for n in (batch, 1))
        yield Case(3 * x, 2 * w[0], name=name)
    w = torch.tensor([3.0, 4.0]).double()
    yield Case(torch.tensor([[4.0, -3.0], [8.0, -6.0]]).double(), w, name=Text("at right angles", "夹角为直角"))
    yield Case(torch.tensor([[3.0, 4.003]]).double(), w, name=Text("nearly along w", "几乎与 w 同向"))
    x = torch.tensor([[6.0, 8.0], [1.0, 0.0], [-3.0, -4.0]]).double()
    yield Case(x, w, name=Text("rows along w and opposite to it", "有的行与 w 同向，有的反向"))


def _near_the_tip(function: Callable[..., Any]) -> Text | None:
    """Along w rounding errors must not be blown up; close to it the gradient is still wanted."""
    generator = torch.Generator().manual_seed(1)
    w, side = torch.randn(2, 64, generator=generator, dtype=torch.float64)
    factors = torch.tensor([0.7, 1.0, 1.7, 3.0, -0.7, -1.0, -1.7, -3.0]).double()
    along = function(factors[:, None] * w, w)
    if not along.abs().max() < 1e-6:
        return Text(
            "rows along a random w: a rounding error is left of the tangential part, and blown up; cut it to 0",
            "与随机的 w 同向的行：切向部分只剩舍入误差，却被放大了；应截成 0",
        )
    aim, across = F.normalize(w, dim=0), F.normalize(side - (side @ w) / (w @ w) * w, dim=0)
    turned = torch.stack([math.cos(t) * aim + math.sin(t) * across for t in (1e-7, math.pi - 1e-7)])
    if not (function(turned, w).norm(dim=1) - 1).abs().max() < 1e-6:
        return Text(
            "1e-7 rad from w the length is wrong: is the row cut to 0 too early, or has 1 - c² no digits left?",
            "与 w 的夹角为 1e-7（弧度）时，长度不对：是过早截成了 0，还是 1 - c² 已没有有效数字？",
        )
    return None


def _by_hand(function: Callable[..., Any]) -> Text | None:
    x, w = torch.tensor([[3.0, 1.0]]).double(), torch.tensor([1.0, 2.0]).double()
    if not by_autograd(function, x, w):
        return None
    return Text(
        "the values are right, but they come from autograd; put the gradient together by hand",
        "数值正确，但它来自自动求导；请手工写出这个梯度",
    )


ex1 = Exercise(
    "ex1",
    _angle_gradient,
    _turned,
    mistakes=[
        Mistake(lambda x, w, slip=slip: _angle_gradient(x, w, slip), text)
        for slip, text in {
            "sign": Text(
                "the sign is wrong: towards w the angle falls, and a gradient points to where it grows",
                "符号反了：朝 w 转，夹角变小；梯度指向夹角增大的方向",
            ),
            "cosine": Text(
                "this is the gradient of the cosine; the angle is its arccos, whose derivative is missing",
                "这是余弦的梯度；夹角是它的 arccos，还差 arccos 的导数",
            ),
            "fades": Text(
                "it fades near w as the gradient of the cosine does: the derivative of the arccos is -1 / sin θ",
                "它像余弦的梯度一样在 w 附近消失：arccos 的导数是 -1 / sin θ",
            ),
            "long": Text(
                "‖x‖ is missing: a vector twice as long turns half as much in the same step",
                "少了 ‖x‖：同样的一步，长一倍的向量只转一半",
            ),
            "degrees": Text("in degrees; radians are asked for", "单位是度；应当用弧度"),
            "raw w": Text(
                "w has not been divided by its length, so the cosine no longer fits to it",
                "w 没有除以自己的长度，与余弦对不上",
            ),
            "radial": Text(
                "it has a part along x: lengthening x does not change the angle",
                "它有沿 x 的分量：把 x 拉长并不改变夹角",
            ),
            "unguarded": Text(
                "where x lies along w, 0 is divided by 0: return zeros there",
                "x 与 w 同向时出现 0 除以 0：那里应返回零",
            ),
        }.items()
    ],
    rules=[_by_hand, _near_the_tip],
    rtol=1e-7,
)

# ---- ex2: how unsure is very sure -----------------------------------------------------------------------------------


def _log_unsure(logits: Tensor, labels: Tensor, slip: str = "") -> Tensor:
    """(B, C), (B) -> (B)"""
    own = labels[:, None]
    rivals = logits.scatter(1, own, -math.inf).logsumexp(1)
    if slip in ("odds", "no sum"):
        return rivals - (logits.gather(1, own)[:, 0] if slip == "odds" else 0)
    log_p = logits.log_softmax(1).gather(1, own)[:, 0]
    if slip == "own":
        return log_p
    if slip == "log1p":
        return torch.log1p(-log_p.exp())
    if slip == "log":
        return (1 - log_p.exp()).log()
    found = rivals - logits.logsumexp(1)
    if slip in ("hole", "low"):
        return logits.scatter(1, own, 0.0 if slip == "hole" else -1e4).logsumexp(1) - logits.logsumexp(1)
    if slip == "underflow":
        return logits.softmax(1).scatter(1, own, 0.0).sum(1).log()
    return {"sign": -found, "no log": found.exp()}.get(slip, found)


def _sure(generator: torch.Generator) -> Iterator[Case]:
    z = 3 * torch.randn(8, 5, generator=generator, dtype=torch.float64)
    yield Case(z, torch.arange(8) % 5, name=Text("eight samples, five classes", "八个样本、五个类"))
    z = torch.randn(4, 300, generator=generator, dtype=torch.float64)
    yield Case(z, torch.arange(4) * 70, name=Text("300 classes", "300 个类"))
    yield Case(
        torch.tensor([[2.0, 2.0]]).double(), torch.tensor([1]), name=Text("two equal logits", "两个相等的 logit")
    )
    z = torch.tensor([[60.0, 1.0, 2.0], [0.0, 800.0, 0.0], [1e4, 0.0, -1e4], [1e4, -1e4, -1e4]]).double()
    yield Case(z, torch.tensor([0, 1, 0, 0]), name=Text("very sure and right", "很有把握，而且正确"))
    yield Case(z, torch.tensor([1, 0, 2, 2]), name=Text("very sure and wrong", "很有把握，但是错的"))


_ROUNDED = Text(
    "for sure samples p rounds to 1, and log(1 - p) becomes -inf or loses its digits: never form 1 - p",
    "很有把握的样本，p 舍入成 1，log(1 - p) 就成了 -inf 或丢光有效数字：不要去算 1 - p",
)
ex2 = Exercise(
    "ex2",
    _log_unsure,
    _sure,
    mistakes=[
        Mistake(lambda logits, labels, slip=slip: _log_unsure(logits, labels, slip), text)
        for slip, text in {
            "log": _ROUNDED,
            "log1p": _ROUNDED,
            "own": Text("this is log p, not log(1 - p)", "这是 log p，不是 log(1 - p)"),
            "odds": Text(
                "this is log((1 - p) / p), the lead with its sign turned: divide by the sum over all classes",
                "这是 log((1 - p) / p)，即领先量变号：应除以全部类的和",
            ),
            "no sum": Text("the sum over all classes is missing from below the fraction", "分母里全部类的和没有算进去"),
            "sign": Text("the sign is wrong: a logarithm of a share is at most 0", "符号反了：份额的对数不大于 0"),
            "no log": Text("this is 1 - p itself; its logarithm is asked for", "这是 1 - p 本身；要的是它的对数"),
            "hole": Text(
                "a logit of 0 in the place of the own class still adds e^0 = 1: it must be -inf",
                "自己的类的 logit 换成 0，仍会加上 e^0 = 1：应换成 -inf",
            ),
            "low": Text(
                "a logit of -10,000 in the place of the own class counts where the others are as low: it must be -inf",
                "自己的类的 logit 换成 -10,000，其余各类也这么低时仍会算进去：应换成 -inf",
            ),
            "underflow": Text(
                "the probabilities of the other classes have underflowed to 0: stay with logarithms, by log-sum-exp",
                "其余各类的概率已下溢成 0：留在对数里，用 log-sum-exp",
            ),
        }.items()
    ],
    rtol=1e-12,
    atol=1e-10,
)

# ---- ex3: the nearest point on the right side -----------------------------------------------------------------------


def _nearest_point(x: Tensor, w: Tensor, m: float, slip: str = "") -> Tensor:
    """(B, d), (d), a number -> (B, d)"""
    short = m - x @ (w / w.norm() if slip == "half unit" else w)
    if slip != "all":
        short = short.clamp(max=0) if slip == "others" else short.clamp(min=0)
    length = {"no length": 1.0, "once": w.norm(), "half unit": w.norm()}.get(slip, w @ w)
    step = (short / length)[:, None] * w
    return step if slip == "step" else x - step if slip == "sign" else x + step


def _samples(generator: torch.Generator) -> Iterator[Case]:
    x, w = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (12, 1))
    yield Case(x, 2 * w[0], 0.7, name=Text("twelve samples", "十二个样本"))
    yield Case(x, w[0] / 5, -0.1, name=Text("a margin below 0, a short w", "间隔小于 0，w 很短"))
    w = torch.tensor([3.0, 4.0]).double()
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.5], [-30.0, -40.0]]).double()
    yield Case(
        x, w, 5.0, name=Text("inside, at the origin, on the border, far off", "已满足、在原点、在边界上、离得远")
    )


ex3 = Exercise(
    "ex3",
    _nearest_point,
    _samples,
    mistakes=[
        Mistake(lambda x, w, m, slip=slip: _nearest_point(x, w, m, slip), text)
        for slip, text in {
            "all": Text(
                "a sample that is on the right side already is moved back to the border: there μ = 0",
                "已经满足条件的样本被拉回了边界：那里 μ = 0",
            ),
            "others": Text(
                "the wrong ones are moved: those with w · x < m have to go", "移动的对象反了：要动的是 w · x < m 的样本"
            ),
            "no length": Text(
                "it is right only for a w of length 1: one step of μ w raises w · x by μ ‖w‖²",
                "只在 w 的长度为 1 时才对：走 μ w，w · x 增加 μ ‖w‖²",
            ),
            "once": Text(
                "divided by ‖w‖ once; μ w raises w · x by μ ‖w‖²", "只除了一次 ‖w‖；走 μ w，w · x 增加 μ ‖w‖²"
            ),
            "half unit": Text(
                "w has been divided by its length, m has not: both sides of w · x ≥ m have to be",
                "w 除以了长度，m 也要除",
            ),
            "sign": Text("it moves away from the right side", "移动的方向反了，离要求更远"),
            "step": Text("this is the step; the point is asked for, x + μ w", "这是位移；要的是新的点 x + μ w"),
        }.items()
    ],
    rtol=1e-9,
    atol=1e-12,
)

# ---- ex4: a crowd on the sphere -------------------------------------------------------------------------------------


def _cap(angle: float, power: float) -> float:
    """Share within `angle` of a direction where the angle has a density like sin^power; at most a right angle."""
    return float(betainc((power + 1) / 2, 0.5, math.sin(angle) ** 2)) / 2


def _on_the_grid(angle: float, d: int) -> float:
    """The same by the grid that the page draws with: the cap ends at its last place before `angle`."""
    theta = torch.linspace(0, math.pi, 20_001).double()
    density, near = theta.sin() ** (d - 2), theta <= angle
    return float(torch.trapezoid(density[near], theta[near]) / torch.trapezoid(density, theta))


def _crowd(angle: float, d: int, slip: str = "") -> float:
    cap = _on_the_grid(angle, d) if slip == "grid" else _cap(angle, d - 1 if slip == "power" else d - 2)
    if slip == "bound":
        cap = math.sin(angle) ** (d - 1) / 2
    pairs = {"ordered": 1.0}.get(slip, 2.0) / cap  # N (N - 1)
    return {
        "fixed": 1 / cap,
        "square": math.sqrt(pairs),
    }.get(slip, (1 + math.sqrt(1 + 4 * pairs)) / 2)


def _spheres(generator: torch.Generator) -> Iterator[Case]:
    yield Case(math.pi / 3, 3, name=Text("60° in space", "空间中 60°"))
    yield Case(math.radians(36), 2, name=Text("36° in the plane", "平面上 36°"))
    yield Case(math.pi / 3, 64, name=Text("60° in 64 dimensions", "64 维中 60°"))
    yield Case(math.pi / 2, 16, name=Text("90° in 16 dimensions", "16 维中 90°"))
    yield Case(math.radians(20), 64, name=Text("20° in 64 dimensions", "64 维中 20°"))


ex4 = Exercise(
    "ex4",
    _crowd,
    _spheres,
    mistakes=[
        Mistake(lambda angle, d, slip=slip: _crowd(angle, d, slip), text)
        for slip, text in {
            "fixed": Text(
                "so many come near one given direction; here any two may come close",
                "这是靠近某个给定方向所需的个数；这里是任意两个都可能靠近",
            ),
            "ordered": Text(
                "there are twice as many near pairs as should be: is each counted twice, or has the cap two sides?",
                "靠近的对数多了一倍：是不是每一对数了两次，或者球冠算了两侧？",
            ),
            "square": Text(
                "N² / 2 pairs instead of N (N - 1) / 2: nearly right for many, not for few",
                "用了 N² / 2 对，而不是 N (N - 1) / 2：个数多时近似正确，少时不对",
            ),
            "power": Text(
                "the density has the power d - 2 of the sine, not d - 1", "密度中正弦的幂次是 d - 2，不是 d - 1"
            ),
            "bound": Text(
                "½ sin^(d-1) is only a bound for the cap; its share is an integral",
                "½ sin^(d-1) 只是球冠的上界；它的份额要用积分算",
            ),
            "grid": Text(
                "nearly: the border of the cap lies between two places of the grid, and a strip of the cap is missing",
                "差一点点：球冠的边缘没有落在格点上，少算了一条边；给球冠单独取一组格点",
            ),
        }.items()
    ],
    rtol=1e-3,
    atol=0.0,
)

# ---- ex5: a bootstrap without drawing -------------------------------------------------------------------------------

_FOR_OTHERS = Text(
    "this is s / √n with the divisor n - 1, an estimate for other data; in a bootstrap the values are the world",
    "这是用除数 n - 1 的 s / √n，是对外面世界的估计；在自助法里，这些数就是全部世界",
)


def _endless(values: Tensor, slip: str = "") -> Tensor:
    own = values.std(correction=0)  # of one draw
    if slip == "estimate":
        own = values.std() if len(values) > 1 else own
    n = len(values)
    if slip == "unguarded":  # nan for one value, without the warning of values.std()
        own = ((values - values.mean()).square().sum() / (n - 1)).sqrt()
    return {"one draw": own, "variance": own.square() / n, "n": own / n}.get(slip, own / math.sqrt(n))


def _few(generator: torch.Generator) -> Iterator[Case]:
    for n, name in ((5, Text("five values", "五个数")), (200, Text("200 values", "200 个数"))):
        yield Case(3 + 2 * torch.randn(n, generator=generator, dtype=torch.float64), name=name)
    yield Case(torch.tensor([1.0, 4.0]).double(), name=Text("two values", "两个数"))
    yield Case(torch.tensor([7.0]).double(), name=Text("one value", "一个数"))


ex5 = Exercise(
    "ex5",
    _endless,
    _few,
    mistakes=[
        Mistake(lambda values, slip=slip: _endless(values, slip), text)
        for slip, text in {
            "estimate": _FOR_OTHERS,
            "unguarded": _FOR_OTHERS,
            "one draw": Text(
                "this is the scatter of one draw; the mean of n draws scatters less",
                "这是抽一次的散布；n 次的平均散布更小",
            ),
            "n": Text(
                "variances of means fall like 1 / n, standard deviations like 1 / √n",
                "平均的方差按 1 / n 下降，标准差按 1 / √n",
            ),
            "variance": Text("this is the variance; its root is asked for", "这是方差；要的是它的平方根"),
        }.items()
    ],
    rtol=1e-9,
    atol=1e-12,
)
