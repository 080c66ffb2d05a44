"""Sections of the page that look at images: the sortable table of scores, and the threshold explorer."""

from __future__ import annotations

import base64
from typing import Any

import cv2
import numpy as np
import pandas as pd

from pipeline.report.figures import COLOURS, bars_figure, plain_list, threshold_figure
from pipeline.report.finished_run import FinishedRun
from pipeline.report.image_pictures import EXPLORED, Look, data_uri, look_at, shrink
from pipeline.report.markup import Safe, data_script, element, figure, picture, table
from pipeline.report.sections import absent, section
from pipeline.report.thresholds import (
    Thresholds,
    candidate_scores,
    class_scores,
    explore_thresholds,
    plateau_of_run,
    start_threshold,
    unexplored,
    worst_units,
)
from pipeline.tuning.scores.workers import Progress, quiet
from submissions.table.show import EXTRA, MISSED, RIGHT

MOST_PICTURES = 60
MOST_BYTES = 7_000_000  # of pictures in the table: the page stays below 15 MB
EXPLORED_IMAGES = 6
MOST_PARTS = 12
MOST_BARS = 60


def scores(run: FinishedRun, *, progress: Progress = quiet) -> Safe:
    """Every scored unit in a table, worst first; the worst with truth, prediction and error."""
    ordered = worst_units(run, len(run.scores))
    pictures = _pictures(run, ordered, progress) if not run.unpictured else {}
    nested = run.table("nested_scores.csv")
    more = pd.DataFrame({"image_id": run.scores["image_id"]})
    if nested is not None:
        more["nested"] = nested["score"].to_numpy()
    counted = {part: [name for name in run.scores if str(name).startswith(f"{part}_")] for part in ("tp", "fp", "fn")}
    if all(counted.values()):
        true, extra, missed = (run.scores[counted[part]].sum(axis=1) for part in ("tp", "fp", "fn"))
        more["true pixels"], more["predicted"] = true + missed, true + extra
    joined = ordered.merge(more, on="image_id", how="left")
    grouped = (ordered["group"] != ordered["image_id"]).any()
    facts = [
        "fold",
        *(["group"] if grouped else []),
        *(["stratum"] if (ordered["stratum"] != "").any() else []),
        "score",
    ]
    facts += [name for name in ("nested", "true pixels", "predicted") if name in joined]
    rows = []
    for row in joined.to_dict("records"):
        drawn = pictures.get(str(row["image_id"]), ["", "", ""])
        values = [int(row[name]) if name in ("fold", "true pixels", "predicted") else row[name] for name in facts]
        rows.append([name_of(str(row["image_id"])), *drawn, *values])
    heads = ["image", *(("truth", "prediction", "error") if pictures else ("", "", ""))]
    made = table([*heads, *facts], rows, id_="scores-table", sortable=True, unsorted=heads[1:])
    return section("images", "Score by image", _words(run, len(rows), len(pictures)), made)


def _words(run: FinishedRun, number: int, drawn: int) -> Safe:
    if not drawn:
        return absent(f"{number} scored, the worst first; no pictures: {run.unpictured}.")
    words = f"{number} scored, the worst first"
    words += f"; the {drawn} lowest with pictures." if drawn < number else "."
    return element("p", words, " Click a heading to sort, a picture to enlarge it.", _key(), class_="note")


def _key() -> Safe:
    names = {"right": RIGHT, "missed": MISSED, "extra": EXTRA}
    boxes = [Safe(element("span", class_="key", style=f"background:rgb{rgb}") + name) for name, rgb in names.items()]
    return element("span", *boxes, class_="keys")


def _pictures(run: FinishedRun, ordered: pd.DataFrame, progress: Progress) -> dict[str, list[Safe]]:
    """Truth, prediction and error of the lowest scores, as many as the page may hold."""
    units = {unit.name: unit for unit in run.units}
    found: dict[str, list[Safe]] = {}
    size = 0
    names = [str(name) for name in ordered["image_id"].head(MOST_PICTURES)]
    for name in progress(names, desc="pictures"):
        look = look_at(run, units[name])
        drawn = [picture(data_uri(panel), title) for title, panel in look.panels]
        size += sum(map(len, drawn))
        if size > MOST_BYTES:
            break
        found[name] = drawn
    return found


def explorer(run: FinishedRun, *, progress: Progress = quiet) -> Safe:
    """A slider over all thresholds that moves the score, its noise, and the masks of some images."""
    title = "Thresholds"
    why = f"Nothing to explore: {run.unpictured}." if run.unpictured else unexplored(run)
    found = None if why else explore_thresholds(run, progress=progress)
    if found is None:
        return section("thresholds", title, absent(why), *_instead(run))
    start = start_threshold(run, found)
    drawn = threshold_figure(found, start, plateau_of_run(run))
    drawn.add_vline(x=start / 255, line={"color": COLOURS[0], "width": 1.5})
    chosen = shown_units(found, start)
    looks = [look_at(run, run.units[index]) for index in chosen]
    parts: dict[str, np.ndarray] = {f"fold {fold}": values for fold, values in found.by_fold.items()}
    parts |= found.by_stratum
    parts = dict(list(parts.items())[:MOST_PARTS])
    data = {
        "score": plain_list(found.score), "precision": plain_list(found.precision), "recall": plain_list(found.recall),
        "noise": None if found.noise is None else plain_list(found.noise),
        "within": None if found.within is None else found.within.tolist(),
        "line": len(drawn.layout.shapes) - 1, "parts": [{"score": plain_list(values)} for values in parts.values()],
        "pictures": [_explored(look, found.by_unit[index]) for look, index in zip(looks, chosen, strict=True)],
    }  # fmt: skip
    left = figure(drawn, "thresholds-figure")
    figures = [_canvas(index, look) for index, look in enumerate(looks)]
    return section(
        "thresholds", title, _caveat(run, found),
        element("div", left, _readout(found, start, list(parts)), id_="explorer"),
        element("p", "From the lowest score to the highest, at the threshold of the slider:", _key(), class_="note"),
        element("div", *figures, id_="pictures"), data_script("thresholds-data", data),
    )  # fmt: skip


def _instead(run: FinishedRun) -> list[Safe]:
    """What there is without a threshold to move: scores by class, and those of the rules' own candidates."""
    drawn = []
    for kind, rows in (("class", class_scores(run)), ("candidate", candidate_scores(run))):
        if 0 < len(rows) <= MOST_BARS:
            bars = bars_figure(rows.set_index(kind), ["score"], [f"score by {kind}"])
            drawn.append(figure(bars, f"{kind}-scores-figure"))
    return drawn


def shown_units(found: Thresholds, threshold: int, number: int = EXPLORED_IMAGES) -> list[int]:
    """Places of units spread evenly from the lowest to the highest score, those without one left out."""
    own = found.by_unit[:, threshold]
    order = [int(index) for index in np.argsort(own, kind="stable") if np.isfinite(own[index])]
    places = np.linspace(0, len(order) - 1, min(number, len(order))).round().astype(int)
    return [order[place] for place in places]


def _caveat(run: FinishedRun, found: Thresholds) -> Safe:
    words = "One threshold for all classes, on the out-of-fold predictions of all images."
    if found.measure != run.metric.name:
        words += f" {run.metric.name} does not follow from pixel counts: what moves here is the {found.measure}."
    if run.decision.post or run.decision.gate or run.decision.instances:
        words += " Before gate, post-processing and instances."
    if found.noise is not None:
        words += " The band is two standard errors of the difference to the best threshold, over resampled groups;"
        words += " the grey stretch is the plateau, the dashed line the decision."
    nested = run.tuned["nested"]
    if nested is not None and np.isfinite(nested):
        lost = run.tuned["score"] - nested
        words += f" CV minus nested is {lost:+.4f}: choosing on the images that are scored "
        words += "flatters by that much." if lost > 0 else "does not show."
    return element("p", words, class_="note")


def _readout(found: Thresholds, start: int, parts: list[str]) -> Safe:
    slider = Safe(f'<input type="range" id="slider" min="0" max="255" value="{start}" aria-label="threshold">')
    names = {"at": "threshold", "lost": "below the best by", "noise": "noise of that", "within": "within noise",
             "precision": "precision", "recall": "recall"}  # fmt: skip
    rows = [Safe(element("dt", label) + element("dd", "", id_=name)) for name, label in names.items()]
    rows += [Safe(element("dt", f"score, {name}") + element("dd", "", id_=f"part-{k}")) for k, name in enumerate(parts)]
    now = element("div", element("span", found.measure, class_="note"), element("div", "", id_="score", class_="now"))
    return element("div", slider, now, element("dl", *rows), class_="readout")


def _explored(look: Look, own: np.ndarray) -> dict[str, Any]:
    """Small planes of the class with most truth: grey image, q, and truth (0, 1, 2: void), each a byte a pixel."""
    k = _fullest(look)
    grey = shrink(cv2.cvtColor(look.image, cv2.COLOR_RGB2GRAY), EXPLORED)
    probs = shrink(np.ascontiguousarray(look.probs[k]), EXPLORED)
    truth = (shrink(look.truth[k].astype(np.uint8) * 255, EXPLORED) >= 128).astype(np.uint8)
    truth[shrink(look.valid.astype(np.uint8) * 255, EXPLORED) < 128] = 2
    packed = {name: base64.b64encode(part.tobytes()).decode()
              for name, part in (("grey", grey), ("probs", probs), ("truth", truth))}  # fmt: skip
    return {"height": grey.shape[0], "width": grey.shape[1], "score": plain_list(own), **packed}


def _canvas(index: int, look: Look) -> Safe:
    height, width = shrink(look.image, EXPLORED).shape[:2]
    canvas = element("canvas", id_=f"canvas-{index}", width=width, height=height)
    words = f"{look.name}, {look.classes[_fullest(look)]}" if len(look.classes) > 1 else look.name
    return element("figure", canvas, element("figcaption", name_of(words), element("span", id_=f"own-{index}")))


def name_of(image_id: str) -> Safe:
    """An id, cut short on the page where it is long; the pointer shows it whole."""
    return element("span", image_id, class_="id", title=image_id)


def _fullest(look: Look) -> int:
    return int(look.truth.sum(axis=(1, 2)).argmax())
