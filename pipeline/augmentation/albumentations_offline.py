"""albumentations, imported here only: without the variable its import asks the network for news."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A

__all__ = ["A"]
