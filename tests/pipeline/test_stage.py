from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.locks import release_all
from pipeline.stage import BEGUN, Stage, digest, read_stage


def make(folder: Path, **settings: object) -> Stage:
    return Stage("99_do", folder / "work", settings, {"before": "abc"})


def test_the_same_work_is_done_once(tmp_path: Path) -> None:
    stage = make(tmp_path, train={"epochs": 2})
    assert stage.begin() and not stage.done()
    assert (stage.folder / BEGUN).is_file()
    stage.finish(output="xyz")
    assert stage.done() and not (stage.folder / BEGUN).exists()
    again = make(tmp_path, train={"epochs": 2})
    assert not again.begin()
    assert read_stage(stage.folder, "99_do.py")["output"] == "xyz"


def test_other_settings_are_refused_by_name_where_work_is_done_or_protected(tmp_path: Path) -> None:
    stage = replace(make(tmp_path, train={"epochs": 2, "lr": 0.1}), protects="kept")
    stage.begin()
    (stage.folder / "kept").write_text("")
    other = replace(make(tmp_path, train={"epochs": 3, "lr": 0.1}), protects="kept")
    with pytest.raises(ValueError, match=r"train\.epochs: was 2, is now 3") as caught:
        other.begin()
    assert "lr" not in str(caught.value) and "--overwrite" in str(caught.value)
    stage.finish()
    with pytest.raises(ValueError, match=r"inputs\.before: was 'abc', is now 'def'"):
        Stage("99_do", stage.folder, {"train": {"epochs": 2, "lr": 0.1}}, {"before": "def"}).begin()
    with pytest.raises(ValueError, match=r"files: was None, is now '1f' \(a file of the data folder came, went"):
        Stage("99_do", stage.folder, {"train": {"epochs": 2, "lr": 0.1}, "files": "1f"}, {"before": "abc"}).begin()
    assert (stage.folder / "kept").exists()
    assert other.begin(overwrite=True)
    assert not (stage.folder / "kept").exists()


def test_a_setting_that_says_nothing_is_no_other_setting(tmp_path: Path) -> None:
    """An older version did not know it: what that made is not made again."""
    stage = make(tmp_path, masks={"path": "a"})
    stage.begin()
    stage.finish()
    for new in ({"channels": []}, {"array": None}, {"of": {"column": None}}):
        newer = make(tmp_path, masks={"path": "a", **new})
        assert newer.done() and not newer.begin()
    with pytest.raises(ValueError, match=r"masks\.channels: was None, is now \['cell'\]"):
        make(tmp_path, masks={"path": "a", "channels": ["cell"]}).begin()


def test_work_that_was_never_finished_is_begun_anew_by_other_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = make(tmp_path, order="row")
    stage.begin()
    (stage.folder / "half").write_text("of the old settings")
    other = replace(make(tmp_path, order="column"), protects="last.pt")  # which it never wrote
    assert other.begin() and not (stage.folder / "half").exists()
    said = capsys.readouterr().out
    assert (
        f"{stage.folder} was never finished and starts afresh" in said and "order: was 'row', is now 'column'" in said
    )
    other.finish()
    assert not other.begin()


def test_begun_work_goes_on(tmp_path: Path) -> None:
    stage = make(tmp_path, a=1)
    stage.begin()
    (stage.folder / "unit").write_text("half of it")
    assert make(tmp_path, a=1).begin()
    assert (stage.folder / "unit").exists()


def test_an_unfinished_stage_cannot_be_read(tmp_path: Path) -> None:
    stage = make(tmp_path, a=1)
    stage.begin()
    with pytest.raises(FileNotFoundError, match=r"run 99_do\.py first"):
        read_stage(stage.folder, "99_do.py")


def test_fingerprints_depend_on_values_not_on_order(tmp_path: Path) -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1}) != digest({"a": 1, "b": [2, 1]})
    assert make(tmp_path, a=1).fingerprint != make(tmp_path, a=2).fingerprint
    newer = Stage("99_do", tmp_path, {"a": 1}, {"before": "abc"}, format=2)
    assert newer.fingerprint != make(tmp_path, a=1).fingerprint


def test_a_kill_while_deleting_leaves_nothing_that_looks_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = make(tmp_path, a=1)
    stage.begin()
    (stage.folder / "unit").write_text("of the old settings")
    stage.finish()

    def killed(folder: Path, **options: object) -> None:
        if folder.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, a=2).begin(overwrite=True)
    assert not stage.folder.exists() and not list(tmp_path.rglob("stage*.json"))
    monkeypatch.undo()
    assert make(tmp_path, a=2).begin() and not (stage.folder / "unit").exists()
    assert make(tmp_path, a=3).begin(overwrite=True)
    release_all()
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
