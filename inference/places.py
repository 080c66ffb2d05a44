"""Where a bundle and the host's data are mounted: looked for by the files they hold. Needs Python alone."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from inference.manifest import MANIFEST

DEPTH = 4  # /kaggle/input/<kind>/<owner>/<name>/<version>


def find_data(bundle: Path, root: Path) -> Path:
    """The folder below `root` with the host's files that the bundle's contract names.

    Of the uppermost folders that hold any, it is the one that holds most of: the sample submission, the folder of the
    test images, the tables of the test images. Raises FileNotFoundError that lists them where none is found, ValueError
    where several hold as many.
    """
    contract: dict[str, Any] = json.loads((bundle / "competition.yaml").read_text(encoding="utf-8"))
    wanted = _named(contract)
    for level in _levels(root):
        found = {folder: sum((folder / name).exists() for name in wanted) for folder in level}
        best = [folder for folder, number in found.items() if number and number == max(found.values())]
        if len(best) > 1:
            raise ValueError(f"{root}: {[str(one) for one in best]} look alike; leave one, or set DATA to one of them")
        if best:
            return best[0]
    raise FileNotFoundError(f"{root}: no folder holds {' or '.join(wanted)}; add the competition to the inputs")


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
