"""Draws synthetic faces: traits and nuisance in, pixels out.

How a face is drawn. The camera's roll, zoom and shift take each pixel to the head's own plane. There the head is a
tapered oval; read as a unit sphere it gives a normal at each pixel, and that normal, turned back by yaw and pitch,
gives coordinates (u, v) glued to the face and the depth ``dz`` (1 at the nose, 0 at the ears). Eyes, mouth and the
rest are soft shapes in (u, v), painted back to front, so that a turn of the head slides them over a curved surface.
Light is Lambert's law on the same normals, plus a gloss; then comes the camera (exposure, blur, noise).

Why it looks like no shader: per pixel there are only additions, products, quotients, square roots, comparisons
and integer operations. IEEE 754 defines their results to the last bit, so a pixel does not depend on its place in a
batch, on vector units, threads or device, as it would with exp, sin or a fused multiply-add. That also makes it quick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from facelearn.data.face_factors import NUISANCE, TRAITS

VERSION = 3  # of the pictures: raise it with every change that moves a pixel, caches depend on it
SIZES = (32, 112)
CROP, CENTRE = 1.32, 0.03  # how tight the crop is, and which height of the head is in its middle
_CPU_PIXELS, _GPU_PIXELS = 1 << 16, 1 << 22  # pixels drawn together: what the cache, or the GPU, holds well

Colour = Tensor  # (3, B, 1, 1): one colour per face; (3, B, S, S): one per pixel


@torch.no_grad()
def render(
    traits: Mapping[str, Tensor],
    nuisance: Mapping[str, Tensor],
    size: int = 32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Faces as uint8 ``(N, 3, size, size)`` RGB, on ``device`` (default: CPU).

    ``traits`` and ``nuisance`` hold one value per picture and name, ``(N,)``, as ``draw_traits`` and
    ``draw_nuisance`` return them (index traits with the identities first). Same values, same pixels.
    """
    check_size(size)
    columns = {**traits, **nuisance}
    missing = [name for name in (*TRAITS, *NUISANCE, "noise_key") if name not in columns]
    if missing:
        raise ValueError(f"traits, nuisance: found no {', '.join(missing)}, expected every name of the tables")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError(f"traits, nuisance: found lengths {sorted(lengths)}, expected one value per picture each")
    count, device = lengths.pop(), torch.device(device or "cpu")
    columns = {name: column.cpu() for name, column in columns.items()}
    images = torch.empty(count, 3, size, size, dtype=torch.uint8, device=device)
    names, table = _numbers(columns)
    table = table.to(device)
    sigma = (columns["blur"] + columns["lowres"] * columns["lowres_blur"]).double() * (size / 32)

    def draw(chunk: slice) -> None:
        numbers = dict(zip(names, table[:, chunk, None, None], strict=True))
        key = columns["noise_key"][chunk].to(device)
        present = {name: columns[name][chunk].nonzero()[:, 0].to(device) for name in ("glasses", "mask", "patch")}
        picture = _Face(numbers, key, sigma[chunk], present, size).draw()  # (3, B, S, S)
        images[chunk] = picture.permute(1, 0, 2, 3)

    step = max(1, (_CPU_PIXELS if device.type == "cpu" else _GPU_PIXELS) // size**2)
    _for_each(draw, [slice(start, start + step) for start in range(0, count, step)], device)
    return images


def _for_each(draw: Callable[[slice], None], chunks: list[slice], device: torch.device) -> None:
    """Chunks side by side, one thread each: quicker than torch's threads inside each small operation."""
    threads = min(torch.get_num_threads(), len(chunks)) if device.type == "cpu" else 1
    if threads < 2:
        for chunk in chunks:
            draw(chunk)
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(torch.no_grad()(draw), chunks))  # the list passes on what a thread raised
    finally:
        torch.set_num_threads(before)


def check_size(size: int) -> None:
    if not (isinstance(size, int) and SIZES[0] <= size <= SIZES[1]):
        raise ValueError(f"size: found {size!r}, expected an integer from {SIZES[0]} to {SIZES[1]}")


# Per-image functions, in float64 by power series: exact operations only, and true beyond float32.


def _series(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total


def _sin(x: Tensor) -> Tensor:
    return x * _series(x * x, [1, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800])


def _cos(x: Tensor) -> Tensor:
    return _series(x * x, [1, -1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800, 1 / 479001600])


def _exp(x: Tensor) -> Tensor:
    half = _series(x / 2, [1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040, 1 / 40320, 1 / 362880])
    return half * half


def _numbers(columns: Mapping[str, Tensor]) -> tuple[list[str], Tensor]:
    """All numbers a face is drawn from, as names and a float32 table (names, N): logs and angles are resolved."""
    values = {name: column.double() for name, column in columns.items() if name != "noise_key"}
    values |= {f"sin_{name}": _sin(values[name]) for name in ("yaw", "pitch", "roll")}
    values |= {f"cos_{name}": _cos(values[name]) for name in ("yaw", "pitch", "roll")}
    values |= {name: _exp(values[name]) for name in ("zoom", "exposure", "gamma", "red", "blue")}
    return list(values), torch.stack([value.float() for value in values.values()])


# Per-pixel shapes


def _ramp(x: Tensor) -> Tensor:
    """0 below 0, 1 above 1; ``x`` is overwritten."""
    return x.clamp_(0, 1)


def _bell(x: Tensor) -> Tensor:
    """A soft bump of the squared distance ``x``: 1 at 0, 0 from 1 on; ``x`` is overwritten."""
    return x.neg_().add_(1).clamp_(min=0).square_()


def _wave(x: Tensor) -> Tensor:
    """A row of parabolic arches, period 1, from 0 to 1; ``x`` is overwritten."""
    x -= x.floor()
    return (x - x * x).mul_(4)


def _spot(x: Tensor, y: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """A soft bump with these half axes."""
    return _bell((x / width).square_().add_((y / height).square_()))


def _dots(x: Tensor, y: Tensor) -> Tensor:
    """Soft dots of unequal sizes, one in each unit square; a hash of the square says where."""
    column, row = x.floor(), y.floor()
    word = column.to(torch.int32) * 0x27D4EB2F + row.to(torch.int32) * 0x165667B1
    word = (word ^ (word >> 15)) * 0x2C1B3C6D
    word = word ^ (word >> 12)
    dx = (x - column).sub_(0.2).sub_((word & 255) * (0.6 / 255))
    dy = (y - row).sub_(0.2).sub_(((word >> 8) & 255) * (0.6 / 255))
    shrink = ((word >> 16) & 255) * (20 / 255) + 6
    return _bell(dx.square_().add_(dy.square_()).mul_(shrink))


def _cover(distance: Tensor, k: Tensor) -> Tensor:
    return distance.mul_(k).add_(0.5).clamp_(0, 1)


def _over(layer: Tensor, alpha: Tensor, colour: Colour) -> None:
    """Paint ``colour`` over ``layer`` (3, B, S, S) where and as far as ``alpha`` (B, S, S) covers it."""
    difference = colour - layer
    difference *= alpha
    layer += difference


class _Face:
    """A chunk of faces while they are drawn. Planes are (B, S, S), numbers per face (B, 1, 1)."""

    def __init__(
        self,
        numbers: Mapping[str, Tensor],  # name -> (B, 1, 1)
        key: Tensor,  # (B,) int32, of the pixel noise
        sigma: Tensor,  # (B,) of the blur, in pixels; on the CPU
        present: Mapping[str, Tensor],  # which faces have glasses, mask, patch
        size: int,
    ) -> None:
        self.t, self.key, self.sigma, self.size = numbers, key[:, None, None], sigma, size
        self.present = present
        self.device = key.device
        self.k = 0.5 * size * CROP * self.t["zoom"]  # pixels per unit of length
        self._place()
        self._colours()

    def cover(self, distance: Tensor) -> Tensor:
        """Signed distance (> 0 inside) -> coverage with an edge one pixel wide; overwrites it."""
        return _cover(distance, self.k)

    def colour(self, *rgb: Tensor | float) -> Colour:
        like = self.t["zoom"]
        return torch.stack([c if isinstance(c, Tensor) else torch.full_like(like, c) for c in rgb])

    # ------------------------------------------------------------------------------------------ geometry

    def _place(self) -> None:
        t = self.t
        line = (torch.arange(self.size, device=self.device, dtype=torch.float32) + 0.5) * (2 / self.size) - 1
        X, Y = line[None, None, :], line[None, :, None]  # (1, 1, S), (1, S, 1)
        self.X, self.Y = X, Y
        cos, sin, scale = t["cos_roll"], t["sin_roll"], 1 / (t["zoom"] * CROP)
        dx, dy = X - t["shift_x"], Y - t["shift_y"]
        self.x = dx * (cos * scale) + dy * (sin * scale)  # (B, S, S)
        self.y = dx * (-sin * scale) + (dy * (cos * scale) + CENTRE)
        a, b = t["face_w"], t["face_h"]
        hy = self.y / b
        low = hy.clamp(0, 1.3)
        low2 = low * low
        profile = _bell(((hy - 0.12) * 2.2).square_()).mul_(t["cheekbone"])
        profile += 1 - low2 * t["jaw"]
        hx = (self.x - low * (0.16 * t["sin_yaw"])).div_(profile).div_(a * (1 + 0.10 * t["sin_yaw"].abs()))
        hx2 = hx * hx
        f = hx2 + hy * hy - low2 * hx2 * t["chin"]
        self.head = self.cover((1 - f.sqrt()) * a)
        self.nx, self.ny = hx, hy
        self.nz = (1 - f).clamp_(min=0.01).sqrt_()
        d = hx * t["sin_yaw"] + self.nz * t["cos_yaw"]
        self.u = (hx * t["cos_yaw"] - self.nz * t["sin_yaw"]).mul_(a)
        self.v = (hy * t["cos_pitch"] - d * t["sin_pitch"]).mul_(b)
        self.dz = hy * t["sin_pitch"] + d * t["cos_pitch"]
        self.front = _ramp((self.dz + 0.06) * 8)
        self.us = self.u.abs()

    # ------------------------------------------------------------------------------------------- colours

    def _colours(self) -> None:
        t, m = self.t, self.t["melanin"]
        un = t["undertone"]
        m2 = m * m
        self.skin = self.colour(
            0.965 - 0.42 * m - 0.22 * m2 + 0.012 * un,
            0.80 - 0.58 * m - 0.03 * m2,
            0.70 - 0.66 * m + 0.10 * m2 - 0.035 * un,
        )
        lum = t["hair_lum"]
        lum = lum * (0.3 + 0.7 * lum) * (1 - 0.75 * m)
        red = t["hair_red"]
        hair = self.colour(
            0.06 + 0.74 * lum + 0.20 * red * (1 - lum),
            0.05 + 0.60 * lum + 0.02 * red,
            0.045 + 0.34 * lum * (1 - 0.5 * red),
        )
        grey = ((t["age"] - 0.62) * 2.2).clamp(0, 0.85)
        self.hair = hair + grey * (self.colour(0.66, 0.65, 0.64) - hair)
        red = t["lip_red"]
        self.lip = self.skin * self.colour(0.95 - 0.08 * red, 0.74 - 0.32 * red, 0.76 - 0.26 * red)

    # ---------------------------------------------------------------------------------------------- draw

    def draw(self) -> Tensor:
        """uint8 (3, B, S, S)"""
        self._light()
        self.image = self._background()
        self._behind()
        self._skin_and_features()
        self._front_hair()
        _over(self.image, self.head, self.face)
        self._things()
        return self._camera(self.image)

    def _light(self) -> None:
        t = self.t
        lx, ly = t["light_x"], t["light_y"]
        self.inverse = 1 / (lx * lx + ly * ly + 1).sqrt()
        lambert = (self.nx * lx + self.ny * ly).add_(self.nz).mul_(self.inverse).clamp_(min=0)
        self.gloss = lambert.square().square_().square_()
        self.shade = lambert.mul_(1.12 - t["ambient"]).add_(t["ambient"])

    def _background(self) -> Tensor:
        t = self.t
        ramp = (self.X * t["back_slope"] + self.Y * t["back_ramp"]).add_(t["back_grey"]).clamp_(0.03, 0.97)
        tint = self.colour(1 + t["back_red"], 1.0, 1 + t["back_blue"])
        return ramp * tint  # (3, B, S, S)

    def _behind(self) -> None:
        """What the head hides: skull and hair, neck, clothes, and the far ear."""
        self._hair_texture()
        self._back_hair()
        t, image, sy = self.t, self.image, self.t["sin_yaw"]
        neck = torch.minimum(0.60 * t["face_w"] - (self.x + 0.04 * sy).abs_(), self.y - 0.35)
        under_chin = _ramp((self.y - t["face_h"]) * 3).mul_(0.25).add_(0.62).mul_(0.45 + 0.55 * t["ambient"])
        _over(image, self.cover(neck), self.skin * under_chin)
        cloth = self.colour(t["cloth_r"], t["cloth_g"], t["cloth_b"]) * (1 - 0.25 * self.x * t["light_x"].clamp(-1, 1))
        _over(image, self.cover(self.y - 0.84 - 0.30 * (self.x * self.x)), cloth)
        self._ears()
        _over(image, self.ear, self.ear_colour)

    def _hair_texture(self) -> None:
        t, u, v = self.t, self.u, self.v
        self.has_hair = (t["bald"] <= 0).float()
        curl = t["curl"].clamp(min=0)
        bend = _wave(self.x * 1.9 + self.y * 1.3).mul_(0.5)  # keeps the rows of curls from being straight
        blobs = _wave(self.x * 5.3 + self.y * 2.1 + bend).mul_(_wave(self.x * -2.3 + self.y * 4.9 - bend))
        blobs.mul_(0.65).add_(_wave(self.x * 9.7 - self.y * 6.1 + bend).mul_(0.3)).sub_(0.42)
        self.blobs = blobs.mul_(curl)
        strands = _wave((u - t["hair_part"] - 0.1 * t["hair_parting"]) * 9 + v * 1.5)
        strands += _wave((u - v * 0.4) * 17)
        shade = (self.shade * 0.7).add_(strands.mul_(0.06 * (1 - curl))).add_(self.blobs * 0.5).add_(0.2)
        shine = _bell(((self.ny + 0.62) * 4).square_()).mul_(self.gloss)
        self.hair_shade = shade.add_(shine.mul_(0.35 * (1 - curl)))

    def _back_hair(self) -> None:
        t, image = self.t, self.image
        a, b = t["face_w"], t["face_h"]
        volume = (t["hair_vol"] * (1 + 0.5 * t["hair_volume"]) * self.has_hair).clamp(min=0.005)
        length = (t["hair_len"] + 0.35 * t["hair_length"]).clamp(-0.4, 1.1)
        self.length = torch.where(self.has_hair > 0, length, length.clamp(max=0.12))
        end = self.length * b + 0.02 - self.y  # > 0 above the ends of the hair
        narrower = _ramp((0.25 - end) * 4).square_().mul_(0.22).add_(1)  # rounds the corners below
        x = (self.x + 0.14 * t["sin_yaw"] * a).mul_(narrower)  # the back of the head swings the other way
        hx, hy = x / (a + volume), (self.y + 0.10) / (b - 0.06 + volume)
        outline = (1 - (hx.square_().add_(hy.square_())).sqrt_()).mul_(a)
        _over(image, self.cover(outline - volume), self.skin * 0.8)
        back = torch.minimum(outline.add_(self.blobs * 0.10), end)
        fall = torch.minimum(a + volume + 0.01 - x.abs_() + self.blobs * 0.08, self.y + 0.02)
        fall = self.cover(torch.minimum(fall, end)).mul_(((self.length - 0.03) * 12).clamp(0, 1))
        hair = torch.maximum(self.cover(back), fall)
        hair *= 1 - (1 - self.has_hair) * _ramp((-0.30 * b - self.y) * 8)
        _over(image, hair, self.hair * (self.hair_shade * 0.85))

    def _ears(self) -> None:
        """They sit at the widest place of the head and slide with the yaw; the near one shows over the head."""
        t, sy = self.t, self.t["sin_yaw"]
        x = self.x + 0.16 * sy * t["face_w"]
        ex = (x.abs() - t["face_w"] * (t["cos_yaw"] + 0.02)) / (t["ear"] * (0.62 + 0.38 * sy.abs()))
        ey2 = ((self.y - 0.03 + 0.25 * t["sin_pitch"]) / (1.75 * t["ear"])).square_()
        covered = ((0.35 - self.length) * 6).clamp(0, 1)  # long hair falls over the ears
        self.ear = self.cover((1 - (ex * ex + ey2).sqrt_()) * t["ear"]).mul_(covered)
        hollow = _bell(((ex + 0.1).square_() + ey2) * 2.2)
        self.ear_colour = self.skin * (self.shade * 0.86 - hollow * 0.16)
        self.near = _ramp(x * -sy * 40).mul_(((sy.abs() - 0.12) * 6).clamp(0, 1))

    # ------------------------------------------------------------------------------------ face and features

    def _skin_and_features(self) -> None:
        t, v = self.t, self.v
        self.tip = t["eye_y"] + 0.01 + t["nose_len"]  # height of the nose's tip
        self.mouth_y = self.tip + t["mouth_dy"]
        # the nose stands out of the face: its tip moves further with a turn than the skin below
        self.rise = ((v - t["eye_y"] - 0.01) / t["nose_len"]).clamp_(0, 1)
        self.nu = self.u - self.rise * (0.055 * t["nose_h"] * t["sin_yaw"])
        self.nv = v - 0.03 * t["sin_pitch"]
        self.du, self.dv = self.us - t["eye_dx"], v - t["eye_y"]  # from the eye's centre
        self.old = ((t["age"] - 0.35) * 1.54).clamp(min=0)

        relief = self._relief()
        self._age(relief)
        shade = relief.mul_(self.front).add_(self.shade)
        self._skin()
        self._beard()
        self._mouth()
        self._nose()
        self._eyes()
        _over(self.face, 1 - self.front, self.skin)  # nothing of all that behind the ears
        self.face *= shade
        self.face += self.gloss * self.front * (0.10 * (0.3 + t["ambient"]))

    def _relief(self) -> Tensor:
        """Light and shadow of nose, eye sockets, lip and chin, to be added to the sphere's shade."""
        t, rise, nu = self.t, self.rise, self.nu
        width = rise * rise * (0.55 * t["nose_w"] - t["nose_bridge"]) + t["nose_bridge"]
        ends = _ramp((self.tip + 0.03 - self.nv) * 25).mul_(rise)
        across = nu / width
        side = _bell((across * 0.42).square_()).mul_(across).mul_(ends)
        relief = side * (0.26 * t["nose_h"] * t["light_x"] * self.inverse)
        relief -= side.abs_().mul_(0.045 * t["nose_h"])
        relief += _bell(across.mul_(0.9).square_()).mul_(ends).mul_(0.075 * t["nose_h"])  # the ridge
        relief -= _spot(self.du, self.dv + 0.03, 0.29, 0.18).mul_(0.12)  # eye sockets
        relief -= _spot(nu, self.nv - self.tip - 0.04, 1.7 * t["nose_w"], 0.05).mul_(0.15)  # under the nose
        below_lip = self.v - (self.mouth_y + t["lip_lo"] + 0.045)
        relief -= _spot(self.u, below_lip, 1.7 * t["mouth_w"], 0.055).mul_(0.10)
        return relief

    def _age(self, relief: Tensor) -> None:
        """Folds from nose to mouth (smiles deepen them), lines of the forehead, crow's feet, bags."""
        t, us, v, dv = self.t, self.us, self.v, self.dv
        fold = _bell(((v - self.tip).mul_(0.55).add_(1.05 * t["nose_w"]).sub_(us).mul_(24)).square_())
        fold *= _ramp((v - self.tip + 0.06) * 12)
        fold *= _ramp((self.mouth_y + 0.05 - v) * 10)
        relief -= fold.mul_(0.07 * t["fold"] + 0.15 * self.old + 0.05 * t["smile"].clamp(min=0))
        lines = _wave(dv * 8.5 + us * us * 1.2 + 0.3)
        lines = _ramp(lines.sub_(0.72).mul_(3.5)).mul_(_ramp((-0.19 - dv) * 9)).mul_(_ramp((0.42 + dv) * 9))
        relief -= lines.mul_(_bell((self.u * 2.7).square_())).mul_(0.13 * self.old)
        relief -= _spot(self.du, dv - 0.075, 0.125, 0.038).mul_(0.16 * self.old)
        crow = _wave(dv * 22 + 0.5).mul_(_spot(self.du - t["eye_w"] - 0.045, dv, 0.06, 0.11))
        relief -= crow.mul_(0.16 * self.old)

    def _skin(self) -> None:
        t, u, v = self.t, self.u, self.v
        self.face = self.skin.expand(3, *u.shape).clone()
        blush = _spot(self.us - 0.6 * t["face_w"], v - self.tip + 0.02, 0.25, 0.25).mul_(t["blush"])
        self.face *= blush * self.colour(0.03, -0.13, -0.10) + 1
        spots = _dots(u * 14 + t["mole_x"] * 50, v * 14)  # the shift: to each person their own
        spots *= _bell(((v - self.tip + 0.06) * 3.2).square_())
        _over(self.face, spots.mul_(0.9 * t["freckles"].clamp(0, 1)), self.skin * self.colour(0.70, 0.55, 0.46))
        mole = ((u - t["mole_x"]).square_().add_((v - t["mole_y"]).square_())).sqrt_()
        _over(self.face, self.cover(0.021 - mole).mul_((t["mole"] > 0).float() * 0.85), self.skin * 0.35)

    def _nose(self) -> None:
        t, us, below = self.t, self.nu.abs(), self.nv - self.tip
        nostril = ((us - 0.50 * t["nose_w"]) / (0.30 * t["nose_w"])).square_()
        nostril += ((below - 0.010) * 50).square_()
        _over(self.face, _ramp((1.3 - nostril) * 1.2).mul_(0.75), self.skin * 0.36)
        wing = _spot(us - 0.98 * t["nose_w"], below + 0.012, 0.033, 0.062)
        _over(self.face, wing.mul_(0.45), self.skin * 0.5)

    def _beard(self) -> None:
        t, us = self.t, self.us
        beard, moustache = t["beard"].clamp(min=0), t["moustache"].clamp(min=0)
        area = _ramp((self.v - self.mouth_y + 0.09 - 0.25 * (0.32 - us).clamp_(min=0)) * 8)
        sides = _ramp((0.62 - self.dz) * 5).mul_(_ramp((self.v - self.tip + 0.12) * 6))
        area = torch.maximum(area, sides)
        goatee = (t["goatee"] > 0.6).float()
        near_mouth = _ramp((t["mouth_w"] * 0.95 + 0.03 - us) * 12)
        area *= near_mouth.mul_(goatee).add_(1 - goatee)
        along = us / (1.35 * t["mouth_w"])
        lip = (self.v - self.tip - 0.56 * t["mouth_dy"]) - along.square().mul_(0.05)  # droops at its ends
        lip = _bell(lip.mul_(20).square_()).mul_(_ramp((1 - along) * 4))
        lip *= torch.maximum(beard, 1.3 * moustache) * 1.2
        alpha = torch.maximum(area.mul_(beard + 0.15 * (beard > 0).float()), lip)
        grain = _wave(self.u * 23 + self.v * 7).mul_(0.25).add_(0.8)
        _over(self.face, _ramp(alpha).mul_(0.92), self.hair * grain)

    def _mouth(self) -> None:
        t, us = self.t, self.us
        width = t["mouth_w"] * (1 + 0.16 * t["smile"])
        along = us / width
        along2 = along * along
        arch = (1 - along2).clamp_(min=0)
        inside = self.cover(width - us)
        dv = self.v - self.mouth_y
        dv += (along2 - 0.4) * (0.030 * t["mouth_curve"] + 0.075 * t["smile"])
        half = arch * (0.0425 * t["mouth_open"])  # half the opening
        bow = _bell((along * 2.6).square_())  # Cupid's bow: a dent in the middle of the upper lip
        upper = arch * t["lip_up"] * (1.15 - 0.35 * bow)
        lower = arch.sqrt() * t["lip_lo"]
        lips = torch.minimum(dv + half + upper, half + lower - dv) + 0.004
        lips = self.cover(lips).mul_(inside)
        tone = _ramp((dv - 0.2 * t["lip_lo"]) * 30).mul_(0.16).add_(0.86)
        _over(self.face, lips, self.lip * tone)
        gap = self.cover(half + 0.006 - dv.abs()).mul_(inside)
        _over(self.face, gap, self.lip * 0.26 + 0.02)
        teeth = torch.minimum(half - 0.010 - dv.abs(), 0.018 - dv)
        teeth = self.cover(teeth).mul_(inside).mul_(((t["mouth_open"] - 0.2) * 4).clamp(0, 1) * 0.9)
        _over(self.face, teeth, self.colour(0.92, 0.90, 0.85))

    def _eyes(self) -> None:
        """Lid crease, lashes, white, iris, pupil, its light, brow: both sides at once."""
        t, face, du, dv = self.t, self.face, self.du, self.dv
        slanted = dv + du * t["eye_tilt"]
        along = du / t["eye_w"]
        arch = (1 - along * along).clamp_(min=-1)
        high, low = t["eye_h"] * t["eye_open"], 0.70 * t["eye_h"]
        upper = slanted + arch * high
        lower = arch * low - slanted
        lash = 0.006 + 0.012 * t["lashes"]
        crease = _bell(((upper + 0.016 + 0.018 * t["eye_crease"]) * 55).square_()).mul_(_ramp(arch * 2))
        _over(face, crease.mul_(0.15 + 0.35 * t["eye_crease"]), self.skin * 0.45)
        outline = torch.minimum(upper + lash, lower + 0.005)
        _over(face, self.cover(outline).mul_(0.72 + 0.25 * t["lashes"]), self.skin * (0.42 - 0.25 * t["lashes"]))
        eye = self.cover(torch.minimum(upper, lower))
        _over(face, eye, self.colour(0.91, 0.90, 0.88) * (1 - 0.30 * _bell((upper * 28).square_())))
        hue = t["iris_hue"]
        iris = self.colour(0.17 + 0.50 * hue * (1 - hue), 0.11 + 0.40 * hue, 0.06 + 0.58 * hue * hue)
        iris = iris * (1 - 0.65 * t["melanin"])
        x = self.u - torch.sign(self.u) * t["eye_dx"] - t["gaze_x"]
        y = dv - t["gaze_y"]
        r = (x * x + y * y).sqrt_()
        radius = t["iris_r"]
        _over(face, self.cover(radius - r).mul_(eye), iris * (0.55 + 0.6 * _ramp((radius - r) * 60)))
        _over(face, self.cover(0.45 * radius - r).mul_(eye), iris * 0.12)
        r = ((x + 0.35 * radius).square_().add_((y + 0.38 * radius).square_())).sqrt_()
        _over(face, self.cover(0.26 * radius - r).mul_(eye).mul_(0.85), self.colour(1.0, 1.0, 1.0))
        self._brows()

    def _brows(self) -> None:
        t, du, dv = self.t, self.du, self.dv
        along = (du - 0.01) / t["brow_w"]
        y = dv + (t["brow_dy"] + t["brow_raise"])
        y += du * (0.35 * t["brow_tilt"])
        y -= (along * along - 0.3) * (0.022 * t["brow_arch"])
        thick = t["brow_t"] * (1 - 0.38 * (along + 0.4).clamp_(min=0))
        brow = self.cover(thick - y.abs_()).mul_(self.cover((1 - along.abs()) * 0.12))
        _over(self.face, brow.mul_(0.9), self.hair * 0.85)

    # --------------------------------------------------------------------------------- hair, things, camera

    def _front_hair(self) -> None:
        t, u, v = self.t, self.u, self.v
        b, long = t["face_h"], self.length.clamp(min=0)
        part = t["hair_part"] + 0.10 * t["hair_parting"]
        line = t["hairline"] * b + 0.03 * t["hair_volume"] - 0.15 * (t["age"] - 0.6).clamp(min=0)
        fringe = (u - part).square_().mul_(0.5 * t["hair_curve"]).add_(line).add_(self.blobs * 0.10)
        fringe -= v  # > 0 above the hairline
        temple = self.cover((0.26 + 0.05 * t["hair_vol"] - self.dz) * t["face_w"])
        temple *= _ramp((t["sideburn"] * b + 0.2 * long * b - v) * 12)
        back = self.cover((-0.02 - self.dz) * t["face_w"]).mul_(self.cover(self.length.clamp(min=0.42) * b - v))
        sides = torch.maximum(temple, back)
        sides *= 1 - (1 - self.has_hair) * _ramp((-0.42 * b - v) * 14)  # a bald crown
        shadow = _ramp((fringe + 0.10) * 8).mul_(self.front).mul_(0.16 * self.has_hair)
        self.face *= 1 - shadow
        hair = torch.maximum(self.cover(fringe).mul_(self.has_hair), sides)
        _over(self.face, hair, self.hair * self.hair_shade)

    def _things(self) -> None:
        """The near ear, and what few faces wear: each drawn on those faces alone."""
        _over(self.image, self.ear * self.near, self.ear_colour)
        for name, paint in (("glasses", self._glasses), ("mask", self._mask), ("patch", self._patch)):
            index = self.present[name]
            if len(index):
                part = self.image[:, index]
                paint(part, {key: value[index] for key, value in self.t.items()}, index)
                self.image[:, index] = part

    def _glasses(self, image: Tensor, t: Mapping[str, Tensor], index: Tensor) -> None:
        us, on = self.us[index], self.front[index] * self.head[index] * t["glasses"]
        du, dv = us - t["eye_dx"] * 1.03, self.v[index] - t["eye_y"] - 0.01
        w, h, k = t["glasses_w"], t["glasses_h"], self.k[index]
        x2, y2 = (du / w).square_().clamp_(max=2), (dv / h).square_().clamp_(max=2)
        r = (x2 + y2 - x2 * y2 * 0.5).sqrt_()  # 1 on the rim, a rounded box
        rim = (t["glasses_frame"] + 0.003) - ((r - 1) * h).abs_()
        bar = 0.011 - (dv + 0.02).abs_()
        bridge = torch.minimum(bar, t["eye_dx"] - 0.9 * w - us)
        temple = torch.minimum(bar, us - t["eye_dx"] - 0.95 * w)
        frame = _cover(torch.maximum(torch.maximum(rim, bridge), temple), k).mul_(on)
        lens = _cover((1 - r) * h, k).mul_(on).mul_(0.08 + 0.85 * t["glasses_dark"])
        _over(image, lens, self.colour(0.10, 0.10, 0.12)[:, index])
        _over(image, frame, self.colour(0.08, 0.07, 0.08)[:, index])

    def _mask(self, image: Tensor, t: Mapping[str, Tensor], index: Tensor) -> None:
        us, v, c = self.us[index], self.v[index], t["mask_colour"]
        below = v - (self.tip[index] - 0.07 + t["mask_y"]) - us * us * 0.35
        on = _cover(below, self.k[index]).mul_(self.front[index]).mul_(self.head[index]).mul_(t["mask"])
        pleats = _wave(v * 6).mul_(0.1).add_(0.92).mul_(self.shade[index])
        _over(image, on, torch.stack([0.45 + 0.45 * c, 0.68 + 0.2 * c, 0.82 + 0.08 * c]) * pleats)

    def _patch(self, image: Tensor, t: Mapping[str, Tensor], index: Tensor) -> None:
        half = self.size / 2
        x = _ramp((t["patch_w"] - (self.X - t["patch_x"]).abs()) * half + 0.5)
        y = _ramp((t["patch_h"] - (self.Y - t["patch_y"]).abs()) * half + 0.5)
        _over(image, x * y * t["patch"], t["patch_grey"].expand(3, -1, -1, -1))

    def _camera(self, image: Tensor) -> Tensor:
        t = self.t
        image *= self.colour(t["exposure"] * t["red"], t["exposure"], t["exposure"] * t["blue"])
        image.clamp_(0, 1)
        image = image / (image * (1 - t["gamma"]) + t["gamma"])  # a tone curve through 0 and 1, slope gamma at 1
        image = self._blurred(image)
        image += self._noise().mul_(t["noise"])
        return image.mul_(255).add_(0.5).clamp_(0, 255.5).to(torch.uint8)

    def _blurred(self, image: Tensor) -> Tensor:
        """A blur of variance sigma^2 per image from (w, 1-2w, w) kernels with taps 1, 2, 4, ... pixels apart."""
        left = self.sigma * self.sigma  # on the CPU: no wait for the device
        step = 1
        while bool((left > 0).any()):
            w = (left / (2 * step * step)).clamp(max=0.25)  # (B,)
            left = (left - 2 * step * step * w).clamp(min=0)
            left = torch.where(left < 1e-9, torch.zeros_like(left), left)
            weight = w.float().to(self.device)[:, None, None]
            for axis in (2, 3):
                image = _three_taps(image, weight, step, axis)
            step *= 2
        return image

    def _noise(self) -> Tensor:
        """Nearly normal noise, variance 1, (3, B, S, S): a 32-bit hash per pixel (murmur3's finaliser)."""
        pixel = torch.arange(self.size**2, dtype=torch.int32, device=self.device).view(1, self.size, self.size)
        x = self.key ^ (pixel * 0x27D4EB2F)
        x = (x ^ (x >> 16)) * -0x7A143595
        x = (x ^ (x >> 13)) * -0x3D4D51CB
        x = x ^ (x >> 16)
        shifts = torch.tensor([0, 10, 20], dtype=torch.int32, device=self.device).view(3, 1, 1, 1)
        noise = ((x >> shifts) & 1023).float().sub_(511.5).mul_(2 / 1023)  # uniform in [-1, 1]
        return noise.mul_(noise.square().mul_(1.3).add_(0.95))


def _three_taps(image: Tensor, weight: Tensor, step: int, axis: int) -> Tensor:
    """(w, 1 - 2w, w) with taps ``step`` apart along ``axis``; the border pixel is repeated outside."""
    last = image.shape[axis] - 1
    at = torch.arange(last + 1, device=image.device)
    around = image.index_select(axis, (at - step).clamp(min=0)) + image.index_select(axis, (at + step).clamp(max=last))
    return around.mul_(weight).add_(image * (1 - 2 * weight))
