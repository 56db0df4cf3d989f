"""Virtual patients: what a breast and its mass look like before they are drawn.

Lengths are in units of the frame's side, x to the right from the chest wall, y downwards; angles in
radians. What is random is drawn here, from a generator that is passed in; what follows from it is a method.
"""

from dataclasses import dataclass

import numpy as np

from pig.data.phantom.texture import Array

MARGINS = ("circumscribed", "lobulated", "spiculated")
LOBES = {  # amplitude of 2, 3, .. 6 lobes around the outline, as a share of the radius
    "circumscribed": (0.10, 0.02, 0.01, 0.00, 0.00),
    "lobulated": (0.10, 0.11, 0.09, 0.05, 0.02),
    "spiculated": (0.08, 0.05, 0.06, 0.06, 0.05),
}
SPICULES = 17
TRIES = 64


@dataclass(frozen=True)
class Body:
    """What a patient keeps in every view and slice."""

    length: float  # chest wall to nipple
    height: float  # half the extent along the chest wall, CC
    density: float  # 0 fatty .. 1 dense
    brightness: float
    beta: float  # the tissue's power falls as 1 / f^beta
    stretch: float  # of structures, towards the nipple
    coarseness: float  # cycles per frame of the largest lobules
    strands: float  # strength of ligaments and ducts
    margin: str  # one of MARGINS
    radius: float  # of the mass
    contrast: float  # of the mass in focus, on [-1, 1]


def draw_body(rng: np.random.Generator) -> Body:
    """A patient with one mass."""
    u = rng.uniform(size=10)
    return Body(
        length=0.84 + 0.12 * u[0],
        height=0.45 + 0.05 * u[1],
        density=0.05 + 0.90 * u[2],
        brightness=0.92 + 0.16 * u[3],
        beta=2.8 + 0.4 * u[4],
        stretch=1.1 + 0.4 * u[5],
        coarseness=1.3 + 0.9 * u[6],
        strands=0.4 + 0.8 * u[7],
        margin=MARGINS[int(rng.integers(len(MARGINS)))],
        radius=0.078 + 0.080 * u[8] ** 1.2,
        contrast=0.24 + 0.66 * u[9],
    )


@dataclass(frozen=True)
class Outline:
    """The breast in one view; in MLO with the pectoral muscle, above a line from (wide, 0) to (0, tall)."""

    length: float
    nipple: float  # its y
    above: float  # extent upwards of the nipple
    below: float
    wide: float = 0.0  # 0: no muscle
    tall: float = 1.0

    def skin(self, x: Array, y: Array) -> Array:
        """Depth under the skin, to first order, at most 1; negative in air."""
        high = np.where(y < self.nipple, self.above, self.below)
        v = np.abs(y - self.nipple) / high
        reach = self.length + 0.025 * np.exp(-(((y - self.nipple) / 0.03) ** 2))  # the nipple stands out
        slope = np.hypot(2 * x / self.length**2, 2.3 * v**1.3 / high + 1e-3)
        return np.minimum((1 - (x / reach) ** 2 - v**2.3) / slope, 1.0)

    def muscle(self, x: Array, y: Array) -> Array:
        """Depth in the muscle, whose edge is bowed a little outwards; negative outside."""
        if not self.wide:
            return np.full(np.broadcast(x, y).shape, -1.0)
        u, v = x / self.wide, y / self.tall
        return (1 + 0.35 * u * v - u - v) / np.hypot(1 / self.wide, 1 / self.tall)


def draw_outline(rng: np.random.Generator, body: Body, view: str) -> Outline:
    """CC: symmetric, without muscle. MLO: the nipple low, the breast running on to the armpit."""
    u = rng.uniform(size=4)
    if view == "CC":
        return Outline(body.length, 0.48 + 0.04 * u[0], body.height, body.height)
    nipple = 0.58 + 0.06 * u[0]
    above, below = 0.74 + 0.12 * u[1], 0.98 - nipple - 0.03 * u[2]
    return Outline(0.97 * body.length, nipple, above, below, 0.30 + 0.12 * u[3], 0.50 + 0.15 * u[1])


@dataclass(frozen=True)
class Mass:
    """A mass in one view."""

    x: float
    y: float
    radius: float
    margin: str
    waves: Array  # (5, 3): number of lobes, amplitude, phase
    spicules: Array  # (S, 4): angle, bend, length in radii, strength

    def edge(self, angle: Array, depth: float) -> Array:
        """Distance of the outline from the centre: star-shaped, smaller away from the focus (depth 0)."""
        shape = np.ones_like(angle)
        for lobes, amplitude, phase in self.waves:
            shape += amplitude * np.cos(lobes * angle + phase + 0.4 * depth)
        return self.radius * np.sqrt(1 - 0.45 * depth**2) * shape


def draw_mass(rng: np.random.Generator, body: Body, outline: Outline) -> Mass:
    """The patient's mass, with an outline and a place of its own in each view.

    The place is the first of TRIES with 1.6 radii to the skin and the frame's edges, and most of it off the
    muscle; or else the roomiest.
    """
    radius = body.radius * (0.95 + 0.1 * rng.uniform())
    x = outline.length * (0.15 + 0.6 * rng.uniform(size=TRIES))
    y = outline.nipple + (rng.uniform(size=TRIES) - 0.55) * 0.9 * outline.above
    from_muscle = 0.3 * radius - outline.muscle(x, y)
    room = np.minimum.reduce([outline.skin(x, y), from_muscle, x, y, 1 - y]) / radius
    best = int(np.argmax(np.minimum(room, 1.6)))
    amplitudes = np.array(LOBES[body.margin]) * rng.uniform(0.4, 1.2, 5)
    waves = np.column_stack([np.arange(2, 7), amplitudes, rng.uniform(0, 2 * np.pi, 5)])
    count = SPICULES if body.margin == "spiculated" else 0
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(-0.4, 0.4, count)) / SPICULES
    bends, lengths, strengths = (rng.uniform(*r, count) for r in ((-0.25, 0.25), (1.7, 2.7), (0.4, 1.0)))
    spicules = np.column_stack([angles, bends, lengths, strengths])
    return Mass(float(x[best]), float(y[best]), radius, body.margin, waves, spicules)
