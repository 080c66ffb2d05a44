"""Which networks are there, and how is one built? One explicit table, one builder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inference.models.table import MODELS, ModelRow, model_row

if TYPE_CHECKING:
    from inference.models.builder import build_model, option_names
    from inference.models.freezing import count_parameters, freeze, unfreeze
    from inference.models.segmenter import Classifier, Model, Segmenter, TrainOutputs

# What needs torch is imported when it is first asked for: the table alone is looked into by stages that need none.
PLACES = {
    "builder": ("build_model", "option_names"),
    "freezing": ("count_parameters", "freeze", "unfreeze"),
    "segmenter": ("Classifier", "Model", "Segmenter", "TrainOutputs"),
}

__all__ = [
    "MODELS",
    "Classifier",
    "Model",
    "ModelRow",
    "Segmenter",
    "TrainOutputs",
    "build_model",
    "count_parameters",
    "freeze",
    "model_row",
    "option_names",
    "unfreeze",
]


def __getattr__(name: str) -> Any:
    """A name of the room from the module that it stands in."""
    for module, names in PLACES.items():
        if name in names:
            return getattr(import_module(f"inference.models.{module}"), name)
    raise AttributeError(f"module 'inference.models' has no attribute {name!r}")
