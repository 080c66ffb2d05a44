"""Stage 05 to the bundle with `predict.normalise`: test images as negatives are predicted as if they were none."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from tiny_run import space_of, stage, write_tiny_experiment

from inference.bundle.bundle import run
from inference.colours import FILE, load_colours
from inference.predict.store import open_prediction
from pipeline.prediction.training_colours import fold_colours, keep_colours
from pipeline.runs import open_runs
from pipeline.sequence import run_stages

STAGES = ("01", "02", "03", "04", "05", "06", "07", "08")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], str]:
    """(the experiment's folder, arguments, what was printed by 07): two of four test images are negatives."""
    folder = tmp_path_factory.mktemp("colours")
    predict = {"mode": "whole", "views": ["identity"], "normalise": "colour"}
    folds = {"method": "group", "n": 2, "use": [0]}
    arguments = write_tiny_experiment(folder, train=20, test=4, predict=predict, folds=folds)
    for name in ("test01", "test03"):
        path = str(folder / f"data/test/{name}.png")
        cv2.imwrite(path, 255 - cv2.imread(path, cv2.IMREAD_UNCHANGED))
    run_stages(arguments, STAGES[:6])
    return folder / "runs/drawn/tiny", arguments, ""


def attributes(folder: Path) -> dict[str, object]:
    found = {}
    for path in sorted(folder.glob("*.h5")):
        with open_prediction(path) as prediction:
            found[path.stem] = prediction.attrs.get("colours")
    return found


def test_foreign_test_images_are_turned_alike_in_stage_07_and_the_bundle(
    made: tuple[Path, list[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, arguments, _ = made
    stage("07_predict_test")(arguments)
    sentence = "colours: 2 of 4 images were predicted in the range of the training images"
    assert sentence in capsys.readouterr().out
    found = attributes(own / "test")
    assert [name for name, one in found.items() if one] == ["test01", "test03"]
    assert all(one["inverted"] for one in found.values() if isinstance(one, dict))
    assert not any(attributes(own / "oof").values())
    stage("08_bundle")([*arguments, "--no-wheels"])
    said: list[str] = []
    summary = run(
        own / "bundle", own.parents[2] / "data", tmp_path / "submission.csv", device="cpu", report=said.append
    )
    assert summary.path.read_bytes() == (own / "submission.csv").read_bytes()
    assert sentence in said
    assert attributes(tmp_path / "predictions") == found
    with pytest.raises(ValueError, match="holds predictions of other weights"):
        (own / "bundle" / FILE).unlink()
        _forget(own / "bundle")
        run(own / "bundle", own.parents[2] / "data", tmp_path / "submission.csv", device="cpu")


def _forget(bundle: Path) -> None:
    """The manifest without the file of colours."""
    import json

    path = bundle / "MANIFEST.json"
    document = json.loads(path.read_text())
    del document["files"][FILE]
    path.write_text(json.dumps(document))


def test_a_fold_knows_the_images_it_was_trained_on(made: tuple[Path, list[str], str]) -> None:
    own, arguments, _ = made
    space = space_of(arguments)
    kept = load_colours(own / "tuning" / FILE)
    folds = [fold_colours(space, fold) for fold in (0, 1)]
    assert kept is not None and all(one is not None for one in folds)
    assert len(kept.rows) == 20 == sum(len(one.rows) for one in folds if one is not None)
    assert fold_colours(space_of(arguments, "--set", "predict.normalise=none"), 0) is None


def test_stage_07_knows_when_colours_changed(made: tuple[Path, list[str], str]) -> None:
    from inference.colours import save_colours
    from inference.decide.decision import load_decision
    from pipeline.prediction.prediction_stages import test_stage as stage_07

    own, arguments, _ = made
    space, path = space_of(arguments), own / "tuning" / FILE
    decision, kept = load_decision(own / "tuning/decision.json"), load_colours(path)
    assert kept is not None
    before = stage_07(space, open_runs(space), decision).fingerprint
    save_colours(path, kept.model_copy(update={"reach": 2 * kept.reach}))
    assert stage_07(space, open_runs(space), decision).fingerprint != before
    save_colours(path, kept)
    assert stage_07(space, open_runs(space), decision).fingerprint == before


def test_members_must_agree(made: tuple[Path, list[str], str]) -> None:
    from dataclasses import replace

    _, arguments, _ = made
    space = space_of(arguments)
    (own,) = open_runs(space)
    other = replace(own, name="other", predict=own.predict.model_copy(update={"normalise": "none"}))
    with pytest.raises(ValueError, match="test images are shown to all members alike"):
        keep_colours(space, [own, other])


def test_too_few_images_leave_no_file(made: tuple[Path, list[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    own, arguments, _ = made
    path = own / "tuning" / FILE
    before = path.read_bytes()
    space = space_of(arguments, "--set", "limit=6")
    keep_colours(space, open_runs(space_of(arguments)))
    assert "too few training images" in capsys.readouterr().out and not path.is_file()
    path.write_bytes(before)


def test_classifiers_are_not_shown_other_colours(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, task="classify", predict={"normalise": "range"})
    with pytest.raises(ValueError, match=r"predict\.normalise works on masks"):
        space_of(arguments)
