"""The model zoo: one explicit table, one builder."""

from inference.models.builder import build_model, model_row, option_names
from inference.models.freezing import count_parameters, freeze, unfreeze
from inference.models.segmenter import Classifier, Model, Segmenter, TrainOutputs
from inference.models.table import MODELS, ModelRow

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
