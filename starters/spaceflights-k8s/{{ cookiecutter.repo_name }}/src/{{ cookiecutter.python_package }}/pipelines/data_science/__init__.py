"""Train a regression of the shuttles' price and measure it."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
