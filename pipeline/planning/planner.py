"""A plan of an experiment on volumes: measured from the host's files, written as plain settings."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from inference.models import model_row
from inference.predict.volume_grid import spacing_of
from pipeline.contract_fit import resolve
from pipeline.experiment import Experiment
from pipeline.planning.rules import Plan, make_plan
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic
from submissions.host.listed_images import ListedImages
from submissions.host.settings import validate

SAME = 1e-3  # spacings that differ by less are one
SIZES = ("offsets", "scale", "pixel_size_um", "spacing_mm")  # of input: what the plan says anew, or makes meaningless


def measure_volumes(space: Workspace) -> tuple[np.ndarray, np.ndarray | None]:
    """Sizes (N, 3) of the training volumes in voxels and their spacings (N, 3) in mm along (z, y, x), from headers.

    None for the spacings where a file does not say it.
    """
    listing, _ = space.training_images()
    images = ListedImages(space.competition, space.data, listing)
    shapes, spacings = [], []
    for image_id in images.ids:
        with closing(images.open_alone(image_id)) as reader:
            shapes.append(reader.shape[:3])
            spacings.append(spacing_of(reader))
    known = [spacing for spacing in spacings if spacing is not None]
    return np.array(shapes, float), np.array(known, float) if len(known) == len(spacings) else None


def plan_experiment(space: Workspace, *, memory_gb: float) -> tuple[Plan, dict[str, Any]]:
    """The plan, and the experiment's settings with it filled in. Needs stage 01.

    Raises ValueError where the contract gives no volumes, the model is none of three dimensions with strides, or a
    setting that stays as it was written is for images only.
    """
    experiment, competition = space.experiment, space.competition
    if competition.images.kind != "volumes":
        raise ValueError(f"images.kind of {competition.name} is {competition.images.kind}, but planning needs volumes")
    shapes, spacings = measure_volumes(space)
    plan = make_plan(shapes, spacings, n_classes=len(competition.classes), memory_gb=memory_gb)
    written = experiment.model_dump(mode="json", exclude_unset=True)
    architecture = experiment.model.architecture
    if architecture not in ("unet3d", "resenc_unet3d"):
        if model_row(architecture).dims == 3:
            raise ValueError(f"model.architecture {architecture!r} has no strides to plan; use unet3d or resenc_unet3d")
        architecture = "unet3d"
    document = with_plan(written, plan, architecture, spacings)
    resolve(validate(Experiment, document, f"the plan of {experiment.name}"), competition)
    return plan, document


def with_plan(written: dict[str, Any], plan: Plan, architecture: str, spacings: np.ndarray | None) -> dict[str, Any]:
    """An experiment's document with the plan's settings; all else stays as it was written.

    `input.spacing_mm` is set where volumes differ from the plan's spacing: no volume is resampled for nothing. Other
    sizes to work at go, as the plan was made for that spacing.
    """
    topology = plan.topology
    number = len(topology.strides)
    residual = [1, 3, 4, *[6] * number][:number]
    options = {
        "features": topology.features, "strides": topology.strides, "kernels": topology.kernels,
        "depths": residual if architecture == "resenc_unet3d" else [2] * number, "deep_supervision": number > 2,
    }  # fmt: skip
    shown = {key: value for key, value in written.get("input", {}).items() if key not in SIZES}
    shown["dims"] = 3
    differ = plan.spacing is not None and spacings is not None and np.abs(spacings / plan.spacing - 1).max() > SAME
    if differ and plan.spacing is not None:
        shown["spacing_mm"] = [round(step, 4) for step in plan.spacing]
    model = {**written.get("model", {}), "architecture": architecture, "weights": "none", "options": options}
    for follows in ("encoder", "in_channels", "classes", "activation"):
        model.pop(follows, None)
    return {
        **written, "input": shown, "model": model,
        "train": {**written.get("train", {}), "patch": list(topology.patch), "batch_size": plan.batch_size},
        "predict": {**written.get("predict", {}), "mode": "tiles", "tile": list(topology.patch)},
    }  # fmt: skip


def write_plan(space: Workspace, out: Path | None, *, memory_gb: float) -> tuple[Plan, Path]:
    """Plan and write the planned experiment beside the working folder's files; returns both.

    `out` is `<experiment>-planned.yaml` where not given. Raises ValueError where the file is there already.
    """
    plan, document = plan_experiment(space, memory_gb=memory_gb)
    path = out or Path(f"{space.experiment.name}-planned.yaml")
    if path.exists():
        raise ValueError(f"{path} exists; name another file with --out")
    document["name"] = path.stem
    write_atomic(path, yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=120))
    return plan, path
