"""A fresh virtual environment that stands for the host's image: the image's packages are linked, not installed."""

from __future__ import annotations

import sys
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

# Of what inference needs, the part that Kaggle's image is known to hold, and what runs notebooks there.
IMAGE = (
    "h5py", "huggingface-hub", "ipykernel", "numba", "numpy", "opencv-python-headless", "packaging", "pandas", "pillow",
    "pydantic", "PyYAML", "safetensors", "scipy", "torch", "torchvision", "tqdm",
)  # fmt: skip


def make_environment(folder: Path, wheels: Iterable[str], needed: Iterable[str]) -> tuple[Path, list[str]]:
    """A virtual environment with pip in `folder`; returns its interpreter and the names of what was linked.

    Linked from the environment that runs this are the image's distributions, each with what it requires; what the
    `wheels` (file names) bring is left to them. A bundle without wheels is for an image that has all that is `needed`.
    """
    venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)
    brought = {parse_wheel_filename(file)[0] for file in wheels}
    wanted = [*IMAGE, *(() if brought else needed)]
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    linked = sorted(_with_requirements(wanted, without=brought))
    for name in linked:
        for path in _top_level(metadata.distribution(name)):
            if not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    return folder / "bin" / "python", linked


def _with_requirements(names: Iterable[str], *, without: Iterable[str]) -> set[str]:
    """Installed distributions among `names`, and those that they require, by their normal names."""
    waiting, found = [canonicalize_name(name) for name in names], set(without)
    brought = set(found)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            required = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        for one in map(Requirement, required):
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(one.name))
    return {str(name) for name in found - brought}


def _top_level(distribution: metadata.Distribution) -> list[Path]:
    """Files and folders of a distribution that lie directly in site-packages."""
    names = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
    return [Path(str(distribution.locate_file(name))).resolve() for name in sorted(names)]
