"""The embedded data set: a procedural phantom of digital breast tomosynthesis (DBT) slices with masses.

Nothing here is a patient. A virtual patient has a breast (shape, density, texture) and one mass; each view,
CC or MLO, shows a few neighbouring slices around the plane in which the mass is in focus. Random streams are
keyed by (seed, patient, view, what): patient i is the same among any number of patients, and looks the same
at any size, with more detail at a larger one.

Tissue has a power spectrum that falls as 1 / f^beta with beta near 3, as measured in mammograms: Burgess,
Jacobson and Judy, "Human observer detection experiments with mammograms and power-law noise", Med. Phys. 28,
419-437, 2001. Lengths are in units of the frame's side, brightness in [0, 1], depth in [-1, 1] with the mass
in focus at 0.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pig.core.errors import InputError
from pig.data.pairs import Pairs, concatenate
from pig.data.phantom.anatomy import draw_body, draw_mass, draw_outline
from pig.data.phantom.texture import Array, Spectrum, Texture, logistic, ridges, stream

VIEWS = ("CC", "MLO")
BODY, PLACE, FINE, STRANDS, COARSE, NOISE = range(6)  # random streams
SOFTNESS = {"circumscribed": 0.09, "lobulated": 0.13, "spiculated": 0.22}  # of a mass's edge, in radii
RING = 0.06  # width of the ring that a mass's contrast is measured against
SPICULE = 0.004  # half the width of a spicule
SMALLEST = 16  # pixels


def phantom(patients: int, views: Sequence[str], slices: int, size: int, seed: int) -> Pairs:
    """patients x views x slices pairs of size x size pixels, in that order. Raises InputError."""
    return concatenate(volumes(patients, views, slices, size, seed))


def volumes(patients: int, views: Sequence[str], slices: int, size: int, seed: int) -> Iterator[Pairs]:
    """The same, one view of one patient at a time: patients x views sets of `slices` pairs.

    Raises:
        InputError: a size below 16, or a view twice.
    """
    if size < SMALLEST:
        raise InputError(f"data.size: expected {SMALLEST} or more of the phantom, found {size}")
    if len(set(views)) < len(views):
        raise InputError(f"phantom.views: expected each once, found {list(views)}")
    return (_view(patient, view, slices, size, seed) for patient in range(patients) for view in views)


def _view(patient: int, view: str, slices: int, size: int, seed: int) -> Pairs:
    volume = Volume(seed, patient, view, size)
    depths = [(2 * i + 1 - slices) / slices for i in range(slices)]
    images, masks = zip(*(volume.draw(depth, i) for i, depth in enumerate(depths)), strict=True)
    whole = {
        "patient": f"p{patient:04d}",
        "view": view,
        "origin": "phantom",
        "seed": str(seed),
        "density": f"{volume.body.density:.3f}",
        "margin": volume.body.margin,
        "radius": f"{volume.mass.radius:.4f}",
        "contrast": f"{volume.body.contrast:.3f}",
    }
    table = pd.DataFrame(
        {"id": f"{whole['patient']}-{view}-{i:02d}", **whole, "slice": str(i), "depth": f"{depth:.3f}"}
        for i, depth in enumerate(depths)
    )
    return Pairs(np.stack(images), np.stack(masks), table)


class Volume:
    """One view of one patient, of which slices can be drawn at any depth."""

    def __init__(self, seed: int, patient: int, view: str, size: int) -> None:
        code = VIEWS.index(view)
        self.size, self.key = size, (seed, patient, code)
        self.body = body = draw_body(stream(seed, patient, BODY))
        place = stream(*self.key, PLACE)
        self.outline = draw_outline(place, body, view)
        self.mass = draw_mass(place, body, self.outline)
        angle = 0.35 if view == "MLO" else 0.0  # tissue points to the nipple

        self.fine, self.coarse, self.strands = (
            Texture(stream(*self.key, what), spectrum, size)
            for what, spectrum in (
                (FINE, Spectrum(body.beta, 4.0, np.inf, 1.3, angle)),
                (COARSE, Spectrum(4.0, body.coarseness, np.inf, body.stretch, angle)),
                (STRANDS, Spectrum(2.0, 3.0, 24.0, 1.8, angle)),
            )
        )
        centres = (np.arange(size) + 0.5) / size
        self.x, self.y = centres[None, :], centres[:, None]
        self.skin = self.outline.skin(self.x, self.y)
        self.muscle = logistic(self.outline.muscle(self.x, self.y) / 0.008)
        self.gland = self._gland()

    def draw(self, depth: float, number: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Image (size, size) uint8 and mask (size, size) bool at `depth`; `number` seeds the noise."""
        size, skin = self.size, self.skin
        image = self._tissue(depth)
        mask = self._add_mass(image, depth)
        thin = 1 - np.clip(skin / 0.10, 0, 1)  # a compressed breast is rounded at its edge
        image *= self.body.brightness * (0.45 + 0.55 * np.sqrt(1 - thin**2))
        width = np.hypot(0.006, 0.35 / size)
        image += 0.22 * 0.006 / width * np.exp(-(((skin - 0.008) / width) ** 2))
        quanta = stream(*self.key, NOISE, number).standard_normal((size, size))
        image += 0.012 * np.sqrt(size / 64) * np.sqrt(np.clip(image, 0, 1)) * quanta
        image *= np.clip(skin * size + 0.5, 0, 1)  # air, with an antialiased edge
        return np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8), mask

    def _gland(self) -> Array:
        """Where gland is likely: a disc behind the nipple, larger in a dense breast, under a layer of fat."""
        outline, dense = self.outline, self.body.density
        axis = outline.nipple - 0.10 * (outline.above - outline.below) * (1 - self.x / outline.length)
        across = (self.y - axis) / (0.26 + 0.14 * dense)
        along = (self.x - 0.56 * outline.length) / (0.36 + 0.10 * dense)
        below_fat = logistic((self.skin - 0.05) / 0.015)
        disc = 0.9 * dense - 0.55 + 1.5 * (1 - np.hypot(along, across) ** 1.7)
        return disc * below_fat - 3 * (1 - below_fat)

    def _tissue(self, depth: float) -> Array:
        """Fat, gland and muscle: brightness (size, size) of a breast of even thickness without a mass."""
        fine, coarse = self.fine.at(depth), self.coarse.at(depth)
        gland = logistic(2.6 * (self.gland + 0.8 * coarse + 0.16 * fine))
        lines = self.body.strands * ridges(self.strands.at(depth), 0.15) * logistic(2 * (fine + self.gland))
        fat = 0.25 + 0.025 * fine + 0.08 * lines
        dense = 0.52 + 0.042 * fine + 0.06 * lines
        tissue = fat + gland * (dense - fat)
        return tissue + self.muscle * (0.58 + 0.035 * fine - tissue)

    def _add_mass(self, image: Array, depth: float) -> NDArray[np.bool_]:
        """Draw the mass into `image` and return its mask, (size, size)."""
        mass, mask = self.mass, np.zeros(image.shape, np.bool_)
        window = tuple(
            slice(*np.searchsorted(axis.ravel(), [centre - 2.8 * mass.radius, centre + 2.8 * mass.radius]))
            for axis, centre in ((self.y, mass.y), (self.x, mass.x))
        )
        dx, dy = self.x[:, window[1]] - mass.x, self.y[window[0]] - mass.y
        far, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
        edge = mass.edge(angle, depth)
        inside = mask[window] = far < edge
        ring = (far < edge + RING) & ~inside & (self.skin[window] > 0.02)
        blur = np.hypot(0.5 * (SOFTNESS[mass.margin] + 0.15 * abs(depth)), 0.25 / (self.size * mass.radius))
        profile = logistic((1 - far / edge) / blur)
        part = image[window]
        part += 0.4 * profile * (part[inside].mean() - part)  # a mass displaces the texture
        profile *= 0.72 + 0.28 * np.sqrt(np.clip(1 - (far / edge) ** 2, 0, 1))
        wanted = 0.5 * self.body.contrast * (1 - 0.35 * abs(depth))
        gain = np.clip(wanted - part[inside].mean() + part[ring].mean(), 0.02, 0.5)
        part += gain * (profile / profile[inside].mean() + 0.4 * self._spicules(far, angle, far / edge))
        return mask

    def _spicules(self, far: Array, angle: Array, ratio: Array) -> Array:
        """Thin lines (0..1) that leave the mass and fade."""
        lines = np.zeros_like(far)
        width = np.hypot(SPICULE, 0.3 / self.size)
        leaving = logistic((ratio - 0.9) / 0.06)
        for direction, bend, length, strength in self.mass.spicules:
            turn = angle - direction - bend * (ratio - 1)
            fade = np.clip((length - ratio) / (length - 1), 0, 1) * (np.cos(turn) > 0)
            lines = np.maximum(lines, strength * fade * np.exp(-((far * np.sin(turn) / width) ** 2)))
        return min(1.0, 1.6 * SPICULE / width) * leaving * lines
