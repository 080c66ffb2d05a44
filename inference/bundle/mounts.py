"""Where a bundle and the host's data are mounted: looked for by the files they hold. Needs Python alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inference.bundle.manifest import MANIFEST, read_document

DEPTH = 4  # /kaggle/input/<kind>/<owner>/<name>/<version>


def find_data(bundle: Path, root: Path) -> Path:
    """The folder below `root` with the host's files that the bundle's contract names.

    It is the one that holds most of: the sample submission, the folder of the test images, the tables of the test
    images; the uppermost where several hold as many. Where no folder holds any, it is the uppermost with a test image.
    Raises FileNotFoundError that lists them where none is found, ValueError where those are on one level.
    """
    contract = read_document(bundle, "competition.yaml")
    wanted = _named(contract)
    best: list[Path] = []
    most = 0
    for level in _levels(root):
        found = {folder: sum((folder / name).exists() for name in wanted) for folder in level}
        if max(found.values(), default=0) > most:
            most = max(found.values())
            best = [folder for folder, number in found.items() if number == most]
        if most == len(wanted):
            break
    best = best or _with_images(root, str(contract["images"].get("test") or ""))
    if not best:
        raise FileNotFoundError(f"{root}: no folder holds {' or '.join(wanted)}; add the competition to the inputs")
    if len(best) > 1:
        raise ValueError(f"{root}: {[str(one) for one in best]} look alike; leave one, or set DATA to one of them")
    return best[0]


def _with_images(root: Path, pattern: str) -> list[Path]:
    """The uppermost folders in which a file has the name of a test image."""
    names = re.sub("{[^}]*}", "*", pattern)
    for level in _levels(root) if names else ():
        found = [folder for folder in level if any(path.is_file() for path in folder.glob(names))]
        if found:
            return found
    return []


def _levels(root: Path) -> Iterator[list[Path]]:
    """`root`, then the folders in it, and so on; no bundle's, which holds no data."""
    level = [root]
    for _ in range(DEPTH + 1):
        level = [folder for folder in level if not (folder / MANIFEST).is_file()]
        yield level
        level = [Path(one.path) for folder in level for one in sorted(os.scandir(folder), key=str) if one.is_dir()]


def _named(contract: Mapping[str, Any]) -> list[str]:
    """Files and folders, relative to the data, that the contract names without a {field}."""
    sample = (contract.get("submission") or {}).get("sample", "sample_submission.csv")
    pattern = str(contract["images"].get("test") or "")
    parts = re.split(r"[{*]", pattern)[0].rpartition("/")[0]
    names = [sample, parts, *(table["file"] for table in contract.get("test_tables", []))]
    return list(dict.fromkeys(name for name in names if name))
