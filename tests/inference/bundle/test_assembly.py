"""Bundles that are made: what goes into them, what is refused with a sentence, and that nothing half-made stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from drawn_hosts import rle_contract
from drawn_metrics import write_metric
from tiny_bundle import MODEL, write_tiny_bundle

from inference.bundle.assembly import packages_of_answer
from inference.bundle.manifest import read_manifest
from inference.bundle.versions import SPECIAL
from inference.models.tensors import halve
from inference.weights import load_model
from submissions.host.competition import load_competition


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with bundle/."""
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    return folder


def test_the_host_s_own_metric_does_not_travel(tmp_path: Path) -> None:
    metric = {"name": "host", "file": str(write_metric(tmp_path, "raise RuntimeError('imported')")), "proxy": "iou"}
    bundle = write_tiny_bundle(tmp_path, competition=rle_contract(metric=metric))
    assert not [path for path in bundle.rglob("*.py") if "RuntimeError('imported')" in path.read_text(encoding="utf-8")]
    assert load_competition(bundle / "competition.yaml").metric.model_dump(exclude_unset=True)["name"] == "iou"


def test_an_answer_of_polygons_brings_their_library() -> None:
    polygons = rle_contract(submission={"dialect": {"kind": "wkt"}})
    assert packages_of_answer(polygons) == {"shapely": ">=2.0"}
    assert packages_of_answer(rle_contract()) == packages_of_answer(rle_contract(submission=None)) == {}


def test_half_precision_halves_the_weights_and_little_else(made: Path, tmp_path: Path) -> None:
    half = write_tiny_bundle(tmp_path, half=True)
    name = "weights/tiny/fold_0"
    sizes = [(folder / name / "weights.safetensors").stat().st_size for folder in (made / "bundle", half)]
    assert sizes[1] < 0.52 * sizes[0]
    assert "expect probabilities" in read_manifest(half)["weights"]["effect"].lower()
    before, after = (load_model(folder / name).model for folder in (made / "bundle", half))
    assert {one.dtype for one in after.parameters()} == {torch.float32}
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        apart = (before(x).sigmoid() - after(x).sigmoid()).abs().max()
    assert 0 < apart < 0.01


def test_half_precision_keeps_statistics_and_refuses_what_it_cannot_hold() -> None:
    state = {"kernel": torch.ones(2, 3), "mean": torch.ones(2), "count": torch.ones(2, 2, dtype=torch.int64)}
    assert [one.dtype for one in halve(state).values()] == [torch.float16, torch.float32, torch.int64]
    with pytest.raises(ValueError, match=r"kernel reaches 1e\+05.*leave out --fp16"):
        halve({"kernel": torch.full((2, 2), 1e5)})


def test_a_bundle_over_its_cap_names_the_largest_files(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"--max-size is 0\.001 GB; the largest files are weights/tiny/fold_0/weights.safetens"
    ):
        write_tiny_bundle(tmp_path, max_bytes=1e6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decision.json", "fold_0"]


def test_what_no_wheel_brings_is_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SPECIAL, MODEL.architecture, {"h5py": ">=99"})
    with pytest.raises(ValueError, match=r"needs h5py >=99.*use --no-wheels, else train another architecture"):
        write_tiny_bundle(tmp_path, python="3.12")
    assert not list(tmp_path.glob("bundle*"))
    assert read_manifest(write_tiny_bundle(tmp_path))["accepts"]["h5py"] == ">=99"


def test_a_bundle_that_is_there_is_not_written_over(made: Path) -> None:
    with pytest.raises(ValueError, match="--overwrite replaces it"):
        write_tiny_bundle(made)
