"""Bundles that are run: what they write, what is refused with a sentence, and that nothing half-written stays."""

from __future__ import annotations

import ast
import builtins
import json
import pickle
import shutil
import struct
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from drawn_hosts import write_rle_host
from tiny_bundle import write_tiny_bundle

import inference
import submissions
from inference.__main__ import main
from inference.bundle import bundle as bundle_module
from inference.bundle import preview
from inference.bundle.bundle import run, submit
from inference.bundle.manifest import MANIFEST, list_files, read_manifest, verify
from inference.bundle.preview import draw_preview
from inference.config import SETTINGS_FILE
from inference.decide.decision import load_decision, save_decision
from inference.weights import load_model
from submissions.table.findings import Finding


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with bundle/ and data/."""
    folder = tmp_path_factory.mktemp("bundle")
    write_rle_host(folder / "data")
    write_tiny_bundle(folder)
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made / "bundle", tmp_path / "bundle"))


def sign(bundle: Path) -> None:
    """Write the manifest anew, as somebody would who exchanged files on purpose."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**manifest, "files": list_files(bundle)}))


def test_a_bundle_holds_what_inference_needs_and_says_so(made: Path) -> None:
    manifest = verify(made / "bundle")
    names = set(manifest["files"])
    assert {"decision.json", "competition.yaml", "submit.ipynb", "weights/tiny/fold_0/weights.safetensors"} <= names
    assert {name.split("/")[1] for name in names if name.startswith("code/")} == {"inference", "submissions"}
    assert manifest["made_with"]["torch"] == metadata.version("torch") and manifest["accepts"]["torch"] == ">=2.6"
    assert manifest["weights"]["precision"] == "fp32"
    assert not any(name.endswith((".pyc", ".pt", ".pth")) for name in names)
    assert not (made / "bundle.partial").exists()


def test_a_bundle_is_run_and_shown(made: Path, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "out/submission.csv"
    summary = submit(made / "bundle", made / "data", out, seconds=600, memory_cap_gb=1, report=said.append)
    assert said[-1] == f"3 images, 0 not predicted, 3 rows -> {out}"
    assert draw_preview(made / "bundle", made / "data", summary, tmp_path / "p.png") == ["test00", "test01", "test02"]
    assert draw_preview(made / "bundle", made / "data", summary, tmp_path / "q.png", number=2) == ["test00", "test01"]
    assert (tmp_path / "p.png").stat().st_size > (tmp_path / "q.png").stat().st_size


def test_a_contract_without_a_table_gets_its_kind_of_answer(bundle: Path, made: Path, tmp_path: Path) -> None:
    contract = json.loads((bundle / "competition.yaml").read_text())
    contract["submission"] = {"kind": "images", "size": [20, 28]}
    (bundle / "competition.yaml").write_text(json.dumps(contract))
    sign(bundle)
    summary = run(bundle, made / "data", tmp_path / "submission.csv", device="cpu", report=str)
    assert summary.path == tmp_path / "submission.zip" and "3 files" in str(summary)
    with zipfile.ZipFile(summary.path) as packed:
        assert packed.namelist() == ["test00.png", "test01.png", "test02.png"]
    drawn = draw_preview(bundle, made / "data", summary, tmp_path / "preview.png", number=2)
    assert len(drawn) == 2 and (tmp_path / "preview.png").is_file()


def test_nothing_is_drawn_of_no_image(made: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    summary = run(made / "bundle", tmp_path / "none", tmp_path / "out/submission.csv", device="cpu")
    assert draw_preview(made / "bundle", tmp_path / "none", summary, tmp_path / "p.png") == []
    assert not (tmp_path / "p.png").exists()


def test_the_preview_leaves_out_what_cannot_be_read(made: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(made / "data", tmp_path / "data"))
    (data / "test/test01.png").write_bytes(b"no image")
    out = tmp_path / "out/submission.csv"
    summary = submit(made / "bundle", data, out, seconds=600, memory_cap_gb=1, report=lambda text: None)
    assert draw_preview(made / "bundle", data, summary, tmp_path / "p.png") == ["test00", "test02"]


def test_a_preview_that_fails_is_a_sentence(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = run(made / "bundle", made / "data", tmp_path / "s.csv", device="cpu")

    def fails(*given: Any) -> NoReturn:
        raise MemoryError("no room")

    monkeypatch.setattr(preview, "draw_submission", fails)
    said: list[str] = []
    assert draw_preview(made / "bundle", made / "data", summary, tmp_path / "p.png", report=said.append) == []
    assert draw_preview(made / "bundle", tmp_path / "gone", summary, tmp_path / "p.png", report=said.append) == []
    assert "MemoryError: no room" in said[0] and "gone: no such folder" in said[1]


def test_a_model_saved_with_a_runtime_is_read(made: Path) -> None:
    path = made / "fold_0" / SETTINGS_FILE
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "predict": {**settings["predict"], "runtime": "torch"}}))
    assert load_model(path.parent).predict_config.mode == "whole"


def test_a_decision_from_another_experiment_is_refused(bundle: Path, made: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'taught', but these weights belong to 'other'"):
        write_tiny_bundle(tmp_path / "new", taught_by="other")
    assert not list((tmp_path / "new").glob("bundle*"))
    decision = load_decision(bundle / "decision.json")
    save_decision(bundle / "decision.json", decision.model_copy(update={"fingerprint": "elsewhere"}))
    sign(bundle)
    with pytest.raises(ValueError, match="'elsewhere', but these weights belong to 'taught'"):
        run(bundle, made / "data", tmp_path / "out/submission.csv")
    assert not (tmp_path / "out").exists()


def damage(bundle: Path, kind: str) -> None:
    weights = bundle / "weights/tiny/fold_0/weights.safetensors"
    if kind == "missing":
        weights.unlink()
    elif kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif kind == "changed":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(bytes(content))
    else:
        (bundle / "code/torch.py").write_text("raise SystemExit('not the bundle')\n")


@pytest.mark.parametrize("kind", ["missing", "truncated", "changed", "added"])
def test_damage_is_named_and_leaves_nothing(bundle: Path, made: Path, tmp_path: Path, kind: str) -> None:
    damage(bundle, kind)
    name = "code/torch.py" if kind == "added" else "weights/tiny/fold_0/weights.safetensors"
    with pytest.raises(ValueError, match=rf"bundle: files {kind} \['{name}'\]; copy the bundle again"):
        run(bundle, made / "data", tmp_path / "out/submission.csv")
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_is_none_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / MANIFEST).write_text("{")
    with pytest.raises(ValueError, match="not readable as JSON"):
        read_manifest(bundle)
    (bundle / MANIFEST).write_text("[]")
    with pytest.raises(ValueError, match="holds no table of names and values"):
        read_manifest(bundle)
    (bundle / MANIFEST).write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99, expected"):
        verify(bundle)
    with pytest.raises(FileNotFoundError, match="stage 08"):
        verify(tmp_path)


def test_installed_versions_are_compared_before_anything_is_read(bundle: Path, made: Path, tmp_path: Path) -> None:
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["accepts"] |= {"torch": ">=99", "no-such-distribution": ">=1"}
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError) as caught:
        run(bundle, made / "data", tmp_path / "out/submission.csv")
    lines = str(caught.value).splitlines()[1:]
    assert lines == [
        f"  torch: found {metadata.version('torch')}, accepted >=99",
        "  no-such-distribution: found nothing, accepted >=1",
    ]
    assert not (tmp_path / "out").exists()


def test_an_unwritable_folder_is_refused_before_anything_is_predicted(made: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"no file can be written there .*choose another folder"):
        run(made / "bundle", made / "data", tmp_path / "file" / "submission.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_predictions_by_other_weights_are_not_taken(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "submission.csv"
    run(made / "bundle", made / "data", out, device="cpu")
    other = write_tiny_bundle(tmp_path / "other", half=True)
    with pytest.raises(ValueError, match="holds predictions of other weights"):
        run(other, made / "data", out, device="cpu")


def test_predictions_with_other_views_are_not_taken(bundle: Path, made: Path, tmp_path: Path) -> None:
    run(bundle, made / "data", tmp_path / "s.csv", device="cpu")
    decision = load_decision(bundle / "decision.json")
    save_decision(bundle / "decision.json", decision.model_copy(update={"views": ["identity"]}))
    sign(bundle)
    with pytest.raises(ValueError, match=r"TTA views or ensemble weights; delete it"):
        run(bundle, made / "data", tmp_path / "s.csv", device="cpu")


def test_predictions_of_other_files_of_the_same_name_are_not_taken(made: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(made / "data", tmp_path / "data"))
    out = tmp_path / "submission.csv"
    run(made / "bundle", data, out, device="cpu")
    run(made / "bundle", data, out, device="cpu")
    shutil.copyfile(data / "train/train00.png", data / "test/test01.png")
    with pytest.raises(ValueError, match=r"the files of \['test01'\] changed since it was predicted; delete"):
        run(made / "bundle", data, out, device="cpu")


def test_what_the_linter_refuses_is_not_left_behind(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("warning", None, "odd"), Finding("error", 2, "wrong")]
    monkeypatch.setattr(bundle_module, "lint_answer", lambda *given: found)
    with pytest.raises(ValueError) as caught:
        run(made / "bundle", made / "data", tmp_path / "s.csv", device="cpu")
    assert str(caught.value) == "the linter refuses the submission:\n  error: row 2: wrong"
    assert not (tmp_path / "s.csv").exists()


def test_a_doubt_about_the_masks_does_not_cost_the_notebook_its_table(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding("error", None, "turned", doubt=True), Finding("warning", 1, "odd")]
    monkeypatch.setattr(bundle_module, "lint_answer", lambda *given: found)
    said: list[str] = []
    submit(made / "bundle", made / "data", tmp_path / "s.csv", seconds=600, memory_cap_gb=1, report=said.append)
    assert (tmp_path / "s.csv").is_file()
    assert said[-4].startswith("LOOK AT THE MASKS BEFORE YOU SUBMIT")
    assert said[-3:-1] == ["lint: error: turned", "lint: warning: row 1: odd"]
    with pytest.raises(ValueError, match="refuses the submission:\n  error: turned"):
        run(made / "bundle", made / "data", tmp_path / "s.csv", device="cpu")
    found[0] = Finding("error", 1, "no mask")
    with pytest.raises(ValueError, match="error: row 1: no mask"):
        submit(made / "bundle", made / "data", tmp_path / "t.csv", seconds=600, memory_cap_gb=1)
    assert not list(tmp_path.glob("*.csv"))


def test_a_folder_is_no_submission(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is a folder; expected a file to write, such as .*submission\.csv"):
        run(made / "bundle", made / "data", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_holds_no_predictions(made: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("")
    with pytest.raises(ValueError, match=r"predictions: no file can be written there"):
        run(made / "bundle", made / "data", tmp_path / "s.csv")


def test_the_command_runs_a_bundle_or_says_why_not(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(made / "data"), "--out", str(tmp_path / "s.csv"), "--device", "cpu", "--memory-cap", "1"]
    main(["run", str(made / "bundle"), *words])
    assert f"3 images, 0 not predicted, 3 rows -> {tmp_path / 's.csv'}" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["run", str(tmp_path), *words])
    assert "no MANIFEST.json; expected a folder that stage 08 wrote" in capsys.readouterr().err


def test_a_test_image_that_announces_gigapixels_is_refused_with_its_size(made: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(made / "data", tmp_path / "data"))
    picture = bytearray((data / "test/test00.png").read_bytes())
    picture[16:24] = struct.pack(">II", 60_000, 60_000)
    (data / "test/test00.png").write_bytes(bytes(picture))
    with pytest.raises(ValueError, match=r"image 'test00' cannot be predicted.*60000 x 60000 = 3.6 gigapixels"):
        run(made / "bundle", data, tmp_path / "s.csv", device="cpu")
    assert not (tmp_path / "s.csv").exists()


def test_links_in_the_data_are_followed_and_the_contract_cannot_lead_out_of_it(made: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(made / "data", tmp_path / "data"))
    (data / "test").rename(tmp_path / "disk")
    (data / "test").symlink_to(tmp_path / "disk", target_is_directory=True)
    for folder, name in ((data, "linked"), (made / "data", "plain")):
        run(made / "bundle", folder, tmp_path / name / "s.csv", device="cpu")
    assert (tmp_path / "linked/s.csv").read_bytes() == (tmp_path / "plain/s.csv").read_bytes()
    contract = json.loads((made / "bundle/competition.yaml").read_text())
    for name in ("../secret.csv", str(tmp_path / "secret.csv")):
        other = Path(shutil.copytree(made / "bundle", tmp_path / f"bundle{len(name)}"))
        changed = {**contract, "submission": {"sample": name}}
        (other / "competition.yaml").write_text(json.dumps(changed))
        sign(other)
        with pytest.raises(ValueError, match=r"secret\.csv"):
            run(other, made / "data", tmp_path / f"out{len(name)}/s.csv", device="cpu")


def test_yaml_that_makes_objects_is_refused(bundle: Path, made: Path, tmp_path: Path) -> None:
    (bundle / "competition.yaml").write_text("name: !!python/object/apply:os.system ['true']\n")
    sign(bundle)
    with pytest.raises(ValueError, match="not readable as YAML"):
        run(bundle, made / "data", tmp_path / "s.csv")


def test_nothing_is_unpickled_while_a_bundle_runs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> NoReturn:
        raise AssertionError("something was unpickled")

    for module, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
        (builtins, "eval"),
    ):
        monkeypatch.setattr(module, name, refuse)
    assert run(made / "bundle", made / "data", tmp_path / "s.csv", device="cpu").images == 3


def test_no_module_of_inference_unpickles_or_executes_text() -> None:
    found = []
    for package in (inference, submissions):
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
                    found += [(path.name, name) for name in names if name in ("pickle", "joblib", "dill", "shelve")]
                if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    "eval", "exec", "yaml.load", "yaml.unsafe_load", "torch.load", "np.load",
                ):  # fmt: skip
                    safe = {word.arg: ast.unparse(word.value) for word in node.keywords}
                    if safe.get("weights_only") != "True" and safe.get("allow_pickle") != "False":
                        found.append((path.name, ast.unparse(node.func)))
    assert found == []
