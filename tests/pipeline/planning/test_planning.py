"""nnU-Net's rules: topologies it publishes, maps counted as its code counts them, plans that are run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from drawn_hosts import rle_contract
from drawn_volumes import EXPERIMENT_3D, write_volume_experiment
from tiny_run import space_of
from torch import nn

from inference.config import ModelConfig
from inference.models import build_model
from pipeline.__main__ import main
from pipeline.planning.planner import plan_experiment, with_plan, write_plan
from pipeline.planning.rules import Topology, make_plan, map_values, target_spacing, topology_of
from pipeline.sequence import run_stages


def test_thick_slices_are_halved_later_and_have_flat_kernels() -> None:
    found = topology_of((5.0, 1.0, 1.0), (20, 256, 256))
    # nnU-Net's 3D plan of prostate-like data: in the plane until its spacing has come within a factor of two
    assert found.strides[:3] == [[1, 1, 1], [1, 2, 2], [1, 2, 2]] and found.strides[3][0] == 2
    assert found.kernels[:2] == [[1, 3, 3], [1, 3, 3]] and found.kernels[2] == [3, 3, 3]
    assert found.kernels[-1] == [3, 3, 3] and len(found.kernels) == len(found.strides)


def test_the_hippocampus_plan_is_nnunets() -> None:
    """Its published plan: patch 40 x 56 x 40, strides of 2 three times, features 32 to 256."""
    found = topology_of((1.0, 1.0, 1.0), (36, 50, 35))
    assert found.patch == (40, 56, 40)
    assert found.strides == [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]] and found.features == [32, 64, 128, 256]


@pytest.mark.parametrize("patch", [(40, 56, 40), (16, 128, 64)])
def test_maps_are_counted_as_nnunets_code_counts_them(patch: Any) -> None:
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    found = topology_of((2.0, 1.0, 1.0), patch)
    number = len(found.strides)
    theirs = unet.PlainConvUNet(
        input_channels=1, n_stages=number, features_per_stage=found.features, conv_op=nn.Conv3d,
        kernel_sizes=found.kernels, strides=found.strides, n_conv_per_stage=2, num_classes=3,
        n_conv_per_stage_decoder=2, norm_op=nn.InstanceNorm3d, nonlin=nn.LeakyReLU, deep_supervision=True,
    )  # fmt: skip
    assert map_values(found, 3) == theirs.compute_conv_feature_map_size(found.patch)


def test_a_plan_fits_the_memory_and_shrinks_with_it() -> None:
    shapes, spacings = np.tile([[180.0, 400.0, 380.0]], (20, 1)), np.tile([[2.5, 0.8, 0.8]], (20, 1))
    voxels = []
    for memory in (24, 8, 3):
        plan = make_plan(shapes, spacings, n_classes=2, memory_gb=memory)
        assert map_values(plan.topology, 2) <= 560e6 * memory / 8 and plan.batch_size >= 2
        total = [math.prod(stride[axis] for stride in plan.topology.strides) for axis in range(3)]
        assert all(side % step == 0 for side, step in zip(plan.topology.patch, total, strict=True))
        voxels.append(math.prod(plan.topology.patch))
    assert voxels[0] > voxels[1] > voxels[2]
    with pytest.raises(ValueError, match="no patch fits"):
        make_plan(shapes, spacings, n_classes=2, memory_gb=1e-6)
    with pytest.raises(ValueError, match="0 volumes"):
        make_plan(shapes[:0], None, n_classes=2)


def test_the_target_is_the_median_and_finer_where_slices_are_thick_and_few() -> None:
    shapes = np.array([[100.0, 100, 100]] * 3)
    assert target_spacing(np.array([[1.0, 1, 1], [2, 1, 1], [3, 1, 2]]), shapes) == (2.0, 1.0, 1.0)
    thick, few = np.array([[4.0, 1, 1], [5, 1, 1], [6, 1, 1]]), np.array([[20.0, 200, 200]] * 3)
    assert target_spacing(thick, few) == (pytest.approx(4.2), 1.0, 1.0)


def test_a_plan_of_drawn_volumes_is_written_read_and_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = write_volume_experiment(tmp_path)
    run_stages(arguments, ("01",))
    main(["plan", *arguments, "--memory", "0.002"])
    assert "plan -> tiny-planned.yaml" in capsys.readouterr().out
    text = (tmp_path / "tiny-planned.yaml").read_text()
    assert "&" not in text  # no anchors: each list can be changed alone
    written = yaml.safe_load(text)
    assert "spacing_mm" not in written["input"]  # all volumes have the plan's already
    assert written["train"]["patch"] == written["predict"]["tile"] and written["train"]["epochs"] == 2
    planned = ["tiny-planned.yaml", *arguments[1:], "--set", "train.epochs=1", "--set", "folds.use=[0]"]
    run_stages(planned, ("02", "03", "04"))
    with pytest.raises(ValueError, match="exists; name another file"):
        write_plan(space_of(arguments), None, memory_gb=8)


def test_settings_follow_the_plan_and_nothing_else_changes() -> None:
    plan = make_plan(np.array([[40.0, 60, 60]] * 4), np.array([[2.0, 1, 1]] * 4), n_classes=2, memory_gb=1)
    written = {"seed": 3, "input": {"channels": 1, "offsets": [-1, 0, 1]}, "model": {"encoder": "resnet18"}}
    found = with_plan(written, plan, "resenc_unet3d", np.array([[2.0, 1, 1], [2.0, 1.1, 1.1]]))
    assert found["seed"] == 3 and found["input"] == {"channels": 1, "dims": 3, "spacing_mm": [2.0, 1.0, 1.0]}
    build_model(ModelConfig(**{**found["model"], "in_channels": 1}))
    assert found["model"]["options"]["depths"][:3] == [1, 3, 4]
    assert isinstance(plan.topology, Topology)
    sizes = {"channels": 1, "spacing_mm": [3, 3, 3]}, {"channels": 1, "pixel_size_um": 900.0, "scale": 0.5}
    again = [with_plan({"input": one}, plan, "unet3d", np.array([[2.0, 1, 1]]))["input"] for one in sizes]
    assert again == [{"channels": 1, "dims": 3}] * 2, "volumes have the plan's spacing already"


def test_what_cannot_be_planned_is_named(tmp_path: Path) -> None:
    train = {**EXPERIMENT_3D["train"], "patch": [8, 16, 16]}
    model = {"architecture": "segresnet", "weights": "none"}
    arguments = write_volume_experiment(tmp_path, model=model, train=train)
    run_stages(arguments, ("01",))
    space = space_of(arguments)
    with pytest.raises(ValueError, match="'segresnet' has no strides to plan"):
        plan_experiment(space, memory_gb=8)
    flat = space_of(
        arguments,
        "--set",
        "model.architecture=unet",
        "--set",
        "input.dims=2",
        "--set",
        "augment.cutmix=0.5",
        "--set",
        "train.patch=[16, 16]",
        "--set",
        "predict.tile=[16, 16]",
    )
    with pytest.raises(ValueError, match=r"augment\.cutmix cannot be used with input\.dims 3; leave it out"):
        plan_experiment(flat, memory_gb=8)
    with pytest.raises(ValueError, match="planning needs volumes"):
        plan_experiment(replace(space, competition=rle_contract()), memory_gb=8)
