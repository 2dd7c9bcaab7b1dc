"""Train a regression of shuttle prices and measure it."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
