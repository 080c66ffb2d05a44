"""The model zoo: one explicit table, one builder."""

from inference.models.builder import build_model, model_row, option_names
from inference.models.segmenter import Segmenter, TrainOutputs
from inference.models.table import MODELS, ModelRow

__all__ = ["MODELS", "ModelRow", "Segmenter", "TrainOutputs", "build_model", "model_row", "option_names"]
