"""One's own data, in: what is read from files, what is refused and how, and that the report says what the JSON says."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score, roc_curve

from facelearn import cli, measuring, models, own, report
from facelearn.data import ImageFolder
from facelearn.report.words import words
from facelearn.training import embed
from facelearn.verification import all_pairs, compare, evaluate_pairs, evaluate_scores

REPORT = "report_{}.html"


def run(*arguments: Any) -> int:
    return cli.main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 images of 6 people who do not exist."""
    folder = tmp_path_factory.mktemp("own") / "faces"
    words = ["--identities", 6, "--images", 5, "--size", 32, "--split", "open", "--difficulty", 1]
    assert run("render", "--out", folder, *words) == 0
    return folder


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACELEARN_LANG", "en")
    return tmp_path


def rows(people: int = 12, each: int = 4, d: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(people), each)
    return rng.normal(size=(people, d))[labels] + rng.normal(size=(people * each, d)), labels


def all_pairs_by_hand(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    i, j = np.triu_indices(len(x), 1)
    return (x @ x.T)[i, j], labels[i] == labels[j]


def found_in(folder: Path, name: str) -> dict[str, Any]:
    """The JSON; the other files must be there."""
    assert (folder / REPORT.format(name)).exists()
    assert {f.name for f in (folder / "figures").glob(f"*_{name}.png")} == {
        f"{kind}_{name}.png" for kind in ("roc", "det", "scores")
    }
    return json.loads((folder / f"evaluation_{name}.json").read_text())


# ---- the ways in


def test_a_folder_of_people_is_all_its_pairs(faces: Path, inside: Path) -> None:
    assert run("evaluate", "--weights", "arcface", "--on", f"folder:{faces}", "--resamples", 20) == 0
    found = found_in(inside / "report", "faces")
    folder = ImageFolder(faces, size=32)
    x = embed(models.pretrained("arcface"), folder).double().numpy()
    scores, same = all_pairs_by_hand(x, folder.labels.numpy())
    assert (found["genuine"], found["impostor"], found["people"]) == (60, 375, 6)
    assert found["numbers"]["auc"]["value"] == pytest.approx(roc_auc_score(same, scores), abs=1e-6)
    worst = found["false_accepts"][0]
    assert worst["score"] == pytest.approx(scores[~same].max(), abs=1e-6)
    assert worst["first"].split("/")[0] != worst["second"].split("/")[0]
    assert found["false_rejects"][0]["score"] == pytest.approx(scores[same].min(), abs=1e-6)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{a} {b} 1\n{a} {c} 0\n{b} {c} 0\n", "blanks.txt"),
        ("{a}\t{b}\t1\r\n{a}\t{c}\t0\r\n{b}\t{c}\t0\r\n", "tabs.tsv"),
        ("\ufefffirst,second,same\r\n{a},{b},1\r\n{a},{c},0\r\n{b},{c},0", "spreadsheet.csv"),
        ("label;image_1;image_2\n\n1;{a};{b}\n0;{a};{c}\n0;{b};{c}\n", "semicolons.csv"),
        ("{a}, {b}, True\n{a}, {c}, False\n{b}, {c}, -1\n", "words.csv"),
        ("图像1,图像2,同一人\n{a},{b},1\n{a},{c},0\n{b},{c},0\n", "chinese.csv"),
    ],
)
def test_lists_of_pairs_come_in_many_forms(text: str, name: str, tmp_path: Path) -> None:
    files = {"a": "anna/1 x.png" if "blanks" not in name else "anna/1.png", "b": "anna/2.png", "c": "bo/1.png"}
    for file in files.values():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / file)
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / name).write_bytes(text.format(**files).encode(encoding))
        data = own.open_own(images=tmp_path, pairs=tmp_path / name, listed_only=True)
        assert [(data.items[i], data.items[j]) for i, j in data.pairs] == [
            (files["a"], files["b"]), (files["a"], files["c"]), (files["b"], files["c"]),
        ]  # fmt: skip
        assert data.same.tolist() == [True, False, False]
        assert [data.people[label] for label in data.labels] == ["anna", "anna", "bo"]  # from the folders


def test_a_list_of_pairs_of_images_is_measured(faces: Path, inside: Path) -> None:
    folder = ImageFolder(faces, size=32)
    rng = np.random.default_rng(0)
    i, j = np.triu_indices(len(folder), 1)
    chosen = rng.permutation(len(i))[:200]
    labels = folder.labels.numpy()
    lines = [f"{folder.files[a]},{folder.files[b]},{int(labels[a] == labels[b])}" for a, b in zip(i[chosen], j[chosen])]  # noqa: B905
    (inside / "mine.csv").write_text("\n".join(lines))
    words = ["--weights", "arcface", "--on", "pairs:mine.csv", "--images", faces, "--resamples", 20]
    assert run("evaluate", *words, "--out", "out") == 0
    found = found_in(inside / "out", "mine")
    scores, same = all_pairs_by_hand(embed(models.pretrained("arcface"), folder).double().numpy(), labels)
    assert found["numbers"]["auc"]["value"] == pytest.approx(roc_auc_score(same[chosen], scores[chosen]), abs=1e-6)
    assert "low" in found["numbers"]["eer"]  # people are the folders
    flat = inside / "flat"
    flat.mkdir()
    for file in folder.files:
        (flat / file.replace("/", "_")).write_bytes((faces / file).read_bytes())
    (flat / "mine.csv").write_text("\n".join(line.replace("/", "_") for line in lines))
    assert run("evaluate", "--weights", "arcface", "--on", "pairs:flat/mine.csv", "--out", "flat_out") == 0
    unknown = found_in(inside / "flat_out", "mine")
    assert unknown["numbers"]["auc"]["value"] == found["numbers"]["auc"]["value"]
    assert unknown["interval"] is None  # nothing says who they are


def write_embeddings(kind: str, x: np.ndarray, labels: np.ndarray) -> str:
    """In the folder at hand, labels included where the kind can; returns the path."""
    path = f"mine.{kind.partition('-')[0]}"
    table = pd.DataFrame(x)
    match kind:
        case "npy":
            np.save(path, x)
            Path("people.txt").write_text("".join(f"p{label}\n" for label in labels))
        case "npz":
            np.savez(path, embeddings=x.astype(np.float32), labels=labels)
        case "npz-any":
            np.savez(path, whatever=x, y=np.array([f"p{label}" for label in labels]))
        case "safetensors":
            save_file({"features": x, "labels": labels}, path)
        case "csv":
            table.assign(label=labels).to_csv(path)  # with the column of row numbers that pandas adds
        case "csv-bare":
            table.set_index(np.array([f"p{label}" for label in labels])).to_csv(path, header=False)
        case "csv-decimal":
            table.assign(person=labels).to_csv(path, sep=";", decimal=",", index=False)
        case "parquet":
            table.rename(columns=str).assign(label=labels).to_parquet(path)
        case "parquet-lists":
            pd.DataFrame({"embedding": list(x), "identity": labels}).to_parquet(path)
    return path


KINDS = ("npy", "npz", "npz-any", "safetensors", "csv", "csv-bare", "csv-decimal", "parquet", "parquet-lists")


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_of_any_model(kind: str, inside: Path) -> None:
    if kind.startswith("parquet"):
        pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    x, labels = rows()
    path = write_embeddings(kind, x, labels)
    more = ["--labels", "people.txt"] if kind == "npy" else []
    assert run("evaluate", "--on", f"embeddings:{path}", *more, "--resamples", 20) == 0
    found = found_in(inside / "report", "mine")
    scores, same = all_pairs_by_hand(x, labels)
    assert found["numbers"]["auc"]["value"] == pytest.approx(roc_auc_score(same, scores), abs=1e-6)
    assert (found["people"], found["genuine"]) == (12, 72)
    row = found["false_accepts"][0]
    assert scores[~same].max() == pytest.approx(row["score"], abs=1e-6)
    assert row["first_person"].removeprefix("p") == str(labels[int(row["first"])])
    page = (inside / "report" / REPORT.format("mine")).read_text()
    assert f"{row['first']} · {row['first_person']}" in page or row["first_person"] in row["first"]


def test_parquet_without_its_library_is_one_line(
    inside: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(path: Path) -> None:
        raise ImportError("Unable to find a usable engine;\ntried using: 'pyarrow', 'fastparquet'.")

    monkeypatch.setattr(pd, "read_parquet", missing)
    (inside / "mine.parquet").write_bytes(b"PAR1")
    assert run("evaluate", "--on", "embeddings:mine.parquet") == 2
    told = capsys.readouterr().err
    assert "mine.parquet: found no pyarrow; expected it (pip install 'facelearn[parquet]')" in told
    assert told.count("\n") == 1


def test_the_head_of_two_numbered_columns_is_no_row(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("label,0,1\n7,0.5,1\n8,2,0.25\n")
    found = own.read_embeddings(tmp_path / "x.csv")
    assert found.embeddings.tolist() == [[0.5, 1], [2, 0.25]]
    assert found.labels is not None
    assert found.labels.tolist() == ["7", "8"]


def test_a_list_names_rows_of_embeddings(inside: Path) -> None:
    x, labels = rows()
    np.savez("mine.npz", embeddings=x, labels=labels, names=[f"img_{i}.jpg" for i in range(len(x))])
    pairs = [(0, 1, 1), (0, 5, 0), (3, 40, 0), (9, 10, 1), (20, 47, 0)]
    by_name = "".join(f"img_{i}.jpg img_{j}.jpg {same}\n" for i, j, same in pairs)
    Path("names.txt").write_text(by_name)
    data = own.open_own(embeddings="mine.npz", pairs="names.txt")
    assert data.pairs.tolist() == [[i, j] for i, j, _ in pairs]
    result = measuring.measure(data.embeddings, data)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert result.scores == pytest.approx([x[i] @ x[j] for i, j, _ in pairs])
    np.save("bare.npy", x)
    Path("numbers.csv").write_text("first,second,same\n" + "".join(f"{i},{j},{same}\n" for i, j, same in pairs))
    assert own.open_own(embeddings="bare.npy", pairs="numbers.csv").pairs.tolist() == data.pairs.tolist()


def test_a_template_is_the_mean_of_unit_embeddings(inside: Path) -> None:
    x, labels = rows(people=5, each=7)
    x *= np.geomspace(1, 100, len(x))[:, None]  # the length of a row must not count
    np.savez("mine.npz", embeddings=x, labels=labels)
    data = own.open_own(embeddings="mine.npz", templates=3)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    means = np.array([unit[labels == k][i : i + 3].mean(axis=0) for k in range(5) for i in (0, 3, 6)])
    scores, same = all_pairs_by_hand(means, np.repeat(np.arange(5), 3))
    result = measuring.measure(data.embeddings, data)
    assert np.sort(result.scores) == pytest.approx(np.sort(scores), abs=1e-9)
    assert result.scores[result.same].sum() == pytest.approx(scores[same].sum())
    names = [f"{label}_{i % 7 // 3}" for i, label in enumerate(labels)]
    Path("templates.csv").write_text("template\n" + "\n".join(names))
    named = own.open_own(embeddings="mine.npz", templates="templates.csv")
    assert np.sort(measuring.measure(named.embeddings, named).scores) == pytest.approx(np.sort(scores), abs=1e-9)
    Path("pairs.csv").write_text("0_0,0_1,1\n0_0,1_0,0\n")
    asked = own.open_own(embeddings="mine.npz", templates="templates.csv", pairs="pairs.csv")
    assert measuring.measure(asked.embeddings, asked).scores == pytest.approx(
        [means[0] @ means[k] / np.linalg.norm(means[0]) / np.linalg.norm(means[k]) for k in (1, 3)]
    )
    Path("mixed.csv").write_text("template\n" + "\n".join(["one"] * 8 + names[8:]))
    with pytest.raises(ValueError, match=r"mixed\.csv: found two people in template one"):
        own.open_own(embeddings="mine.npz", templates="mixed.csv")


def test_templates_of_images(faces: Path, inside: Path) -> None:
    assert run("evaluate", "--weights", "arcface", "--on", f"folder:{faces}", "--templates", 2, "--resamples", 0) == 0
    found = found_in(inside / "report", "faces")
    assert (found["genuine"], found["impostor"]) == (6 * 3, 15 * 9)  # 5 images: two, two and one
    assert "#" in found["false_accepts"][0]["first"]


@pytest.mark.parametrize("form", ["head", "bare", "turned", "distance"])
def test_scores_from_anywhere(form: str, inside: Path) -> None:
    rng = np.random.default_rng(3)
    same = rng.random(400) < 0.3
    score = np.round(rng.normal(size=400) + 1.5 * same, 2)
    table = {
        "head": pd.DataFrame({"id": np.arange(400), "similarity": score, "is_same": same}),
        "bare": pd.DataFrame({"a": score, "b": same.astype(int)}),
        "turned": pd.DataFrame({"a": same.astype(int), "b": score}),
        "distance": pd.DataFrame({"Distance": -score, "label": same.astype(int)}),
    }[form]
    table.to_csv("scores.csv", index=False, header=form in ("head", "distance"))
    assert run("evaluate", "--on", "scores:scores.csv") == 0
    found = found_in(inside / "report", "scores")
    assert found["numbers"]["auc"]["value"] == pytest.approx(roc_auc_score(same, score), abs=1e-12)
    assert found["interval"] is None
    page = (inside / "report" / REPORT.format("scores")).read_text()
    assert (words("en")["mind_distances"] in page) == (form == "distance")
    assert "Who is in the pairs is not known here" in page


def test_scores_with_people_have_intervals_over_them(inside: Path) -> None:
    x, labels = rows()
    scores, same = all_pairs_by_hand(x, labels)
    i, j = np.triu_indices(len(x), 1)
    pd.DataFrame({"first": i, "second": j, "score": scores, "same": same.astype(int), "person1": labels[i],
                  "person2": labels[j]}).to_csv("s.csv", index=False)  # fmt: skip
    scored = own.read_scores("s.csv")
    result = evaluate_scores(scored.scores, scored.pairs, scored.same, identities=scored.labels)
    expected = evaluate_scores(scores, np.stack([i, j], 1), same, identities=labels)
    # the names are in alphabetical order, the people too: other numbers of the same people, other draws of them
    assert result.interval("eer", resamples=400) == pytest.approx(expected.interval("eer", resamples=400), abs=0.02)


# ---- what cannot be used


def test_unusable_input_is_one_line_that_names_it(
    faces: Path, inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, labels = rows(people=3, each=2)
    np.save("ok.npy", x)
    x[2, 3] = np.nan
    np.save("nan.npy", x)
    np.save("flat.npy", x[0])
    np.save("objects.npy", np.array([{}, 1], dtype=object), allow_pickle=bool(1))
    np.savez("short.npz", embeddings=np.ones((6, 2)), labels=labels[:5])
    Path("five.txt").write_text("a\na\nb\nb\nc\n")
    Path("ones.txt").write_text("a\na\na\na\na\na\n")
    Path("all.txt").write_text("a\nb\nc\nd\ne\nf\n")
    Path("empty.txt").write_text("")
    Path("gbk.csv").write_bytes("图像1,图像2\n".encode("gbk"))
    Path("noise.txt").write_bytes(b"1")
    for folder in ("empty", "one/anna", "single/anna", "single/bo"):
        Path(folder).mkdir(parents=True)
    image = next(faces.glob("*/*.png"))
    for file in ("one/anna/1.png", "one/anna/2.png", "single/anna/1.png", "single/bo/1.png"):
        Path(file).write_bytes(image.read_bytes())
    Path("missing.csv").write_text("one/anna/1.png,one/anna/2.png,1\none/anna/1.png,one/bo.png,0\n")
    Path("twos.csv").write_text("one/anna/1.png,one/anna/2.png,1\none/anna/1.png,single/bo/1.png,2\n")
    Path("self.csv").write_text("a.png,a.png,1\na.png,b.png,0\n")
    Path("same.csv").write_text("a.png,b.png,1\na.png,c.png,1\n")
    Path("wide.csv").write_text("a,b,1\na,b,c,1\n")
    Path("words.csv").write_text("score,same\nhigh,1\n0.2,0\n")
    Path("lonely.csv").write_text("score,same\n0.5,1\n0.6,1\n0.2,0\n")
    Path("file").write_text("")
    net = ["--weights", "arcface"]
    for given, told in (
        ([*net, "--on", "folder:empty"], "found no image in the subfolders of empty"),
        ([*net, "--on", "folder:nowhere"], "found no folder nowhere"),
        ([*net, "--on", "folder:one"], "one: found 1 person, expected two or more"),
        ([*net, "--on", "folder:single"], "single: found one of each of 2 people, expected two or more of some"),
        (["--on", "score:words.csv"], "--on: 'score:words.csv'; expected one of synthetic, lfw, bin:FILE, folder:DIR"),
        ([*net, "--on", "folder:"], "--on: 'folder:'; expected folder:DIR"),
        (["--on", "folder:one"], "--run, --weights: found neither"),
        ([*net, "--on", "pairs:missing.csv"], "missing.csv: found no image one/bo.png in . (row 2)"),
        ([*net, "--on", "pairs:twos.csv"], "twos.csv: found '2' in row 2, expected 1 (one person) or 0"),
        ([*net, "--on", "pairs:self.csv"], "self.csv: found a.png twice in row 1"),
        ([*net, "--on", "pairs:same.csv"], "same.csv: found only one person in every pair"),
        ([*net, "--on", "pairs:wide.csv"], "wide.csv: found Error tokenizing data"),
        ([*net, "--on", "pairs:empty.txt"], "empty.txt: found nothing in it"),
        ([*net, "--on", "pairs:gbk.csv"], "gbk.csv: offset 2: found no UTF-8 text"),
        ([*net, "--on", "pairs:nowhere.csv"], "nowhere.csv"),
        (["--on", "embeddings:nan.npy", "--labels", "five.txt"], "nan.npy: embeddings: found NaN or inf in 1 rows"),
        (["--on", "embeddings:ok.npy", "--labels", "five.txt"], "five.txt: found 5 labels, expected 6"),
        (["--on", "embeddings:ok.npy", "--labels", "ones.txt"], "ok.npy: found 1 person"),
        (["--on", "embeddings:ok.npy", "--labels", "all.txt"], "ok.npy: found one of each of 6 people"),
        (["--on", "embeddings:ok.npy"], "ok.npy: found no labels, expected --labels"),
        (["--on", "embeddings:flat.npy"], "flat.npy: embeddings: found shape (16,), expected (N, d)"),
        (["--on", "embeddings:objects.npy"], "objects.npy: found Object arrays cannot be loaded"),
        (["--on", "embeddings:short.npz"], "short.npz: found labels of shape (5,), expected (6,)"),
        (["--on", "embeddings:features.pt"], "features.pt: found .pt, expected one of .npy, .npz"),
        (["--on", "embeddings:nowhere.npy"], "found no file nowhere.npy"),
        ([*net, "--on", "embeddings:ok.npy"], "--weights: found with --on embeddings, which does not use it"),
        (["--on", "scores:words.csv"], "words.csv: found no number in 1 rows, first 1"),
        (["--on", "scores:lonely.csv"], "impostor pairs: found 1, expected 2 or more for curves and thresholds"),
        (["--on", "scores:noise.txt"], "noise.txt: found 1 fields and no head"),
        ([*net, "--on", f"folder:{faces}", "--out", "file/out"], "--out: cannot be written"),
        ([*net, "--on", f"folder:{faces}", "--resamples", "5"], "--resamples: found 5, expected 10 or more, or 0"),
        ([*net, "--on", f"folder:{faces}", "--templates", "1"], "templates: found 1, expected"),
    ):  # fmt: skip
        assert run("evaluate", *given) == 2, given
        captured = capsys.readouterr()
        assert captured.err.startswith("facelearn evaluate: error: ")
        assert told in captured.err
        assert captured.err.count("\n") == 1, captured.err
        assert captured.out == ""
    assert not Path("report").exists()


def test_a_name_that_is_missing_or_told_twice_is_no_person(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, labels = rows(people=3, each=2)
    np.save("x.npy", x)
    np.save("nan.npy", np.where(labels == 1, np.nan, labels))
    np.savez("nan.npz", embeddings=x, labels=np.where(labels == 1, np.nan, labels))
    np.savez("named.npz", embeddings=x, labels=labels, names=["a", "b", "c", "c", "d", "e"])
    table = pd.DataFrame({"label": ["a", "a", None, None, "c", "c"], "0": x[:, 0], "1": x[:, 1]})
    table.to_csv("gaps.csv", index=False)
    table.to_parquet("gaps.parquet")
    Path("empty.csv").write_text("image,label\n0,a\n1,a\n2,\n3,\n4,c\n5,c\n")
    Path("twice.csv").write_text("image,label\n0,a\n1,a\n2,b\n3,b\n4,c\n5,c\n0,b\n")
    Path("other.csv").write_text("image,label\n1,a\n2,a\n3,b\n4,b\n5,c\n6,c\n")
    Path("parts.csv").write_text("image,template\n0,a\n1,b\n2,\n3,\n4,c\n5,d\n")
    Path("pairs.csv").write_text("a,b,1\na,d,0\nb,c,0\nd,e,1\n")
    Path("people.csv").write_text("first,second,same,person1,person2\n0,1,1,a,a\n0,2,0,a,\n1,4,0,a,c\n")
    for given, told in (
        (["x.npy", "--labels", "nan.npy"], "nan.npy: found no label of 2 (2 such), expected one for each"),
        (["nan.npz"], "nan.npz: found no label of 2 (2 such)"),
        (["gaps.csv"], "gaps.csv: found no label of 2 (2 such)"),
        (["gaps.parquet"], "gaps.parquet: found no label of 2 (2 such)"),
        (["x.npy", "--labels", "empty.csv"], "empty.csv: found no label of 2 (2 such)"),
        (["x.npy", "--labels", "twice.csv"], "twice.csv: found 0 as a and as b, expected one label of each image"),
        (["x.npy", "--labels", "other.csv"], "other.csv: found no label of 0 (1 such), but one of 6, expected"),
        (["named.npz", "--templates", "parts.csv"], "parts.csv: found no template of a (6 such), but one of 0"),
        (["x.npy", "--templates", "parts.csv"], "parts.csv: found no template of 2 (2 such)"),
        (["named.npz", "--pairs", "pairs.csv"], "pairs.csv: found 2 rows called c in named.npz (row 3), expected each"),
        (["x.npy", "--pairs", "people.csv"], "people.csv: found no person of 2 (1 such)"),
    ):
        assert run("evaluate", "--on", f"embeddings:{given[0]}", *given[1:]) == 2, given
        captured = capsys.readouterr()
        assert told in captured.err
        assert captured.err.count("\n") == 1, captured.err
    assert not Path("report").exists()
    Path("known.csv").write_text("0,1,1,a,a\n0,2,0,a,b\n1,2,0,a,b\n")  # rows in no pair need no person
    assert own.open_own(embeddings="x.npy", pairs="known.csv").labels is not None


def test_files_passed_over_in_a_folder_are_told(faces: Path, inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(faces, "faces", ignore=shutil.ignore_patterns("*.csv", "*.json", "*.md", "sheet.png"))
    next(Path("faces").glob("*/*.png")).rename("faces/0000/other.webp")
    assert run("evaluate", "--weights", "arcface", "--on", "folder:faces", "--resamples", 0) == 0
    assert "0000/other.webp (no image)" in capsys.readouterr().out


def test_a_label_that_contradicts_the_list_is_named(inside: Path) -> None:
    x, labels = rows(people=3, each=2)
    np.savez("mine.npz", embeddings=x, labels=labels)
    Path("pairs.txt").write_text("0 1 1\n2 4 1\n0 5 0\n")
    with pytest.raises(ValueError, match=r"pairs\.txt: found 2 4 marked 1 against the labels \(1 such pairs\)"):
        own.open_own(embeddings="mine.npz", pairs="pairs.txt")


def test_nothing_is_left_where_the_report_cannot_be_made(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise ValueError("no")

    pd.DataFrame({"score": [1, 2, 3, 0], "same": [0, 1, 1, 0]}).to_csv("s.csv", index=False)
    with monkeypatch.context() as patch:
        patch.setattr(report, "html", fail)
        assert run("evaluate", "--on", "scores:s.csv") == 2
    assert not Path("report").exists()
    assert run("evaluate", "--on", "scores:s.csv") == 0


# ---- two models


def test_two_models_are_compared_on_the_same_pairs(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By embeddings and by scores: one difference, one interval, that of the library."""
    x, labels = rows(people=20)
    other = x + np.random.default_rng(1).normal(size=x.shape)
    np.save("one.npy", x)
    np.save("other.npy", other)
    Path("people.txt").write_text("\n".join(f"p{label:02}" for label in labels))
    i, j = np.triu_indices(len(x), 1)
    names = [f"p{label:02}/{n:02}.png" for n, label in enumerate(labels)]
    for name, values in (("one", x), ("other", other)):
        scores, same = all_pairs_by_hand(values, labels)
        table = {"first": [names[a] for a in i], "second": [names[b] for b in j], "score": scores, "same": same + 0}
        pd.DataFrame(table).to_csv(f"{name}.csv", index=False)
    results = [evaluate_pairs(values, *all_pairs(labels), identities=labels) for values in (other, x)]
    expected = str(compare(*results, "eer", resamples=50))
    for kind, ending, more in (("embeddings", "npy", ["--labels", "people.txt"]), ("scores", "csv", [])):
        files = [f"{kind}:one.{ending}", f"{kind}:other.{ending}"]
        assert run("compare", "--own", *files, *more, "--resamples", 50) == 0
        told = capsys.readouterr().out
        assert f"  {files[1]}: {expected}\n" in told
        assert f"differences to {files[0]}" in told
        assert roc_auc_score(same, scores) == pytest.approx(results[0].auc)
    assert "accuracy" not in told  # of all pairs
    for name in ("one", "other"):
        pd.read_csv(f"{name}.csv")[["score", "same"]].to_csv(f"{name}_bare.csv", index=False)
    assert run("compare", "--own", "scores:one_bare.csv", "scores:other_bare.csv") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith("no interval of the differences to scores:one_bare.csv: it is not known whose images")
    turned = pd.read_csv("other.csv").iloc[::-1].rename(columns={"first": "second", "second": "first"})
    turned.to_csv("turned.csv", index=False)
    shuffled = np.random.default_rng(2).permutation(len(x))
    for name, values, order in (("named", x, np.arange(len(x))), ("renamed", other, shuffled)):
        rest = {"labels": np.array([name[:3] for name in names])[order], "files": np.array(names)[order]}
        np.savez(f"{name}.npz", embeddings=values[order], **rest)
    for files in (["scores:one.csv", "scores:turned.csv"], ["embeddings:named.npz", "embeddings:renamed.npz"]):
        assert run("compare", "--own", *files, "--resamples", 50) == 0
        assert f"  {files[1]}: {expected}\n" in capsys.readouterr().out
    turned.iloc[1:].to_csv("without.csv", index=False)
    np.save("fewer.npy", x[:40])
    Path("forty.txt").write_text("\n".join(map(str, labels[:40])))
    rest = ["--labels", "people.txt"]
    for given, message in (
        (
            ["--own", "scores:one.csv", "scores:without.csv"],
            "scores:without.csv: found other rows than in scores:one.csv",
        ),
        (["--own", "embeddings:one.npy", "embeddings:fewer.npy", *rest], "people.txt: found 80 labels, expected 40"),
        (["--own", "scores:one.csv", "embeddings:other.npy", *rest], "found other rows than in scores:one.csv"),
        (["--own", "scores:one.csv"], "--own: found 1 file, expected two or more"),
        (["--own", "scores:one.csv", "scores:other.csv", *rest], "--labels: found with scores, which do not use it"),
        (["--own", "folder:one", "folder:other"], "--own: 'folder:one'; expected embeddings:FILE or scores:FILE"),
        (["--own", "scores:one.csv", "scores:other.csv", "--flip"], "--flip: found with --own, which does not use it"),
        (["--runs", "one", "--labels", "people.txt"], "--labels: found with --runs, which does not use it"),
    ):
        assert run("compare", *given) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


# ---- the report


def shown(percent: str) -> float:
    return float(percent.removesuffix("%")) / 100


@pytest.fixture(scope="module", params=["en", "zh"])
def page(request: pytest.FixtureRequest, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page of the folder of faces, parsed, its source, and the JSON beside it."""
    out = tmp_path_factory.mktemp("page")
    words = ["--weights", "arcface", "--on", f"folder:{faces}", "--resamples", 20]
    assert run("evaluate", *words, "--language", request.param, "--out", out) == 0
    source = (out / REPORT.format("faces")).read_text()
    return request.param, BeautifulSoup(source, "html.parser"), source, found_in(out, "faces"), out


def test_the_page_says_what_the_json_says(page: Any) -> None:
    _, html, _, found, out = page
    for name, cell in found["numbers"].items():
        cells = [td.text for td in html.select_one(f'tr[data-number="{name}"]').select("td")]
        numbers = [float(n) / (1 if name == "auc" else 100) for text in cells for n in re.findall(r"[\d.]+", text)]
        assert numbers == pytest.approx([cell["value"], cell["low"], cell["high"]], abs=6e-5)
    for point in found["operating_points"]:
        (row,) = [tr for tr in html.select("table.points tbody tr") if tr["data-asked"] == str(point["asked"])]
        assert ("⚠" in row.text) == ("threshold" not in point or point["few"])
        if "threshold" in point:
            cells = [td.find(string=True, recursive=False) for td in row.select("td")]
            assert float(cells[0]) == pytest.approx(point["threshold"], abs=6e-5)
            for text, rate in zip(cells[1:], ("far", "tar", "frr"), strict=True):
                assert shown(text) == pytest.approx(point[rate]["value"], abs=6e-5)
    for kind in ("accepts", "rejects"):
        lines = html.select(f"table.{kind} tbody tr")
        assert len(lines) == len(found[f"false_{kind}"]) == 10
        for line, row in zip(lines, found[f"false_{kind}"], strict=True):
            first, second, score, _ = line.select("td")
            assert (first.text, second.text) == (row["first"], row["second"])
            assert float(score.text) == pytest.approx(row["score"], abs=6e-5)
            assert [img["alt"] for img in line.select("img")] == [row["first"], row["second"]]
    table = pd.read_csv(out / "evaluation_faces.csv").set_index("number")
    assert table.loc["eer", "value"] == found["numbers"]["eer"]["value"]
    assert table.loc["tar at 1e-01", "threshold"] == found["operating_points"][1]["threshold"]


def test_the_json_is_what_scikit_learn_finds(page: Any, faces: Path) -> None:
    *_, found, _ = page
    folder = ImageFolder(faces, size=32)
    x = embed(models.pretrained("arcface"), folder).double().numpy()
    scores, same = all_pairs_by_hand(x, folder.labels.numpy())
    scores = np.round(scores, 12)  # as the package has them: a threshold lies one number above a score
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    for point in found["operating_points"][1:]:
        if "threshold" in point:
            assert point["far"]["value"] == pytest.approx(np.mean(scores[~same] >= point["threshold"]))
            assert point["far"]["value"] <= point["asked"]
            assert point["tar"]["value"] == pytest.approx(tar[far <= point["asked"]].max())
            assert point["false_accepts"] == (scores[~same] >= point["threshold"]).sum()
        else:
            assert point["asked"] < 1 / 375
    for point in found["curve"]:
        assert point["value"] == pytest.approx(tar[far <= point["far"] * (1 + 1e-12)].max())
        assert point["low"] <= point["value"] <= point["high"]
    assert sum(found["scores"]["genuine"]) == 60
    assert sum(found["scores"]["impostor"]) == 375


def test_the_page_stands_alone_and_can_be_read_by_all(page: Any) -> None:
    language, html, source, _, _ = page
    assert html.html["lang"] == {"en": "en", "zh": "zh-Hans"}[language]
    assert html.select("script, link, iframe, object") == []
    assert "http" not in re.sub(r'src="[^"]*"', "", source).replace("http-equiv", "")
    assert len(html.select("img")) == 3 + 40
    for image in html.select("img"):
        assert image["src"].startswith("data:image/")
        assert image["alt"].strip()
    for table in html.select("table"):
        assert table.select("thead th[scope=col]")
    assert html.select_one("meta[name=viewport]")
    assert html.select_one("h1, h2").name == "h1"
    text = html.get_text()
    assert bool(re.search(r"[\u4e00-\u9fff]", text)) == (language == "zh")
    assert not re.search(r"\{\w*\}", text)
    assert len(source) < 500_000


def test_both_languages_have_the_same_places_to_fill() -> None:
    en, zh = words("en"), words("zh")
    places = {name: sorted(set(re.findall(r"\{(\w+)\}", text))) for name, text in en.items()}
    assert places == {name: sorted(set(re.findall(r"\{(\w+)\}", text))) for name, text in zh.items()}
    assert all(text.strip() for text in (*en.values(), *zh.values()))


@pytest.mark.parametrize(
    ("environment", "language"),
    [({"LANG": "zh_CN.UTF-8"}, "zh"), ({"LANG": "de_DE.UTF-8"}, "en"), ({}, "en"),
     ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"), ({"LANG": "en_US", "FACELEARN_LANG": "zh"}, "zh")],
)  # fmt: skip
def test_the_language_is_that_of_the_locale(
    environment: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FACELEARN_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert report.reader_language() == language


def test_names_from_outside_are_text_and_pictures_can_be_left_out(faces: Path, inside: Path) -> None:
    x, labels = rows()
    np.savez("mine.npz", embeddings=x, labels=labels, names=[f"<b>{i}</b>&.png" for i in range(len(x))])
    assert run("evaluate", "--on", "embeddings:mine.npz", "--resamples", 0) == 0
    source = (inside / "report" / REPORT.format("mine")).read_text()
    assert "<b>" not in source
    assert "counted from 0" not in source
    assert "No intervals were asked for." in source
    words = ["--weights", "arcface", "--on", f"folder:{faces}", "--resamples", 0, "--no-pictures"]
    assert run("evaluate", *words) == 0
    html = BeautifulSoup((inside / "report" / REPORT.format("faces")).read_text(), "html.parser")
    assert len(html.select("img")) == 3


def test_without_people_or_intervals_two_models_have_no_difference(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whichever of the files does not say whose images the pairs are; no line promises what does not follow."""
    pairs = pd.DataFrame(
        {"first": list("acegace"), "second": list("bdfhdfh"), "score": range(7), "same": 4 * [1] + 3 * [0]}
    )
    pairs.to_csv("bare.csv", index=False)
    pairs.assign(person1=list("acegace"), person2=list("acegceg")).to_csv("named.csv", index=False)
    files = ["scores:named.csv", "scores:bare.csv"]
    for given in (files, files[::-1]):
        assert run("compare", "--own", *given, "--resamples", 20) == 0
        told = capsys.readouterr().out
        assert told.endswith("it is not known whose images the pairs of scores:bare.csv are\n")
        assert "not available" not in told
        assert run("compare", "--own", *given, "--resamples", 0) == 0
        assert "difference" not in capsys.readouterr().out


def test_the_notice_on_pictures_stands_where_there_are_some(faces: Path, inside: Path) -> None:
    files = [str(file.relative_to(faces)) for file in sorted(faces.glob("*/*.png"))[:6]]
    for name, images in (("there", files), ("elsewhere", [f"x/{file}" for file in files])):
        pairs = pd.DataFrame({"first": images[:-1], "second": images[1:], "score": range(5), "same": [1, 1, 1, 0, 0]})
        pairs.to_csv(f"{name}.csv", index=False)
        assert run("evaluate", "--on", f"scores:{name}.csv", "--images", faces) == 0
        html = BeautifulSoup((inside / "report" / REPORT.format(name)).read_text(), "html.parser")
        assert ("This page holds pictures" in html.text) == (name == "there")
        assert len(html.select("td img")) == (10 if name == "there" else 0)
        assert [code.text for code in html.select("code")] == (["--no-pictures"] if name == "there" else [])


def test_rows_without_a_name_are_counted_as_a_list_counts_them(inside: Path) -> None:
    x, labels = rows(people=4, each=2)
    np.savez("mine.npz", embeddings=x, labels=labels)
    for language, told, row in (("en", "counted from 0", "row 1 ·"), ("zh", "从 0 数起", "第 1 行 ·")):
        assert run("evaluate", "--on", "embeddings:mine.npz", "--language", language) == 0
        page = (inside / "report" / REPORT.format("mine")).read_text()
        assert told in page
        assert row in page


def test_a_perfect_and_a_reversed_list_have_a_report(inside: Path) -> None:
    for name, score in (("perfect", [3, 2, 1, 0.5]), ("reversed", [0, 0.5, 1, 2])):
        pd.DataFrame({"score": score, "same": [1, 1, 0, 0]}).to_csv(f"{name}.csv", index=False)
        assert run("evaluate", "--on", f"scores:{name}.csv") == 0
        page = (inside / "report" / REPORT.format(name)).read_text()
        assert ("are these distances" in page) == (name == "reversed")
        assert found_in(inside / "report", name)["numbers"]["auc"]["value"] == (name == "perfect")


def test_the_standard_set_has_a_report_too(inside: Path) -> None:
    words = ["--on", "synthetic:identities=8,images_per_identity=4", "--resamples", 20, "--out", "out", "--flip"]
    assert run("evaluate", "--weights", "softmax", *words) == 0
    found = found_in(inside / "out", "synthetic")
    html = BeautifulSoup((inside / "out" / REPORT.format("synthetic")).read_text(), "html.parser")
    assert found["people"] == 8
    assert len(html.select("img")) == 43
