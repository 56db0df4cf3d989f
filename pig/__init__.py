"""Paired Image Generation (Zhang et al., MICCAI 2025) as a reproducible pipeline."""

__version__ = "0.1.0"
