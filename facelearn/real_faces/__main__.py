"""`python -m facelearn.real_faces` (or `facelearn compare --data lfw`), and with `claims` or `exam` behind it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

from facelearn.files import check_folder, check_writable, write_whole
from facelearn.real_faces import recipe
from facelearn.training import best_device

PROGRAM = "python -m facelearn.real_faces"
DEVICE = "cpu, cuda, cuda:1 ... (default: cuda where there is one)"
COMPARE = """Losses on real faces: LFW, no labelled data from outside.

Five rotations over LFW's sets 1 to 5: everything is fitted on the people of four sets and measured on those of the
fifth. Trains what is missing in the run folder (a minute of one core a net, 5 nets a loss and seed), scores
classical systems, nets, nets with joint Bayesian, nets added to descriptors, and prints a table with intervals and
paired tests. Stop it whenever you like: every finished training is kept. course/en/real_faces.md says what it means.
"""
CLAIMS = """What the course's chapters conclude on drawn faces, asked on LFW.

A matrix on LBP per loss: settings searched on rotations 2 and 4, differences measured on 1, 3 and 5. Trains what is
missing in the run folder (a few seconds each, some 300 of them), and prints each comparison with its interval. With
--net it is the page's net instead, a minute each, about 100 of them. Stop it whenever you like. The plans stand in
facelearn/real_faces/claims.py and claims_net.py, the results in course/en/real_faces.md.
"""
EXAM = """The frozen configuration on people never seen: trains on LFW's sets at hand, then scores the pairs given.

Three to six minutes on one core, by the number of images. A person of the exam who is in the training sets is dropped
from training.

To prepare the images, align them to 112 x 112 by five points of each face:

  python data_scripts/lfw.py --landmarks lfw_landmark.txt --images lfw.tgz     # makes data/lfw/aligned112

The training folder (--train, or $FACELEARN_DATA/lfw) holds the aligned images, a list of people (people*.txt) and a
list of pairs (pairs*.txt); see the folder's layout in course/en/real_faces.md.
"""


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    try:
        if given[:1] in (["exam"], ["claims"]):
            {"exam": exam, "claims": claims}[given[0]](given[1:])
        else:
            compare(given)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def compare(arguments: list[str], name: str = PROGRAM) -> None:
    """Run or go on with the experiment, and print its table. ValueError or OSError where it cannot be."""
    from facelearn.real_faces import table
    from facelearn.real_faces.experiment import compare_lfw
    from facelearn.real_faces.rotation import load

    shaped = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(name, description=COMPARE, formatter_class=shaped)
    parser.add_argument("--folder", type=Path, help="LFW: lists and aligned images (default: $FACELEARN_DATA/lfw)")
    parser.add_argument("--losses", nargs="+", default=list(recipe.LOSSES), metavar="LOSS",
                        help=f"some of {' '.join(recipe.LOSSES)} (default: all)")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each loss and rotation (default 3)")
    parser.add_argument("--run", type=Path, default=Path("runs/lfw"), help="where all of it is kept (runs/lfw)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, one core each (default 1)")
    parser.add_argument("--device", help=DEVICE)
    parser.add_argument("--csv", type=Path, help="also write rows and tests to CSV and CSV with _tests in its name")
    options = parser.parse_args(arguments)
    check_folder(options.run, "--run")
    if options.csv:
        check_writable(options.csv, "--csv")
    lines = compare_lfw(
        options.folder, run=options.run, losses=options.losses, seeds=options.seeds, jobs=options.jobs,
        device=best_device(options.device),
    )  # fmt: skip
    faces = load(options.folder)
    found = table.tests(lines, faces.labels[faces.pairs])
    if options.csv:
        write_whole(options.csv, table.rows(lines).round(6).to_csv(index=False).encode())
        tests_file = options.csv.with_name(f"{options.csv.stem}_tests.csv")
        write_whole(tests_file, found.round(6).to_csv(index=False).encode())
    print(table.as_text(lines, found))


def claims(arguments: list[str]) -> None:
    """Ask the chapters' questions, and print the answers. ValueError or OSError where it cannot be."""
    from facelearn.real_faces.claims import Plan, Work, as_text, ask
    from facelearn.real_faces.claims_net import PLAN, NetWork
    from facelearn.real_faces.rotation import load

    shaped = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"{PROGRAM} claims", description=CLAIMS, formatter_class=shaped)
    parser.add_argument("--folder", type=Path, help="LFW: lists and aligned images (default: $FACELEARN_DATA/lfw)")
    parser.add_argument("--run", type=Path, default=Path("runs/lfw"), help="where all of it is kept (runs/lfw)")
    parser.add_argument("--net", action="store_true", help="train the page's net, not a matrix on LBP")
    parser.add_argument("--csv", type=Path, help="also write comparisons to CSV, and with _search and _losses in its "
                        "name what was tried and each training's numbers")  # fmt: skip
    options = parser.parse_args(arguments)
    check_folder(options.run, "--run")
    if options.csv:
        check_writable(options.csv, "--csv")
    faces = load(options.folder)
    work = NetWork(options.run, faces, PLAN) if options.net else Work(options.run, faces, Plan())
    found = ask(work, date=time.strftime("%Y-%m-%d"), say=_say)
    if options.csv:
        for name, table in (("", found.compared), ("_search", found.search), ("_losses", found.measured)):
            file = options.csv.with_name(f"{options.csv.stem}{name}.csv")
            write_whole(file, table.round(6).to_csv(index=False, lineterminator="\n").encode())
    print(as_text(found.compared))


def exam(arguments: list[str]) -> None:
    """Take the exam and print what it measured. ValueError or OSError where it cannot be."""
    from facelearn.real_faces.exam import Configuration, take_exam

    shaped = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(f"{PROGRAM} exam", description=EXAM, formatter_class=shaped)
    parser.add_argument("--pairs", type=Path, required=True, help="an official list of pairs, any number of folds")
    parser.add_argument("--images", type=Path, required=True, help="aligned 112x112 images, a folder or an archive")
    parser.add_argument("--train", type=Path, help="LFW to train on, lists and images (default: $FACELEARN_DATA/lfw)")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default 0)")
    parser.add_argument("--out", type=Path, default=Path("exam.json"), help="where the numbers go (exam.json)")
    parser.add_argument("--device", help=DEVICE)
    options = parser.parse_args(arguments)
    check_writable(options.out, "--out")
    device = best_device(options.device)
    chosen = dataclasses.replace(Configuration(), seed=options.seed)
    found = take_exam(options.pairs, options.images, options.train, chosen, device=device, say=_say)
    print(exam_text(found))
    write_whole(options.out, json.dumps(found, indent=1) + "\n")
    print(f"written: {options.out}")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def exam_text(found: dict[str, Any]) -> str:
    """What `take_exam` returns, for a person to read; percent."""
    train, test = found["train"], found["exam"]
    dropped = train["dropped because they are in the exam"]
    more = f" and {len(dropped) - 10} more" if len(dropped) > 10 else ""
    lines = [
        f"trained on {train['images']} images of {train['people']} people; measured on {test['pairs']} pairs in "
        f"{test['folds']} folds, {test['people']} people",
        f"dropped from training, since they are in the exam: {', '.join(dropped[:10]) or 'nobody'}{more}",
        "",
        f"{'%':32}{'accuracy':>22}{'train. thr.':>13}{'EER':>20}{'TAR@1e-2':>20}{'all pairs: EER TAR@1e-2':>25}",
    ]
    for name, system in found["systems"].items():
        spans = system["intervals"]
        accuracy, eer, tar = (
            f"{100 * system[m]:.2f} [{100 * spans[m][0]:.1f}, {100 * spans[m][1]:.1f}]"
            if m in spans
            else "too few pairs"
            for m in ("accuracy", "eer", "tar@1e-2")
        )
        every = system["all pairs"]
        lines.append(
            f"{name:32}{accuracy:>22}{100 * system['accuracy_training_threshold']:13.2f}{eer:>20}{tar:>20}"
            f"{100 * every['eer']:16.2f}{100 * every['tar@1e-2']:9.1f}"
        )
    lines += [
        "",
        "accuracy: mean over the folds, each with the threshold from the others. train. thr.: threshold from the pairs "
        "of the training lists. all pairs: of up to 10 images of each person, listed or not. [95 % intervals, people "
        "resampled]",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
