"""How do weights become masks?

from inference import load_model, predict
"""

from __future__ import annotations

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
