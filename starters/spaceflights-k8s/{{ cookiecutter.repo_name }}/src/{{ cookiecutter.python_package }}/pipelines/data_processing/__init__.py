"""Clean the raw data and join it into one table."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
