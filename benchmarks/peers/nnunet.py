"""nnU-Net v2 (nnunetv2 2.8.1) on our cases and folds, its training cut to a time; the peer of `benchmarks/volumes.py`.

    python -m venv --system-site-packages PEER && PEER/bin/pip install nnunetv2==2.8.1
    PEER/bin/python benchmarks/peers/nnunet.py ROOT plan
    PEER/bin/python benchmarks/peers/nnunet.py ROOT train 3d_fullres --minutes 25
    PEER/bin/python benchmarks/peers/nnunet.py ROOT predict 3d_fullres

ROOT is laid out by `write_raw`, which needs none of nnU-Net's packages: `raw/` with links to the host's files,
`dataset.json`, and the split file of our folds. Planner, preprocessing, network, loss, optimizer, augmentation and
prediction (half overlap, mirrors along all axes) are nnU-Net's own defaults. What is cut is the length: its polynomial
decay runs over the minutes given instead of 1,000 epochs of 250 steps, the start of the process counts, and the
validation after each epoch, which decides nothing, is left out. Minutes are of the process's own processor time, so
that what else a machine computes does not count; batches are made in the training process.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DATASET = "Dataset004_peer"
CONFIGURATIONS = ("2d", "3d_fullres")


def write_raw(
    root: Path,
    cases: Mapping[str, tuple[Path, Path]],
    labels: Sequence[str],
    splits: Sequence[tuple[Sequence[str], Sequence[str]]],
    channels: Sequence[str] = ("MRI",),
) -> None:
    """nnU-Net's raw folder of `cases` (name: image and label) and its split file of (train, held out) names.

    All files end in .nii.gz, or all in .png of as many `channels`. `labels` name the values 0, 1, 2, ... of the label
    files. Raises ValueError where nnU-Net could not read a case.
    """
    raw, prepared = root / "raw" / DATASET, root / "preprocessed" / DATASET
    for folder in (raw / "imagesTr", raw / "labelsTr", prepared):
        folder.mkdir(parents=True, exist_ok=True)
    ending = ".png" if all(image.suffix == ".png" for image, _ in cases.values()) else ".nii.gz"
    for name, (image, label) in cases.items():
        if not (image.name.endswith(ending) and label.name.endswith(ending)):
            raise ValueError(f"{name}: {image.name} and {label.name}, expected two {ending} files; convert them first")
        (raw / "imagesTr" / f"{name}_0000{ending}").symlink_to(image.resolve())
        (raw / "labelsTr" / f"{name}{ending}").symlink_to(label.resolve())
    document = {
        "channel_names": {str(number): channel for number, channel in enumerate(channels)},
        "labels": {name: value for value, name in enumerate(labels)},
        "numTraining": len(cases),
        "file_ending": ending,
    }
    (raw / "dataset.json").write_text(json.dumps(document, indent=2))
    folds = [{"train": list(train), "val": list(held_out)} for train, held_out in splits]
    (prepared / "splits_final.json").write_text(json.dumps(folds, indent=2))


def plan(configurations: Sequence[str]) -> None:
    """Fingerprint, plan and preprocessing of the configurations, by nnU-Net's defaults."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    number = int(DATASET[len("Dataset") :][:3])
    extract_fingerprints([number], num_processes=1, show_progress_bar=False)
    plan_experiments([number])
    preprocess(
        [number], configurations=configurations, num_processes=[1] * len(configurations), show_progress_bar=False
    )


def train(root: Path, configuration: str, fold: int, *, minutes: float) -> dict[str, Any]:
    """nnU-Net's trainer until this process has used so many minutes of a processor; returns steps and seconds."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    prepared = root / "preprocessed" / DATASET
    plans = json.loads((prepared / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    document = json.loads((prepared / "dataset.json").read_text())
    torch.manual_seed(fold)
    trainer = nnUNetTrainer(plans, configuration, fold, document, torch.device("cpu"))
    trainer.on_train_start()
    trainer.network.train()
    steps, losses = 0, []
    while (share := time.process_time() / (60 * minutes)) < 1:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - share) ** 0.9
        losses.append(float(trainer.train_step(next(trainer.dataloader_train))["loss"]))
        steps += 1
    trainer.current_epoch = 1
    trainer.on_train_end()
    shown = trainer.configuration_manager
    return {
        "steps": steps, "seconds": time.process_time(), "batch": shown.batch_size, "patch": shown.patch_size,
        "losses": losses[:: max(1, steps // 20)], "parameters": sum(p.numel() for p in trainer.network.parameters()),
    }  # fmt: skip


def predict(root: Path, configuration: str, fold: int, *, volumes: int | None) -> dict[str, Any]:
    """Predict the fold's held-out cases (the first `volumes`) into ROOT/predicted; returns processor seconds a volume.

    Seconds are from file to file: reading, preprocessing and writing included, the start of the process not.
    """
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    folder = root / "results" / DATASET / f"nnUNetTrainer__nnUNetPlans__{configuration}"
    out = root / "predicted" / f"{configuration}_fold{fold}"
    out.mkdir(parents=True, exist_ok=True)
    splits = json.loads((root / "preprocessed" / DATASET / "splits_final.json").read_text())
    names = splits[fold]["val"][:volumes]
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(folder), use_folds=(fold,))
    images, ending = root / "raw" / DATASET / "imagesTr", predictor.dataset_json["file_ending"]
    began = time.process_time()
    predictor.predict_from_files_sequential(
        [[str(images / f"{name}_0000{ending}")] for name in names], [str(out / name) for name in names],
        save_probabilities=True,
    )  # fmt: skip
    return {"seconds a volume": (time.process_time() - began) / len(names), "volumes": len(names)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("what", choices=("plan", "train", "predict"))
    parser.add_argument("configuration", nargs="?", choices=CONFIGURATIONS, help="plan: default both")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--volumes", type=int, help="predict so many of the held-out cases (default: all)")
    arguments = parser.parse_args()
    if arguments.what != "plan" and arguments.configuration is None:
        parser.error(f"{arguments.what}: which configuration? One of {CONFIGURATIONS}")
    root = arguments.root.resolve()
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(root / name)
    workers = "0" if arguments.what == "train" else "1"  # its planner needs one thread
    os.environ.update({"nnUNet_n_proc_DA": workers})
    if arguments.what == "plan":
        return plan([arguments.configuration] if arguments.configuration else CONFIGURATIONS)
    done = (
        train(root, arguments.configuration, arguments.fold, minutes=arguments.minutes)
        if arguments.what == "train"
        else predict(root, arguments.configuration, arguments.fold, volumes=arguments.volumes)
    )
    note = root / f"{arguments.what}_{arguments.configuration}_fold{arguments.fold}.json"
    note.write_text(json.dumps(done, indent=2))
    print(json.dumps(done))


if __name__ == "__main__":
    main()
