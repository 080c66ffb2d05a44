"""nnU-Net's and the Medical Decathlon's dataset.json: what the labels mean and how large they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from submissions.guess.draft import Draft


def put_labels(draft: Draft, folder: Path) -> None:
    """Classes and values from a dataset.json in the folder or one below it, where there is one."""
    for path in sorted([*folder.glob("dataset.json"), *folder.glob("*/dataset.json")]):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            meaning = label_values(document["labels"])
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        names = [name for names in meaning.values() for name in names]
        classes = [name for name in dict.fromkeys(names) if name not in ("background", "void")]
        regions = any(len(names) > 1 for names in meaning.values())
        exclusive = len(classes) > 1 and not regions
        masks = draft.sections["masks"]
        for key in ("threshold", "instances"):
            masks.pop(key, None)
        masks["values"] = {
            value: names[0] if len(names) == 1 and (names[0] != "background" or exclusive) else
            [name for name in names if name != "background"]
            for value, names in meaning.items()
        }  # fmt: skip
        channels = document.get("channel_names") or document.get("modality") or {}
        why = f"{path.relative_to(folder).as_posix()}: labels {document['labels']}, channels {channels}"
        draft.notes["masks"].append(f"guess: {why}")
        draft.put("classes", ["background", *classes] if exclusive else classes, "as dataset.json names them")
        draft.sections.pop("exclusive", None)
        if exclusive:
            draft.put("exclusive", True, "every voxel has one label")
        return


def label_values(labels: Mapping[str, Any]) -> dict[int, list[str]]:
    """Names by value: of {"0": "background", "1": "organ"}, {"organ": 1}, or regions {"whole": [1, 2], "core": [2]}.

    What is to be ignored is 'void'.
    """
    found: dict[int, list[str]] = {}
    for key, given in labels.items():
        name, values = (str(given), [int(key)]) if str(key).isdigit() else (str(key), given)
        name = "void" if name.lower() == "ignore" else "background" if name.lower() in ("background", "bg") else name
        for value in values if isinstance(values, list) else [values]:
            found.setdefault(int(value), []).append(name)
    return dict(sorted(found.items()))
