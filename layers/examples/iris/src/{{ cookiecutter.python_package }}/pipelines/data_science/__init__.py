"""Train a classifier of the species and report its accuracy."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
