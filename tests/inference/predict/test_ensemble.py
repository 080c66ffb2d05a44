"""Ensembles: weighted means over members of any grid, in memory or through a file, within a cap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.predict.ensemble import HostSum, member_weights, plan_passes
from inference.predict.members import prepare_members
from inference.predict.memory_plan import plan_memory
from inference.predict.predictor import predict_image
from inference.predict.resample import working_scale
from inference.predict.store import open_prediction
from inference.weights import LoadedModel
from submissions.images.opening import ArrayReader

GREY: dict[str, Any] = {"channels": 1, "mean": [0.5], "std": [0.25]}


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def local(in_channels: int, seed: int, classes: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, classes, 3, padding=1))


def member(model: nn.Module, config: PredictConfig, **options: Any) -> LoadedModel:
    shown = InputConfig(**options)
    classes = [f"class{k}" for k in range(model(torch.zeros(1, shown.in_channels, 32, 32)).shape[1])]
    settings = ModelConfig(in_channels=shown.in_channels, classes=classes)
    return LoadedModel(model.eval(), settings, shown, config, Path("model"))


def settings(**options: Any) -> PredictConfig:
    return PredictConfig(**{"precision": "fp32", "tile": (64, 64), **options})


def stored(path: Path, members: list[Any], image: np.ndarray, **options: Any) -> np.ndarray:
    report = predict_image(members, ArrayReader(image), range(len(image)), None, path / "image.h5", **options)
    with open_prediction(report.path) as prediction:
        return prediction.read().astype(float)


MIXED = [
    ({**GREY}, {"overlap": 0.25}),
    ({**GREY}, {"overlap": 0.25, "views": ["d4"]}),
    ({**GREY, "scale": 0.5}, {"tile": (32, 64)}),
    ({**GREY, "offsets": [-1, 0, 1]}, {"mode": "whole"}),
]


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("in_file", [False, True])
def test_members_of_any_grid_are_averaged_by_weight(
    tmp_path: Path, depth: int, in_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = drawn(depth, 150, 97, 1)
    members = [
        member(local(len(shown.get("offsets", [0])), seed), settings(**laid), **shown)
        for seed, (shown, laid) in enumerate(MIXED)
    ]
    weights = [0.1, 0.2, 0.3, 0.4]
    expected = sum(weight * stored(tmp_path, [one], image) for one, weight in zip(members, weights, strict=True))
    if in_file:
        monkeypatch.setattr("inference.predict.predictor.plan_memory", file_plan)
    got = stored(tmp_path, members, image, weights=[1, 2, 3, 4])
    np.testing.assert_allclose(got, expected, atol=1.01)
    assert [path.name for path in tmp_path.iterdir()] == ["image.h5"]


def file_plan(*args: Any, **options: Any) -> Any:
    """The plan whose sum is in a file, as it is chosen where memory is short."""
    plan = plan_memory(*args, **options)
    return type(plan)(plan.tiles, plan.ahead, plan.block_bytes, False, plan.parts)


def test_members_that_share_a_grid_share_a_pass() -> None:
    members = [member(local(1, seed), settings(**laid), **shown) for seed, (shown, laid) in enumerate(MIXED[:3])]
    passes = plan_passes(prepare_members(members))
    assert [len(one.votes) for one in passes] == [2, 1]
    assert sum(one.share for one in passes) == pytest.approx(1)
    assert [len(vote.views) for vote in passes[0].votes] == [1, 8]


def test_a_member_of_weight_zero_is_not_run() -> None:
    members = prepare_members([member(local(1, seed), settings(), **GREY) for seed in range(3)])
    (only,) = plan_passes(members, weights=[2, 0, 2])
    assert [(vote.member, vote.share) for vote in only.votes] == [(members[0], 0.5), (members[2], 0.5)]


def test_the_plan_does_not_grow_with_members() -> None:
    def total(number: int) -> int:
        members = prepare_members([member(local(1, 0), settings(), **GREY)] * number)
        passes = plan_passes(members)
        return plan_memory(passes, (1, 5000, 5000, 1), 1, channels=1, planes=1, cap_gb=4).total

    assert total(5) == total(1)


def test_the_cap_is_kept_or_refused() -> None:
    members = prepare_members([member(local(1, 0), settings(mode="both", batch_size=64), **GREY)])
    passes = plan_passes(members)
    shape = (1, 3000, 4000, 1)
    free = plan_memory(passes, shape, 1, channels=1, planes=1, cap_gb=10)
    assert free.sum_in_memory
    tight = plan_memory(passes, shape, 1, channels=1, planes=1, cap_gb=free.total / 1e9 - 0.02)
    assert tight.total < free.total
    with pytest.raises(ValueError, match=r"needs at least .* GB for its buffers .* or predict in tiles instead"):
        plan_memory(passes, shape, 1, channels=1, planes=1, cap_gb=0.05)
    passes = plan_passes(prepare_members([member(local(1, 0), settings(), **GREY)]))
    with pytest.raises(ValueError, match="or lower predict\\.tile"):
        plan_memory(passes, (1, 3000, 400_000, 1), 1, channels=1, planes=1, cap_gb=0.05)
    assert "planned" in str(tight)


def test_a_source_that_decodes_whole_is_counted(tmp_path: Path) -> None:
    class Decoded(ArrayReader):
        decodes_whole = True

    image, one = drawn(1, 100, 200, 3), member(local(3, 0), settings())
    plain = predict_image([one], ArrayReader(image), [0], None, tmp_path / "image.h5")
    whole = predict_image([one], Decoded(image), [0], None, tmp_path / "image.h5")
    assert whole.memory.total - plain.memory.total == 100 * 200 * 3


@pytest.mark.parametrize("in_file", [False, True])
def test_the_sum_holds_what_was_added(tmp_path: Path, in_file: bool) -> None:
    rng = np.random.default_rng(0)
    total = HostSum((2, 3, 10, 7), tmp_path / "deep" / "sum" if in_file else None)
    expected = np.zeros((2, 3, 10, 7), dtype=np.float32)
    for plane, row, count in ((0, 0, 10), (2, 3, 4), (2, 5, 5), (0, 9, 1)):
        block = rng.random((2, count, 7), dtype=np.float32)
        total.add("z", plane, row, block)
        expected[:, plane, row : row + count] += block
    for plane in range(3):
        np.testing.assert_array_equal(total.rows(plane, 2, 8), expected[:, plane, 2:])
    total.close()
    assert not in_file or not list((tmp_path / "deep").iterdir())


def test_planes_along_other_axes_are_added_where_they_lie() -> None:
    total = HostSum((1, 3, 4, 5), None)
    total.add("y", 2, 1, np.ones((1, 2, 5), dtype=np.float32))
    total.add("x", 4, 0, np.full((1, 3, 4), 2, dtype=np.float32))
    expected = np.zeros((3, 4, 5), dtype=np.float32)
    expected[1:3, 2, :] += 1
    expected[:, :, 4] += 2
    np.testing.assert_array_equal(np.concatenate([total.rows(z, 0, 4) for z in range(3)]), expected)


def test_weights_sum_to_one_or_are_refused() -> None:
    assert member_weights(4) == [0.25] * 4
    assert member_weights(2, [1, 3]) == [0.25, 0.75]
    with pytest.raises(ValueError, match="3 weights were given for 2 members"):
        member_weights(2, [1, 1, 1])
    for bad in ([1, -1], [0, 0], [1, float("inf")], [1, float("nan")]):
        with pytest.raises(ValueError, match="expected none below 0"):
            member_weights(2, bad)


def test_pixel_sizes_give_the_scale() -> None:
    assert working_scale(InputConfig(scale=0.5), None) == 0.5
    assert working_scale(InputConfig(pixel_size_um=0.8), 0.4) == 0.5
    with pytest.raises(ValueError, match="the model works at 0\\.8 µm a pixel"):
        working_scale(InputConfig(pixel_size_um=0.8), None)


def test_members_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    one, other = (member(local(1, 0, classes), settings(), **GREY) for classes in (1, 2))
    with pytest.raises(ValueError, match="members differ"):
        prepare_members([one, other])
    with pytest.raises(ValueError, match="no members were given"):
        prepare_members([])
    logits = member(local(1, 0), settings(merge="logits"), **GREY)
    with pytest.raises(ValueError, match="merged as probs and as logits"):
        plan_passes(prepare_members([one, logits]))
    flipped = member(local(1, 0), settings(views=["hflip"]), **GREY)
    with pytest.raises(ValueError, match="members have different TTA views"):
        predict_image([one, flipped], ArrayReader(drawn(1, 9, 8, 1)), [0], None, tmp_path / "image.h5", separate=True)
