"""Random textures with a power-law spectrum, the same at every size and changing with depth.

Frequencies are in cycles per frame. A size's list of frequencies is a prefix of a larger size's, and random
numbers are drawn in its order: so a texture at 64 pixels is the low-frequency part of the same at 512.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
REFERENCE = 64  # pixels: the size at which a texture has variance 2


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random numbers of one thing, which depend on `seed` and its `key` alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@lru_cache(maxsize=4)
def frequencies(size: int) -> tuple[Array, Array, NDArray[np.intp]]:
    """(fx, fy, place) of the frequencies below Nyquist, x >= 0 only, in square shells outwards; each (F,).

    `place` is where a frequency's coefficient lies in the flattened (size, size // 2 + 1) input of irfft2.
    """
    top = (size - 1) // 2
    fy, fx = (grid.ravel() for grid in np.mgrid[-top : top + 1, 0 : top + 1])
    order = np.lexsort((fx, fy, np.maximum(fx, np.abs(fy))))[1:]  # without the constant
    fx, fy = fx[order], fy[order]
    return fx.astype(np.float64), fy.astype(np.float64), (fy % size) * (size // 2 + 1) + fx


@dataclass(frozen=True)
class Spectrum:
    """Power that falls as 1 / f^beta from f = `start` on, and as a Gaussian from `stop` on."""

    beta: float
    start: float
    stop: float = np.inf
    stretch: float = 1.0  # structures are longer by this along `angle`, shorter across
    angle: float = 0.0  # radians, from x towards y

    def amplitudes(self, size: int) -> tuple[Array, Array]:
        """(amplitude, frequency), each (F,), of frequencies(size)."""
        amplitude, f = self._shape(size)
        return amplitude / np.sqrt(2 * np.sum(self._shape(REFERENCE)[0] ** 2)), f

    def _shape(self, size: int) -> tuple[Array, Array]:
        fx, fy, _ = frequencies(size)
        along = fx * np.cos(self.angle) + fy * np.sin(self.angle)
        across = fy * np.cos(self.angle) - fx * np.sin(self.angle)
        f = np.hypot(along * self.stretch, across / self.stretch)
        rise = (f / self.start) ** 2
        return rise / (1 + rise * (f / self.start) ** (self.beta / 2)) * np.exp(-((f / self.stop) ** 2)), f


class Texture:
    """A Gaussian random field in depth, stationary, whose fine structures change faster than its coarse ones.

    The coefficient of frequency f at depth z is cos(w z) a + sin(w z) b, with w = 0.05 f up to 1.5.
    """

    def __init__(self, rng: np.random.Generator, spectrum: Spectrum, size: int) -> None:
        amplitude, f = spectrum.amplitudes(size)
        draws = rng.standard_normal((len(f), 4)) * (amplitude * size**2)[:, None]
        self.size, self.turn = size, np.minimum(0.05 * f, 1.5)
        self.a, self.b = draws[:, 0] + 1j * draws[:, 1], draws[:, 2] + 1j * draws[:, 3]

    def at(self, depth: float) -> Array:
        """(size, size) values of mean 0 and variance about 2."""
        grid = np.zeros(self.size * (self.size // 2 + 1), np.complex128)
        place = frequencies(self.size)[2]
        grid[place] = np.cos(self.turn * depth) * self.a + np.sin(self.turn * depth) * self.b
        return np.fft.irfft2(grid.reshape(self.size, -1), s=(self.size, self.size))


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def ridges(field: Array, width: float) -> Array:
    """Bright lines (0..1) where a texture crosses 0; `width` in the texture's values.

    Lines thinner than a pixel are drawn a pixel wide and fainter, so their mean brightness stays.
    """
    shown = np.hypot(width, 7.0 / len(field))
    return width / shown * np.exp(-((field / shown) ** 2))
