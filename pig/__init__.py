"""Paired Image Generation (Zhang et al., MICCAI 2025) as a reproducible pipeline."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pig.core.errors import InputError
    from pig.data.dataset import PairDataset
    from pig.diffusion import Denoiser, sample_images, sample_pairs
    from pig.models.generator import Model, Pair
    from pig.models.loading import load

__version__ = "0.1.0"
__all__ = [
    "load",
    "Model",
    "Pair",
    "PairDataset",
    "Denoiser",
    "sample_pairs",
    "sample_images",
    "InputError",
    "__version__",
]

# Where the names above are: torch loads when the first of them is used, not with `import pig`.
_HOMES = {
    "load": "pig.models.loading",
    "Model": "pig.models.generator",
    "Pair": "pig.models.generator",
    "PairDataset": "pig.data.dataset",
    "Denoiser": "pig.diffusion",
    "sample_pairs": "pig.diffusion",
    "sample_images": "pig.diffusion",
    "InputError": "pig.core.errors",
}


if not TYPE_CHECKING:  # which would take any name for one of pig's

    def __getattr__(name: str) -> Any:
        """A name of __all__, from its module (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
