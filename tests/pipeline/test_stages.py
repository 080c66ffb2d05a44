"""All stages on a drawn competition: what they leave, what they skip, what they refuse, what the bundle repeats."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_hosts import rle_contract, write_rle_host
from tiny_run import space_of, stage, write_tiny_experiment

from inference.bundle.bundle import run
from inference.bundle.manifest import verify
from pipeline.__main__ import main
from pipeline.data.resolution_ceiling import resolution_ceiling
from pipeline.sequence import run_stages
from pipeline.training.fingerprint import fold_settings
from submissions.answers.scoring import score_submission
from submissions.host.listing import list_images
from submissions.host.sample import read_submission


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A drawn competition taken through stages 01 to 08: (folder, arguments)."""
    folder = tmp_path_factory.mktemp("tiny")
    arguments = write_tiny_experiment(folder)
    run_stages(arguments)
    stage("08_bundle")([*arguments, "--no-wheels"])
    return folder, arguments


def own(folder: Path) -> Path:
    return folder / "runs" / "drawn" / "tiny"


def test_every_stage_leaves_what_it_says(finished: tuple[Path, list[str]]) -> None:
    folder, _ = finished
    shared = folder / "runs" / "drawn"
    expected = [
        shared / "inventory/inventory.csv", shared / "inventory/thumbnails.npy", shared / "inventory/problems.csv",
        own(folder) / "fold_0/weights.safetensors", own(folder) / "fold_1/model.json", own(folder) / "fold_0/last.pt",
        own(folder) / "fold_0/log.jsonl", own(folder) / "oof/train00.h5", own(folder) / "tuning/decision.json",
        own(folder) / "tuning/report.md", own(folder) / "test/test00.h5", own(folder) / "submission.csv",
        own(folder) / "bundle/MANIFEST.json",
    ]  # fmt: skip
    assert [path for path in expected if not path.is_file()] == []
    for pattern in ("folds/*/folds.csv", "folds/*/balance.png", "store/*/patches-32x32-z.csv"):
        assert len(list(shared.glob(pattern))) == 1
    assert len(list((own(folder) / "oof").glob("*.h5"))) == 12
    assert not list(shared.rglob("*.partial"))
    table = read_submission(own(folder) / "submission.csv", rle_contract())
    assert table["id"].tolist() == [f"test{index:02d}" for index in range(6)]


def test_what_is_made_is_not_made_again(finished: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, arguments = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*.h5")}
    run_stages(arguments)
    assert capsys.readouterr().out.count("already made") == 8
    assert {path: path.stat().st_mtime_ns for path in (folder / "runs").rglob("*.h5")} == before


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("04_train", "train.epochs=3", "train.epochs: was 2, is now 3"),
        ("05_predict_oof", "predict.mode=tiles", "mode: was 'whole', is now 'tiles'"),
        ("06_tune", "tune.rounds=101", "tune.rounds: was 100, is now 101"),
        ("02_make_folds", "folds.n=99", "at least n_folds"),
        ("01_check_data", "train.epoch=3", "unknown key"),
    ],
)
def test_other_settings_are_refused_with_status_1(
    finished: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], name: str, setting: str, words: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        stage(name)([*finished[1], "--set", setting])
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert words in said
    command = shlex.join(["python", f"pipeline/{name}.py", *finished[1], "--set", setting, "--overwrite"])
    assert (command in said) == ("is now" in words)


def test_stages_cannot_be_run_before_what_they_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path)
    for name, needed in (("02_make_folds", "01_check_data"), ("06_tune", "05_predict_oof"), ("09_submit", "06_tune")):
        with pytest.raises(SystemExit):
            stage(name)(arguments)
        assert needed in capsys.readouterr().err


def test_the_reported_score_is_that_of_the_stored_predictions(finished: tuple[Path, list[str]]) -> None:
    folder, _ = finished
    facts = json.loads((own(folder) / "tuning/stage.json").read_text())
    scores = pd.read_csv(own(folder) / "tuning/scores.csv")
    assert facts["score"] == pytest.approx(scores["score"].mean(), abs=1e-12)
    assert facts["interval"][0] <= facts["score"] <= facts["interval"][1]
    assert len(scores) == 12
    scored = score_submission(
        rle_contract(), own(folder) / "submission.csv", folder / "data/solution.csv", folder / "data"
    )
    assert 0 <= scored.score <= 1 and len(scored.table) == 6


def test_the_bundle_writes_the_submission_of_stage_07(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, _ = finished
    summary = run(own(folder) / "bundle", folder / "data", tmp_path / "submission.csv", device="cpu")
    assert summary.path.read_bytes() == (own(folder) / "submission.csv").read_bytes()
    assert verify(own(folder) / "bundle")["cv"]["metric"] == "dice"


def test_a_damaged_bundle_is_refused(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, arguments = finished
    bundle = tmp_path / "bundle"
    shutil.copytree(own(folder) / "bundle", bundle)
    (bundle / "decision.json").write_text("{}")
    (bundle / "weights/tiny/fold_1/model.json").unlink()
    with pytest.raises(ValueError, match=r"missing \['weights/tiny/fold_1/model.json'\], truncated \['decision.json'"):
        run(bundle, folder / "data", tmp_path / "submission.csv")
    (bundle / "MANIFEST.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99"):
        verify(bundle)
    with pytest.raises(FileNotFoundError, match="stage 08"):
        verify(tmp_path)
    assert not (tmp_path / "submission.csv").exists()
    with pytest.raises(SystemExit):
        stage("08_bundle")([*arguments, "--no-wheels"])


def hidden_data(folder: Path, names: dict[str, tuple[int, int]]) -> Path:
    """Another test set for the same bundle: other ids, other count, other sizes."""
    (folder / "test").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, shape in names.items():
        cv2.imwrite(str(folder / "test" / f"{name}.png"), rng.integers(0, 255, (*shape, 3), np.uint8))
    pd.DataFrame({"id": list(names), "rle": "1 1"}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def test_the_bundle_takes_another_test_set_and_none_at_all(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    bundle = own(finished[0]) / "bundle"
    data = hidden_data(tmp_path / "hidden", {"x": (33, 70), "y": (64, 31)})
    assert pd.read_csv(run(bundle, data, tmp_path / "a/submission.csv", device="cpu").path)["id"].tolist() == ["x", "y"]
    nothing = hidden_data(tmp_path / "none", {})
    assert run(bundle, nothing, tmp_path / "b/submission.csv", device="cpu").images == 0
    assert (tmp_path / "b/submission.csv").read_text() == "id,rle\n"


def test_an_unreadable_test_image_is_named_or_left_empty(finished: tuple[Path, list[str]], tmp_path: Path) -> None:
    bundle = own(finished[0]) / "bundle"
    data = hidden_data(tmp_path / "hidden", {"x": (33, 70), "y": (64, 31)})
    (data / "test" / "x.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(ValueError, match="image 'x' cannot be predicted"):
        run(bundle, data, tmp_path / "a/submission.csv", device="cpu")
    assert not (tmp_path / "a/submission.csv").exists()
    summary = run(bundle, data, tmp_path / "b/submission.csv", device="cpu", on_error="empty")
    assert [outcome.image_id for outcome in summary.failures] == ["x"]
    assert pd.read_csv(summary.path, keep_default_na=False).set_index("id")["rle"]["x"] == ""
    assert (tmp_path / "b/predictions/x.failed.json").is_file()


def test_test_images_that_do_not_belong_to_the_sample_stop_the_bundle(
    finished: tuple[Path, list[str]], tmp_path: Path
) -> None:
    data = hidden_data(tmp_path / "hidden", {"x": (33, 70)})
    pd.DataFrame({"id": ["z"], "rle": ["1 1"]}).to_csv(data / "sample_submission.csv", index=False)
    with pytest.raises(ValueError, match=r"1 id\(s\) have no prediction \(z\)"):
        run(own(finished[0]) / "bundle", data, tmp_path / "submission.csv", device="cpu")


def test_problems_stop_stage_01_with_the_whole_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path)
    (tmp_path / "data/train/train00.png").unlink()
    (tmp_path / "data/train/train01.png").write_bytes(b"no image")
    with pytest.raises(SystemExit):
        stage("01_check_data")(arguments)
    said = capsys.readouterr().err
    assert "2 problem(s)" in said and "train00" in said and "train01.png" in said
    assert not (tmp_path / "runs/drawn/inventory/stage.json").exists()


def test_files_that_changed_since_stage_01_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path)
    stage("01_check_data")(arguments)
    (tmp_path / "data/test/test00.png").unlink()
    with pytest.raises(SystemExit):
        stage("01_check_data")(arguments)
    assert "files: was" in capsys.readouterr().err
    listing, problems = list_images(rle_contract(), tmp_path / "data", "test")
    assert (len(listing), problems) == (5, [])


def test_the_ceiling_falls_with_the_working_size(finished: tuple[Path, list[str]]) -> None:
    space = space_of(finished[1])
    table = resolution_ceiling(space, (1.0, 0.5, 0.2))
    assert table["score"].tolist() == sorted(table["score"], reverse=True)
    assert table["score"].iloc[0] == 1.0 and table["score"].iloc[-1] < 0.99


@pytest.mark.parametrize("words", [["ceiling"], ["show-augmentations"]])
def test_words_draw_pictures(finished: tuple[Path, list[str]], words: list[str]) -> None:
    main([*words, *finished[1]])
    assert list(own(finished[0]).rglob("*.png"))


def test_comparing_a_run_with_itself_finds_nothing(
    finished: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    main(["compare", str(own(finished[0])), str(own(finished[0]))])
    assert "A - B = +0.0000; within noise" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["compare", str(own(finished[0])), str(tmp_path)])
    other = tmp_path / "other"
    shutil.copytree(own(finished[0]) / "tuning", other / "tuning")
    document: dict[str, Any] = json.loads((other / "tuning/stage.json").read_text())
    document["identity"]["settings"]["metric"]["name"] = "iou"
    (other / "tuning/stage.json").write_text(json.dumps(document))
    with pytest.raises(SystemExit):
        main(["compare", str(own(finished[0])), str(other)])
    assert "tune both for the same metric" in capsys.readouterr().err


def test_an_unknown_word_lists_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fly"])
    assert caught.value.code == 2
    assert "unknown word 'fly', expected one of run, demo" in capsys.readouterr().out


def test_a_contract_without_test_images_ends_after_stage_06(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rle_host(tmp_path / "data", train=8)
    arguments = write_tiny_experiment(tmp_path / "own")
    contract = (tmp_path / "own/drawn.yaml").read_text()
    (tmp_path / "own/drawn.yaml").write_text(contract.replace("submission: {}", "submission: null"))
    stage("07_predict_test")(arguments)
    assert "nothing to submit" in capsys.readouterr().out


def test_deciding_anew_predicts_nothing_again(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path)
    run_stages(arguments)
    first, document = (own(tmp_path) / "submission.csv").stat().st_mtime_ns, own(tmp_path) / "test/stage.json"
    decided = json.loads(document.read_text())["tuning"]
    before = {path: path.stat().st_mtime_ns for path in (own(tmp_path) / "test").glob("*.h5")}
    other = [*arguments, "--set", "tune.rules=[quantile]"]
    main(["run", *other, "--from", "06"])
    assert {path: path.stat().st_mtime_ns for path in (own(tmp_path) / "test").glob("*.h5")} == before
    assert (own(tmp_path) / "submission.csv").stat().st_mtime_ns != first
    assert json.loads(document.read_text())["tuning"] != decided
    (own(tmp_path) / "submission.csv").unlink()
    stage("07_predict_test")(other)
    assert (own(tmp_path) / "submission.csv").is_file()


def test_what_decides_which_weights_are_kept_is_in_their_fingerprint(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path)

    def settings(*more: str) -> Any:
        given = [part for assignment in more for part in ("--set", assignment)]
        return fold_settings(space_of([*arguments, *given]))

    assert settings() == settings("predict.mode=tiles", "train.validate_every=1")
    selecting = ("train.keep=best", "train.validate_every=2")
    best = settings(*selecting)
    assert best == settings(*selecting, "predict.views=[identity]", "predict.memory_cap_gb=1")
    for other in ("predict.mode=tiles", "train.validate_every=1"):
        assert settings(*selecting, other) != best


def test_an_unreadable_test_image_stops_nothing_before_stage_07(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tiny_experiment(tmp_path, train=8, test=3)
    (tmp_path / "data/test/test01.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    run_stages(arguments, ("01", "02", "03", "04", "05", "06"))
    said = capsys.readouterr().out
    assert "warning: test/test01.png: found" in said and "run stage 07 with --on-error empty" in said
    assert "8 training and 2 test images, 1 unreadable test image(s), see problems.csv" in said
    problems = tmp_path / "runs/drawn/inventory/problems.csv"
    assert pd.read_csv(problems)["where"].tolist() == ["test/test01.png"]
    with pytest.raises(SystemExit):
        stage("07_predict_test")(arguments)
    assert "image 'test01' cannot be predicted" in capsys.readouterr().err
    assert not (own(tmp_path) / "submission.csv").exists()
    stage("07_predict_test")([*arguments, "--on-error", "empty"])
    assert "3 images, 1 of them empty because they could not be predicted" in capsys.readouterr().out
    masks = read_submission(own(tmp_path) / "submission.csv", rle_contract()).set_index("id")["rle"]
    assert masks.index.tolist() == ["test00", "test01", "test02"] and masks["test01"] == ""
    (tmp_path / "data/train/train00.png").write_bytes(b"no image")
    with pytest.raises(SystemExit):
        stage("01_check_data")([*arguments, "--overwrite"])
    said = capsys.readouterr().err
    assert "1 problem(s)" in said and "train00.png" in said and "test01" not in said
    assert pd.read_csv(problems)["where"].tolist() == ["test/test01.png", "train/train00.png"]
