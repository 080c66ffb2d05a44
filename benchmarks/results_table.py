"""docs/results.md, from the rows of `results/rows.yaml` and what `results.py run` and `ablation.py` kept of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from inference.decide.decision import POST_STEPS

FOLDER = Path(__file__).parent / "results"
HEAD = """# Results

Written by `python benchmarks/results.py table` from `benchmarks/results/*.json`; each line by
`python benchmarks/results.py run ROW`, with the settings of `benchmarks/results/rows.yaml`. Scores are out of fold: the
training images of the folds named, each predicted by the network that had not seen it, with the decision of stage 06;
*nested*: each part decided by what the others taught (folds; of a single fold, parts of its groups). *Recall*: of all
pixels (digits: images), mean of the classes. *Parameters* with the running means of batch norm.
The interval is stage 06's 95 %, by bootstrap over groups. *Difference*: of nested scores, to the row named, on the same
images, with its 95 %; where that contains zero, it is noise. *Training*, *all*: minutes of one core. *Images/s*:
training samples a second of stage 04; *s/image*: seconds of stage 05 an image, all its views and what it predicts
beside; both with start-up. *Beside*: what others publish or ask for, and whether the two can be compared.
"""
COLUMNS = (
    "row", "metric", "score", "interval", "nested", "difference", "recall", "parameters", "training", "all", "images/s",
    "s/image", "beside",
)  # fmt: skip


ADDED = (
    "Out of fold, nested, with the 95 % of the paired difference over groups (in brackets after the name: how many); "
    "bold where it does not contain zero. A rule instead of the simplest one; post-processing on top of the chosen "
    "rule; each view on top of those before it, by the simplest rule; tiles instead of whole images. Names without a "
    "row above are splits of `forecast_caches.py`, small networks of 80 seconds, asked by `python "
    "benchmarks/ablation.py CACHE` about images from the source of their training images."
)

SHIFTED = "Score of the same images as they are and shifted (`tune.shifts`), by the threshold that is best as they are."


def read_rows() -> dict[str, dict[str, Any]]:
    """Rows by name, as the first lines of `rows.yaml` say; a row `like` another has its settings before its own."""
    rows: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "rows.yaml").read_text())
    for name, row in rows.items():
        if "like" in row:
            base = rows[row["like"]]
            shared = {key: base[key] for key in ("section", "experiment", "data", "first", "minutes") if key in base}
            rows[name] = shared | row | {"set": [*base["set"], *row.get("set", [])]}
    return rows


def table() -> str:
    """All kept rows in Markdown, section by section in the order of `rows.yaml`, then what each thing added."""
    lines, section, rows = [HEAD], None, kept_rows()
    for kept, row in rows:
        if row["section"] != section:
            section = row["section"]
            lines += ["", f"## {section}", "", row.get("about", "")] if row.get("about") else ["", f"## {section}"]
            lines += ["", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
        lines.append(_line(kept, row))
    return "\n".join([*lines, *_added(rows), *_shifted(rows), "", *_made(rows)]) + "\n"


def kept_rows() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """What is kept of each row that was run, and the row."""
    paths = [(FOLDER / f"{name}.json", row) for name, row in read_rows().items()]
    return [(json.loads(path.read_text()), row) for path, row in paths if path.is_file()]


def _line(kept: dict[str, Any], row: dict[str, Any]) -> str:
    recalls, minutes, gain = list(kept.get("recalls", {}).values()), kept["minutes"], kept.get("difference")
    paid = "of" not in row and minutes["04"] > 0.1
    cells = [
        f"`{kept['row']}`", kept["metric"], f"**{kept['score']:.4f}**",
        "one group" if kept["nested"] is None else "{:.4f} to {:.4f}".format(*kept["interval"]),
        "" if kept["nested"] is None else f"{kept['nested']:.4f}",
        f"{_gain(gain)} over `{gain['against']}`" if gain else "",
        f"{sum(recalls) / len(recalls):.4f}" if recalls else "", f"{kept['parameters']:,}",
        f"{minutes['04']:.1f} min" if paid else "none", f"{sum(minutes.values()):.1f} min",
        f"{kept['samples'] / minutes['04'] / 60:.1f}" if paid and "samples" in kept else "",
        f"{minutes['05'] * 60 / kept['images']:.2f}" if "samples" in kept else "", row.get("beside", ""),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _gain(gain: dict[str, Any]) -> str:
    if gain["low"] is None:
        return f"{gain['gain']:+.4f}"
    return f"{gain['gain']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"


def _added(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    told, more = {kept["row"]: kept["added"] for kept, _ in rows if "added" in kept}, FOLDER / "ablation.json"
    told |= json.loads(more.read_text()) if more.is_file() else {}
    cells = {name: {one["what"]: one for one in found} for name, found in told.items()}
    kinds = sorted({what for found in cells.values() for what in found}, key=_order)
    groups = [f"`{name}` ({max(one['groups'] for one in found.values())})" for name, found in cells.items()]
    lines = [f"| | {' | '.join(groups)} |", "|---" * (1 + len(cells)) + "|"]
    for what in kinds:
        lines.append(f"| {what} | {' | '.join(_cell(found.get(what)) for found in cells.values())} |")
    return ["", "## What each decision added", "", ADDED, "", *lines] if told else []


def _order(what: str) -> tuple[int, str]:
    words = ("rule", *POST_STEPS, "view", "all views", "tiles")
    return next((number for number, word in enumerate(words) if what.startswith(word)), len(words)), what


def _cell(one: dict[str, Any] | None) -> str:
    if one is None:
        return ""
    if one["low"] is None:
        return f"{one['gain']:+.3f}"
    clear = "**" if one["low"] > 0 or one["high"] < 0 else ""
    return f"{clear}{one['gain']:+.3f}{clear} [{one['low']:+.3f}, {one['high']:+.3f}]"


def _shifted(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    """A table of the rows whose images were shown shifted too: a line a row, a column a shift."""
    found = [(row, {one["shift"]: one["score"] for one in kept["shifts"]}) for kept, row in rows if kept.get("shifts")]
    kinds = list(dict.fromkeys(kind for _, scores in found for kind in scores))
    lines = [f"| | {' | '.join(kinds)} |", "|---" * (1 + len(kinds)) + "|"]
    for row, scores in found:
        cells = (f"{scores[kind]:.4f}" if kind in scores else "" for kind in kinds)
        lines.append(f"| {row.get('beside', '')} | {' | '.join(cells)} |")
    return ["", "## Shifted images", "", SHIFTED, "", *lines] if found else []


def _made(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    lines = ["## How each was made", ""]
    for kept, row in rows:
        taken = f", with the networks of `{row['of']}`" if "of" in row else ""
        taken += "".join(f", {key} {value}" for key, value in kept.get("sizes", {}).items())
        lines.append(
            f"- `{kept['row']}`: `{kept['command']}`{taken}, {kept['images']} images, revision `{kept['revision']}`, "
            f"{kept['hardware']}."
        )
    return lines
