"""The units that a forecast learns from: out-of-fold images as they are, and shifted copies of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from folds.foldfile import SOURCE
from inference.decide.decision import Decision
from inference.forecast.forecast import Forecast, image_sums, unit_table
from inference.predict.store import prediction_path
from pipeline.prediction.copies import copies_folder, finished_copies
from pipeline.prediction.oof import StoredItem, run_items
from pipeline.runs import Run, runs_fingerprint
from pipeline.tuning.forecast.learning import learn_forecast, named_metric
from pipeline.tuning.forecast.lessons import NONE, Known
from pipeline.tuning.measurements import OutOfFold
from pipeline.tuning.scores.units import Unit, decided_unit, make_units
from pipeline.tuning.scores.workers import over_units, worker_pool
from pipeline.tuning.search import TuneResult
from pipeline.workspace import Workspace
from submissions.host.competition import Competition
from submissions.metrics import Metric

META = ("image_id", "fold", "group", "stratum")


def taught_forecast(
    space: Workspace, runs: Sequence[Run], found: OutOfFold, result: TuneResult, sources: dict[str, str]
) -> Forecast:
    """The forecast of an experiment, from its out-of-fold predictions and the copies that stage 05 predicted.

    found: what the result was learned from. sources: as `source_of_images` tells them. Of an ensemble the copies are
    those of its first member. Of whole images that are classified nothing is learned.
    """
    facts: dict[str, Any] = {
        "fingerprint": runs_fingerprint(runs), "cv": result.cv, "interval": (result.interval.low, result.interval.high),
        "models": len(runs), "seed": found.criteria.settings.seed,
    }  # fmt: skip
    classes = scored_names(space.competition)
    if space.experiment.task == "classify":
        plain = {key: facts[key] for key in ("fingerprint", "cv", "interval", "models")}
        doubts = ["images are classified as a whole, so there is no mask to learn from"]
        return Forecast(**plain, way="mean", classes=classes, doubts=doubts, **named_metric(result.metric))
    known = [own_units(result, classes, sources)]
    known += copied_units(space, runs[0], found, result.decision, sources)
    return learn_forecast(joined(known), result.metric, classes, **facts)


def scored_names(competition: Competition) -> list[str]:
    """Names of the classes that the metric counts."""
    return [competition.classes[index] for index in competition.scored_classes]


def source_of_images(space: Workspace, run: Run) -> dict[str, str]:
    """Image -> its source, where the fold file has such a column."""
    table = run.table(space)
    if SOURCE not in table:
        return {}
    return dict(zip(table["image_id"].astype(str), table[SOURCE].astype(str), strict=True))


def source_scores(result: TuneResult, sources: dict[str, str]) -> pd.DataFrame:
    """A row a source of images: source, units, score; none where no source is known."""
    first = result.sums.drop_duplicates("unit").set_index("unit")["image_id"]
    named = result.table["image_id"].astype(str).map(lambda name: sources.get(str(first[name]), ""))
    rows = [
        (name, int((named == name).sum()), result.metric.score(result.table[(named == name).to_numpy()]))
        for name in sorted(set(named) - {""})
    ]
    return pd.DataFrame(rows, columns=["source", "units", "score"])


def source_report(result: TuneResult, sources: dict[str, str]) -> list[str]:
    """A section of stage 06's report, as Markdown lines: the score of each source; nothing of fewer than two."""
    table = source_scores(result, sources)
    if len(table) < 2:
        return []
    rows = [f"| {row['source']} | {row['units']} | {row['score']:.4f} |" for row in table.to_dict("records")]
    mean, least = table["score"].mean(), table["score"].min()
    return [
        "## By source of images", "", "| source | units | score |", "|---|---|---|", *rows, "",
        f"- Mean of sources {mean:.4f}, least {least:.4f}: choose by these where the host shows other sources.",
        "",
    ]  # fmt: skip


def own_units(result: TuneResult, classes: Sequence[str], sources: dict[str, str]) -> Known:
    """The out-of-fold units as they are."""
    return known_part(result.table, result.sums, classes, sources, NONE)


def copied_units(
    space: Workspace, run: Run, found: OutOfFold, decision: Decision, sources: dict[str, str]
) -> list[Known]:
    """Units of the copies of all shifts in one table, named `<shift> <unit>`; none where stage 05 predicted none.

    found: the run's out-of-fold predictions, or means in which they have a part.
    """
    plan, _ = finished_copies(run.folder)
    if not plan:
        return []
    criteria, copied = found.criteria, {name for names in plan.values() for name in names}
    items = [item for item in found.items if isinstance(item, StoredItem)] or run_items(space, run, only=copied)
    units: list[Unit] = []
    metas = []
    for shift, names in plan.items():
        folder, wanted = copies_folder(run.folder, shift), set(names)
        paths = {name: prediction_path(folder, name) for name in wanted}
        seen = [(str(item.fields["image_id"]), item) for item in items]
        copies = [replace(item, path=paths[name]) for name, item in seen if name in wanted]
        of_shift, meta = make_units(copies, criteria.competition.metric.unit)
        units += of_shift
        metas.append(meta.assign(shift=shift))
    order = np.argsort([unit.name for unit in units], kind="stable")
    alike = [list(same) for _, same in groupby((units[k] for k in order), key=lambda unit: unit.name)]
    function = partial(_decided_copies, criteria.competition, criteria.metric, decision)
    with worker_pool(criteria.workers) as pool:
        done = list(over_units(function, alike, "shifted copies", pool=pool, progress=criteria.progress))
    made = [each for of_image in done for each in of_image]
    meta = pd.concat(metas, ignore_index=True).iloc[order].reset_index(drop=True)
    shown = (meta["shift"] + " " + meta["image_id"]).tolist()
    table = pd.concat([meta.assign(image_id=shown), pd.DataFrame([row for row, _ in made])], axis=1)
    sums = [{**one, "unit": name} for name, (_, of_unit) in zip(shown, made, strict=True) for one in of_unit]
    return [known_part(table.drop(columns="shift"), pd.DataFrame(sums), scored_names(space.competition), sources,
                       list(meta["shift"]))]  # fmt: skip


def _decided_copies(
    competition: Competition, metric: Metric, decision: Decision, copies: Sequence[Unit]
) -> list[tuple[dict[str, float], list[dict[str, Any]]]]:
    """The metric's row and the sums of each image, of units that show the same under several shifts: one truth."""
    truths, found = [item.truth() for item in copies[0].items], []
    for unit in copies:
        row, (sums,) = decided_unit(competition, metric, decision, (image_sums,), unit, truths)
        found.append((row, sums))
    return found


def known_part(
    table: pd.DataFrame, sums: pd.DataFrame, classes: Sequence[str], sources: dict[str, str], shift: str | list[str]
) -> Known:
    """table: a row a unit with META and the metric's columns; sums: a row an image with its `unit`.

    shift: of all units, or one each.
    """
    units = unit_table(sums, classes, list(sums["unit"]))
    names = table["image_id"].astype(str).reset_index(drop=True)
    units = units.set_index("unit").loc[list(names)].reset_index()
    first = sums.drop_duplicates("unit").set_index("unit")["image_id"]
    strata = table["stratum"].astype(str)
    source = [sources.get(str(first[name]), stratum) for name, stratum in zip(names, strata, strict=True)]
    meta = pd.DataFrame({"unit": names, "group": table["group"].astype(str).to_numpy(), "source": source})
    rows = table.drop(columns=list(META)).reset_index(drop=True)
    return Known(units, rows, meta.assign(shift=shift))


def joined(parts: Sequence[Known]) -> Known:
    """All of them in one."""
    tables = [[getattr(part, name) for part in parts] for name in ("units", "rows", "meta")]
    return Known(*(pd.concat(each, ignore_index=True) for each in tables))


def forecast_report(forecast: Forecast) -> list[str]:
    """A section of stage 06's report, as Markdown lines."""
    lines = ["## Forecast of other images", ""]
    lines += [f"- {one}." for one in forecast.doubts]
    if forecast.maps:
        lines += [
            "- A map from what a prediction says about itself to its score was learned from "
            f"{forecast.known_units} out-of-fold units. Of the kinds of map, '{forecast.chosen}' had the least "
            "error on units that were left out.",
            f"- For nine in ten units that were left out, the forecast was off by at most {forecast.unit_error:.4f}.",
        ]  # fmt: skip
    if forecast.episodes:
        lines += [
            "", "| map | mean error on what was left out |", "|---|---|",
            *(f"| {kind} | {'-' if error is None else f'{error:.4f}'} |" for kind, error in forecast.errors.items()),
            "", "| left out | | units | truth | said | CV of the others |", "|---|---|---|---|---|---|",
            *(f"| {one.name} | {one.kind} | {one.units} | {one.truth:.4f} | {one.said:.4f} | "
              f"{'-' if one.cv is None else f'{one.cv:.4f}'} |" for one in forecast.episodes),
        ]  # fmt: skip
    return [*lines, ""]
