"""3D prediction: slabs give what the whole volume gives, on the host's grid, in memory that the depth does not grow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.predict.members import ReadyMember, prepare_members
from inference.predict.predictor import predict_image
from inference.predict.resample import PlaneResizer, axis_matrix
from inference.predict.store import open_prediction
from inference.predict.tta import build_views
from inference.predict.tta_names import MIRRORS, expand_views
from inference.predict.volume_grid import make_box_grid, work_shape
from inference.predict.volume_pass import slabs
from submissions.images.opening import ArrayReader

SHAPE = (9, 17, 14)
INPUT = InputConfig(dims=3, channels=1, mean=[0.0], std=[1.0])


class Pointwise(nn.Module):
    """Logits that depend on each voxel alone, so that tiles, padding and overlap must not show."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 2, 1)
        with torch.no_grad():
            self.conv.weight[:] = torch.tensor([4.0, -2.0]).reshape(2, 1, 1, 1, 1)
            self.conv.bias[:] = torch.tensor([-1.0, 0.5])  # type: ignore[index]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class Ramp(nn.Module):
    """Logits that grow along all axes of what is shown: a view that is not undone would show."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 1, (3, 3, 3), padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class Spaced(ArrayReader):
    spacing = (3.0, 1.0, 1.0)


def volume(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*shape, 1)).astype(np.uint8)


def member(model: nn.Module, *, classes: int = 2, shown: InputConfig = INPUT, **settings: Any) -> ReadyMember:
    config = PredictConfig(**{"tile": (4, 8, 8), "precision": "fp32", **settings})
    names = [f"c{k}" for k in range(classes)]
    return ReadyMember(
        model.eval(), ModelConfig(in_channels=1, classes=names), shown, config, torch.device("cpu"), "fp32"
    )


def predicted(members: Any, reader: ArrayReader, path: Path, **options: Any) -> np.ndarray:
    predict_image(members, reader, range(reader.shape[0]), None, path, **options)
    with open_prediction(path) as found:
        return found.read()


def pointwise_probs(image: np.ndarray) -> np.ndarray:
    x = image[..., 0].astype(np.float64) / 255
    return np.stack([1 / (1 + np.exp(-(4 * x - 1))), 1 / (1 + np.exp(-(-2 * x + 0.5)))])


@pytest.mark.parametrize("tile", [(4, 8, 8), (9, 17, 14), (32, 32, 32), (1, 5, 14)])
@pytest.mark.parametrize("border", [0, 3])
def test_boxes_of_any_size_give_every_voxel_its_answer(tmp_path: Path, tile: Any, border: int) -> None:
    image = volume()
    found = predicted([member(Pointwise(), tile=tile, border=border)], ArrayReader(image), tmp_path / "p.h5")
    assert found.shape == (2, *SHAPE)
    assert np.abs(found / 255 - pointwise_probs(image)).max() < 0.51 / 255 + 1e-3


def test_whole_volumes_and_boxes_are_averaged(tmp_path: Path) -> None:
    image = volume(1)
    found = predicted([member(Pointwise(), mode="both")], ArrayReader(image), tmp_path / "p.h5")
    assert np.abs(found / 255 - pointwise_probs(image)).max() < 0.51 / 255 + 1e-3


def test_slabs_are_windows_of_the_mirrored_volume() -> None:
    image = volume(2)
    grid = make_box_grid(SHAPE, SHAPE, PredictConfig(tile=(4, 8, 8), border=2, overlap=0.25))
    padded = np.pad(
        image, [(axis.before, axis.padded - axis.size - axis.before) for axis in grid.axes] + [(0, 0)], "reflect"
    )
    for start, slab in zip(grid.axes[0].positions, slabs(ArrayReader(image), grid), strict=True):
        np.testing.assert_array_equal(slab, padded[start : start + grid.axes[0].tile])


@pytest.mark.parametrize("target", [(5, 17, 20), (13, 8, 14), (9, 17, 14), (1, 1, 1)])
def test_planes_are_resized_along_each_axis_by_the_same_matrices(target: tuple[int, int, int]) -> None:
    values = volume(3).astype(np.float32)
    resizer = PlaneResizer(SHAPE, target)
    found = np.stack([done for plane in values for done in resizer.push(plane)])
    matrices = [axis_matrix(old, new).toarray() for old, new in zip(SHAPE, target, strict=True)]
    expected = np.einsum("zyxc,az,by,dx->abdc", values, *matrices)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_a_spacing_is_worked_at_and_the_answer_lies_on_the_hosts_grid(tmp_path: Path) -> None:
    z, y, x = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    image = (20 * z + 3 * y + 2 * x).astype(np.uint8)[..., None]  # linear, so that resampling keeps it
    shown = InputConfig(dims=3, channels=1, mean=[0.0], std=[1.0], spacing_mm=(1.5, 1.0, 2.0))
    found = predicted([member(Pointwise(), shown=shown)], Spaced(image), tmp_path / "p.h5")
    inner = (slice(None), slice(1, -1), slice(1, -1), slice(2, -2))
    assert found.shape == (2, *SHAPE)
    assert np.abs(found / 255 - pointwise_probs(image))[inner].max() < 0.02
    assert work_shape(SHAPE, 1.0, shown, (3.0, 1.0, 1.0)) == (18, 17, 7)
    with pytest.raises(ValueError, match="does not say how far apart"):
        predicted([member(Pointwise(), shown=shown)], ArrayReader(image), tmp_path / "q.h5")


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 2.0, 0.7), (6.5, 0.4, 1.3), (1.7, 1.1, 3.0)])
@pytest.mark.parametrize("shape", [SHAPE, (16, 11, 23)])
def test_there_and_back_is_the_hosts_grid_and_nothing_is_shifted(spacing: Any, shape: tuple[int, int, int]) -> None:
    shown = InputConfig(dims=3, channels=1, mean=[0.0], std=[1.0], spacing_mm=spacing)
    work = work_shape(shape, 1.0, shown, (3.0, 1.0, 1.0))
    flat = np.full((*shape, 2), 37.25, np.float32)
    np.testing.assert_allclose(there_and_back(flat, work), flat, rtol=1e-6)
    middle = tuple(slice(n // 2 - 1, n // 2 + 1) for n in shape)
    for axis, ramp in enumerate(np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")):
        found = there_and_back(ramp[..., None], work)[..., 0][middle]
        np.testing.assert_allclose(found, ramp[middle], atol=0.1)  # of a voxel
        mirrored = there_and_back((shape[axis] - 1 - ramp)[..., None], work)[..., 0]
        np.testing.assert_allclose(np.flip(mirrored, axis), there_and_back(ramp[..., None], work)[..., 0], atol=1e-4)
    if work == shape:
        image = volume(6, shape).astype(np.float32)
        np.testing.assert_array_equal(there_and_back(image, work), image)


def there_and_back(values: np.ndarray, work: tuple[int, int, int]) -> np.ndarray:
    """(Z, H, W, C) at the working size and on its own grid again, plane by plane."""
    host = values.shape[:3]
    there, back = PlaneResizer(host, work), PlaneResizer(work, host)
    out = [done for plane in values for small in there.push(plane) for done in back.push(small)]
    assert len(out) == host[0]
    return np.stack(out)


def test_views_are_undone_and_mirrors_are_eight() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 1, 4, 5, 6)
    assert len(expand_views(["mirrors", "identity"])) == 8
    for view in build_views([*MIRRORS, "rot90", "transpose", "zflip+antitranspose"], INPUT):
        shown = view.forward(x)
        assert torch.equal(view.inverse(shown, (5, 6)), x), view.name
        assert view.name == "identity" or not torch.equal(shown.reshape(-1), x.reshape(-1))
    (bright,) = build_views(["brightness:0.5"], INPUT)
    assert torch.allclose(bright.forward(x), x + 0.5)
    for name in ("scale:0.5", "stain:0.1"):
        with pytest.raises(ValueError, match="is for images"):
            build_views([name], INPUT)


def test_the_mean_over_mirrors_is_that_of_mirrored_volumes(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model, image = Ramp(), volume(4)
    options = {"classes": 1, "mode": "whole"}
    parts = []
    for axes in ((), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        turned = np.ascontiguousarray(np.flip(image, axes))
        with torch.no_grad():
            logits = model(torch.from_numpy(turned[None, ..., 0].astype(np.float32) / 255)[None])[0, 0]
        parts.append(np.flip(logits.sigmoid().numpy(), axes))
    found = predicted([member(model, views=["mirrors"], **options)], ArrayReader(image), tmp_path / "p.h5")
    assert np.abs(found[0] / 255 - np.mean(parts, axis=0)).max() < 0.51 / 255 + 1e-3


class Flat(nn.Module):
    """A 2D network of the same answer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([4 * x[:, :1] - 1, -2 * x[:, :1] + 0.5], dim=1)


def test_volumes_and_slices_vote_on_the_same_voxels(tmp_path: Path) -> None:
    image = volume(5)
    flat = member(Flat(), shown=InputConfig(channels=1, mean=[0.0], std=[1.0]), tile=(32, 32))
    other = Pointwise()
    with torch.no_grad():
        other.conv.weight[:] = 0
        other.conv.bias[:] = 0  # type: ignore[index]
    members = [member(other), flat]
    found = predicted(members, ArrayReader(image), tmp_path / "p.h5", weights=[1, 3])
    expected = 0.25 * 0.5 + 0.75 * pointwise_probs(image)
    assert np.abs(found / 255 - expected).max() < 0.51 / 255 + 1e-3


def test_memory_is_planned_by_the_slab_not_the_depth(tmp_path: Path) -> None:
    def total(depth: int) -> int:
        reader = ArrayReader(volume(0, (depth, 20, 20)))
        report = predict_image([member(Pointwise())], reader, range(depth), None, tmp_path / "m.h5")
        return report.memory.total

    assert total(12) == total(40)
    tight = member(Pointwise(), memory_cap_gb=1e-5)
    with pytest.raises(ValueError, match=r"predict\.memory_cap_gb"):
        predict_image([tight], ArrayReader(volume()), range(SHAPE[0]), None, tmp_path / "m.h5")


@pytest.mark.smoke
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("tile", [(16, 64, 64), (64, 128, 128)])
def test_what_is_planned_covers_what_is_taken(tile: tuple[int, int, int]) -> None:
    script = Path(__file__).parents[3] / "benchmarks" / "volume_memory.py"
    command = [sys.executable, str(script), "--depth", "64", "--side", "160", "--tile", *map(str, tile)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found = re.search(r"(\d+) MB beside the model \(planned (\d+) MB\)", done.stdout)
    assert found is not None, done.stdout
    taken, planned = (int(number) for number in found.groups())
    assert 0 < taken <= 1.1 * planned  # pages are counted by the system, which does not give the same twice


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="predicts all 9 slices"):
        predict_image([member(Pointwise())], ArrayReader(volume()), [1], None, tmp_path / "m.h5")
    with pytest.raises(ValueError, match=r"expected \[depth, height, width\]"):
        predicted([member(Pointwise(), tile=(8, 8))], ArrayReader(volume()), tmp_path / "m.h5")
    with pytest.raises(ValueError, match="the network sees all"):
        InputConfig(dims=3, offsets=[-1, 0, 1])
    with pytest.raises(ValueError, match="cannot be used with scale or pixel_size_um"):
        InputConfig(spacing_mm=(1, 1, 1))
    with pytest.raises(ValueError, match="three distances above 0"):
        InputConfig(dims=3, spacing_mm=(1, 0, 1))


def test_half_precision_weights_and_a_2d_encoder_are_made_ready() -> None:
    from inference.models import build_model
    from inference.weights import LoadedModel

    config = ModelConfig(
        architecture="sliced_encoder_unet", encoder="mobilenetv3_small_050", in_channels=1, classes=["a"],
        options={"decoder_channels": [8, 8, 8, 8]},
    )  # fmt: skip
    model = build_model(config).eval()
    settings = PredictConfig(tile=(4, 32, 32), precision="fp32")
    (ready,) = prepare_members([LoadedModel(model, config, INPUT, settings, Path())])
    x = torch.randn(1, 1, 3, 20, 18)
    with torch.no_grad():
        torch.testing.assert_close(ready.model(x), model(x), rtol=1e-3, atol=1e-3)
