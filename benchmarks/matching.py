"""Can a person tell the synthetic people apart? Sheets for a fresh pair of eyes, and the answers, kept apart.

    python benchmarks/matching.py SHEETS ANSWERS [--size 64] [--difficulty 0.6] [--seed 7]

Writes 20 unlabelled sheets: above, one shot of somebody; below, ten people, one of whom is the same in another shot.
The observer, who has seen no other picture of them, writes down a number from 1 to 10 for each; chance is 2 of 20.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image

from facelearn.data import SyntheticFaces, contact_sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("sheets", type=Path)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--difficulty", type=float, default=0.6)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    generator = torch.Generator().manual_seed(options.seed)
    options.sheets.mkdir(parents=True, exist_ok=True)
    faces = SyntheticFaces(
        200, 2, size=options.size, seed=options.seed, difficulty=options.difficulty, split="open", cache=False
    )
    images = faces.images.unflatten(0, (20, 10, 2))  # sheet, person, shot
    answers = {}
    for k, people in enumerate(images):
        who = int(torch.randint(10, (), generator=generator))
        blank = torch.full_like(people[:2, 0], 255)
        above = torch.cat([blank, people[who, :1], blank])  # the query, centred
        sheet = contact_sheet(torch.cat([above, people[:, 1]]), 5, pad=4)
        picture = Image.fromarray(sheet.numpy())
        picture.resize((picture.width * 2, picture.height * 2), Image.Resampling.LANCZOS).save(
            options.sheets / f"sheet_{k + 1:02d}.png"
        )
        answers[f"sheet_{k + 1:02d}"] = who + 1
    options.answers.write_text(json.dumps(answers, indent=1))


if __name__ == "__main__":
    main()
