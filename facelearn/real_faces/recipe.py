"""One small net and one way of training it, the same for every loss: between two rows of the table only the loss
differs, and with losses that compare images also how a batch is drawn.

    views = face_views(images)                          # images (N, 3, 112, 112) uint8 → (N, 23, 28, 28) uint8
    net = train(views, labels, "arcface", seed=0)       # labels (N,) 0 ... C - 1
    embeddings, features = embed_faces(net, views)      # (N, 128) and (N, 4608), mirror images included

The net sees a face twice: as 56 x 56 pixels, and as oriented gradients in cells of 4 x 4 pixels, which are drawn once
and not in every step. With four thousand images of a few hundred people there is little to learn edges from: both
together did better than either alone, see `course/en/real_faces.md`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facelearn.data.image_set import ImageSet, to_float
from facelearn.data.samplers import BalancedBatches, PKBatches
from facelearn.recipe import Recipe
from facelearn.training import fit, seed_everything

CELL, STORED, SEEN = 4, 28, 24  # pixels of a cell; cells a side: of what is kept, and of the part that the net sees
ORIENTATIONS = 8
MAPS = ORIENTATIONS + 3  # gradients and colour, one value a cell
PIXELS = 3 * 2 * 2  # the face at half its size, 2 x 2 pixels of three colours a cell
CHANNELS = PIXELS + MAPS
DIM = 128
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
BATCH, PER_PERSON = 128, 4
STEPS, LR, WEIGHT_DECAY, WIDTH = 1200, 3e-3, 0.05, 16
CROPS = ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))  # cells from the middle, when faces are embedded

#: The scale is small, since a few thousand images are easily learnt by heart.
LOSSES = {
    "softmax": Recipe.parse("softmax"),
    "center": Recipe.parse("softmax+0.003*center"),
    "triplet": Recipe.parse("triplet:margin=0.3,mining=semi-hard"),
    "supcon": Recipe.parse("supcon:temperature=0.1"),
    "cosface": Recipe.parse("cosface:scale=16,margin=0.2"),
    "arcface": Recipe.parse("arcface:scale=16,margin=0.3"),
    "curricularface": Recipe.parse("curricularface:scale=16,margin=0.3"),
    "adaface": Recipe.parse("adaface:scale=16,margin=0.3"),
}


class RealFaceNet(nn.Module):
    """Views of faces `(B, 23, 24, 24)` to `(B, 128)`: four convolutions and one matrix, 0.69 million parameters.

    With width w: conv 3→w /2 on the pixels, 11 maps beside its result, conv →2w /2, →4w, →8w /2 (3x3, batch
    normalisation, ReLU), flattened from 6 x 6 x 8w, a matrix without bias, batch normalisation. Nothing is pooled: on
    aligned faces the place of a feature says much.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.first = _conv(3, width, 2)  # (B, w, 24, 24) from pixels (B, 3, 48, 48)
        self.rest = nn.Sequential(
            _conv(width + MAPS, 2 * width, 2),  # (B, 2w, 12, 12)
            _conv(2 * width, 4 * width, 1),  # (B, 4w, 12, 12)
            _conv(4 * width, 8 * width, 2),  # (B, 8w, 6, 6)
            nn.Flatten(),
        )
        self.embedding = nn.Sequential(nn.Linear(8 * width * (SEEN // 4) ** 2, DIM, bias=False), nn.BatchNorm1d(DIM))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, views: Tensor) -> Tensor:
        """`(B, 23, 24, 24)` in [-1, 1] → `(B, 128)`. ValueError for another shape."""
        return self.embedding(self.features(views))

    def features(self, views: Tensor) -> Tensor:
        """`(B, 23, 24, 24)` → `(B, 288 w)`, what the last matrix gets."""
        if views.shape[1:] != (CHANNELS, SEEN, SEEN):
            raise ValueError(f"views: shape {tuple(views.shape)}; expected (B, {CHANNELS}, {SEEN}, {SEEN})")
        pixels, maps = unpacked(views)
        found = self.first(pixels.contiguous(memory_format=torch.channels_last))
        return self.rest(torch.cat([found, maps], 1).contiguous(memory_format=torch.channels_last))


def _conv(inside: int, outside: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU(inplace=True)
    )


@dataclass(frozen=True)
class FaceAugment:
    """Each face turned, zoomed, shifted (a similarity, sampled bilinearly in one go) and mirrored; 28 → 24 cells.

    rotation in radians, zoom as a factor, shift as a share of the side: standard deviations of normal draws. Every
    second face is mirrored. The turn moves the maps; it does not change the orientations in them (4° of 22.5°).
    Pixels, whose range is [-1, 1], also change by a gain and an offset of that deviation, and each colour by an offset;
    a share `grey` of the faces loses its colour, and of a share `hidden` a rectangle is blank, 3 to 10 cells a side.
    """

    rotation: float = math.radians(4)
    zoom: float = 0.05
    shift: float = 0.035
    gain: float = 0.2
    colour: float = 0.08
    grey: float = 0.2
    hidden: float = 0.5

    def __call__(self, views: Tensor, generator: torch.Generator) -> Tensor:
        """`(B, 23, 28, 28)` → `(B, 23, 24, 24)`; draws come from `generator`, on the CPU."""
        b, device = len(views), views.device
        normal = torch.randn(9, b, generator=generator)
        uniform = torch.rand(7, b, generator=generator).to(device)
        pixels, maps = unpacked(views)
        mirror = uniform[0] < 0.5
        theta = self._similarity(normal[:4]).to(device)
        theta[:, :, 0] *= 1 - 2 * mirror[:, None].float()
        pixels, maps = (_sampled(x, theta, side) for x, side in ((pixels, 2 * SEEN), (maps, SEEN)))
        maps = torch.where(_each(mirror), maps[:, _turned()], maps)
        gain, offset, *colours = normal[4:].to(device)
        pixels = pixels * _each(1 + self.gain * gain) + _each(self.gain * offset)
        pixels = pixels + self.colour * torch.stack(colours, 1)[:, :, None, None]
        pixels = torch.where(_each(uniform[1] < self.grey), pixels.mean(1, keepdim=True), pixels)
        blank = self._rectangles(uniform[2:])  # (B, 24, 24)
        twice = blank.repeat_interleave(2, 1).repeat_interleave(2, 2)
        return packed(pixels.masked_fill(twice[:, None], 0), maps.masked_fill(blank[:, None], 0))

    def _similarity(self, normal: Tensor) -> Tensor:
        """(4, B) → (B, 2, 3), from places in what is seen to places in what is stored; both have sides -1 to 1."""
        turn, zoom, right, down = normal
        scale = SEEN / STORED * (self.zoom * zoom).exp()
        cos, sin = scale * (self.rotation * turn).cos(), scale * (self.rotation * turn).sin()
        right, down = 2 * self.shift * right, 2 * self.shift * down
        return torch.stack([cos, -sin, right, sin, cos, down], dim=1).view(-1, 2, 3)

    def _rectangles(self, uniform: Tensor) -> Tensor:
        """(5, B) → (B, 24, 24) bool: the cells that are blank."""
        chosen, high, wide, y, x = uniform[:, :, None]
        cells = torch.arange(SEEN, device=uniform.device)
        rows, columns = (
            (cells - (SEEN * at).floor()).abs() * 2 < 3 + (8 * side).floor() for at, side in ((y, high), (x, wide))
        )
        return (chosen < self.hidden)[:, :, None] & rows[:, :, None] & columns[:, None, :]


def _sampled(x: Tensor, theta: Tensor, side: int) -> Tensor:
    grid = F.affine_grid(theta, [len(x), x.shape[1], side, side], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _each(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def train(
    views: Tensor,
    labels: Tensor,
    loss: str | Recipe,
    *,
    seed: int,
    steps: int = STEPS,
    lr: float = LR,
    width: int = WIDTH,
    device: str | torch.device | None = None,
) -> RealFaceNet:
    """Train a net by one of `LOSSES` or another recipe on views `(N, 23, 28, 28)` uint8 of people `labels` 0 ... C - 1.

    AdamW, one cycle of the learning rate, the net in bfloat16 where the machine is `quick_in_bf16`, about `steps`
    batches of 128 images: of 32 people x 4 for losses that compare images, else drawn with weight 1 / sqrt(number of
    images of the person). On a CPU the result depends on seed, data, number of threads and kind of CPU alone.
    ValueError for an unknown loss.
    """
    if isinstance(loss, str) and loss not in LOSSES:
        raise ValueError(f"loss: {loss!r}; expected a recipe or one of {', '.join(LOSSES)}")
    chosen, epochs = plan(loss, labels, steps)
    with torch.random.fork_rng([]):
        seed_everything(seed)
        net = RealFaceNet(width)
        objective, on_step = (LOSSES[loss] if isinstance(loss, str) else loss).build(DIM, int(labels.max()) + 1)
    fit(
        net, objective, ImageSet(views, labels), epochs=epochs, lr=lr, weight_decay=WEIGHT_DECAY, seed=seed,
        augment=FaceAugment(), batches=chosen, on_step=on_step, amp="bf16" if quick_in_bf16() else False,
        device=device, progress=False,
    )  # fmt: skip
    return net.eval()


def quick_in_bf16() -> bool:
    """Has this machine units for products in bfloat16? A CPU without them takes a quarter to a half longer than for
    float32 if it knows the format (AVX-512), up to ten times as long if not.
    """
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch has none
    return bool(capabilities.get("amx_bf16"))


def untrained(seed: int, width: int = WIDTH) -> RealFaceNet:
    """The net as it is before the first step: what its numbers owe to training shows beside it."""
    with torch.random.fork_rng([]):
        seed_everything(seed)
        return RealFaceNet(width).eval()


def plan(loss: str | Recipe, labels: Tensor, steps: int) -> tuple[PKBatches | BalancedBatches, int]:
    """How a loss, of `LOSSES` or another recipe, gets its batches, and for how many epochs: about `steps` of them."""
    wanted = LOSSES[loss] if isinstance(loss, str) else loss
    people = min(BATCH // PER_PERSON, int(labels.max()) + 1)
    batches: PKBatches | BalancedBatches = BalancedBatches(min(BATCH, len(labels)))
    if wanted.compares:
        batches = PKBatches(people, PER_PERSON, small="repeat", cap=20)
    an_epoch = len(batches(labels, 1, torch.Generator().manual_seed(0)))
    return batches, max(1, round(steps / an_epoch))


@torch.no_grad()
def embed_faces(net: RealFaceNet, views: Tensor, batch_size: int = 256) -> tuple[Tensor, Tensor]:
    """Views `(N, 23, 28, 28)` uint8 → embeddings `(N, 128)` and features `(N, 288 w)`, which the last matrix gets.

    Each is the mean over the middle 24 x 24 cells, four crops one cell off it in both directions, and the mirror images
    of the five. Features are the square roots of their mean: like the counts in a histogram, they are many small and a
    few large ones.
    """
    net.eval()
    device = next(net.parameters()).device  # `fit` trains on a GPU where there is one
    embeddings, features = [], []
    for part in views.split(batch_size):
        crops = [_crop(to_float(part.to(device)), *offset) for offset in CROPS]
        seen = [net.features(face) for crop in crops for face in (crop, mirrored(crop))]
        embeddings.append(torch.stack([net.embedding(found) for found in seen]).mean(0))
        features.append(torch.stack(seen).mean(0).sqrt())
    return torch.cat(embeddings).cpu(), torch.cat(features).cpu()


def _crop(views: Tensor, down: int, right: int) -> Tensor:
    """The middle of views, or what lies that many cells off it: `(B, 23, 28, 28)` → `(B, 23, 24, 24)`."""
    edge = (STORED - SEEN) // 2
    pixels, maps = unpacked(views)
    y, x = edge + down, edge + right
    return packed(pixels[:, :, 2 * y : 2 * (y + SEEN), 2 * x : 2 * (x + SEEN)], maps[:, :, y : y + SEEN, x : x + SEEN])


def face_views(images: Tensor) -> Tensor:
    """Aligned faces `(N, 3, 112, 112)` uint8 → what the net sees of them, `(N, 23, 28, 28)` uint8, see `packed`.

    The image at half its size, and eleven maps. Eight of oriented gradients: the gradient of the square root of grey,
    its length shared between the two nearest of eight orientations (0°, 22.5°, ...; a direction and its opposite are
    one), averaged over cells of 4 x 4 pixels, divided by the sum over orientations in the 3 x 3 cells around, and the
    square root of that. Three of colour: means of cells, each image brought to mean 0 and variance 1.
    Source: Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005, with smaller cells.
    """
    if images.dtype != torch.uint8 or images.shape[1:] != (3, CELL * STORED, CELL * STORED):
        raise ValueError(f"images: {images.dtype} {tuple(images.shape)}; expected uint8 (N, 3, 112, 112)")
    parts = (part.float() for part in images.split(256))
    return torch.cat([packed(F.avg_pool2d(part, 2).round().byte(), _maps(part)) for part in parts])


def packed(pixels: Tensor, maps: Tensor) -> Tensor:
    """`(B, 3, 2n, 2n)` and `(B, 11, n, n)` as one tensor `(B, 23, n, n)`: the pixels' rows in turn fill 12 channels."""
    b, _, n, _ = maps.shape
    return torch.cat([pixels.reshape(b, PIXELS, n, n), maps], 1)


def unpacked(views: Tensor) -> tuple[Tensor, Tensor]:
    """The two parts of `packed`."""
    b, _, n, _ = views.shape
    return views[:, :PIXELS].reshape(b, 3, 2 * n, 2 * n), views[:, PIXELS:]


def mirrored(views: Tensor) -> Tensor:
    """Views of the mirror images: left and right exchanged, and orientation θ with 180° - θ."""
    pixels, maps = unpacked(views)
    return packed(pixels.flip(3), maps.flip(3)[:, _turned()])


def _turned() -> list[int]:
    return [-k % ORIENTATIONS for k in range(ORIENTATIONS)] + list(range(ORIENTATIONS, MAPS))


def _maps(x: Tensor) -> Tensor:
    grey = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True).sqrt()  # (B, 1, 112, 112)
    edged = F.pad(grey, (1, 1, 1, 1), mode="replicate")
    right = edged[:, :, 1:-1, 2:] - edged[:, :, 1:-1, :-2]
    down = edged[:, :, 2:, 1:-1] - edged[:, :, :-2, 1:-1]
    place = torch.atan2(down, right).remainder(math.pi) / math.pi * ORIENTATIONS
    nearest, share = place.floor().long(), place.frac()
    length = torch.hypot(right, down)
    bins = x.new_zeros(len(x), ORIENTATIONS, *grey.shape[2:])
    bins.scatter_add_(1, nearest % ORIENTATIONS, length * (1 - share))
    bins.scatter_add_(1, (nearest + 1) % ORIENTATIONS, length * share)
    cells = F.avg_pool2d(bins, CELL)  # (B, 8, 28, 28)
    around = F.avg_pool2d(F.pad(cells.sum(1, keepdim=True), (1, 1, 1, 1), mode="replicate"), 3, 1)
    oriented = (cells / (around + 0.15)).clamp(max=1).sqrt()
    colour = F.avg_pool2d(x, CELL)
    spread, mean = torch.std_mean(colour, dim=(1, 2, 3), keepdim=True)
    colour = 128 + 45 * (colour - mean) / (spread + 1e-3)
    return torch.cat([255 * oriented, colour], 1).clamp(0, 255).round().byte()
