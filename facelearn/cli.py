"""The command line: `facelearn train | evaluate | compare | export | render`, or `python -m facelearn ...`.

Each command says with `--help` what it does and shows examples. Wrong use and unusable input end with exit code 2 and
one line that says what was found and what was expected; a training that diverges ends with 1, an interruption with 130.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OVERVIEW = """\
Train and measure the losses of face recognition, without writing code.

    facelearn train --loss arcface:scale=8,margin=0.6 --run runs/arcface
    facelearn evaluate --run runs/arcface
    facelearn evaluate --on embeddings:mine.npy --labels people.txt
    facelearn compare --losses softmax arcface:scale=8,margin=0.6 --seeds 3 --out runs/margin
    facelearn export --run runs/arcface --out net.onnx
    facelearn render --out faces --identities 20 --size 112

Every command has a --help with more examples. Without a data set at hand, faces of people who do not exist are drawn.
"""

PLACES = """\
A folder for results is made, in one that is there (but `runs`, which is made, too); a file goes into one that is there.
"""

TRAIN = """\
Train a net with a loss, in a run folder.

The folder then holds config.json (all settings), metrics.csv and metrics.json (a row per epoch), figures/,
checkpoint.safetensors, and model.safetensors (the trained net). A run that was stopped or killed goes on where it was,
with the same command or with --resume; the result is the same as without the interruption.
"""

TRAIN_EXAMPLES = """\
examples:
  # seconds an epoch on a laptop: 300 people who do not exist, 20 images each, measured on strangers
  facelearn train --loss arcface:scale=8,margin=0.6 --run runs/arcface
  facelearn train --loss arcface --set scale=8 margin=0.6 --run runs/arcface       # the same

  # go on after an interruption
  facelearn train --run runs/arcface --resume

  # a pair loss: batches of 32 people with 4 images each; a sum of losses, the second term from 30 % of the steps on
  facelearn train --loss triplet:margin=0.4 --pk 32 4 --run runs/triplet
  facelearn train --loss softmax+0.01*ring:start=0.3 --run runs/ring

  # one's own folder, a subfolder for each person; then fine-tune what came out, or train it for longer (a new cycle)
  facelearn train --data folder:people --size 32 --pk 8 4 --small repeat --mirror --loss arcface:scale=16 --run runs/own
  facelearn train --from runs/own --data folder:more --size 32 --lr 1e-3 --run runs/tuned
  facelearn train --run runs/own --extend 8                                        # runs/own+8

  # harder, bigger, fewer faces
  facelearn train --data synthetic:identities=1000,size=48,difficulty=0.8,seed=7 --width 16 --dim 128 --run runs/big

  # real training: InsightFace's record files, IResNet-50, four GPUs, the classes shared out among them
  torchrun --nproc-per-node 4 -m facelearn train --data recordio:faces_emore/train.rec --net iresnet50 --dim 512 \\
      --loss arcface:scale=64,margin=0.5 --class-parallel --amp bf16 --channels-last --batch-size 512 --lr 1e-3 \\
      --epochs 20 --run-folder runs/r50
  # (torchrun takes a plain --run for an option of its own)

losses, in course order:
  {losses}
Their keywords are those of the classes in facelearn.losses. The defaults are the papers', made for millions of images:
on small sets a scale of 8 to 16 trains better than 64.
"""

EVALUATE = """\
Measure a trained net, or one's own embeddings or scores: is this one person or two?

Prints AUC, EER, TAR at fixed FAR and, for a list with about as many genuine as impostor pairs in its folds, the
accuracy over them, with 95 % intervals by people (a bootstrap; for all pairs of over 2,000 images a jackknife). Without
folds of its own a list whose people are known is dealt to folds of people, and a pair across two of them is left out.
Into the run folder, or where --out says, go report_NAME.html (one page with curves, thresholds and the worst mistakes,
which needs nothing but itself), evaluation_NAME.json and .csv, and the curves as PNG.

What is one's own: folder:DIR has a subfolder for each person; pairs:FILE has rows `a.jpg b.jpg 1` (0: two people; tabs,
commas or blanks, with a head or without); embeddings:FILE is .npy, .npz, .safetensors, .csv or .parquet from any model,
a row an image; scores:FILE is a table of score (or distance) and same, for intervals also of first, second, person1
and person2.
"""

EVALUATE_EXAMPLES = """\
examples:
  facelearn evaluate --run runs/arcface                                 # strangers of the standard set "open"
  facelearn evaluate --run runs/arcface --on synthetic:seed=901         # another draw of people
  facelearn evaluate --weights arcface                                  # a net that comes with the package
  facelearn evaluate --weights model.safetensors --on lfw --pairs pairs.txt --images lfw.tgz --landmarks landmarks.txt
  facelearn evaluate --run runs/r50 --on bin:faces_emore/lfw.bin --flip

  # one's own; each writes a report into the folder report
  facelearn evaluate --weights arcface --on folder:faces                # all pairs of the images in faces/PERSON/
  facelearn evaluate --weights arcface --on pairs:pairs.csv --images faces
  facelearn evaluate --on embeddings:mine.npy --labels people.txt       # a person a row; all pairs
  facelearn evaluate --on embeddings:mine.npz --pairs pairs.csv         # pairs of rows, counted from 0, or of names
  facelearn evaluate --on embeddings:mine.npz --templates 4             # the mean of every four rows of a person
  facelearn evaluate --on scores:scores.csv --language zh --out report_zh
"""

COMPARE = """\
Compare losses honestly: the same nets, data, steps and seeds, differences paired by seed, with intervals.

Every loss is trained with every seed; a seed draws the people, the start weights and the order of the batches. The
table has the mean over seeds with a 95 % t-interval, and for each loss the difference to the first one, seed by seed.
Each training is a run folder below --out, so the same command goes on where it was stopped.

With runs instead of losses, trained nets are measured on one set, and their differences get a paired bootstrap over
people; so with --own what models of any kind made of the same images or pairs. With --data lfw, the experiment on real
faces runs instead (facelearn compare --data lfw --help).
"""

COMPARE_EXAMPLES = """\
examples:
  facelearn compare --losses softmax cosface:scale=8,margin=0.4 arcface:scale=8,margin=0.6 --seeds 5 --out runs/margins
  facelearn compare --losses softmax triplet:margin=0.4 --epochs 20 --seeds 3 --out runs/twenty
  facelearn compare --runs runs/softmax runs/arcface
  facelearn compare --own embeddings:one.npy embeddings:other.npy --labels people.txt
  facelearn compare --own scores:one.csv scores:other.csv              # named: first,second,score,same; the same rows
  facelearn compare --data lfw --help
"""

EXPORT = """\
Take a trained net away: one ONNX file, for programs without torch.

Weights are inside, batches of any size go in, and the file is run and compared with the net before it is written.
Needs onnx, onnxscript and onnxruntime: pip install 'facelearn[export]'.
"""

EXPORT_EXAMPLES = """\
examples:
  facelearn export --run runs/arcface                       # runs/arcface/model.onnx
  facelearn export --weights arcface --out arcface.onnx     # a net that comes with the package

to read it, with onnxruntime and NumPy alone:
  net = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
  images = photos.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1   # photos: uint8 (B, H, W, C), RGB
  embeddings = net.run(["embeddings"], {"images": images})[0]
  embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
"""

RENDER = """\
Draw faces of people who do not exist, and export them as a folder.

One folder of PNGs per person, images.csv and traits.csv with all that is known about them, a data sheet (README.md),
settings.json, and a contact sheet. The same arguments give the same pixels on every machine of a kind.
"""

RENDER_EXAMPLES = """\
examples:
  facelearn render --out faces --identities 20 --images 10 --size 112
  facelearn render --sheet sheet.png --identities 12 --size 64 --difficulty 1        # a picture to look at, no folder
  facelearn render --out twins --kinship 0.7 --identities 40                         # families of look-alikes
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["compare"] and _value_of(given, "--data") == "lfw":
        return _guarded("compare", lambda: _compare_real(given[1:]))
    parser = make_parser()
    options = parser.parse_args(given)
    if options.command is None:
        parser.print_help()
        return 0
    return _guarded(options.command, lambda: COMMANDS[options.command](options))


def _guarded(command: str, act: Any) -> int:
    """Errors of the input as one line."""
    from facelearn import distributed

    try:
        distributed.start()
        act()
        distributed.stop()  # not after an error: a rank that fails alone is to end, and not to wait for the others
    except (ValueError, OSError, distributed.OtherRank) as error:
        print(f"facelearn {command}: error: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"facelearn {command}: the training diverged: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"facelearn {command}: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


# ---- what is asked --------------------------------------------------------------------------------------------------


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "facelearn", description=OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"facelearn {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="train | evaluate | compare | export | render")
    train = _command(commands, "train", TRAIN, TRAIN_EXAMPLES.replace("{losses}", _losses()))
    train.add_argument("--run", "--run-folder", type=Path, required=True, metavar="FOLDER",
                       help="the run folder: made, or gone on with (under torchrun only --run-folder)")  # fmt: skip
    going_on = train.add_mutually_exclusive_group()
    going_on.add_argument("--resume", action="store_true", help="take all settings from the run folder, and go on")
    going_on.add_argument("--extend", type=int, metavar="N",
                          help="N more epochs of the finished run in --run, in a new folder RUN+N that starts from it, "
                          "with its settings, its loss and a new cycle; of --from, in the folder --run")  # fmt: skip
    _training_options(train)
    evaluate = _command(commands, "evaluate", EVALUATE, EVALUATE_EXAMPLES)
    which = evaluate.add_mutually_exclusive_group()
    which.add_argument("--run", type=Path, help="a run folder")
    which.add_argument("--weights", help="a model.safetensors, or the name of a net that comes with the package")
    _measuring_options(evaluate, own=True)
    evaluate.add_argument("--out", type=Path,
                          help="folder to write into, made if need be (default: the run folder; for one's own data "
                          "report)")  # fmt: skip
    evaluate.add_argument("--language", choices=("en", "zh"),
                          help="of the report (default: what FACELEARN_LANG or the locale says)")  # fmt: skip
    evaluate.add_argument("--no-pictures", dest="pictures", action="store_false", help="no faces in the report")
    compare = _command(commands, "compare", COMPARE, COMPARE_EXAMPLES)
    what = compare.add_mutually_exclusive_group(required=True)
    what.add_argument("--losses", nargs="+", metavar="LOSS", help="losses as for `train --loss`; the first is the base")
    what.add_argument("--runs", nargs="+", type=Path, metavar="RUN", help="finished runs; the first is the base")
    what.add_argument("--own", nargs="+", metavar="KIND:FILE",
                      help="embeddings:FILE or scores:FILE of two or more models, the same rows in each")  # fmt: skip
    compare.add_argument("--seeds", type=int, default=3, help="trainings of each loss (default 3)")
    compare.add_argument("--first-seed", type=int, default=100, help="the seeds count up from it (default 100)")
    compare.add_argument("--out", type=Path, default=Path("runs/compare"), help="folder of the runs (runs/compare)")
    _training_options(compare, for_compare=True)
    _measuring_options(compare)
    export = _command(commands, "export", EXPORT, EXPORT_EXAMPLES)
    which = export.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", type=Path, help="a run folder")
    which.add_argument("--weights", help="a model.safetensors, or the name of a net that comes with the package")
    export.add_argument("--out", type=Path, help="the file to write (default: model.onnx in the run folder)")
    for command in (train, evaluate, compare):
        command.add_argument("--device", help="cpu, cuda, cuda:1, mps ... (default: cuda where there is one)")
    render = _command(commands, "render", RENDER, RENDER_EXAMPLES)
    render.add_argument("--out", type=Path, help="folder to write; must not hold anything yet")
    render.add_argument("--sheet", type=Path, help="write a contact sheet as PNG")
    for name, kind, default, told in (
        ("--identities", int, 20, "number of people"),
        ("--images", int, 10, "images of each"),
        ("--size", int, 112, "pixels per side, 32 to 112"),
        ("--seed", int, 0, "which people and shots"),
        ("--difficulty", float, 0.6, "strength of pose, light, blur ...: 0 passport, 1 hard"),
        ("--kinship", float, 0.0, "0 to below 1: likeness within families of four"),
        ("--label-noise", float, 0.0, "share of images with a wrong label"),
    ):
        render.add_argument(name, type=kind, default=default, help=f"{told} (default {default})")
    render.add_argument("--split", choices=("fit", "tune", "open"), default="fit", help="world of people (default fit)")
    return parser


def _command(commands: Any, name: str, description: str, examples: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name, help=description.splitlines()[0], description=f"{description}\n{PLACES}", epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip


def _training_options(parser: argparse.ArgumentParser, for_compare: bool = False) -> None:
    """Options that are fields of `runs.Settings`; what is not given stays away, so that its default counts."""
    from facelearn.runs import NETS, Settings

    default = Settings()
    loss = parser.add_argument_group("loss")
    if not for_compare:
        loss.add_argument("--loss", help=f"STEM[:name=value,...], sums as 1*A+0.01*B (default {default.loss})")
        loss.add_argument("--set", nargs="+", metavar="name=value", help="keywords of the loss, as after the :")
    loss.add_argument("--recipes", type=Path, metavar="FILE",
                      help="take keywords and batches of a bare STEM from this JSON")  # fmt: skip
    loss.add_argument("--pk", nargs=2, type=int, metavar=("P", "K"), help="batches of P people with K images each")
    loss.add_argument("--small", choices=("error", "drop", "repeat"),
                      help="people with fewer than K images: refuse, leave out, repeat (default error)")  # fmt: skip
    if not for_compare:
        loss.add_argument("--class-parallel", action="store_true", default=None,
                          help="share the classes out among the processes (with torchrun)")  # fmt: skip
    data = parser.add_argument_group("data and net")
    data.add_argument("--data", help="synthetic[:identities=300,images_per_identity=20,size=32,seed=1,difficulty=0.6], "
                      "digits, mnist:DIR, folder:DIR, recordio:FILE (default synthetic)")  # fmt: skip
    data.add_argument("--size", type=int, help="resize the images of a folder or record file to this side")
    data.add_argument("--no-augment", dest="augment", action="store_false", default=None, help="no shift and gain")
    data.add_argument("--mirror", action="store_true", default=None, help="every other image mirrored, by chance")
    data.add_argument("--net", choices=NETS, help=f"(default {default.net})")
    data.add_argument("--dim", type=int, help=f"length of the embedding (default {default.dim})")
    data.add_argument("--width", type=int, help=f"of the small net (default {default.width})")
    data.add_argument("--norm", choices=("batch", "group", "frozen"), help="normalisation (default batch)")
    steps = parser.add_argument_group("training")
    steps.add_argument("--epochs", type=int, help=f"(default {default.epochs})")
    steps.add_argument("--batch-size", type=int, help=f"of all processes together (default {default.batch_size})")
    steps.add_argument("--lr", type=float, help=f"peak of the one-cycle schedule (default {default.lr}; try 4 and 8 "
                       "times as much: on the course's synthetic faces nearly every loss was better so)")  # fmt: skip
    steps.add_argument("--weight-decay", type=float, help=f"(default {default.weight_decay})")
    if not for_compare:
        steps.add_argument("--from", dest="start", metavar="WEIGHTS",
                           help="start from a run, a model.safetensors or insightface's .pth: the net, of a run the "
                           "class weights of people with the same names; a new cycle of the rate")  # fmt: skip
        steps.add_argument("--seed", type=int, help="of start weights, batches, augmentation (default 0)")
    steps.add_argument("--amp", nargs="?", const="auto", choices=("off", "auto", "bf16", "fp16"),
                       help="mixed precision (default off; bare --amp: what the device does best)")  # fmt: skip
    steps.add_argument("--float64", action="store_true", default=None, help="double precision, to compare results")
    steps.add_argument("--channels-last", action="store_true", default=None, help="memory layout that GPUs prefer")
    steps.add_argument("--eval-every", type=int, metavar="N",
                       help="measure strangers every N epochs, for synthetic data (default 1; 0: never)")  # fmt: skip
    steps.add_argument("--workers", type=int, default=0, help="processes that load images from disk (default 0)")
    steps.add_argument("--progress", action=argparse.BooleanOptionalAction, default=None,
                       help="a bar for each epoch (default: on a terminal)")  # fmt: skip


def _measuring_options(parser: argparse.ArgumentParser, own: bool = False) -> None:
    measure = parser.add_argument_group("what to measure on")
    more = ", folder:DIR, pairs:FILE, embeddings:FILE, scores:FILE" if own else ""
    measure.add_argument("--on", default="synthetic",
                         help=f"synthetic[:name=value,...] (the standard set open), lfw, bin:FILE{more}")  # fmt: skip
    measure.add_argument("--pairs", type=Path, help="lfw: the list of pairs, pairs.txt"
                         + ("; folder, embeddings: a list of one's own" if own else ""))  # fmt: skip
    measure.add_argument("--images", type=Path, help="lfw: folder or archive of the images"
                         + ("; pairs: the folder (default: that of the list)" if own else ""))  # fmt: skip
    measure.add_argument("--labels", type=Path, help="one's own: a person a row, or rows image, person")
    measure.add_argument("--templates", metavar="K or FILE",
                         help="one's own: average every K images of a person, or by rows image, template")  # fmt: skip
    measure.add_argument("--landmarks", type=Path, help="lfw: five points per image, to align them to 112 x 112")
    measure.add_argument("--flip", action="store_true", help="add the embedding of the mirrored image")
    measure.add_argument("--resamples", type=int, default=200, help="of the bootstrap; 0: no intervals (default 200)")


def _losses() -> str:
    import textwrap

    from facelearn.losses import REGISTRY

    return textwrap.fill(" ".join(REGISTRY), 110, subsequent_indent="  ")


def _version() -> str:
    from facelearn import __version__

    return __version__


def _value_of(given: Sequence[str], option: str) -> str | None:
    for i, word in enumerate(given):
        if word == option:
            return given[i + 1] if i + 1 < len(given) else None
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


# ---- what is done ---------------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace) -> None:
    from facelearn import distributed, runs

    given = _settings_given(options)
    if options.resume:
        stored = runs.config(options.run)
        differ = [f"--{k.replace('_', '-')}" for k, v in given.items() if getattr(stored, k) != v]
        if differ:
            raise ValueError(f"{', '.join(differ)}: differ from the run in {options.run}; expected none with --resume")
        settings = stored
    elif options.extend is not None:
        options.run, settings = _extended(options, given)
    else:
        settings = runs.Settings(**given)
    how = {"progress": options.progress, "workers": options.workers, "device": options.device}
    records = runs.train(options.run, settings, say=_say, **how)
    if distributed.rank() == 0:
        print(f"{options.run}: {len(records)} epochs, loss {records[-1]['loss']:.4f}; model.safetensors holds the net")


def _extended(options: argparse.Namespace, given: dict[str, Any]) -> tuple[Path, Any]:
    """More epochs of a finished run: a run of the same settings that starts from it, its folder and its settings."""
    from facelearn import runs

    if options.epochs is not None:
        raise ValueError(f"--epochs={options.epochs}: found with --extend, expected it to be left out")
    old = Path(options.start or options.run)
    old = old if old.name.strip(".") else old.resolve()  # `.` has no name to add to
    runs.model_file(old)  # finished
    stored = runs.config(old)
    more = {"epochs": options.extend, "start": str(old), "seed": stored.seed + 1}  # not the same draws once more
    folder = options.run if options.start else old.with_name(f"{old.name}+{options.extend}")
    _say(f"{folder}: {options.extend} more epochs of {old} ({stored.epochs}), in a new cycle of the learning rate")
    return folder, dataclasses.replace(stored, **(more | given))


def _say(text: str) -> None:
    print(text, flush=True)


def _settings_given(options: argparse.Namespace) -> dict[str, Any]:
    """The fields of `runs.Settings` that were named on the command line."""
    from facelearn.runs import Settings

    names = {field.name for field in dataclasses.fields(Settings)}
    given = {k: v for k, v in vars(options).items() if k in names and v is not None}
    if "pk" in given:
        given["pk"] = tuple(given["pk"])
    if extra := getattr(options, "set", None):
        given["loss"] = given.get("loss", Settings.loss)
        given["loss"] += ("," if ":" in given["loss"] else ":") + ",".join(extra)
    if options.recipes and getattr(options, "losses", None) is None:
        if not given.get("loss", "").isidentifier():
            found = given.get("loss", "none")
            raise ValueError(f"--recipes: with the loss {found}; expected --loss STEM and no keywords of its own")
        given |= _from_recipes(options.recipes, given["loss"], "pk" in given)
    return given


def _from_recipes(path: Path, loss: str, pk_given: bool) -> dict[str, Any]:
    """The recipe of a bare stem, if the file has one."""
    from facelearn.recipe import Recipe

    try:
        recipes = json.loads(path.read_text(encoding="utf-8"))["losses"]
        if loss not in recipes:
            return {}
        recipe = Recipe.from_json(recipes[loss])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"--recipes: {path} is damaged ({error!r}); expected JSON with an object `losses`") from None
    except ValueError as error:
        raise ValueError(f"--recipes: {path}: {error}") from None
    return {"loss": str(recipe)} | ({"pk": recipe.pk} if recipe.pk and not pk_given else {})


def _evaluate(options: argparse.Namespace) -> None:
    from facelearn import measuring, report
    from facelearn.files import check_folder
    from facelearn.training import best_device

    best_device(options.device)  # before faces are drawn
    kind = options.on.partition(":")[0]
    _check_fitting(options, kind)
    folder: Path | None = options.out or options.run or (Path("report") if kind in OWN else None)
    if folder:
        check_folder(folder, "--run" if folder == options.run else "--out")
    if kind in OWN:
        subject, result = _own(options)
    else:
        net, size = _net(options)
        name, target = _target(options, size)
        subject = _subject(options, name, target)
        x = measuring.embeddings_of(net, target, flip=options.flip, device=options.device)
        result = measuring.counted(x, target) or measuring.measure(x, target)
    found = measuring.details(result, resamples=options.resamples)
    source = options.run or options.weights
    print(f"{f'{source} on ' if source else ''}{subject.name}: {measuring.table(found)}")
    if folder:
        language = options.language or report.reader_language()
        print(f"written: {report.write(folder, subject, result, found, language)}")


# What each kind of one's own data takes beside itself.
OWN = {
    "folder": ("run", "weights", "pairs", "labels", "templates", "flip"),
    "pairs": ("run", "weights", "images", "labels", "flip"),
    "embeddings": ("pairs", "images", "labels", "templates"),
    "scores": ("images",),
}


def _check_fitting(options: argparse.Namespace, kind: str) -> None:
    """ValueError for options that would be passed over or cannot work, or a net that is missing."""
    if 0 != options.resamples < 10:
        raise ValueError(f"--resamples: found {options.resamples}, expected 10 or more, or 0 for no intervals")
    if kind not in (*OWN, "synthetic", "lfw", "bin"):
        kinds = f"synthetic, lfw, bin:FILE, folder:DIR, {', '.join(f'{name}:FILE' for name in OWN if name != 'folder')}"
        raise ValueError(f"--on: {options.on!r}; expected one of {kinds}")
    if kind in OWN and not options.on.partition(":")[2]:
        raise ValueError(f"--on: {options.on!r}; expected {kind}:{'DIR' if kind == 'folder' else 'FILE'}")
    given = [name for name in ("run", "weights", "pairs", "images", "labels", "templates", "landmarks", "flip")
             if getattr(options, name)]  # fmt: skip
    allowed = OWN.get(kind, [name for name in given if name not in ("labels", "templates")])
    for name in given:
        if name not in allowed:
            raise ValueError(f"--{name}: found with --on {kind}, which does not use it; expected it to be left out")
    if "run" in OWN.get(kind, ("run",)) and not (options.run or options.weights):
        raise ValueError("--run, --weights: found neither; expected one, a net to embed the images")


def _own(options: argparse.Namespace) -> tuple[Any, Any]:
    """One's own data and what was measured."""
    from facelearn import measuring, own, starting

    kind, _, path = options.on.partition(":")
    name = re.sub(r"[^\w.-]+", "_", Path(path).resolve().name if kind == "folder" else Path(path).stem)
    if kind == "scores":
        scored = own.read_scores(path)
        notes: dict[str, Any] = {"distances": {}} if scored.distances else {}
        return _own_subject(options, name, scored.items, notes), measuring.measure_scores(scored)
    net, size = _net(options) if "run" in OWN[kind] else (None, None)
    listed = kind == "pairs"
    data = own.open_own(
        images=None if kind == "embeddings" else (options.images or Path(path).parent) if listed else path,
        embeddings=path if kind == "embeddings" else None,
        labels=options.labels,
        pairs=path if listed else options.pairs,
        templates=_templates(options),
        size=size,
        listed_only=listed,
    )
    notes = {"templates": {}} if data.members is not None else {}
    if others := getattr(data.images, "passed_over", ()):
        _say(f"passed over: {starting.listed(others)}")
    if data.images is not None:
        notes |= {"resized": {"size": size}} if data.resized() else {}
        images = data.images.load() if options.flip else data.images
        assert net is not None
        found = measuring.embeddings_of(net, images, flip=options.flip, device=options.device)
        data.embeddings = found.numpy()
    measured = measuring.counted(data.embeddings, data) or measuring.measure(data.embeddings, data)
    return _own_subject(options, name, data.items, notes, data), measured


def _templates(options: argparse.Namespace) -> Path | int | None:
    given = options.templates
    return int(given) if given and given.isdigit() else given and Path(given)


def _own_subject(
    options: argparse.Namespace, name: str, items: list[str], notes: dict[str, Any], data: Any = None
) -> Any:
    """Its pictures: the images themselves, of a template the first one; or files of --images with the items' names."""
    from facelearn import report

    def picture(item: int) -> Any:
        if here:
            return data.picture(item)
        from facelearn.data.files import open_image

        file = options.images / items[item]
        return open_image(file.read_bytes(), str(file)) if file.is_file() else None

    here = data is not None and data.images is not None
    seen = options.pictures and (here or bool(options.images and any((options.images / i).is_file() for i in items)))
    source = options.run or options.weights
    told = f"{source} · {options.on}" if source else options.on
    people = [] if data is None or data.labels is None else [data.people[label] for label in data.labels]
    counted = data is not None and items == [str(i) for i in range(len(items))]
    notes = notes | ({"rows": {}} if counted else {}) | ({"pictures": {}} if seen else {})
    return report.Subject(name, told, items, people, picture if seen else None, notes)


def _subject(options: argparse.Namespace, name: str, target: Any) -> Any:
    """A set that the package reads or draws, whose images are in memory."""
    from PIL import Image

    from facelearn import report

    def picture(item: int) -> Any:
        return Image.fromarray(target.images[item].permute(1, 2, 0).numpy().squeeze())

    items = getattr(target, "files", None) or [f"{label}/{i}" for i, label in enumerate(target.labels.tolist())]
    told = f"{options.run or options.weights} · {options.on}"
    notes: dict[str, Any] = {} if name == "synthetic" or not options.pictures else {"pictures": {}}
    return report.Subject(name, told, items, picture=picture if options.pictures else None, notes=notes)


def _net(options: argparse.Namespace) -> tuple[Any, int]:
    """The net, and the size of its images."""
    from facelearn import models, nets, runs

    if not options.run and options.weights in models.zoo():
        return models.pretrained(options.weights), 32
    if not options.run and not Path(options.weights).is_file():
        raise ValueError(f"--weights: {options.weights!r}; expected a file, or one of {', '.join(models.zoo())}")
    path = runs.model_file(options.run) if options.run else Path(options.weights)
    return nets.load_net(path), nets.image_size(path)


def _target(options: argparse.Namespace, size: int) -> tuple[str, Any]:
    """A name for the set to measure on, and the set."""
    from facelearn import data
    from facelearn.data.named import synthetic_options

    kind, _, rest = options.on.partition(":")
    if kind == "synthetic":
        more = synthetic_options(options.on, "--on")
        return "synthetic", data.standard("open", **({"size": size} | more))
    if kind == "lfw":
        if not (options.pairs and options.images):
            raise ValueError("--on lfw: expected --pairs FILE and --images FOLDER or ARCHIVE")
        aligned = options.landmarks is not None
        return "lfw", data.LFWPairs(
            options.pairs, options.images, size=None if aligned and size == 112 else size, landmarks=options.landmarks
        )
    if kind == "bin" and rest:
        return Path(rest).stem, data.VerificationBin(rest, size=size)
    raise ValueError(f"--on: {options.on!r}; expected synthetic[:name=value,...], lfw or bin:FILE")


def _compare(options: argparse.Namespace) -> None:
    from facelearn import comparing
    from facelearn.training import best_device

    best_device(options.device)
    wrong = ("images", "landmarks", "flip") if options.own else ("labels", "templates")
    for name in (*wrong, *(("pairs",) if options.losses else ())):
        if getattr(options, name):
            what = next(what for what in ("own", "runs", "losses") if getattr(options, what))
            raise ValueError(f"--{name}: found with --{what}, which does not use it; expected it to be left out")
    if options.own:
        beside = {"labels": options.labels, "pairs": options.pairs, "templates": _templates(options)}
        comparing.compare_own(options.own, **beside, resamples=options.resamples, say=_say)
        return
    if options.runs:
        how = {"flip": options.flip, "resamples": options.resamples, "device": options.device}
        comparing.compare_runs(options.runs, lambda size: _target(options, size), say=_say, **how)
        return
    if options.on != "synthetic":
        raise ValueError(f"--on: {options.on!r} with --losses; expected none, each seed is measured on its own people")
    given = _settings_given(options)
    recipes = {}
    for loss in options.losses:
        recipes[loss] = given | {"loss": loss}
        if options.recipes:
            recipes[loss] |= _from_recipes(options.recipes, loss, "pk" in given)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    comparing.compare_losses(options.out, recipes, seeds, options.progress, _say, options.device)


def _compare_real(arguments: list[str]) -> None:
    """The experiment on real faces, which has its own options."""
    from facelearn.real_faces.__main__ import compare

    rest = [word for i, word in enumerate(arguments) if word not in ("--data", "--data=lfw")
            and not (i and arguments[i - 1] == "--data")]  # fmt: skip
    compare(rest, "facelearn compare --data lfw")


def _export(options: argparse.Namespace) -> None:
    from facelearn.files import check_writable
    from facelearn.onnx_file import write_onnx

    if not (options.out or options.run):
        raise ValueError("--out: found none with --weights; expected the file to write")
    path = options.out or options.run / "model.onnx"
    check_writable(path, "--out" if options.out else "--run")
    net, size = _net(options)
    differ = write_onnx(path, net, size, getattr(net, "channels", 1))
    print(f"written: {path} (embeddings as torch's, to {differ:.0e} of the largest)")


def _render(options: argparse.Namespace) -> None:
    from facelearn.data import SyntheticFaces
    from facelearn.data.export import export_faces, save_sheet
    from facelearn.files import check_folder, check_writable
    from facelearn.training import show_progress

    if not (options.out or options.sheet):
        raise ValueError("--out, --sheet: found neither; expected a folder, a file, or both")
    if options.out:
        check_folder(options.out, "--out")
    if options.sheet:
        check_writable(options.sheet, "--sheet")
    settings = {
        "identities": options.identities, "images_per_identity": options.images, "size": options.size,
        "seed": options.seed, "difficulty": options.difficulty, "split": options.split, "kinship": options.kinship,
        "label_noise": options.label_noise,
    }  # fmt: skip
    if options.sheet:
        shots = min(options.images, 12)
        save_sheet(options.sheet, SyntheticFaces(**settings | {"images_per_identity": shots}), people=12, shots=shots)
        print(f"written: {options.sheet}")
    if options.out:
        export_faces(options.out, settings, progress=show_progress())
        print(f"written: {options.out} ({options.identities} people, {options.images} images each)")


COMMANDS = {"train": _train, "evaluate": _evaluate, "compare": _compare, "export": _export, "render": _render}
