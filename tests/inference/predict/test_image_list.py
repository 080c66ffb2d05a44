"""Images of a listing into a folder: nothing twice, devices share, shifts are seen, time is kept."""

from __future__ import annotations

import shutil
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from drawn_hosts import SHAPE, draw_image, draw_mask, rle_contract, write_rle_host
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.predict.image_list import Outcome, pixels_of, predict_listed
from inference.predict.members import ReadyMember
from inference.predict.shifts import ShiftedReader
from inference.predict.store import failure_path, open_prediction, prediction_path
from inference.predict.time_budget import TimeKeeper
from inference.submission import open_test_images
from inference.weights import LoadedModel
from submissions.host.listed_images import ListedImages


class First(nn.Module):
    """Logit of the first channel's value, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([factor, 0.0, 0.0]).reshape(1, 3, 1, 1))
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def member(factor: float = 1.0, views: tuple[str, ...] = ("identity",)) -> LoadedModel:
    config = PredictConfig(mode="whole", views=list(views), precision="fp32")
    return LoadedModel(First(factor).eval(), ModelConfig(), InputConfig(), config, Path())


@pytest.fixture
def images(tmp_path: Path) -> ListedImages:
    write_rle_host(tmp_path / "data", train=1, test=8)
    return open_test_images(rle_contract(), tmp_path / "data")


def run(
    images: ListedImages, folder: Path, members: Sequence[LoadedModel | ReadyMember], **options: Any
) -> list[Outcome]:
    return list(predict_listed(members, images, images.ids, folder, **options))


def probs(path: Path) -> np.ndarray:
    with open_prediction(path) as prediction:
        return prediction.read()


def test_what_is_there_is_not_predicted_again(images: ListedImages, tmp_path: Path) -> None:
    said: list[str] = []
    first = run(images, tmp_path / "a", [member()], report=said.append)
    assert [one.image_id for one in first] == images.ids and len(said) == 1 and "planned memory" in said[0]
    before = {one.path: one.path.stat().st_mtime_ns for one in first}
    prediction_path(tmp_path / "a", images.ids[2]).unlink()
    second = run(images, tmp_path / "a", [member()])
    assert second[-1].image_id == images.ids[2]
    assert sum(before[one.path] != one.path.stat().st_mtime_ns for one in second) == 1
    assert pixels_of(images, images.ids[0]) == SHAPE[0] * SHAPE[1]


def test_several_devices_share_the_images_and_predict_the_same(images: ListedImages, tmp_path: Path) -> None:
    run(images, tmp_path / "one", [member()])
    shared = run(images, tmp_path / "two", [member()], device="cpu,cpu:0")
    assert sorted(one.image_id for one in shared) == images.ids
    for image_id in images.ids:
        one, two = (probs(prediction_path(tmp_path / name, image_id)) for name in ("one", "two"))
        assert (one == two).all()


def test_an_image_that_cannot_be_read_stops_all_or_is_noted(images: ListedImages, tmp_path: Path) -> None:
    path = images.data / "test/test03.png"
    content = path.read_bytes()
    path.write_bytes(b"no image")
    assert pixels_of(images, "test03") == 0
    with pytest.raises(ValueError, match="image 'test03' cannot be predicted"):
        run(images, tmp_path / "a", [member()])
    found = run(images, tmp_path / "a", [member()], on_error="empty")
    assert [one.image_id for one in found if one.failure] == ["test03"]
    assert failure_path(tmp_path / "a", "test03").is_file()
    path.write_bytes(content)
    assert all(one.failure is None for one in run(images, tmp_path / "a", [member()]))
    assert not failure_path(tmp_path / "a", "test03").exists()


def test_an_error_of_ours_is_not_taken_for_the_images(images: ListedImages, tmp_path: Path) -> None:
    def broken(reader: Any) -> Any:
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        run(images, tmp_path / "a", [member()], on_error="empty", shown=broken)


def test_images_may_be_shown_otherwise_and_views_kept_apart(images: ListedImages, tmp_path: Path) -> None:
    run(images, tmp_path / "plain", [member()])
    run(images, tmp_path / "bright", [member()], shown=lambda reader: ShiftedReader(reader, "brightness:0.2"))
    image_id = images.ids[0]
    plain, bright = (probs(prediction_path(tmp_path / name, image_id)) for name in ("plain", "bright"))
    assert (bright > plain).mean() > 0.9
    run(images, tmp_path / "apart", [member(views=("identity", "hflip"))], separate=True)
    with open_prediction(prediction_path(tmp_path / "apart", image_id)) as prediction:
        assert prediction.channels == ["identity/mask", "hflip/mask"]


def test_a_budget_gives_up_views_then_members_and_says_so(images: ListedImages, tmp_path: Path) -> None:
    views = ("identity", "brightness:0.5")
    members = [member(1.0, views), member(-3.0, views)]
    said: list[str] = []
    keeper = TimeKeeper(1e-9, views, 2)
    found = run(images, tmp_path / "short", members, weights=[0.5, 0.5], budget=keeper, report=said.append)
    assert len(found) == 8
    assert keeper.said[0].startswith("the time budget is used up; the remaining images are predicted all the same")
    assert [words.split(" from")[0] for words in keeper.said[1:3]] == ["views reduced", "models reduced"]
    assert set(keeper.said) < set(said)
    run(images, tmp_path / "all", members)
    run(images, tmp_path / "first", [member()])
    early, late = images.ids[0], images.ids[-1]
    assert (probs(prediction_path(tmp_path / "short", early)) == probs(prediction_path(tmp_path / "all", early))).all()
    assert (probs(prediction_path(tmp_path / "short", late)) == probs(prediction_path(tmp_path / "first", late))).all()


def test_what_is_done_with_an_image_in_between_is_in_the_forecast(images: ListedImages, tmp_path: Path) -> None:
    noted: list[float] = []

    class Noting(TimeKeeper):
        def measured(self, pixels: int, seconds: float) -> list[str]:
            noted.append(seconds)
            return super().measured(pixels, seconds)

    keeper = Noting(1e9, ("identity",), 1)
    for _ in predict_listed([member()], images, images.ids[:3], tmp_path / "a", budget=keeper):
        time.sleep(0.1)  # as deciding and writing it takes
    assert len(noted) == 3 and min(noted[1:]) >= 0.1


def test_what_a_budget_cost_is_made_good_where_there_is_none(images: ListedImages, tmp_path: Path) -> None:
    views = ("identity", "brightness:0.5")
    members = [member(1.0, views), member(-3.0, views)]
    run(images, tmp_path / "a", members, budget=TimeKeeper(1e-9, views, 2))
    before = {one: prediction_path(tmp_path / "a", one).stat().st_mtime_ns for one in images.ids}
    found = run(images, tmp_path / "a", members, budget=TimeKeeper(1e9, views, 2))
    assert [one.image_id for one in found if one.reduced] == images.ids[1:]
    assert before == {one: prediction_path(tmp_path / "a", one).stat().st_mtime_ns for one in images.ids}
    found = run(images, tmp_path / "a", members)
    assert [one.image_id for one in found] == images.ids and not any(one.reduced for one in found)
    run(images, tmp_path / "all", members)
    for one in images.ids:
        path = prediction_path(tmp_path / "a", one)
        assert (probs(path) == probs(prediction_path(tmp_path / "all", one))).all()
        assert (path.stat().st_mtime_ns == before[one]) == (one == images.ids[0])
    config = PredictConfig(mode="whole", views=["identity"], precision="fp32")
    assert not any(one.reduced for one in run(images, tmp_path / "a", members[:1], config=config))


def slices_of(folder: Path, count: int = 4) -> ListedImages:
    """A stack of drawn slices a_0, a_1, ... of which each is another picture."""
    (folder / "test").mkdir(parents=True)
    for z in range(count):
        cv2.imwrite(str(folder / f"test/a_{z}.png"), draw_image(draw_mask(z), z))
    patterns = {"train": "train/{case}_{z}.png", "test": "test/{case}_{z}.png", "id": "{case}_{z}"}
    return open_test_images(rle_contract(images={**patterns, "stack": "{case}", "z": "{z}"}, tables=[]), folder)


def test_a_damaged_slice_costs_its_own_mask_and_its_neighbours_their_context(tmp_path: Path) -> None:
    images, twin = slices_of(tmp_path / "a"), slices_of(tmp_path / "b")
    path = images.data / "test/a_1.png"
    path.write_bytes(path.read_bytes()[:-30])
    shutil.copyfile(twin.data / "test/a_2.png", twin.data / "test/a_1.png")
    before = replace(member(), input_config=InputConfig(channels=1, offsets=[-1, 0, 1], mean=[0.5], std=[0.2]))
    with pytest.raises(ValueError, match=r"image 'a_0' cannot be predicted: .*damaged PNG"):
        run(images, tmp_path / "stopped", [before])
    said: list[str] = []
    found = run(images, tmp_path / "said", [before], on_error="empty", report=said.append)
    assert [one.image_id for one in found if one.failure] == ["a_1"]
    run(twin, tmp_path / "twin", [before])
    for name in ("a_2", "a_3"):
        one, two = (probs(prediction_path(tmp_path / folder, name)) for folder in ("said", "twin"))
        assert (one == two).all()
    replaced = [
        words.split(":")[0]
        for words in said
        if "neighbouring slices cannot be read, the slice itself stands in for them" in words
    ]
    assert replaced == ["a_0", "a_2"]


def test_images_that_the_budget_does_not_reach_go_empty_where_they_may(images: ListedImages, tmp_path: Path) -> None:
    now, said = [0.0], []
    keeper = TimeKeeper(10, ("identity",), 1, clock=lambda: now[0])

    def slow(reader: Any) -> Any:
        now[0] += 4
        return reader

    options: dict[str, Any] = {"shown": slow, "budget": keeper, "report": said.append, "on_error": "empty"}
    found = run(images, tmp_path / "a", [member()], **options)
    assert [one.failure is None for one in found] == [True] * 3 + [False] * 5
    assert {one.failure for one in found[3:]} == {"the time budget was used up before its turn"}
    assert keeper.said[-1] == "the time budget is used up; the remaining images get empty masks"
    assert said.count(keeper.said[-1]) == 1
    assert all(one.failure is None for one in run(images, tmp_path / "a", [member()], on_error="empty"))


class Small(First):
    """A network in a memory for `limit` inputs; what a failed pass held has to be gone before the next."""

    def __init__(self, limit: int) -> None:
        super().__init__(1.0)
        self.limit, self.sizes = limit, []
        self.held: list[weakref.ref[torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert all(one() is None for one in self.held)
        self.sizes.append(len(x))
        if len(x) > self.limit:
            activations = torch.zeros(3)
            self.held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def ready(model: nn.Module, **settings: Any) -> ReadyMember:
    """The model as it is, which a loaded one is not: that is copied and simplified."""
    config = PredictConfig(tile=(32, 32), precision="fp32", batch_size=8, **settings)
    return ReadyMember(model.eval(), ModelConfig(), InputConfig(), config, torch.device("cpu"), "fp32")


def test_a_gpu_too_small_for_a_batch_is_given_half_of_it(images: ListedImages, tmp_path: Path) -> None:
    small, said = Small(2), []
    run(images, tmp_path / "small", [ready(small)], report=said.append)
    run(images, tmp_path / "large", [ready(First(1.0))])
    for image_id in images.ids:
        one, two = (probs(prediction_path(tmp_path / name, image_id)) for name in ("small", "large"))
        assert (one == two).all()
    failed = [size for size in small.sizes if size > 2]
    assert failed == [6, 4] and len(small.held) == 2
    assert [words for words in said if "batches" in words] == [
        "cpu: not enough memory for batches of 8; from here on batches of 2"
    ]


def test_a_gpu_too_small_for_one_tile_names_the_image_and_the_setting(images: ListedImages, tmp_path: Path) -> None:
    words = r"'test00' cannot be predicted: .* too small for .* 40 x 56 pixels.*lower predict\.tile, now 32 x 32"
    with pytest.raises(ValueError, match=words):
        run(images, tmp_path / "a", [ready(Small(0))])
    found = run(images, tmp_path / "a", [ready(Small(0), mode="whole")], on_error="empty")
    assert len(found) == 8 and all("set predict.mode=tiles" in str(one.failure) for one in found)


def test_memory_of_the_host_that_is_too_small_is_the_images(images: ListedImages, tmp_path: Path) -> None:
    def large(reader: Any) -> Any:
        raise MemoryError

    found = run(images, tmp_path / "a", [member()], on_error="empty", shown=large)
    assert {one.failure for one in found} == {"MemoryError"}
