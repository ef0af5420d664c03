import torch
from scipy import stats

from facelearn.data import counter

MASK = (1 << 64) - 1


def splitmix64(state: int, count: int) -> list[int]:
    """The generator as its authors wrote it, in unbounded integers."""
    words = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        words.append(z ^ (z >> 31))
    return words


def test_mix_is_splitmix64() -> None:
    # first outputs for seed 1234567, as published with the reference implementation
    assert splitmix64(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = [(1234567 + (k + 1) * 0x9E3779B97F4A7C15) & MASK for k in range(50)]
    signed = torch.tensor([s - (1 << 64) if s >> 63 else s for s in states])
    assert [int(word) & MASK for word in counter.mix(signed)] == splitmix64(1234567, 50)


def test_key_depends_on_every_part_and_its_place() -> None:
    keys = {int(counter.key(a, b, c)) for a in range(5) for b in range(5) for c in range(5)}
    assert len(keys) == 125


def test_streams_do_not_depend_on_the_other_names() -> None:
    keys = counter.key(0, torch.arange(10))
    assert torch.equal(counter.streams(keys, ["a", "b"])[:, 1], counter.streams(keys, ["b"])[:, 0])


def test_distributions() -> None:
    words = counter.streams(counter.key(3, torch.arange(20000)), ["x", "y"])
    u, v = counter.uniform(words).unbind(1)
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.stack([u, v]))[0, 1])) < 0.03  # 4 standard deviations
    assert abs(float(torch.corrcoef(torch.stack([u[1:], u[:-1]]))[0, 1])) < 0.03
    n = counter.normal(words).flatten()
    assert abs(float(n.mean())) < 0.02
    assert abs(float(n.std()) - 1) < 0.02
    assert stats.kstest(n.numpy(), "norm").statistic < 0.02
