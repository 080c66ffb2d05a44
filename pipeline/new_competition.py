"""A first contract and a first experiment from a host's files: `python -m pipeline new-competition DIR`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from pipeline.contract_fit import resolve
from pipeline.experiment import Experiment
from pipeline.pictures import draw_guess
from pipeline.planning.first_experiment import draft_experiment, look_at_host
from pipeline.planning.training_size import pixels_in
from pipeline.sequence import started_as
from pipeline.settings_reference import schema_line
from submissions.answers import check_answer
from submissions.guess.draft import Draft
from submissions.guess.first_contract import write_first_contract
from submissions.guess.layout.words import TEST_WORDS
from submissions.host.atomic import write_atomic
from submissions.host.competition import Competition, load_competition
from submissions.host.listed_images import ListedImages
from submissions.host.listing import Split, list_images, spread
from submissions.host.masks import MaskReader
from submissions.host.settings import validate
from submissions.table.show import label_of

SPLITS: tuple[Split, ...] = ("train", "test")
SHOWN = 5
PICTURED = 6
PICTURE = "guess.png"


def start_competition(
    folder: Path, *, name: str | None = None, out: Path | None = None, minutes: float | None = None
) -> str:
    """Write a contract, an experiment and a picture of what is taken for masks, and say what they find in the files.

    The contract is `out`, or <name>.yaml where the user stands; <name>-baseline.yaml and guess.png are written
    beside it. With `minutes` the experiment trains, all its folds together, for about so long on this machine.
    Raises as `write_first_contract` does, and ValueError where the experiment is there already.
    """
    path = write_first_contract(folder, name=name, out=out)
    write_atomic(path, schema_line("competition", path.parent) + path.read_text(encoding="utf-8"))
    competition = load_competition(path)
    lines = []
    for split in SPLITS:
        listing, problems = list_images(competition, folder, split)
        lines.append(f"{split}: {len(listing)} images, {len(problems)} problem(s) with their listing")
        lines += [f"  {problem}" for problem in problems[:SHOWN]]
    lines += [f"  {problem}" for problem in check_answer(competition, folder)[:SHOWN]]
    if TEST_WORDS.search(competition.images.train) and competition.masks.missing == "empty":
        lines.append("only test images have masks, so these are the training images: see the notes on masks")
    lines.append(f"first contract -> {path}")
    experiment = write_first_experiment(competition, folder, path, minutes=minutes)
    lines.append(f"first experiment -> {experiment}")
    if competition.masks.kind != "none":
        try:
            lines.append(f"masks as understood -> {picture_guess(competition, folder, path)}")
        except (ValueError, OSError) as error:
            lines.append(f"no picture of the masks, because none of {PICTURED} could be read: {error}")
    lines.append("look at the picture, check every line marked '# guess', then:")
    lines.append(f"  {started_as()} run {experiment} --data {folder}")
    return "\n".join(lines)


def write_first_experiment(
    competition: Competition, data: Path, contract: Path, *, minutes: float | None = None
) -> Path:
    """Write <contract>-baseline.yaml beside the contract.

    Raises ValueError where it is there already, and, without leaving the contract either, where `minutes` are too few
    to train anything.
    """
    path = contract.with_name(f"{contract.stem}-baseline.yaml")
    if path.exists():
        raise ValueError(f"{path} exists and is not overwritten; choose another --name or --out")
    host = look_at_host(competition, data)
    draft = draft_experiment(host, contract.name)
    experiment = _read_draft(draft, path, competition)
    if minutes is not None:
        try:
            draft = draft_experiment(host, contract.name, pixels=pixels_in(minutes, experiment))
        except ValueError:
            contract.unlink()  # or the command, given again with more minutes, would refuse to overwrite it
            raise
        _read_draft(draft, path, competition)
    write_atomic(path, schema_line("experiment", path.parent) + draft.text())
    return path


def _read_draft(draft: Draft, path: Path, competition: Competition) -> Experiment:
    return resolve(validate(Experiment, {"name": path.stem, **yaml.safe_load(draft.text())}, str(path)), competition)


def picture_guess(competition: Competition, data: Path, contract: Path) -> Path:
    """Draw six training images beside what the contract reads as their masks; guess.png beside it."""
    path = contract.with_name(PICTURE)
    listing, _ = list_images(competition, data, "train")
    images, reader = ListedImages(competition, data, listing), MaskReader(competition, data)
    cells = []
    shown = [k for k, name in enumerate(competition.classes) if name != "background"]
    fault = ""
    for image_id in spread(images.ids, PICTURED):
        try:
            image = images.open_alone(image_id)
            truth = reader.read(images.row(image_id), image.shape[:3])
            label = truth.instances if truth.instances is not None else label_of(truth.planes[shown])
            z = max(range(len(label)), key=lambda k: (len(np.unique(label[k])), int((label[k] > 0).sum())))
            pixels = image.read(z)
        except (ValueError, OSError) as error:  # stage 01 lists them all
            fault = str(error)
            continue
        what = f"{image_id}" + (f", slice {z}" if image.shape[0] > 1 else "")
        cells.append((what, pixels, label[z], None if truth.valid is None else ~truth.valid[z]))
        image.close()
    if not cells:
        raise ValueError(fault)
    draw_guess(cells, path, names=[] if competition.one_kind_of_object else [competition.classes[k] for k in shown])
    return path
