"""InsightFace's sets: training sets in RecordIO (MS1M, CASIA-WebFace, Glint360K), verification sets in .bin files.

These have to be fetched by hand; run this script without arguments to read where, from whom, and under which terms.
What it does for you is to check what you have got, and to turn a RecordIO set into a folder of images:

    python data_scripts/insightface.py                                      # where the sets are to be had
    python data_scripts/insightface.py --check faces_emore                  # train.rec and all .bin files in a folder
    python data_scripts/insightface.py --check lfw.bin --all                # every image, not a sample
    python data_scripts/insightface.py --extract faces_emore --to faces     # faces/images/<identity>/<number>.jpg

Nothing here needs MXNet, and no file is unpickled in the ordinary way: a .bin is a pickle, and a pickle from the
internet can run any program. Extraction writes the bytes of the images as they are, may be interrupted and run again.
A check by default looks at the head of every record and decodes 1,000 images spread over the file.

Then:  facelearn.data.RecordIO("faces_emore/train.rec"), facelearn.data.VerificationBin("faces_emore/lfw.bin")
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # also when started as a script

from data_scripts import _fetch
from data_scripts._fetch import Stop

INSTRUCTIONS = """\
These sets are large, are of real people who were not asked, and are passed on by their makers under terms that you have
to accept yourself. So no script fetches them. The list of links (cloud drives, some with a password) is the makers':

    https://github.com/deepinsight/insightface/tree/master/recognition/_datasets_

  set               people   images   known as            made by
  CASIA-WebFace     10,000    0.5 M   faces_webface       Yi, Lei, Liao, Li 2014, arXiv 1411.7923
  MS1M-ArcFace      85,000    5.8 M   faces_emore, MS1MV2 Guo et al. 2016; Deng et al. 2019, arXiv 1801.07698
  MS1M-RetinaFace   93,000    5.2 M   MS1MV3              the same, cleaned otherwise
  Glint360K        360,000     17 M   glint360k           An et al. 2021, arXiv 2010.05222; in parts that belong
                                                          together: cat glint360k_* | tar -xz

Each is a folder with train.rec, train.idx and property (and, for most, lst), and the verification sets beside them.

Terms: "for non-commercial research purposes only" (the InsightFace project, for its sets and what is trained on them).
CASIA-WebFace was given out on a signed agreement with the Institute of Automation, CAS. Microsoft withdrew MS-Celeb-1M,
from which both MS1M sets are made, in 2019: its images were taken from the web without consent, and many institutions
no longer allow its use. Ask yours before you train on it. Rendered faces avoid the question: DigiFace-1M (see
github.com/microsoft/DigiFace1M for its own terms), or what data_scripts/render_faces.py draws.

Verification sets come inside those archives: lfw.bin, cfp_fp.bin, agedb_30.bin, calfw.bin, cplfw.bin, 112 x 112, 6,000
or 7,000 pairs each. Cite the makers of each: Huang et al. 2007 (LFW), Sengupta et al. 2016 (CFP), Moschoglou et al.
2017 (AgeDB), Zheng et al. 2017 and 2018 (CALFW, CPLFW).

When you have them:  python data_scripts/insightface.py --check FOLDER"""
SAMPLE = 1000


def main() -> None:
    parser = _fetch.arguments(__doc__, "insightface", mirrors=False)
    parser.add_argument("--check", nargs="+", type=Path, default=[], metavar="PATH", help="folders, .rec or .bin files")
    parser.add_argument(
        "--extract", type=Path, metavar="PATH", help="a .rec, or its folder, to write as images to --to"
    )
    parser.add_argument("--all", action="store_true", help=f"decode every image, not {SAMPLE:,} of each file")
    args = parser.parse_args()
    if not args.check and not args.extract:
        print(INSTRUCTIONS)
    check_all([file for path in args.check for file in found(path, (".rec", ".bin"))], args.all)
    if args.extract:
        for rec in found(args.extract, (".rec",)):
            extract(rec, args.to)


def found(path: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The file itself, or those with these suffixes in a folder."""
    if not path.exists():
        raise Stop(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix in suffixes)
    if not files or any(file.suffix not in suffixes for file in files):
        raise Stop(f"{path}: found no {' or '.join(suffixes)} file; run without arguments to read where to get them")
    return files


def check_all(files: list[Path], everything: bool) -> None:
    """Check each file, go on after a bad one, and fail in the end if there was one."""
    bad = []
    for file in files:
        try:
            print(f"{file}: {(check_recordio if file.suffix == '.rec' else check_bin)(file, everything)}", flush=True)
        except ValueError as error:
            bad.append(file.name)
            print(f"{file}: DAMAGED: {error}", flush=True)
    if bad:
        raise Stop(f"{len(bad)} of {len(files)} files cannot be used: {', '.join(bad)}; fetch them again")


def check_recordio(path: Path, everything: bool) -> str:
    """Decode images spread over the file, look at the label of every one, and say what is there."""
    import numpy as np

    from facelearn.data import RecordIO
    from facelearn.data.files import decode

    with RecordIO(path) as records:
        number, sizes = len(records), set()
        chosen = sorted({i * number // min(number, SAMPLE) for i in range(min(number, SAMPLE))})
        for i in _fetch.progress(range(number) if everything else chosen, path.name):
            sizes.add(tuple(decode(records.record(i).data, f"{path}: image {i}").shape[1:]))
        with warnings.catch_warnings():  # of gaps, which the answer tells, too
            warnings.simplefilter("ignore")
            people, images = np.unique(records.labels.numpy(), return_counts=True)
        classes, last = records.num_classes, records.names[-1]
    empty = classes - len(people)
    return (
        f"{number:,} images of {len(people):,} people ({images.min()} to {images.max()} each"
        + (f", {empty:,} of {classes:,} classes without any" if empty else "")
        + (f", labels up to {last} with gaps, numbered anew by RecordIO" if int(last) >= classes else "")
        + f"); decoded {number if everything else len(chosen):,}, {described(sizes)}"
    )


def check_bin(path: Path, everything: bool) -> str:
    """Read the pairs of a verification set, decode its images, and say what is there."""
    from facelearn.data import VerificationBin

    faces = VerificationBin(path)
    count, same = len(faces.same), int(faces.same.sum())
    size = described({tuple(faces.images.shape[2:])})
    return f"{count:,} pairs, {same:,} of one person and {count - same:,} of two; {size}"


def described(sizes: set[tuple[int, ...]]) -> str:
    return ", ".join(f"{width} x {height}" for height, width in sorted(sizes)[:5]) + (" ..." if len(sizes) > 5 else "")


def extract(rec: Path, target: Path) -> None:
    """Write every image as `target/images/<identity>/<key>.jpg`: the bytes in the record, by their label."""
    from facelearn.data import RecordIO

    with _fetch.working_in(target), RecordIO(rec) as records:
        mark, images, new = target / "extracted.json", target / "images", 0
        contents = {"file": rec.name, "bytes": rec.stat().st_size, "images": len(records)}
        if mark.is_file() and _fetch.record(mark) != contents:
            raise Stop(f"{target} holds the images of another file ({mark}); choose another folder with --to")
        if images.exists() and not mark.is_file():
            raise Stop(f"{images}: found no {mark.name} beside it that says of which file; choose another --to")
        _fetch.write_record(mark, contents)  # before the first image: whoever goes on has to know of which file
        with warnings.catch_warnings():  # of gaps: the folders have the labels of the file
            warnings.simplefilter("ignore")
            labels = [int(records.names[label]) for label in records.labels.tolist()]
        width = len(str(max(labels)))
        for i in _fetch.progress(range(len(records)), "writing"):
            data = records.record(i).data
            path = images / f"{labels[i]:0{width}d}" / f"{int(records.keys[i]):08d}.{suffix(data, rec, i)}"
            if not path.is_file() or path.stat().st_size != len(data) or path.read_bytes() != data:
                _fetch.write(path, data)
                new += 1
        found = sum(1 for _ in images.glob("*/[!.]*"))
        if found != len(records):
            raise Stop(f"{images}: found {found:,} files, expected {len(records):,}; remove what is not of {rec}")
        there = ("already there, " if not new else "") + f"{len(records):,} images of {len(set(labels)):,} people"
        print(f"{target}: {there}" + (f", {len(records) - new:,} were there already" * (0 < new < len(records))))


def suffix(data: bytes, rec: Path, index: int) -> str:
    for magic, name in ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n", "png"), (b"BM", "bmp")):
        if data.startswith(magic):
            return name
    raise ValueError(f"{rec}: image {index}: found {data[:8].hex()}, expected a JPEG, PNG or BMP")


if __name__ == "__main__":
    _fetch.run(main)
