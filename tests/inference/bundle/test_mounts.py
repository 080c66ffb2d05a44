"""Where the host mounted its data: found by the files that the contract names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drawn_hosts import rle_contract, write_rle_host

from inference.bundle.manifest import MANIFEST
from inference.bundle.mounts import find_data


def write_contract(folder: Path, **change: Any) -> Path:
    folder.mkdir(parents=True)
    contract = rle_contract(**change).model_dump(mode="json", exclude_unset=True)
    (folder / "competition.yaml").write_text(json.dumps(contract))
    (folder / MANIFEST).write_text("{}")
    return folder


@pytest.mark.parametrize("place", ["", "drawn", "competitions/drawn", "a/b/c/d"])
def test_data_are_found_at_any_depth(tmp_path: Path, place: str) -> None:
    bundle = write_contract(tmp_path / "bundle")
    write_rle_host(tmp_path / "input" / place)
    assert find_data(bundle, tmp_path / "input") == tmp_path / "input" / place


def test_a_folder_that_holds_more_wins_and_bundles_are_no_data(tmp_path: Path) -> None:
    bundle = write_contract(tmp_path / "input/bundle")
    (bundle / "sample_submission.csv").write_text("")
    (tmp_path / "input/other/test").mkdir(parents=True)
    write_rle_host(tmp_path / "input/data")
    assert find_data(bundle, tmp_path / "input") == tmp_path / "input/data"


def test_hidden_images_may_be_absent(tmp_path: Path) -> None:
    bundle = write_contract(tmp_path / "bundle", submission={"sample": "sub/sample.csv"})
    (tmp_path / "input/data/sub").mkdir(parents=True)
    (tmp_path / "input/data/sub/sample.csv").write_text("id,rle\n")
    assert find_data(bundle, tmp_path / "input") == tmp_path / "input/data"


@pytest.mark.parametrize("pattern", ["{id}.png", "{scanner}/{id}.png", "{z:03d}.png"])
def test_images_alone_are_found_where_no_file_of_a_fixed_name_is(pattern: str, tmp_path: Path) -> None:
    bundle = write_contract(tmp_path / "bundle", images={"train": "train/{id}.png", "test": pattern, "id": "x"})
    image = tmp_path / "input/data" / ("a/007.png" if "/" in pattern else "007.png")
    (tmp_path / "input/other/b").mkdir(parents=True)
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    assert find_data(bundle, tmp_path / "input") == tmp_path / "input/data"


def test_a_whole_competition_wins_over_a_folder_of_the_same_name_further_up(tmp_path: Path) -> None:
    bundle = write_contract(tmp_path / "bundle")
    (tmp_path / "input/other/test").mkdir(parents=True)
    write_rle_host(tmp_path / "input/competitions/drawn")
    assert find_data(bundle, tmp_path / "input") == tmp_path / "input/competitions/drawn"


def test_a_contract_that_is_cut_off_is_said(tmp_path: Path) -> None:
    bundle = write_contract(tmp_path / "bundle")
    (bundle / "competition.yaml").write_text('{"images"')
    with pytest.raises(ValueError, match=r"competition\.yaml: not readable as JSON .*copy the bundle again"):
        find_data(bundle, tmp_path)
    (bundle / "competition.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"no competition\.yaml; expected a folder that stage 08 wrote"):
        find_data(bundle, tmp_path)


def test_none_or_two_are_said(tmp_path: Path) -> None:
    bundle = write_contract(tmp_path / "bundle")
    (tmp_path / "input").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no folder holds sample_submission.csv or test; add the competition"):
        find_data(bundle, tmp_path / "input")
    for name in ("a", "b"):
        write_rle_host(tmp_path / "input" / name)
    with pytest.raises(ValueError, match="look alike; leave one"):
        find_data(bundle, tmp_path / "input")
