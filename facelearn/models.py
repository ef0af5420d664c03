"""Two small networks that a laptop trains while you watch, one for digits, one for faces; and `IResNet` for real work.

All map images in [-1, 1] to embeddings, and none knows a loss: what the embedding means is decided by the loss it is
trained with. Any `nn.Module` from `(B, C, H, W)` to `(B, d)` may take their place.

`norm` says what normalises the inner layers of a face net:

* "batch" (default): batch normalisation. Among several processes each takes the statistics of its own images.
* "group": group normalisation, 8 channels a group; no image depends on another, so no number depends on how a batch is
  shared out. Wu and He, "Group Normalization", ECCV 2018, arXiv:1803.08494.
* "frozen": batch normalisation with the running statistics it has, which stay; scale and offset still learn. For
  fine-tuning.
"""

import hashlib
import json
import math
from importlib import resources
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn


def parameter_count(net: nn.Module) -> int:
    """Number of learnable scalars of `net` (a parameter that is used twice counts once)."""
    return sum(parameter.numel() for parameter in net.parameters())


class FrozenBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with the running statistics it was given, in training too: a scale and an offset.

    Takes `(B, C, H, W)` and `(B, C)`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def _norm(channels: int, kind: str, images: bool = True) -> nn.Module:
    """The normalisation of `channels` feature maps, or (images=False) of plain features."""
    if kind == "batch":
        return nn.BatchNorm2d(channels) if images else nn.BatchNorm1d(channels)
    if kind == "group":
        return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)) if images else 1, channels)
    if kind == "frozen":
        return FrozenBatchNorm(channels)
    raise ValueError(f"norm: {kind!r}; expected 'batch', 'group' or 'frozen'")


def _conv(inside: int, outside: int, stride: int = 1, norm: str = "batch") -> nn.Sequential:
    """3x3 convolution, normalisation (whose offset makes a bias of the convolution idle), ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
        _norm(outside, norm),
        nn.ReLU(),
    )


class _PoolTo(nn.AdaptiveAvgPool2d):
    """Means over parts of the image, `output_size` a side. An image that has that size already passes untouched.

    It would come out the same, to the bit, but at a tenth of a training step: torch computes its 1x1 means one by one.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[2:] == (self.output_size,) * 2 else super().forward(x)


class DigitNet(nn.Module):
    """Grey digits `(B, 1, H, W)`, 8x8 to 28x28, to `embedding_dim` features that can be drawn on paper.

    conv 1→16, pooled to 8x8, conv 16→32, pooled to 4x4, fully connected 512→64→`embedding_dim`.
    37,762 parameters at `embedding_dim=2`, 37,827 at 3. Whatever the image size, everything after the first convolution
    runs at 8x8: an MNIST image costs about three times an 8x8 one, not twelve times.

    `batchnorm=True` (128 parameters more) normalises the hidden layer, and the features too, these without learnable
    scale and offset: their cloud is centred and round. In the plane, heads on normalised features (NormFace, CosFace,
    ArcFace) want it: ten directions spread evenly only when the origin lies amid the cloud. A plain softmax goes
    without and draws its petals; with it, in one training out of four two digits share a ray and differ in length only.
    """

    def __init__(self, embedding_dim: int = 2, *, batchnorm: bool = False) -> None:
        super().__init__()
        _require_positive(embedding_dim=embedding_dim)
        self.embedding_dim = embedding_dim
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),  # (B, 16, H, W)
            nn.ReLU(),
            _PoolTo(8),  # (B, 16, 8, 8)
            nn.Conv2d(16, 32, 3, padding=1),  # (B, 32, 8, 8)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (B, 32, 4, 4)
            nn.Flatten(),  # (B, 512)
            nn.Linear(512, 64),
            nn.BatchNorm1d(64) if batchnorm else nn.Identity(),
            nn.ReLU(),
            nn.Linear(64, embedding_dim),  # (B, d)
            nn.BatchNorm1d(embedding_dim, affine=False) if batchnorm else nn.Identity(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """`(B, 1, H, W)` in [-1, 1] → `(B, embedding_dim)`. ValueError for another shape or a side below 8."""
        _check_images(images, channels=1, least=8)
        return self.layers(images)


class SmallFaceNet(nn.Module):
    """Faces `(B, 3, S, S)`, S from 32 to 112, to `(B, embedding_dim)`: four convolutions and one matrix.

    With width w: conv 3→w /2, w→2w /2, 2w→4w, 4w→8w /2, pooled to 4x4 (at S = 32 it already is), flattened, a matrix
    without bias to `embedding_dim`, batch normalisation. 90,312 parameters at w = 8, d = 64; 228,880 at w = 16.
    Most of them sit in the matrix, most of the time is spent in the second and fourth convolution.

    `final_batchnorm=False` leaves the embedding as the matrix gives it. The normalisation speeds training up, but pins
    the mean feature norm near sqrt(d): a loss that reads image quality from the norm may want to go without.
    `channels=1` takes grey images. `norm`: "batch", "group" or "frozen", see above; with "group" the final
    normalisation is over the features of each embedding, which pins every norm.
    """

    def __init__(
        self,
        embedding_dim: int = 64,
        *,
        width: int = 8,
        final_batchnorm: bool = True,
        channels: int = 3,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        _require_positive(embedding_dim=embedding_dim, width=width, channels=channels)
        self.embedding_dim, self.channels = embedding_dim, channels
        self.layers = nn.Sequential(
            _conv(channels, width, 2, norm),  # (B, w, S/2, S/2)
            _conv(width, 2 * width, 2, norm),  # (B, 2w, S/4, S/4)
            _conv(2 * width, 4 * width, 1, norm),  # (B, 4w, S/4, S/4)
            _conv(4 * width, 8 * width, 2, norm),  # (B, 8w, S/8, S/8)
            _PoolTo(4),  # (B, 8w, 4, 4)
            nn.Flatten(),  # (B, 128w)
            nn.Linear(128 * width, embedding_dim, bias=False),
            _norm(embedding_dim, norm, images=False) if final_batchnorm else nn.Identity(),
        )
        # Channels side by side in memory: the same numbers, about a third less time on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """`(B, channels, S, S)` in [-1, 1] → `(B, embedding_dim)`. ValueError for another shape or a side below 32."""
        _check_images(images, channels=self.channels, least=32)
        return self.layers(images.contiguous(memory_format=torch.channels_last))


class IResNet(nn.Module):
    """Faces `(B, 3, S, S)`, S = 112 unless `size` says otherwise, to `(B, embedding_dim)`: the backbone of ArcFace.

    A ResNet whose blocks begin with a normalisation and end without an activation (BN-conv-BN-PReLU-conv-BN), whose
    first convolution keeps the resolution, and whose output is BN-dropout-fc-BN instead of a pooling. The scale of the
    last BN is fixed at 1. Parameters at d = 512 and 112 pixels, with every head on top still to come:

        depth 18: 24.0 M   34: 34.1 M   50: 43.6 M   100: 65.2 M   200: 118.8 M

    Names and shapes of the parameters are those of insightface's `iresnet`, so its weights can be loaded (safely:
    `torch.load(path, weights_only=True)`). Convolutions start from a normal distribution of deviation .1, as there. The
    last matrix runs in float32 under autocast.

    `size` is a multiple of 16 (each stage halves it). `norm`: "batch", "group" or "frozen", see above.
    ValueError for another depth, size or norm.

    Source: Deng et al., "ArcFace", CVPR 2019, arXiv:1801.07698, section 3.1; Duta et al., "Improved Residual Networks",
    2020, arXiv:2004.04989, for the order within a block.
    """

    def __init__(
        self,
        depth: int = 50,
        embedding_dim: int = 512,
        *,
        size: int = 112,
        dropout: float = 0.0,
        channels: int = 3,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        _require_positive(embedding_dim=embedding_dim, size=size, channels=channels)
        if depth not in IRESNET_BLOCKS:
            raise ValueError(f"depth: {depth}; expected one of {', '.join(map(str, IRESNET_BLOCKS))}")
        if size % 16:
            raise ValueError(f"size: {size}; expected a multiple of 16")
        self.depth, self.embedding_dim, self.size, self.channels = depth, embedding_dim, size, channels
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        self.bn1 = _norm(64, norm)
        self.prelu = nn.PReLU(64)
        blocks = IRESNET_BLOCKS[depth]
        self.layer1 = _stage(64, 64, blocks[0], norm)
        self.layer2 = _stage(64, 128, blocks[1], norm)
        self.layer3 = _stage(128, 256, blocks[2], norm)
        self.layer4 = _stage(256, 512, blocks[3], norm)
        self.bn2 = _norm(512, norm)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(512 * (size // 16) ** 2, embedding_dim)
        self.features = _norm(embedding_dim, norm, images=False)
        self.features.get_parameter("weight").requires_grad = False
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.1)

    def forward(self, images: Tensor) -> Tensor:
        """`(B, channels, size, size)` in [-1, 1] → `(B, embedding_dim)`. ValueError for another shape."""
        if images.ndim != 4 or images.shape[1:] != (self.channels, self.size, self.size):
            expected = f"(B, {self.channels}, {self.size}, {self.size})"
            raise ValueError(f"images: shape {tuple(images.shape)}; expected {expected}")
        x = self.prelu(self.bn1(self.conv1(images)))  # (B, 64, S, S)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)  # at last (B, 512, S/16, S/16)
        x = self.dropout(self.bn2(x).flatten(1))
        with torch.autocast(x.device.type, enabled=False):
            return self.features(self.fc(x.to(self.fc.weight.dtype)))


#: depth -> blocks in each of the four stages
IRESNET_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 200: (6, 26, 60, 6)}


class _IResBlock(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int, norm: str) -> None:
        super().__init__()
        self.bn1 = _norm(inside, norm)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn2 = _norm(outside, norm)
        self.prelu = nn.PReLU(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, stride=stride, padding=1, bias=False)
        self.bn3 = _norm(outside, norm)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inside, outside, 1, stride=stride, bias=False), _norm(outside, norm))
            if stride > 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        same = x if self.downsample is None else self.downsample(x)
        x = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(x)) + same


def _stage(inside: int, outside: int, blocks: int, norm: str) -> nn.Sequential:
    """The first block halves the resolution."""
    rest = [_IResBlock(outside, outside, 1, norm) for _ in range(blocks - 1)]
    return nn.Sequential(_IResBlock(inside, outside, 2, norm), *rest)


def iresnet18(embedding_dim: int = 512, **settings: Any) -> IResNet:
    """`IResNet(18, ...)`."""
    return IResNet(18, embedding_dim, **settings)


def iresnet50(embedding_dim: int = 512, **settings: Any) -> IResNet:
    """`IResNet(50, ...)`."""
    return IResNet(50, embedding_dim, **settings)


def iresnet100(embedding_dim: int = 512, **settings: Any) -> IResNet:
    """`IResNet(100, ...)`."""
    return IResNet(100, embedding_dim, **settings)


def net_from(words: dict[str, Any]) -> nn.Module:
    """A net from plain values: `{"net": "small", "embedding_dim": 64, "width": 8}`; "small", "digit" or "iresnet"."""
    arguments = {key: value for key, value in words.items() if key != "net"}
    return {"small": SmallFaceNet, "digit": DigitNet, "iresnet": IResNet}[words["net"]](**arguments)


def zoo() -> dict[str, dict[str, Any]]:
    """What is known of each net that comes with the package: how it was trained, and what it measured."""
    path = resources.files("facelearn") / "zoo" / "zoo.json"
    return json.loads(path.read_text(encoding="utf-8"))["nets"] if path.is_file() else {}


def pretrained(name: str) -> nn.Module:
    """A small net trained on faces of people who do not exist, in `eval()` mode: `pretrained("arcface")`.

    For demonstrations and tests: it knows nothing of real faces. `zoo()` lists the names; `facelearn/zoo/README.md` is
    their card. ValueError for another name, and where the file is not the one that was published.
    """
    nets = zoo()
    if name not in nets:
        raise ValueError(f"name: {name!r}; expected one of {', '.join(nets)}")
    content = (resources.files("facelearn") / "zoo" / nets[name]["file"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != nets[name]["sha256"]:
        raise ValueError(f"{nets[name]['file']}: damaged or changed (another SHA-256 than in zoo.json)")
    net = net_from(nets[name]["net"])
    net.load_state_dict(load(content))
    return net.eval()


def _check_images(images: Tensor, channels: int, least: int) -> None:
    if images.ndim != 4 or images.shape[1] != channels or min(images.shape[2:]) < least:
        raise ValueError(
            f"images: shape {tuple(images.shape)}; expected (B, {channels}, H, W) with sides of at least {least} pixels"
        )


def _require_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: {size}; expected an integer of at least 1")
