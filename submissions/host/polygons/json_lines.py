"""JSON lines, one line per image: {"id": ..., "annotations": [{"type": ..., "coordinates": [rings]}]} (HuBMAP 2023)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from submissions.host.polygons.outlines import Entry, Outline


def read_json_lines(path: Path) -> dict[str, Entry]:
    """Entries by id; an annotation's coordinates are the rings of one part, holes after their outline."""
    found: dict[str, Entry] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[str(entry["id"])] = Entry(
                [
                    Outline(str(item["type"]), [[np.asarray(ring, float) for ring in item["coordinates"]]])
                    for item in entry["annotations"]
                ]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name} line {number}: {error}; expected id and annotations") from error
    return found
