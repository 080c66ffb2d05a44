"""Which networks are there, and how is one built? One explicit table, one builder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inference.models.table import MODELS, model_row

if TYPE_CHECKING:
    from inference.models.builder import build_model
    from inference.models.segmenter import Classifier, Model

# What needs torch is imported when it is first asked for: the table alone is looked into by stages that need none.
PLACES = {"build_model": "builder", "Classifier": "segmenter", "Model": "segmenter"}

__all__ = ["MODELS", "Classifier", "Model", "build_model", "model_row"]


def __getattr__(name: str) -> Any:
    """A name of the room from the module that it stands in."""
    if name not in PLACES:
        raise AttributeError(f"module 'inference.models' has no attribute {name!r}")
    return getattr(import_module(f"inference.models.{PLACES[name]}"), name)
