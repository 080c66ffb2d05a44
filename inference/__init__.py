"""How do weights become masks?

from inference import load_model, predict
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.api import predict
    from inference.weights import load_model

__all__ = ["load_model", "predict"]


def __getattr__(name: str) -> Any:
    """The two calls, imported when they are first asked for: the package itself must stay cheap to import."""
    if name not in __all__:
        raise AttributeError(f"module 'inference' has no attribute {name!r}")
    from inference import api

    return getattr(api, name)


class _CallableRoom(ModuleType):
    """The room `inference.predict`, which is called as the function of that name: importing it hides the function."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        from inference import api

        return api.predict(*arguments, **settings)


class _Inference(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name == "predict" and isinstance(value, ModuleType):
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Inference
