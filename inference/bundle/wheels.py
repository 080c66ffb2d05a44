"""Wheels of a bundle: fetched when it is made, installed with no network where what is there does not fit."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.tags import Tag, sys_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from inference.bundle.manifest import file_hash, read_manifest
from inference.bundle.versions import installed_version, refuse, unmet

FOLDER = "wheels"
PURE = ("nibabel", "segmentation-models-pytorch", "tifffile", "timm")
PURE_READERS = ("mrcfile", "pydicom")  # of image formats; fetched where a competition has such files
BINARY = ("imagecodecs", "safetensors")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
PYTHONS = ("3.11", "3.12")


def fetch_wheels(folder: Path, python: str, names: Iterable[str] = (*PURE, *BINARY)) -> list[str]:
    """Download the wheels that Kaggle's image may lack, in the versions installed here; returns their file names.

    python: "3.11" or "3.12", which only binary wheels depend on. Raises ValueError that names what pip could not
    fetch, with pip's own reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        wanted = f"{name}=={metadata.version(name)}"
        tags = (
            ["--implementation", "py", "--abi", "none", "--platform", "any"] if name in (*PURE, *PURE_READERS) else []
        )
        for platform in [] if tags else PLATFORMS:
            tags += ["--platform", platform]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
             "--python-version", python, *tags, "--dest", str(folder), wanted],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise ValueError(
                f"pip could not fetch a wheel of {wanted} for Python {python}: {(lines or [done.stderr])[-1].strip()}; "
                "use --no-wheels if the host's image has all packages that inference needs"
            )
    return sorted(path.name for path in folder.glob("*.whl"))


def install_wheels(bundle: Path, report: Callable[[str], None] = print) -> list[str]:
    """Install from `wheels/` what is absent or of another version, with no network; returns the names.

    Raises ValueError with the list of what does not fit and has no wheel here, or one for another Python, or one that
    was changed since the bundle was made; nothing is installed then.
    """
    manifest = read_manifest(bundle)
    wrong = unmet(manifest["accepts"])
    wheels = {one: _wheel_of(bundle, manifest, one.name) for one in wrong}
    lacking = [one for one, wheel in wheels.items() if wheel is None]
    refuse(lacking, f"installed packages do not fit, and {FOLDER}/ has no wheel for them")
    chosen = [wheel for wheel in wheels.values() if wheel is not None]
    if chosen:
        _pip(chosen)
        importlib.invalidate_caches()
    refuse(unmet(manifest["accepts"]), "pip installed the wheels, but these still do not fit")
    for name, made in manifest["made_with"].items():
        report(f"{name} {installed_version(name)}, made with {made}")
    return [wheel.name for wheel in chosen]


def check_imports(bundle: Path) -> list[str]:
    """Files that the bundle's packages are imported from.

    Raises ValueError where one comes from elsewhere: then other code than the bundle's would run.
    """
    code = (bundle / "code").resolve()
    found = []
    for name in ("submissions", "inference.bundle.bundle"):
        path = Path(str(importlib.import_module(name).__file__)).resolve()
        if not path.is_relative_to(code):
            raise ValueError(
                f"{name} was imported from {path}, expected from {code}; put that folder first on sys.path"
            )
        found.append(str(path))
    return found


def _wheel_of(bundle: Path, manifest: dict[str, Any], name: str) -> Path | None:
    """The wheel of a distribution, checked; None where the bundle has none."""
    for file in manifest["wheels"]["files"]:
        project, _, _, tags = parse_wheel_filename(file)
        if project != canonicalize_name(name):
            continue
        if not set(tags) & set(sys_tags()):
            raise ValueError(
                f"{FOLDER}/{file}: a wheel for {_pythons(tags)}, but this is Python "
                f"{sys.version_info[0]}.{sys.version_info[1]}; bundle again with --python "
                f"{sys.version_info[0]}.{sys.version_info[1]}"
            )
        path = bundle / FOLDER / file
        listed = manifest["files"].get(f"{FOLDER}/{file}")
        if listed is None or not path.is_file() or file_hash(path) != listed["sha256"]:
            raise ValueError(f"{path}: missing or changed since the bundle was made; copy the bundle again")
        return path
    return None


def _pythons(tags: Iterable[Tag]) -> str:
    return ", ".join(sorted({f"{tag.interpreter} on {tag.platform}" for tag in tags}))


def _pip(wheels: list[Path]) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-warn-conflicts"]
    done = subprocess.run([*command, *map(str, wheels)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"pip could not install {[wheel.name for wheel in wheels]}: {done.stderr.strip()}")
