import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from facelearn.data import (
    GROUPS,
    NUISANCE,
    TRAITS,
    SyntheticFaces,
    draw_nuisance,
    draw_traits,
    long_tail,
    render,
    standard,
    strengths,
)
from facelearn.data import faces as faces_module

ROOT = Path(__file__).resolve().parents[2]
HARD = strengths(1.0, {"occlusion": 1, "lowres": 1})  # everything that can be drawn is drawn


def columns(identities: Tensor, shots: Tensor, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return draw_traits(identities, seed), draw_nuisance(identities, shots, seed, strength=HARD)


def take(table: dict[str, Tensor], index: Tensor | slice) -> dict[str, Tensor]:
    return {name: values[index] for name, values in table.items()}


# ------------------------------------------------------------------------------------------- bit equality


@pytest.mark.parametrize("size", [32, 45, 112])  # 45: rows that fill no vector register
def test_a_picture_depends_on_its_own_key_only(size: int, two_threads: None) -> None:
    count = 70 if size < 100 else 12
    people, shots = torch.arange(count) // 3, torch.arange(count) % 3
    traits, nuisance = columns(people, shots)
    torch.set_num_threads(1)
    expected = render(traits, nuisance, size)
    for batch in (1, 7, 64):
        pieces = [slice(start, start + batch) for start in range(0, count, batch)]
        drawn = [render(take(traits, piece), take(nuisance, piece), size) for piece in pieces]
        assert torch.equal(torch.cat(drawn), expected), f"batches of {batch}"
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    shuffled = columns(people[order], shots[order])  # drawn anew, in another order
    assert torch.equal(render(*shuffled, size), expected[order])
    torch.set_num_threads(2)
    assert torch.equal(render(traits, nuisance, size), expected), "two threads"


def test_rendering_leaves_the_number_of_threads_alone(two_threads: None) -> None:
    render(*columns(torch.arange(200), torch.zeros(200, dtype=torch.int64)))
    assert torch.get_num_threads() == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_devices_agree_within_one_grey_level() -> None:
    table = columns(torch.arange(200), torch.arange(200))
    difference = render(*table, 64).int() - render(*table, 64, device="cuda").cpu().int()
    assert int(difference.abs().max()) <= 1


class RoundsDifferently(TorchDispatchMode):
    """A device whose every arithmetic result may be off by one unit in the last place, up or down."""

    ARITHMETIC = ("add", "sub", "rsub", "mul", "div", "addcmul", "addcdiv", "sqrt", "square", "reciprocal", "sum")

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.rounded = torch.Generator().manual_seed(0), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = function(*args, **(kwargs or {}))
        if (
            isinstance(result, Tensor)
            and result.is_floating_point()
            and function.overloadpacket.__name__.rstrip("_") in self.ARITHMETIC
        ):
            units = torch.randint(-1, 2, result.shape, generator=self.generator)
            result.mul_(1 + torch.finfo(result.dtype).eps * units.to(result.dtype))
            self.rounded += 1
        return result


def test_a_device_that_rounds_differently_stays_within_one_grey_level(two_threads: None) -> None:
    """What a GPU may do at worst, on any machine."""
    torch.set_num_threads(1)  # others would not be seen: a dispatch mode holds for the thread that entered it
    table = columns(torch.arange(60), torch.arange(60))
    exact = render(*table, 48).int()
    with RoundsDifferently() as device:
        difference = (render(*table, 48).int() - exact).abs()
    assert device.rounded > 1000
    assert int(difference.max()) == 1  # it was felt, and was no more than that
    assert float((difference > 0).float().mean()) < 1e-3


def test_other_vector_instructions_draw_the_same_bits() -> None:
    """The same pictures without AVX, in a process of its own: the choice is made when torch starts."""
    code = (
        "import hashlib, torch; from tests.data.test_faces import columns, render;"
        "pictures = render(*columns(torch.arange(40), torch.arange(40)), 45);"
        "print(torch.backends.cpu.get_cpu_capability(), hashlib.sha256(pictures.numpy().tobytes()).hexdigest())"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | more, cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        for more in ({}, {"ATEN_CPU_CAPABILITY": "default"})
    ]
    assert told[1][0] in ("DEFAULT", "NO AVX"), told
    assert told[0][1] == told[1][1]


def test_a_set_is_a_part_of_a_larger_set() -> None:
    large = SyntheticFaces(6, 5, seed=4, difficulty=1.0, cache=False)
    small = SyntheticFaces(3, 2, seed=4, difficulty=1.0, cache=False)
    later = SyntheticFaces(3, 2, seed=4, difficulty=1.0, first_shot=3, cache=False)
    assert torch.equal(small.images, large.images[(large.identities < 3) & (large.shots < 2)])
    assert torch.equal(later.images, large.images[(large.identities < 3) & (large.shots >= 3)])


# ------------------------------------------------------------------------------------ what a set consists of


def test_set_interface() -> None:
    faces = SyntheticFaces(4, 3, size=40, cache=False)
    assert faces.images.shape == (12, 3, 40, 40)
    assert faces.images.dtype == torch.uint8
    assert faces.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert faces.shots.tolist() == [0, 1, 2] * 4
    image, label = faces[5]
    assert image.dtype == torch.float32
    assert label == 1
    assert torch.equal(image, faces.images[5] / 127.5 - 1)
    assert set(faces.nuisance) == set(NUISANCE)
    assert all(len(v) == 12 for v in faces.nuisance.values())
    assert set(faces.traits) == set(TRAITS)
    assert all(len(v) == 4 for v in faces.traits.values())


def test_splits_and_seeds_share_no_person() -> None:
    rows = [
        torch.stack(list(draw_traits(torch.arange(500), seed, split).values()), 1)
        for split in ("fit", "tune", "open")
        for seed in (0, 1)
    ]
    everybody = torch.cat(rows)
    assert len(everybody.unique(dim=0)) == len(everybody)
    assert float(torch.cdist(everybody / everybody.std(0), everybody / everybody.std(0)).fill_diagonal_(9).min()) > 1


def test_traits_are_uniform_and_uncorrelated() -> None:
    people = torch.arange(4000)
    for kinship in (0.0, 0.7):
        traits = draw_traits(people, kinship=kinship, family_size=1)
        for name, (low, high) in TRAITS.items():
            assert stats.kstest(traits[name].numpy(), "uniform", (low, high - low)).pvalue > 1e-5, name
    table = torch.stack(list(draw_traits(people).values()))
    assert float((torch.corrcoef(table) - torch.eye(len(table))).abs().max()) < 5 / 4000**0.5


def test_relatives_correlate_by_kinship() -> None:
    u = torch.stack(list(draw_traits(torch.arange(4000), kinship=0.7).values()), 1)
    ranks = torch.from_numpy(stats.rankdata(u.numpy(), axis=0)) / 4001
    scores = torch.special.ndtri(ranks).view(1000, 4, -1)  # families, members, traits

    def correlation(a: Tensor, b: Tensor) -> float:
        return float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt())

    assert correlation(scores[:, 0], scores[:, 1]) == pytest.approx(0.7, abs=0.02)
    assert correlation(scores[:, 1], scores[:, 3]) == pytest.approx(0.7, abs=0.02)
    assert correlation(scores[:-1, 0], scores[1:, 0]) == pytest.approx(0.0, abs=0.02)  # next family


# ---------------------------------------------------------------------------------------- nuisance control


def test_nuisance_follows_its_laws() -> None:
    people = torch.arange(40000)
    drawn = draw_nuisance(people, people * 0, strength=strengths(0.5))
    assert float(drawn["yaw"].std()) == pytest.approx(0.5 * np.radians(22), rel=0.04)  # the clip takes 2 %
    assert float(drawn["glasses"].mean()) == pytest.approx(0.075, abs=0.006)
    assert float(drawn["blur"].max()) == pytest.approx(0.375, rel=0.01)
    assert not drawn["mask"].any()
    assert not drawn["lowres"].any()
    for name, law in NUISANCE.items():
        assert float(drawn[name].min()) >= law.low, name
        assert float(drawn[name].max()) <= law.high, name


@pytest.mark.parametrize("group", GROUPS)
def test_one_group_moves_alone(group: str) -> None:
    people, shots = torch.arange(30), torch.zeros(30, dtype=torch.int64)
    usual = draw_nuisance(people, shots, strength=strengths(0.6))
    other = draw_nuisance(people, shots, strength=strengths(0.6, {group: 1.0}))
    for name, law in NUISANCE.items():
        if law.group != group:
            assert torch.equal(usual[name], other[name]), name
    assert any(not torch.equal(usual[name], other[name]) for name in NUISANCE)


def test_without_nuisance_all_shots_of_a_person_are_one_picture() -> None:
    faces = SyntheticFaces(3, 4, difficulty=0.0, cache=False)
    pictures = faces.images.view(3, 4, -1)
    assert (pictures == pictures[:, :1]).all()
    assert len(pictures[:, 0].unique(dim=0)) == 3


def test_fixed_values() -> None:
    yaw = torch.linspace(-0.5, 0.5, 6)
    usual = SyntheticFaces(3, 2, cache=False)
    fixed = SyntheticFaces(3, 2, fixed={"yaw": yaw, "glasses": 1}, cache=False)
    assert torch.equal(fixed.nuisance["yaw"], yaw)
    assert fixed.nuisance["glasses"].all()
    for name in set(NUISANCE) - {"yaw", "glasses"}:
        assert torch.equal(fixed.nuisance[name], usual.nuisance[name]), name


def difference(**fixed: float) -> Tensor:
    """Mean change of the picture, in grey levels per image, where single nuisances are set."""
    plain = SyntheticFaces(8, 1, difficulty=0.0, cache=False)
    changed = SyntheticFaces(8, 1, difficulty=0.0, fixed=fixed, cache=False)
    return (changed.images.float() - plain.images.float()).abs().mean((1, 2, 3))


@pytest.mark.parametrize(
    "fixed",
    [
        {"yaw": 0.5},
        {"pitch": 0.3},
        {"roll": 0.2},
        {"zoom": 0.2},
        {"shift_x": 0.1},
        {"light_x": 0.8},
        {"ambient": 0.4},
        {"exposure": 0.4},
        {"gamma": 0.4},
        {"red": 0.3},
        {"smile": 1.0},
        {"mouth_open": 1.0},
        {"eye_open": 0.3},
        {"glasses": 1},
        {"mask": 1},
        {"patch": 1},
        {"blur": 0.7},
        {"lowres": 1},
        {"noise": 0.05},
        {"back_grey": 0.9},
    ],
)
def test_every_nuisance_shows(fixed: dict[str, float]) -> None:
    assert float(difference(**fixed).min()) > 0.05


def test_noise_and_exposure_have_the_stated_size() -> None:
    plain = SyntheticFaces(20, 1, difficulty=0.0, fixed={"exposure": -0.5}, cache=False).images.float()
    noisy = SyntheticFaces(20, 1, difficulty=0.0, fixed={"exposure": -0.5, "noise": 0.04}, cache=False).images.float()
    inside = (plain > 40) & (plain < 215)
    error = (noisy - plain)[inside] / 255
    assert float(error.std()) == pytest.approx(0.04, rel=0.03)
    assert abs(float(error.mean())) < 0.001
    usual = SyntheticFaces(20, 1, difficulty=0.0, cache=False).images.float()
    ratio = (plain / usual)[(usual < 254) & (usual > 60)]
    assert float(ratio.mean()) == pytest.approx(np.exp(-0.5), rel=0.01)


def test_blur_has_the_stated_width() -> None:
    """Two pictures that differ in the grey of a patch: their difference is its edge, and nothing of the face."""

    def edge(blur: float) -> Tensor:
        patch = {"patch": 1, "patch_x": -1.0, "patch_y": 0.0, "patch_w": 1.0, "patch_h": 2.0, "blur": blur}
        light, dark = (
            SyntheticFaces(1, 1, 64, difficulty=0.0, fixed=patch | {"patch_grey": grey}, cache=False).images.float()
            for grey in (0.8, 0.2)
        )
        return (light - dark).mean((0, 1, 2))  # (64,)

    def variance(row: Tensor) -> float:
        slope, position = (row[:-1] - row[1:]) / row[0], torch.arange(63.0)
        return float((slope * (position - (slope * position).sum()) ** 2).sum())

    for blur in (0.3, 0.7, 2.0):  # in pixels of a 32-pixel image: twice that here
        assert variance(edge(blur)) - variance(edge(0.0)) == pytest.approx((2 * blur) ** 2, rel=0.05, abs=0.02)


# --------------------------------------------------------------------------------- class sizes, label noise


def test_long_tail() -> None:
    sizes = long_tail(10, largest=60, smallest=8)
    assert sizes.tolist() == [60, 30, 20, 15, 12, 10, 9, 8, 8, 8]
    faces = SyntheticFaces(10, sizes, cache=False)
    assert faces.labels.bincount().tolist() == sizes.tolist()
    assert torch.equal(faces.images[60:65], SyntheticFaces(2, 5, cache=False).images[5:])  # person 1, shots 0 to 4


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_label_noise(share: float) -> None:
    faces = SyntheticFaces(20, 10, label_noise=share, cache=False)
    wrong = faces.labels != faces.identities
    assert int(wrong.sum()) == round(share * 200)
    assert int(faces.labels.min()) >= 0
    assert int(faces.labels.max()) < 20
    assert torch.equal(faces.images, SyntheticFaces(20, 10, cache=False).images)
    if share == 1:
        assert stats.chisquare(faces.labels.bincount(minlength=20).numpy()).pvalue > 1e-3


# ------------------------------------------------------------------------------------------------- cache


def cached_files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_cache_gives_the_same_pictures_without_drawing(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = SyntheticFaces(3, 2).images
    assert [path.suffix for path in cached_files(own_cache)] == [".npz"]

    def refuse(*_: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(faces_module, "render", refuse)
    assert torch.equal(SyntheticFaces(3, 2).images, drawn)
    with pytest.raises(AssertionError, match="drawn again"):
        SyntheticFaces(3, 2, cache=False)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 33},
        {"seed": 1},
        {"difficulty": 0.61},
        {"split": "open"},
        {"nuisance": {"noise": 0.1}},
        {"fixed": {"yaw": 0.1}},
        {"first_shot": 1},
        {"kinship": 0.5},
        {"identities": 4},
        {"images_per_identity": 3},
    ],
)
def test_cache_key_covers_every_argument(own_cache: Path, change: dict[str, object]) -> None:
    arguments: dict[str, object] = {"identities": 3, "images_per_identity": 2}
    SyntheticFaces(**arguments)  # type: ignore[arg-type]
    SyntheticFaces(**(arguments | change))  # type: ignore[arg-type]
    assert len(cached_files(own_cache)) == 2


def test_cache_key_covers_the_version(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SyntheticFaces(2, 1)
    monkeypatch.setattr(faces_module, "VERSION", -1)
    SyntheticFaces(2, 1)
    assert len(cached_files(own_cache)) == 2


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "foreign", "pickle"])
def test_a_damaged_cache_file_is_drawn_again(own_cache: Path, damage: str) -> None:
    drawn = SyntheticFaces(3, 2).images
    (path,) = cached_files(own_cache)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "foreign":
        np.savez(path, images=np.zeros((1, 3, 32, 32), np.uint8))
    else:
        np.savez(path, images=np.array([{"not": "a picture"}], dtype=object), allow_pickle=True)
    with pytest.warns(UserWarning, match="cache file .* drawing"):
        assert torch.equal(SyntheticFaces(3, 2).images, drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # mended
        assert torch.equal(SyntheticFaces(3, 2).images, drawn)


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("FACELEARN_CACHE", str(blocked / "cache"))
    with pytest.warns(UserWarning, match=r"cache folder .* cannot be written .*FACELEARN_CACHE"):
        faces = SyntheticFaces(2, 1)
    assert torch.equal(faces.images, SyntheticFaces(2, 1, cache=False).images)


def test_a_failed_write_leaves_nothing_behind(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.warns(UserWarning, match="No space left"):
        SyntheticFaces(2, 1)
    assert cached_files(own_cache) == []


def _draw(folder: str, queue: "multiprocessing.Queue[int]") -> None:
    import os

    os.environ["FACELEARN_CACHE"] = folder
    torch.set_num_threads(1)
    queue.put(int(SyntheticFaces(8, 8).images.long().sum()))


def test_two_processes_at_once(own_cache: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    torch.set_num_threads(1)
    workers = [context.Process(target=_draw, args=(str(own_cache), queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    sums = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(timeout=60)
    assert sums == {int(SyntheticFaces(8, 8, cache=False).images.long().sum())}
    assert [path.suffix for path in cached_files(own_cache)] == [".npz"]


# -------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 31}, "size: found 31, expected an integer from 32 to 112"),
        ({"size": 113}, "size: found 113"),
        ({"size": 32.0}, "size: found 32.0"),
        ({"identities": 0}, "identities: found 0, expected an integer, at least 1"),
        ({"identities": -3}, "identities: found -3"),
        ({"images_per_identity": 0}, "images_per_identity: found 0"),
        ({"images_per_identity": [3, -1]}, "images_per_identity: found -1, expected at least 1"),
        (
            {"images_per_identity": [3, 3, 3]},
            r"images_per_identity: found torch.int64 \(3,\), expected .* \(2,\)",
        ),
        ({"images_per_identity": [1.5, 2.0]}, "images_per_identity: found torch.float32"),
        ({"seed": -1}, "seed: found -1"),
        ({"seed": 1 << 63}, "seed: found 9223372036854775808"),
        ({"split": "train"}, "split: found 'train', expected one of 'fit', 'tune', 'open'"),
        ({"difficulty": -0.1}, "difficulty: found -0.1, expected a number from 0 to 3"),
        ({"difficulty": float("nan")}, "difficulty: found nan"),
        ({"nuisance": {"hat": 1}}, "nuisance: found group 'hat', expected one of pose"),
        ({"nuisance": {"pose": -1}}, r"nuisance\['pose'\]: found -1"),
        ({"fixed": {"hat": 1}}, "fixed: found 'hat', expected one of yaw"),
        ({"fixed": {"yaw": 2.0}}, r"fixed\['yaw'\]: found values from 2.0 to 2.0"),
        ({"fixed": {"brow_raise": float("inf")}}, r"fixed\['brow_raise'\]: found values from inf"),
        (
            {"fixed": {"yaw": torch.zeros(3)}},
            r"fixed\['yaw'\]: found shape \(3,\), expected a number or \(2,\)",
        ),
        ({"kinship": 1.0}, "kinship: found 1.0, expected 0 <= kinship < 1"),
        ({"family_size": 0}, "family_size: found 0"),
        ({"label_noise": 1.1}, "label_noise: found 1.1, expected a share from 0 to 1"),
        ({"identities": 1, "label_noise": 0.5}, "label_noise: found 0.5 for one identity"),
        ({"first_shot": -1}, "first_shot: found -1"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticFaces(**({"identities": 2, "images_per_identity": 1, "cache": False} | arguments))  # type: ignore[arg-type]


def test_bad_columns() -> None:
    traits, nuisance = columns(torch.arange(3), torch.arange(3))
    with pytest.raises(ValueError, match="found no yaw"):
        render(traits, {name: values for name, values in nuisance.items() if name != "yaw"})
    with pytest.raises(ValueError, match=r"found lengths \[2, 3\]"):
        render(traits, nuisance | {"yaw": torch.zeros(2)})


@pytest.mark.parametrize("arguments", [(5, 3, 4), (0, 3), (5, 3, 0)])
def test_bad_long_tail(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"(largest|identities|smallest): found"):
        long_tail(*arguments)


def test_standard_refuses_unknown_names() -> None:
    with pytest.raises(ValueError, match="name: found 'test', expected one of 'fit', 'tune', 'open'"):
        standard("test")


def test_standard_sets() -> None:
    small = standard("open", identities=3, images_per_identity=2)
    other = standard("open", seed=901, identities=3, images_per_identity=2)
    assert small.images.shape == (6, 3, 32, 32)
    assert not torch.equal(small.images, other.images)
    same = SyntheticFaces(3, 2, seed=900, split="open", difficulty=0.6)
    assert torch.equal(small.images, same.images)


# ------------------------------------------------------------------------------------------- is it a face?


def test_pixels_tell_people_apart_but_not_well() -> None:
    """A linear classifier of raw pixels at difficulty 1: far above chance (1 in 40), far from perfect."""
    faces = SyntheticFaces(40, 24, difficulty=1.0, cache=False)
    pixels = torch.nn.functional.avg_pool2d(faces.images.float(), 2).flatten(1).numpy()
    known = (faces.shots < 16).numpy()
    probe = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1)
    probe.fit(pixels[known], faces.labels[known].numpy())
    accuracy = probe.score(pixels[~known], faces.labels[~known].numpy())
    assert 0.2 < accuracy < 0.9
