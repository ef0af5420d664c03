"""Train the small nets that come with the package, measure them, and write them with their card.

    python tools/zoo.py            # trains what is missing (resumable), then writes facelearn/zoo
    python tools/zoo.py --fresh    # trains everything again

About 40 seconds a net on a quiet core. The same machine, threads and torch give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from facelearn import runs
from facelearn.data import standard
from facelearn.data.face_renderer import VERSION
from facelearn.measuring import evaluate, numbers
from facelearn.nets import save_net
from facelearn.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
LOSSES = ("softmax", "triplet", "cosface", "arcface")
TRAINING: dict[str, Any] = {"epochs": 20, "seed": 0, "eval_every": 0}
RESAMPLES = 500
FOLDER = ROOT / "facelearn" / "zoo"

CARD = {
    "en": """# Model zoo: small nets for faces of people who do not exist

[中文](README.zh.md)

```python
from facelearn.models import pretrained

net = pretrained("arcface")  # (B, 3, 32, 32) in [-1, 1] -> (B, 64)
```

| name | loss | EER | TAR at FAR 1e-2 | TAR at FAR 1e-3 | bytes |
|---|---|---|---|---|---|
{rows}

95 % intervals in brackets, by a bootstrap over the {people} people of the standard set "open" (all {pairs} pairs).
They hold the luck of the test people, not that of the training: one training each, seed {seed}. So a difference between
two rows says little about the losses; the protocol tables of the course, with several seeds, do.

- **Net**: `SmallFaceNet(64, width=8)`, 90,312 parameters. In: RGB faces of 32 x 32 pixels, cropped as the renderer
  does. Out: 64 numbers, to be compared by their cosine.
- **Training data**: the standard set "fit", 300 people x 20 images, drawn by the renderer (version {version}). No photo
  of a real person was used.
- **Training**: {epochs} epochs, AdamW, one cycle with peak 4e-3, batches of 128 (32 x 4 for triplet), shift and gain.
  Written by `python tools/zoo.py`; the loss settings are those chosen on the split "tune".
- **For**: examples, tests, a first look at an embedding. **Not for real faces**: these nets have never seen one, and
  whatever they say about one means nothing. Nothing measured here tells how a system treats groups of real people.
- **Licence**: MIT, as the code.

`zoo.json` has the settings, the hashes (checked on loading) and the measured numbers in full.
""",
    "zh": """# 模型库：为不存在的人脸训练的小网络

[English](README.md)

```python
from facelearn.models import pretrained

net = pretrained("arcface")  # (B, 3, 32, 32)，取值 [-1, 1] -> (B, 64)
```

| 名称 | 损失 | EER | TAR（FAR 1e-2） | TAR（FAR 1e-3） | 字节 |
|---|---|---|---|---|---|
{rows}

括号内是 95 % 置信区间：对标准集 “open” 的 {people} 个人做自助重采样（共 {pairs} 对）。它只含测试人群的随机性，\
不含训练的随机性：每个网络只训练了一次（种子 {seed}）。因此两行之差几乎说明不了损失的优劣；\
那要看课程里多个种子的协议表。

- **网络**：`SmallFaceNet(64, width=8)`，90,312 个参数。输入：32 x 32 像素的 RGB 人脸，裁剪方式与渲染器相同。
  输出：64 个数，用余弦比较。
- **训练数据**：标准集 “fit”，300 人 x 20 张，由渲染器（版本 {version}）绘制，没有用到任何真人照片。
- **训练**：{epochs} 轮，AdamW，单周期学习率，峰值 4e-3，批大小 128（三元组损失为 32 x 4），平移与增益扰动。
  由 `python tools/zoo.py` 生成；损失的设置是在 “tune” 集上选出的。
- **用途**：示例、测试、初看嵌入。**不可用于真人**：这些网络从未见过真实人脸，对真人给出的任何结果都没有意义；
  这里测得的数字也不说明任何系统如何对待真实人群。
- **许可**：与代码相同，MIT。

`zoo.json` 载有全部设置、哈希（载入时核对）和完整的测量结果。
""",
}


def wanted(loss: str) -> runs.Settings:
    """With the settings of the loss that the search chose on the split "tune" (`course/experiments/protocol.py`)."""
    chosen = json.loads((ROOT / "course" / "settings.json").read_text(encoding="utf-8"))["losses"]
    recipe = Recipe.from_json(chosen[loss])
    return runs.Settings(loss=str(recipe), pk=recipe.pk, **TRAINING)


def make(loss: str, wanted: runs.Settings, fresh: bool) -> dict[str, Any]:
    """Train and measure one net; write its file; return its entry in `zoo.json`."""
    folder = ROOT / "build" / "zoo" / loss
    if folder.exists() and (fresh or runs.config(folder) != wanted):
        shutil.rmtree(folder)
    runs.train(folder, wanted)
    net = runs.load(folder)
    measured = numbers(evaluate(net, standard("open")), resamples=RESAMPLES)
    file = f"{loss}.safetensors"
    words = runs.net_words(wanted, channels=3, size=32)
    save_net(FOLDER / file, net, words, {})
    content = (FOLDER / file).read_bytes()
    return {
        "file": file, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "net": words,
        "loss": wanted.loss, "training": TRAINING | {"pk": wanted.pk, "data": wanted.data}, "measured": measured,
    }  # fmt: skip


def row(name: str, entry: dict[str, Any]) -> str:
    def cell(key: str) -> str:
        found = entry["measured"]["numbers"][key]
        return f"{found['value']:.2%} [{found['low']:.2%}, {found['high']:.2%}]"

    cells = (cell(key) for key in ("eer", "tar@1e-02", "tar@1e-03"))
    return f"| `{name}` | `{entry['loss']}` | {' | '.join(cells)} | {entry['bytes']:,} |"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="train everything again")
    options = parser.parse_args(arguments)
    FOLDER.mkdir(exist_ok=True)
    nets = {name: make(name, wanted(name), options.fresh) for name in LOSSES}
    index = {"renderer": VERSION, "made_with": runs.versions(), "nets": nets}
    (FOLDER / "zoo.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    first = next(iter(nets.values()))["measured"]
    facts = {
        "rows": "\n".join(row(*item) for item in nets.items()), "people": 200, "version": VERSION, **TRAINING,
        "pairs": f"{first['genuine'] + first['impostor']:,}",
    }  # fmt: skip
    for language, name in (("en", "README.md"), ("zh", "README.zh.md")):
        (FOLDER / name).write_text(CARD[language].format(**facts), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
