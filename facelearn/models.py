"""Two small networks that a laptop trains while you watch: one for digits, one for faces.

Both map images in [-1, 1] to embeddings, and neither knows a loss: what the embedding means is decided by the loss it
is trained with. Any `nn.Module` from `(B, C, H, W)` to `(B, d)` may take their place.
"""

import torch
from torch import Tensor, nn


def parameter_count(net: nn.Module) -> int:
    """Number of learnable scalars of `net` (a parameter that is used twice counts once)."""
    return sum(parameter.numel() for parameter in net.parameters())


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation (whose offset makes a bias of the convolution idle), ReLU."""
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


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
            nn.AdaptiveAvgPool2d(8),  # (B, 16, 8, 8)
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
    `channels=1` takes grey images.
    """

    def __init__(
        self, embedding_dim: int = 64, *, width: int = 8, final_batchnorm: bool = True, channels: int = 3
    ) -> None:
        super().__init__()
        _require_positive(embedding_dim=embedding_dim, width=width, channels=channels)
        self.embedding_dim, self.channels = embedding_dim, channels
        self.layers = nn.Sequential(
            _conv(channels, width, stride=2),  # (B, w, S/2, S/2)
            _conv(width, 2 * width, stride=2),  # (B, 2w, S/4, S/4)
            _conv(2 * width, 4 * width),  # (B, 4w, S/4, S/4)
            _conv(4 * width, 8 * width, stride=2),  # (B, 8w, S/8, S/8)
            nn.AdaptiveAvgPool2d(4),  # (B, 8w, 4, 4)
            nn.Flatten(),  # (B, 128w)
            nn.Linear(128 * width, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim) if final_batchnorm else nn.Identity(),
        )
        # Channels side by side in memory: the same numbers, about a third less time on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """`(B, channels, S, S)` in [-1, 1] → `(B, embedding_dim)`. ValueError for another shape or a side below 32."""
        _check_images(images, channels=self.channels, least=32)
        return self.layers(images.contiguous(memory_format=torch.channels_last))


def _check_images(images: Tensor, channels: int, least: int) -> None:
    if images.ndim != 4 or images.shape[1] != channels or min(images.shape[2:]) < least:
        raise ValueError(
            f"images: shape {tuple(images.shape)}; expected (B, {channels}, H, W) with sides of at least {least} pixels"
        )


def _require_positive(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: {size}; expected an integer of at least 1")
