"""A bundle's manifest: every file with its size and SHA-256, and what the bundle is made of. Needs Python alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from submissions.images.damaged import read_json

FORMAT = 3
MANIFEST = "MANIFEST.json"
UPLOAD_ONLY = ("dataset-metadata.json",)  # read by the host's client, which leaves it out of the data set


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of a bundle's files, sorted; without the manifest, what is only for the upload, and bytecode."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, *UPLOAD_ONLY) and "__pycache__" not in path.parts:
            yield name, path


def list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of each of a bundle's files, by name."""
    return {name: {"bytes": path.stat().st_size, "sha256": file_hash(path)} for name, path in files_below(folder)}


def read_document(bundle: Path, name: str) -> dict[str, Any]:
    """One of a bundle's JSON files; FileNotFoundError where there is none, ValueError where it is cut off."""
    path = bundle / name
    if not path.is_file():
        raise FileNotFoundError(f"{bundle}: no {name}; expected a folder that stage 08 wrote")
    document = read_json(path, cure="copy the bundle again")
    if not isinstance(document, dict):
        raise ValueError(f"{path}: holds no table of names and values; copy the bundle again")
    return document


def read_manifest(bundle: Path) -> dict[str, Any]:
    """The manifest as it stands; no other file is looked at.

    Raises FileNotFoundError where there is none, ValueError where it is no manifest of this format.
    """
    manifest = read_document(bundle, MANIFEST)
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{bundle}: bundle of format {manifest.get('format')!r}, expected {FORMAT}; bundle again")
    return manifest


def verify(bundle: Path) -> dict[str, Any]:
    """The manifest, after every file was compared with it.

    Raises as `read_manifest`, and ValueError that names the files that are missing, truncated, changed, or code that
    is not listed.
    """
    manifest = read_manifest(bundle)
    listed: dict[str, dict[str, Any]] = manifest["files"]
    present = dict(files_below(bundle))
    sizes = {name: path.stat().st_size for name, path in present.items()}
    found = {
        "missing": [name for name in listed if name not in present],
        "truncated": [name for name, one in listed.items() if sizes.get(name, one["bytes"]) < one["bytes"]],
        "added": [name for name in present if name not in listed and name.startswith("code/")],
    }
    damaged = {name for names in found.values() for name in names}
    found["changed"] = [
        name for name, one in listed.items() if name not in damaged and file_hash(present[name]) != one["sha256"]
    ]
    said = [f"{what} {names}" for what, names in found.items() if names]
    if said:
        raise ValueError(f"{bundle}: files {', '.join(said)}; copy the bundle again")
    return manifest
