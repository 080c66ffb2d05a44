"""Which versions inference was written for, which are installed, and which do not fit. Needs only `packaging`."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from typing import NamedTuple

from packaging.specifiers import SpecifierSet

PYTHON = "Python"
# As pyproject.toml has them, which a test compares.
ACCEPTED = {
    PYTHON: ">=3.11",
    "h5py": ">=3.10",
    "imagecodecs": ">=2024.1",
    "nibabel": ">=5.2",
    "numba": ">=0.59",
    "numpy": ">=1.26",
    "opencv-python-headless": ">=4.10",
    "packaging": ">=23.0",
    "pandas": ">=2.2",
    "pillow": ">=10.0",
    "pydantic": ">=2.8",
    "PyYAML": ">=6.0",
    "safetensors": ">=0.4",
    "scipy": ">=1.12",
    "segmentation-models-pytorch": ">=0.5",
    "tifffile": ">=2024.1",
    "timm": ">=1.0.15",
    "torch": ">=2.6",
    "torchvision": ">=0.21",
    "tqdm": ">=4.66",
}
# What some models need beside these.
SPECIAL = {
    "maskformer": {"transformers": "==5.23.0"},
}
SAME_MODULE = {
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
}


class Unmet(NamedTuple):
    """A distribution that does not fit: its name, the version found (None: not installed), the range accepted."""

    name: str
    found: str | None
    accepted: str

    def __str__(self) -> str:
        return f"{self.name}: found {self.found or 'nothing'}, accepted {self.accepted}"


def accepted_ranges(used: Collection[str]) -> dict[str, str]:
    """Accepted range of every distribution for the `used` architectures."""
    special = {name: span for what in used for name, span in SPECIAL.get(what, {}).items()}
    return {**ACCEPTED, **special}


def refuse_special(used: Collection[str]) -> None:
    """Raises ValueError where architectures need distributions that no bundle brings along.

    These require others in narrow ranges (hub, tokenizers, protobuf), which would replace what the host's image has.
    """
    needs = [f"{what} needs {name} {span}" for what in sorted(used) for name, span in SPECIAL.get(what, {}).items()]
    if needs:
        raise ValueError(
            f"{', '.join(needs)}, and stage 08 fetches no wheels for these; if the host's image has them use "
            "--no-wheels, else train another architecture"
        )


def installed_version(name: str) -> str | None:
    """Version of a distribution, or of one that brings the same module, or of Python; None where there is none."""
    if name == PYTHON:
        return platform.python_version()
    for one in (name, *SAME_MODULE.get(name, ())):
        try:
            return metadata.version(one)
        except metadata.PackageNotFoundError:
            continue
    return None


def installed_versions(names: Collection[str]) -> dict[str, str]:
    """Versions of distributions; one that is absent is left out."""
    found = {name: installed_version(name) for name in sorted(names, key=str.lower)}
    return {name: version for name, version in found.items() if version}


def fits(version: str, accepted: str) -> bool:
    """Whether a version lies in a range; pre-releases and local builds (2.6.0+cu124) count by their number."""
    return SpecifierSet(accepted).contains(version, prereleases=True)


def unmet(accepts: Mapping[str, str]) -> list[Unmet]:
    """What is installed in no accepted version, in the order of `accepts`."""
    found = [Unmet(name, installed_version(name), span) for name, span in accepts.items()]
    return [one for one in found if one.found is None or not fits(one.found, one.accepted)]


def refuse(wrong: Sequence[Unmet], what: str = "the bundle does not fit the installed packages") -> None:
    """Raises ValueError with the list, where it is not empty."""
    if wrong:
        raise ValueError("\n".join([f"{what}:", *(f"  {one}" for one in wrong)]))
