"""What do I run, in what order?

from pipeline import train_model
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.api import train_model

__all__ = ["train_model"]


def __getattr__(name: str) -> Any:
    """The one call, imported when it is first asked for: the package itself must stay cheap to import."""
    if name not in __all__:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    from pipeline import api

    return getattr(api, name)
