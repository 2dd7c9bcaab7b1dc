"""Draw what the data and the model look like."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
