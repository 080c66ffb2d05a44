"""The notebooks hold calls and no outputs, and run from top to bottom on a finished run; their tables are right."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_run import write_tiny_experiment

from inference.predict.store import PredictionWriter, open_prediction
from pipeline.pictures import sheet
from pipeline.report.exploration import area_shares, class_table, group_table, mask_checks, size_table
from pipeline.report.finished_run import FinishedRun, finished_runs
from pipeline.report.image_pictures import look_at, outline, pair_sheet
from pipeline.report.several import common_metric, difference_matrix, ensemble_matrix, image_scores, paired_table
from pipeline.report.thresholds import group_scores, worth_table
from pipeline.sequence import run_stages
from submissions.host.listing import spread

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ("01_explore", "02_thresholds", "04_compare_models", "05_results")
UP_TO_TUNING = ("01", "02", "03", "04", "05", "06")


@pytest.fixture(scope="module")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two experiments of a drawn competition, tuned, with data/ and the contract beside runs/."""
    folder = tmp_path_factory.mktemp("notebooks")
    arguments = write_tiny_experiment(folder, tune={"rounds": 100, "rules": ["global"]})
    run_stages(arguments, UP_TO_TUNING)
    run_stages([*arguments, "--set", "name=other", "--set", "predict.views=[identity]"], UP_TO_TUNING)
    shutil.move(folder / "data", folder / "host")
    (folder / "data").mkdir()
    shutil.move(folder / "host", folder / "data" / "drawn")
    return folder / "runs"


@pytest.fixture(scope="module")
def runs(runs_folder: Path) -> list[FinishedRun]:
    return finished_runs(runs_folder)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_without_outputs(name: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells and len(notebook.cells) - len(cells) >= 5
    for cell in cells:
        assert cell.outputs == [] and cell.execution_count is None
        for word in ("def ", "class ", "lambda", "while ", "import numpy", "import pandas"):
            assert word not in cell.source, f"{name}: {word!r} is logic; it belongs to pipeline/report"


@pytest.mark.smoke
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(
    name: str, runs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("RUNS", str(runs_folder))
    monkeypatch.setenv("RESULTS", str(ROOT / "benchmarks/results"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    drawn = [kind for output in outputs for kind in output.get("data", {})]
    assert "application/vnd.plotly.v1+json" in drawn
    assert ("image/png" in drawn) == (name in ("01_explore", "02_thresholds"))


@pytest.mark.smoke
def test_tables_of_the_exploration(runs: list[FinishedRun]) -> None:
    run = runs[0]
    assert size_table(run).to_numpy().tolist() == [[1, 40, 56, 3, "uint8", 12]]
    masks = [unit.items[0].truth().planes[0, 0] for unit in run.units]
    np.testing.assert_allclose(area_shares(run)["thing"], [mask.mean() for mask in masks])
    (row,) = class_table(run).to_dict("records")
    assert (row["class"], row["images"]) == ("thing", 11)
    assert row["share of pixels"] == pytest.approx(np.mean(masks))
    groups = group_table(run)
    assert groups["images"].tolist() == [2] * 6 and groups["group"].tolist() == [f"p{k}" for k in range(6)]
    assert groups["foreground"][0] == pytest.approx(np.mean(masks[:2]))
    checks = dict(mask_checks(run).to_numpy())
    assert checks["RLE out and in"].startswith("12 of 12 planes come back the same")
    assert checks["images without foreground"] == "1 of 12"
    assert spread(["a", "b", "c", "d", "e"], 2) == ["a", "c"] and spread(["a"], 5) == ["a"]


@pytest.mark.smoke
def test_runs_are_compared_and_mixed(runs: list[FinishedRun]) -> None:
    one, other = runs
    assert (one.name, other.name) == ("other", "tiny")
    (pair,) = paired_table(runs).to_dict("records")
    assert pair["estimate"] == pytest.approx(one.tuned["score"] - other.tuned["score"])
    matrix = difference_matrix(runs).to_numpy()
    np.testing.assert_allclose(matrix, -matrix.T)
    assert list(image_scores(runs).columns) == ["image_id", "other", "tiny"] and len(image_scores(runs)) == 12
    square, gains = ensemble_matrix(runs)
    assert square.loc["tiny", "tiny"] == pytest.approx(other.tuned["nested"])
    assert square.loc["tiny", "other"] == square.loc["other", "tiny"]
    better = max(square.loc["tiny", "tiny"], square.loc["other", "other"])
    assert gains["estimate"][0] == pytest.approx(square.loc["tiny", "other"] - better)
    worth = worth_table(one)
    assert worth.loc["CV", "score"] == one.tuned["score"]
    assert worth.loc["CV minus nested", "score"] == pytest.approx(one.tuned["score"] - one.tuned["nested"])
    groups = group_scores(one)
    assert groups["score"].is_monotonic_increasing and groups["units"].sum() == 12
    with pytest.raises(ValueError, match="expected two experiments or more"):
        common_metric(runs[:1])


@pytest.mark.smoke
def test_a_run_of_other_channels_has_no_mean_with_the_others(runs: list[FinishedRun], tmp_path: Path) -> None:
    shutil.copytree(runs[0].space.runs, tmp_path / "runs")
    shutil.copytree(tmp_path / "runs/drawn/tiny", tmp_path / "runs/drawn/third")
    for path in (tmp_path / "runs/drawn/third/oof").glob("*.h5"):
        with open_prediction(path) as prediction:
            probs, attrs = prediction.read(), prediction.attrs
        with PredictionWriter(path, ["thing", "border", "centre"], probs.shape[1:], attrs=attrs) as writer:
            writer.write_rows(np.concatenate([probs] * 3), 0)
    found = [
        replace(run, space=replace(run.space, data=runs[0].space.data)) for run in finished_runs(tmp_path / "runs")
    ]
    assert [run.name for run in found] == ["other", "third", "tiny"]
    square, gains = ensemble_matrix(found)
    assert list(square) == ["other", "tiny"] and list(gains["pair"]) == ["other + tiny"]


@pytest.mark.smoke
def test_sheets_hold_every_picture(runs: list[FinishedRun]) -> None:
    import pandas as pd

    look = look_at(runs[0], runs[0].units[0])
    made = sheet([*look.panels, ("a title that is much too long to stand", look.image)], across=3)
    assert sum(bool(axis.images) for axis in made.axes) == 4
    assert [axis.get_title() for axis in made.axes][3].endswith("…")
    pairs = pd.DataFrame([{"image_a": "train00", "image_b": "train01", "kind": "near", "similarity": 0.9}])
    (first, *_) = pair_sheet(runs[0], pairs).axes
    assert first.images[0].get_array().shape == (64, 131)


def test_an_outline_is_the_border_of_a_mask() -> None:
    plane = np.zeros((9, 13), bool)
    plane[2:7, 3:10] = True
    drawn = outline(np.zeros((9, 13, 3), np.uint8), plane[None], [(255, 0, 0)])
    border = plane.copy()
    border[3:6, 4:9] = False
    np.testing.assert_array_equal(drawn[..., 0] > 0, border)


def test_runs_of_two_metrics_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    given = [SimpleNamespace(name=name, metric=metric) for name, metric in (("a", "dice"), ("b", "iou"))]
    with pytest.raises(ValueError, match=r"a was tuned for dice, \['b'\] for others"):
        common_metric(given)  # type: ignore[arg-type]
