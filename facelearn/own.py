"""One's own data, in the files that other programs write: lists of pairs, embeddings, labels, templates, scores.

Tables are text in UTF-8, or UTF-16 with a byte order mark, with any line ends, their fields divided by tabs, commas,
semicolons or blanks, with a head or without. Nothing is unpickled. Whatever cannot be used is a ValueError that begins
with the file, and an image that is not there is found before the first one is read.

    >>> people = open_own(images="faces")                           # person/image.jpg: all pairs
    >>> asked = open_own(images="faces", pairs="pairs.csv")         # a.jpg b.jpg 1
    >>> theirs = open_own(embeddings="features.npz", templates=4)   # four rows of a person, averaged
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from facelearn.data.files import Size, open_image
from facelearn.data.folder import ImageFiles, ImageFolder
from facelearn.verification.checks import Array, check_rows, first_of, to_numpy

PathLike = str | os.PathLike[str]

# What columns and arrays are called: small letters, without blanks and underscores.
PERSON = ["person", "label", "labels", "identity", "id", "subject", "subjectid", "y", "人", "身份", "标签"]
ITEM = ["image", "images", "file", "files", "filename", "path", "name", "names", "图像", "图片", "文件"]
TEMPLATE = ["template", "templates", "templateid", "模板"]
ROWS = ["embeddings", "embedding", "features", "feature", "feats", "x"]
FIRST = ["first", "image1", "img1", "file1", "path1", "template1", "name1", "a", "图像1", "图片1", "模板1"]
SECOND = ["second", "image2", "img2", "file2", "path2", "template2", "name2", "b", "图像2", "图片2", "模板2"]
SAME = ["same", "issame", "label", "match", "genuine", "target", "y", "同一人", "标签"]
SCORE = ["score", "scores", "similarity", "cosine", "sim", "分数", "相似度"]
DISTANCE = ["distance", "dist", "距离"]
PERSONS = (
    ["person1", "identity1", "subject1", "id1", "label1", "人1"],
    ["person2", "identity2", "subject2", "id2", "label2", "人2"],
)
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "-1", "-1.0", "false", "no")


@dataclass
class Own:
    """Items (images, rows, or templates of several), whose they are, and the pairs that are asked; all pairs if None.

    labels: (N,) int64, the number of each item's person in `people`, None where that is not known. `images` are what is
    still to be embedded, `embeddings` what already is; `members` (n,) is the item that each of them belongs to.
    """

    items: list[str]
    labels: Array | None
    people: list[str]
    images: ImageFiles | None = None
    embeddings: Array | None = None
    members: Array | None = None
    pairs: Array | None = None  # (P, 2) int64
    same: Array | None = None  # (P,) bool
    folds: Array | None = None

    def picture(self, item: int) -> Image.Image:
        """An image as it lies on the disk, of a template its first one."""
        assert self.images is not None
        place = item if self.members is None else int(np.flatnonzero(self.members == item)[0])
        file = self.images.root / self.images.files[place]
        return open_image(file.read_bytes(), str(file))

    def ordered(self, items: list[str]) -> Own:
        """The same embeddings in another order of their names."""
        assert self.embeddings is not None  # and not templates, whose names are sorted
        place = {item: i for i, item in enumerate(self.items)}
        order = np.array([place[item] for item in items])
        labels = None if self.labels is None else self.labels[order]
        pairs = None if self.pairs is None else np.argsort(order)[self.pairs]
        return replace(self, items=items, labels=labels, embeddings=self.embeddings[order], pairs=pairs)

    def resized(self) -> bool:
        """Whether the first image has another size than it is brought to."""
        assert self.images is not None
        size = self.images.size
        with Image.open(self.images.root / self.images.files[0]) as image:
            return image.size != ((size, size) if isinstance(size, int) else size)


class Scored(NamedTuple):
    """What a file of scores holds; `pairs` are numbers of `items`, where it names the two of each pair."""

    scores: Array  # (P,) higher means more alike
    same: Array  # (P,) bool
    items: list[str]
    pairs: Array | None
    labels: Array | None  # (N,) the person of each item, where known
    distances: bool  # the scores are distances, negated


def open_own(
    *,
    images: PathLike | None = None,
    embeddings: PathLike | None = None,
    labels: PathLike | None = None,
    pairs: PathLike | None = None,
    templates: PathLike | int | None = None,
    size: Size = None,
    listed_only: bool = False,
) -> Own:
    """Everything that can be known before an image is read.

    images: a folder of people, or, with `listed_only`, any folder below which the images of `pairs` lie; embeddings: a
    .npy, .npz, .safetensors, .csv (.tsv, .txt) or .parquet of (N, d) numbers; labels: a person a row, or rows of an
    item and its person; pairs: rows `first second 1` (one person) or 0; templates: rows of an item and its template, or
    a number k: every k images of a person in their order are one template (the last may be smaller).
    """
    listed = read_pairs(pairs) if pairs is not None else None
    if embeddings is not None:
        own, source = _embedded(read_embeddings(embeddings), Path(embeddings)), str(embeddings)
    else:
        assert images is not None
        own, source = _images(Path(images), listed if listed_only else None, str(pairs), size), str(images)
    if labels is not None:
        own.people, own.labels = _numbered(_for_items(labels, own.items, PERSON, "label"))
    if templates is not None:
        _merge(own, templates)
    if listed is not None:
        _ask(own, listed, str(pairs), source, strict=labels is not None or not listed_only)
    elif own.labels is None:
        raise ValueError(f"{source}: found no labels, expected --labels with a person a row, or --pairs")
    else:
        check_people(own.labels, source)
    return own


def check_people(labels: Array, source: str) -> None:
    """ValueError where all pairs are of one kind."""
    counts = np.bincount(labels)
    people = int((counts > 0).sum())
    if people < 2:
        raise ValueError(f"{source}: found {people} person, expected two or more, or no pair shows two people")
    if counts.max() < 2:
        raise ValueError(f"{source}: found one of each of {people} people, expected two or more of some")


# ---- tables ---------------------------------------------------------------------------------------------------------


def read_table(path: PathLike, has_head: Callable[[list[str]], bool]) -> tuple[list[str] | None, pd.DataFrame]:
    """The head in small letters, or None, and the rows as text; `has_head` looks at the first row."""
    text, separator = _text(path)
    how: dict[str, Any] = {"sep": separator, "header": None, "dtype": str, "keep_default_na": False}
    try:
        table = pd.read_csv(io.StringIO(text), skipinitialspace=True, **how)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: found {_first_line(error)}, expected as many fields in every row") from None
    short = np.flatnonzero(table.isna().any(axis=1))
    if len(short):
        raise ValueError(f"{path}: found too few fields in row {short[0] + 1}, expected {table.shape[1]}")
    table = table.apply(lambda column: column.str.strip())
    first = table.iloc[0].tolist()
    if not has_head(first):
        return None, table
    if len(table) == 1:
        raise ValueError(f"{path}: found a head and no rows, expected rows")
    return [_plain(cell) for cell in first], table.iloc[1:].reset_index(drop=True)


def _text(path: PathLike) -> tuple[str, str]:
    """The text of a table, and what divides its fields."""
    data = Path(path).read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        expected = 'a table in UTF-8 (spreadsheets call it "CSV UTF-8")'
        raise ValueError(f"{path}: offset {error.start}: found no UTF-8 text, expected {expected}") from None
    line = next(filter(str.strip, text.splitlines()), "")
    if not line:
        raise ValueError(f"{path}: found nothing in it, expected a table")
    return text[text.index(line) :], next((mark for mark in "\t;," if mark in line), r"\s+")


def _plain(cell: Any) -> str:
    """A head as the lists above have it."""
    return re.sub(r"[\s_]", "", str(cell)).lower()


def _column(head: list[str], table: pd.DataFrame, known: Sequence[str]) -> Array | None:
    """The column that has one of these names, the earlier name first."""
    place = next((head.index(name) for name in known if name in head), None)
    return None if place is None else table.iloc[:, place].to_numpy(dtype=object)


def _truth(path: PathLike, cells: Array) -> Array:
    known = dict.fromkeys(YES, True) | dict.fromkeys(NO, False)
    same = [known.get(cell.lower()) for cell in cells]
    if None in same:
        row = same.index(None)
        found = f"{cells[row]!r} in row {row + 1}"
        raise ValueError(f"{path}: found {found}, expected 1 (one person) or 0 (two people)")
    if len(set(same)) < 2:
        raise ValueError(f"{path}: found only {'one person' if same[0] else 'two people'} in every pair, expected both")
    return np.array(same)


# ---- pairs ----------------------------------------------------------------------------------------------------------


class Listed(NamedTuple):
    first: Array  # (P,) str
    second: Array
    same: Array  # (P,) bool
    persons: tuple[Array, Array] | None


def read_pairs(path: PathLike) -> Listed:
    """Rows `first second same`, and after them, if known, the persons of the two; with a head in any order."""
    head, table = read_table(path, lambda row: len(row) > 2 and row[2].lower() not in (*YES, *NO))
    if head is None and table.shape[1] not in (3, 5):
        raise ValueError(f"{path}: found {table.shape[1]} fields in a row, expected three: two images, and 1 or 0")
    head = head or ["first", "second", "same", "person1", "person2"][: table.shape[1]]
    first, second, same = (_column(head, table, names) for names in (FIRST, SECOND, SAME))
    if first is None or second is None or same is None:
        expected = "two images and 1 or 0, or a head of first, second and same"
        raise ValueError(f"{path}: found a first row of {', '.join(head)}, expected {expected}")
    alike = np.flatnonzero(first == second)
    if len(alike):
        raise ValueError(f"{path}: found {first[alike[0]]} twice in row {alike[0] + 1}, expected two images")
    return Listed(first, second, _truth(path, same), _persons(head, table))


def _persons(head: list[str], table: pd.DataFrame) -> tuple[Array, Array] | None:
    one, two = (_column(head, table, names) for names in PERSONS)
    return None if one is None or two is None else (one, two)


def _ask(own: Own, listed: Listed, path: str, source: str, *, strict: bool) -> None:
    """Take the pairs of a list, and find out who is in them."""
    place = {item: i for i, item in enumerate(own.items)}
    count = Counter(own.items)
    both = np.stack([listed.first, listed.second], axis=1)  # (P, 2)
    for row, item in zip(np.arange(both.size) // 2, both.ravel(), strict=True):
        if count[item] != 1:
            found = f"{count[item]} rows called {item}" if item in place else f"no {item}"
            raise ValueError(f"{path}: found {found} in {source} (row {row + 1}), expected each image to be there once")
    own.pairs = np.array([[place[a], place[b]] for a, b in both])
    own.same = listed.same
    if listed.persons is not None:
        own.people, own.labels = _from_pairs(path, own.pairs, listed.persons, own.items)
        strict = True
    if own.labels is not None:
        persons = own.labels[own.pairs]
        wrong = np.flatnonzero((persons[:, 0] == persons[:, 1]) != own.same)
        if len(wrong) and strict:
            a, b = both[wrong[0]]
            found = f"{a} {b} marked {int(own.same[wrong[0]])} against the labels ({len(wrong)} such pairs)"
            raise ValueError(f"{path}: found {found}, expected agreement")
        if len(wrong):  # folders that are no people
            own.labels, own.people = None, []


def _from_pairs(path: str, pairs: Array, persons: tuple[Array, Array], items: list[str]) -> tuple[list[str], Array]:
    """Each item's person, from lists that name the persons of both sides."""
    of_item = np.full(len(items), "", dtype=object)
    for side, names in enumerate(persons):
        _all_known(path, names, [items[i] for i in pairs[:, side]], "person")
        for item, name in zip(pairs[:, side], names, strict=True):
            if of_item[item] not in ("", name):
                raise ValueError(f"{path}: found one image as {of_item[item]} and as {name}, expected one person")
            of_item[item] = name
    return _numbered(of_item)


# ---- images ---------------------------------------------------------------------------------------------------------


def _images(root: Path, listed: Listed | None, path: str, size: Size) -> Own:
    if listed is None:
        folder = ImageFolder(root, size=size)
        return Own(folder.files, folder.labels.numpy(), folder.names, images=folder)
    if not root.is_dir():
        raise FileNotFoundError(f"images: found no folder {root}, expected the one below which {path} names images")
    items = list(dict.fromkeys(np.stack([listed.first, listed.second], axis=1).ravel()))  # each once, in order
    missing = next((item for item in items if not (root / item).is_file()), None)
    if missing is not None:
        row = int(np.flatnonzero((listed.first == missing) | (listed.second == missing))[0])
        raise ValueError(f"{path}: found no image {missing} in {root} (row {row + 1}), expected each to be there")
    people, labels = _numbered([str(Path(item).parent) for item in items])
    return Own(items, labels, people, images=ImageFiles(root, items, torch.from_numpy(labels), size=size))


# ---- embeddings -----------------------------------------------------------------------------------------------------


class Rows(NamedTuple):
    embeddings: Array  # (N, d)
    labels: Array | None  # (N,)
    items: Array | None
    templates: Array | None


def read_embeddings(path: PathLike) -> Rows:
    """(N, d) numbers, and what the file says of their rows. ValueError where a row is not finite, or nothing but 0."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in READERS:
        raise ValueError(f"{path}: found {kind or 'no suffix'}, expected one of {', '.join(READERS)}")
    if not path.is_file():
        raise FileNotFoundError(f"embeddings: found no file {path}, expected one of {', '.join(READERS)}")
    rows = READERS[kind](path)
    values = rows.embeddings
    if values.ndim == 2 and values.dtype.kind in "iu":
        values = values.astype(np.float64)
    values = check_rows(f"{path}: embeddings", values)
    for name, column in (("labels", rows.labels), ("items", rows.items), ("templates", rows.templates)):
        if column is not None and column.shape != (len(values),):
            raise ValueError(
                f"{path}: found {name} of shape {column.shape}, expected ({len(values)},), one for each row"
            )
    return rows._replace(embeddings=values)


def _read_npy(path: Path) -> Rows:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: found {_first_line(error)}, expected an array written by numpy.save") from None
    return Rows(array, None, None, None)


def _read_npz(path: Path) -> Rows:
    import zipfile

    try:
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile, OSError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: found {_first_line(error)}, expected what numpy.savez writes") from None
    return _from_arrays(path, arrays)


def _read_safetensors(path: Path) -> Rows:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return _from_arrays(path, {name: to_numpy(value) for name, value in load_file(path).items()})
    except SafetensorError as error:
        raise ValueError(f"{path}: found {_first_line(error)}, expected a whole safetensors file") from None


def _from_arrays(path: Path, arrays: dict[str, Array]) -> Rows:
    small = {name.lower(): value for name, value in arrays.items()}
    rows = next((small[name] for name in ROWS if name in small), None)
    if rows is None:
        wide = [value for value in small.values() if value.ndim == 2]
        if len(wide) != 1:
            found = ", ".join(f"{name} {value.shape}" for name, value in arrays.items()) or "nothing"
            raise ValueError(f"{path}: found {found}, expected an array embeddings (N, d), and labels (N,)")
        rows = wide[0]
    return Rows(rows, *(next((small[n] for n in names if n in small), None) for names in (PERSON, ITEM, TEMPLATE)))


def _read_text(path: Path) -> Rows:
    text, separator = _text(path)
    first = next(line for line in text.splitlines() if line.strip())
    row = [cell.strip(' "') for cell in (first.split() if separator == r"\s+" else first.split(separator))]
    head = [_plain(cell) for cell in row] if _is_head(row) else None
    names = head or [str(i) if _is_number(cell) else "label" for i, cell in enumerate(row)]
    told = {i: str for i, name in enumerate(names) if name in (*PERSON, *ITEM, *TEMPLATE)}
    try:
        table = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            names=list(range(len(names))),
            skiprows=int(head is not None),
            dtype=told,
            keep_default_na=False,
            index_col=False,
            decimal="," if separator == ";" else ".",
        )
    except pd.errors.ParserError as error:
        raise ValueError(f"{path}: found {_first_line(error)}, expected {len(names)} fields in every row") from None
    table.columns = pd.Index(names)
    return _from_table(path, table)


def _is_head(row: list[str]) -> bool:
    """A first row of words, or of the numbers 0, 1, ... or 1, 2, ... of columns, which pandas writes."""
    numbers = [cell for cell in row if _is_number(cell)]
    counted = [str(i) for i in range(len(numbers) + 1)]
    sure = len(numbers) > 2 or any(_plain(cell) in (*PERSON, *ITEM, *TEMPLATE) for cell in row)
    return len(numbers) < len(row) / 2 or (sure and numbers in (counted[:-1], counted[1:]))


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _read_parquet(path: Path) -> Rows:
    try:
        table = pd.read_parquet(path)
    except ImportError:
        raise ValueError(f"{path}: found no pyarrow; expected it (pip install 'facelearn[parquet]')") from None
    except Exception as error:  # pyarrow has its own kinds
        raise ValueError(f"{path}: found {_first_line(error)}, expected a whole Parquet file") from None
    table.columns = pd.Index([_plain(name) for name in table.columns])
    return _from_table(path, table)


def _from_table(path: Path, table: pd.DataFrame) -> Rows:
    """Columns of numbers, or one whose cells are rows; persons, items and templates by their names."""
    head = [str(name) for name in table.columns]
    places = [next((head.index(name) for name in names if name in head), None) for names in (PERSON, ITEM, TEMPLATE)]
    rest = [i for i, name in enumerate(head) if i not in places and name not in ("", "indexlevel0")]
    told = [None if place is None else _as_text(table.iloc[:, place]) for place in places]
    lists = [i for i in rest if head[i] in ROWS and table.iloc[:, i].dtype == object]
    if len(lists) == 1:
        try:
            return Rows(np.stack(table.iloc[:, lists[0]].to_list()), *told)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: found {_first_line(error)}, expected rows of one length") from None
    numbers = table.iloc[:, rest].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    wordy = [head[i] for i, column in zip(rest, numbers.T, strict=True) if np.isnan(column).all()]
    if wordy or not rest:
        found = f"column {wordy[0]!r} without a number" if wordy else "no column of numbers"
        raise ValueError(f"{path}: found {found}, expected person, image or template, and columns of numbers")
    return Rows(numbers, *told)


def _as_text(column: pd.Series) -> Array:
    """What is not there as nothing, not as the word None."""
    return column.astype(object).where(column.notna(), "").to_numpy(dtype=str)


READERS: dict[str, Callable[[Path], Rows]] = {
    ".npy": _read_npy, ".npz": _read_npz, ".safetensors": _read_safetensors, ".csv": _read_text, ".tsv": _read_text,
    ".txt": _read_text, ".parquet": _read_parquet,
}  # fmt: skip


def _embedded(rows: Rows, path: Path) -> Own:
    items = [str(i) for i in range(len(rows.embeddings))] if rows.items is None else [str(name) for name in rows.items]
    people, labels = ([], None) if rows.labels is None else _numbered(_all_known(path, rows.labels, items, "label"))
    own = Own(items, labels, people, embeddings=rows.embeddings)
    if rows.templates is not None:
        _group(own, _all_known(path, rows.templates, items, "template"), str(path))
    return own


# ---- labels and templates -------------------------------------------------------------------------------------------


def _for_items(path: PathLike, items: list[str], known: list[str], what: str) -> Array:
    """One value for each item: a row each in their order, or rows of an item and its value."""
    if Path(path).suffix.lower() == ".npy":
        given = np.asarray(_read_npy(Path(path)).embeddings)
        if given.shape != (len(items),):
            raise ValueError(f"{path}: found {what}s of shape {given.shape}, expected ({len(items)},)")
        return _all_known(path, given, items, what)
    head, table = read_table(path, lambda row: any(_plain(cell) in known for cell in row))
    named = None if head is None else _column(head, table, ITEM)
    values = None if head is None else _column(head, table, known)
    if head is None and table.shape[1] <= 2:
        named = table.iloc[:, 0].to_numpy(object) if table.shape[1] == 2 else None
        values = table.iloc[:, -1].to_numpy(object)
    if values is None:
        raise ValueError(
            f"{path}: found {table.shape[1]} fields in a row, expected a {what}, or an image and its {what}"
        )
    if named is None:
        if len(values) != len(items):
            raise ValueError(f"{path}: found {len(values)} {what}s, expected {len(items)}, one for each row or image")
        return _all_known(path, values, items, what)
    of = dict(zip(named, values, strict=True))
    for item, value in zip(named, values, strict=True):
        if of[item] != value:
            raise ValueError(f"{path}: found {item} as {value} and as {of[item]}, expected one {what} of each image")
    missing = [item for item in items if item not in of]
    if missing:
        wanted = set(items)
        other = next((f", but one of {name}" for name in named if name not in wanted), "")
        found = f"no {what} of {missing[0]} ({len(missing)} such){other}"
        raise ValueError(f"{path}: found {found}, expected one for each image")
    return _all_known(path, np.array([of[item] for item in items], dtype=object), items, what)


def _all_known(path: PathLike, values: Array, items: list[str], what: str) -> Array:
    """ValueError where some are empty or NaN: together they would be taken for one person, or one template."""
    lacking = np.flatnonzero(np.isnan(values) if values.dtype.kind == "f" else values.astype(str) == "")
    if len(lacking):
        raise ValueError(f"{path}: found no {what} of {items[lacking[0]]} ({len(lacking)} such), expected one for each")
    return values


def _numbered(names: Sequence[Any] | Array) -> tuple[list[str], Array]:
    """The different names, sorted, and the number of each."""
    found, numbers = np.unique(np.asarray(names).astype(str), return_inverse=True)
    return found.tolist(), numbers.astype(np.int64)


def _merge(own: Own, templates: PathLike | int) -> None:
    if own.members is not None:
        raise ValueError(f"templates: found {templates}, and templates beside the embeddings, expected one of them")
    if not isinstance(templates, int):
        _group(own, _for_items(templates, own.items, TEMPLATE, "template"), str(templates))
        return
    if templates < 2 or own.labels is None:
        found = f"{templates}" if templates < 2 else "a number without labels"
        raise ValueError(f"templates: found {found}, expected a file, or 2 or more images of people who are known")
    seen: dict[int, int] = {}
    names = []
    for label in own.labels.tolist():
        names.append(f"{own.people[label]} #{seen.get(label, 0) // templates + 1}")
        seen[label] = seen.get(label, 0) + 1
    _group(own, np.array(names), "templates")


def _group(own: Own, names: Array, source: str) -> None:
    """The items become templates."""
    own.items, own.members = _numbered(names)
    if own.labels is None:
        return
    of = np.full(len(own.items), -1)
    of[own.members] = own.labels
    mixed = np.flatnonzero(of[own.members] != own.labels)
    if len(mixed):
        found = f"two people in template {own.items[own.members[mixed[0]]]}"
        raise ValueError(f"{source}: found {found}, expected one person in each")
    own.labels = of


# ---- scores ---------------------------------------------------------------------------------------------------------


def read_scores(path: PathLike) -> Scored:
    """A score a pair and whether it is one person.

    Two columns, or a head of `score` (or `distance`, which is less for the more alike) and `same`, and where they are
    known `first` and `second`, the two images, and `person1` and `person2`, whose they are.
    """
    head, table = read_table(path, lambda row: not all(map(_is_number, row)))
    if head is None:
        if table.shape[1] != 2:
            raise ValueError(f"{path}: found {table.shape[1]} fields and no head, expected a score, and 1 or 0")
        marks = [set(table.iloc[:, i].str.lower()) <= {*YES, *NO} for i in (0, 1)]
        if all(marks) or not any(marks):
            found = "two columns of 0 and 1" if all(marks) else "no column of 0 and 1"
            raise ValueError(f"{path}: found {found}, expected a head that says which is score and which is same")
        head = ["same", "score"] if marks[0] else ["score", "same"]
    same, score, distance = (_column(head, table, names) for names in (SAME, SCORE, DISTANCE))
    cells = distance if score is None else score
    if same is None or cells is None:
        raise ValueError(f"{path}: found a head of {', '.join(head)}, expected score (or distance) and same")
    values = pd.to_numeric(pd.Series(cells, dtype=str).str.replace(",", "."), errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(np.isnan(values))
    if len(bad):
        raise ValueError(f"{path}: found no number in {len(bad)} rows, {first_of(bad + 1)}, expected a score in each")
    if score is None:
        values = -values
    truth = _truth(path, same)
    first, second = (_column(head, table, names) for names in (FIRST, SECOND))
    if first is None or second is None:
        return Scored(values, truth, [], None, None, score is None)
    items = sorted({*first, *second})
    people, labels = _numbered([str(Path(item).parent) for item in items])
    own = Own(items, labels, people)
    _ask(own, Listed(first, second, truth, _persons(head, table)), str(path), str(path), strict=False)
    return Scored(values, truth, items, own.pairs, own.labels, score is None)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
