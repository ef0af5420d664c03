#!/usr/bin/env bash
# deepface 0.0.103: for one net, its thresholds for three distances that put all pairs in the same order accept very
# different pairs.
#
# Seen: "cosine" (1 - v), "euclidean_l2" (the distance of unit vectors, sqrt(2 - 2v)) and "angular" (arccos(v) / pi) all
# fall as the cosine v rises, so one threshold on v would be the same as one on each of them. The table of thresholds
# says otherwise: Facenet512 accepts from v = 0.70 by its cosine, from 0.46 by euclidean_l2, from 0.45 by its angle. For
# embeddings with v = 0.6 the package's own functions say "two people" by the first and "one person" by the others.
# Buffalo_L goes from 0.45 to 0.16; for most other nets the three agree within .1. Expected: a change of distance changes
# the unit, not the verdict.
# Why it matters: who switches to another of these distances, thinking that only the scale changes, moves the false
# accept rate; and a threshold taken over as a cosine may be one of a distance (0.30 means v >= 0.70).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps --target "$folder/deepface" deepface==0.0.103
cd "$folder/deepface"
"$folder/venv/bin/python" - <<'END'
import ast
import math
import runpy
import typing
from pathlib import Path

import numpy as np

# The thresholds, and the distances alone: the whole module would ask for TensorFlow.
table = runpy.run_path("deepface/config/threshold.py")["thresholds"]
wanted = {"find_cosine_distance", "find_euclidean_distance", "find_angular_distance", "l2_normalize"}
tree = ast.parse(Path("deepface/modules/verification.py").read_text())
tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
names = {"np": np, "NDArray": np.typing.NDArray, **vars(typing)}
exec(compile(tree, "verification.py", "exec"), names)
unit = names["l2_normalize"]
distance = {
    "cosine": names["find_cosine_distance"],
    "euclidean_l2": lambda a, b: names["find_euclidean_distance"](unit(a), unit(b)),
    "angular": names["find_angular_distance"],
}
least = {"cosine": lambda t: 1 - t, "euclidean_l2": lambda t: 1 - t * t / 2, "angular": lambda t: math.cos(math.pi * t)}

print("deepface 0.0.103, numpy", np.__version__)
print("least cosine accepted, by cosine, euclidean_l2, angular:")
accepts = {net: {kind: least[kind](table[net][kind]) for kind in least} for net in table}
for net, found in accepts.items():
    print(f"  {net:13s}", "  ".join(f"{v:.2f}" for v in found.values()))
a, b = np.array([1.0, 0.0]), 3 * np.array([0.6, 0.8])
same = {kind: bool(distance[kind](a, b) <= table["Facenet512"][kind]) for kind in distance}
print("Facenet512, two embeddings with cosine 0.6, one person?", same)
assert same == {"cosine": False, "euclidean_l2": True, "angular": True}, same
spread = {net: max(found.values()) - min(found.values()) for net, found in accepts.items()}
assert spread["Facenet512"] > 0.2 > spread["ArcFace"], spread
END
echo "as seen"
