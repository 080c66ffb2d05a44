from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_hosts import SHAPE, draw_mask, rle_contract, write_rle_host
from drawn_layouts import LAYOUTS
from drawn_volumes import write_volume_host

from inference.decide.decision import decision_group
from pipeline.data.image_faults import check_masks_aligned
from pipeline.data.inspection import truth_hash
from pipeline.data.inventory import (
    host_digest,
    peak_memory,
    take_inventory,
    write_inventory,
)
from pipeline.inventory_table import inventory_digest, read_inventory
from pipeline.shift.sources import find_sources
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import Truth
from submissions.host.patterns import fill
from submissions.host.problems import ProblemsError
from submissions.images.measures import MEASURES
from submissions.rle.codec import Dialect


def look(competition: Competition, folder: Path, workers: int = 0) -> tuple:
    inspections = [
        one for _, _, found in take_inventory(competition, folder, workers=workers, chunk=3) for one in found
    ]
    (folder / "out").mkdir(exist_ok=True)
    return write_inventory(folder / "out", inspections)


def test_a_row_an_image_with_size_area_and_content(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    table, problems = look(competition, tmp_path)
    assert problems == []
    assert table["split"].tolist() == ["train"] * 8 + ["test"] * 3
    assert (table[["height", "width", "channels"]] == [*SHAPE, 3]).all(axis=None)
    assert table["area_thing"].tolist()[:8] == [*(int(draw_mask(i).sum()) for i in range(7)), 0]
    assert table["empty"].tolist()[:8] == [0] * 7 + [1]
    again, thumbnails = read_inventory(tmp_path / "out")
    assert thumbnails.shape == (11, 64, 64)
    assert again["image_id"].tolist() == table["image_id"].tolist()
    assert again["area_thing"][:8].tolist() == table["area_thing"][:8].tolist()


def test_processes_find_the_same_and_the_digest_does_not_depend_on_order(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    table, _ = look(competition, tmp_path)
    parallel, _ = look(competition, tmp_path, workers=2)
    assert inventory_digest(table) == inventory_digest(parallel)
    assert inventory_digest(table) == inventory_digest(table.iloc[::-1])
    changed = table.copy()
    changed.loc[0, "content_hash"] = "other"
    assert inventory_digest(table) != inventory_digest(changed)


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    (tmp_path / "train" / "train00.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    (tmp_path / "train" / "train01.png").unlink()
    cv2.imwrite(str(tmp_path / "train" / "train02.png"), np.zeros((10, 12, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "test" / "stray.png"), np.zeros((10, 12, 3), np.uint8))
    _, problems = look(competition, tmp_path)
    text = str(ProblemsError(problems))
    assert text.startswith("3 problem(s)")
    assert "train00.png" in text and "id 'train01'" in text and "mask of train02" in text
    assert (tmp_path / "out" / "problems.csv").read_text().count("\n") == 4


def test_measures_and_a_source_are_in_the_inventory_and_not_in_its_digest(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    table, _ = look(competition, tmp_path)
    again, thumbnails = read_inventory(tmp_path / "out")
    names = [*MEASURES, "image_channel_0_p50", "image_channel_2_p99"]
    assert again[names].dtypes.eq(np.float64).all() and again[names].notna().all(axis=None)
    np.testing.assert_array_equal(again[names], look(competition, tmp_path, workers=2)[0][names])
    assert again["source"].tolist() == find_sources(again, thumbnails).tolist() == ["s1"] * 11
    assert inventory_digest(table) == inventory_digest(table.assign(source="s2", image_noise=0.5))


def test_a_source_that_the_host_names_is_kept(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    found = [one for _, _, part in take_inventory(competition, tmp_path) for one in part]
    for one in found:
        one.row.update({"source": "HPA"} if one.row else {})
    (tmp_path / "out").mkdir()
    assert write_inventory(tmp_path / "out", found)[0]["source"].tolist() == ["HPA"] * 11


def test_files_that_change_change_the_digest_of_the_host(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    before = host_digest(competition, tmp_path)
    assert before == host_digest(competition, tmp_path)
    (tmp_path / "test" / "test00.png").unlink()
    assert before != host_digest(competition, tmp_path)


def test_files_that_a_tables_pattern_names_change_the_digest(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    for name in ("train", "val"):
        (tmp_path / f"list_{name}.csv").write_text("id\na\n")
    competition = rle_contract(tables=[{"file": "list_{subset:train|val}.csv"}])
    before = host_digest(competition, tmp_path)
    (tmp_path / "list_val.csv").write_text("id\na\nb\n")
    assert before != host_digest(competition, tmp_path)


def test_transposed_masks_are_found_before_training(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path, train=40)
    table, _ = look(competition, tmp_path)
    aligned = check_masks_aligned(competition, tmp_path, table)
    assert aligned is not None and aligned.verdict == "aligned"
    masks = {**competition.masks.model_dump(), "dialect": {"order": "row"}}
    turned = rle_contract(masks=masks)
    found = check_masks_aligned(turned, tmp_path, table)
    assert found is not None and found.verdict != "aligned"


def test_no_mask_no_alignment(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path, train=4, empty=4)
    table, _ = look(competition, tmp_path)
    assert check_masks_aligned(competition, tmp_path, table) is None


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="put the host's files into it"):
        list(take_inventory(rle_contract(), tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="put the host's files into it"):
        host_digest(rle_contract(), tmp_path / "nowhere")


def test_one_corrupt_file_of_many_is_reported_with_the_other_problems(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path, train=500, test=1)
    (tmp_path / "train" / "train137.png").write_bytes((tmp_path / "train" / "train136.png").read_bytes()[:60])
    (tmp_path / "train" / "train300.png").unlink()
    _, problems = look(competition, tmp_path)
    assert sorted(problem.where.split("/")[-1] for problem in problems) == ["train.csv: id 'train300'", "train137.png"]


def test_memory_is_that_of_the_largest_image_in_every_process(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path, train=4, test=2)
    cv2.imwrite(str(tmp_path / "test" / "test00.png"), np.zeros((900, 2000, 3), np.uint8))
    (tmp_path / "train" / "train01.png").write_bytes(b"no picture")
    one = peak_memory(competition, tmp_path)
    assert one == pytest.approx((900 * 2000 * (3 + 6) + 200e6) / 1e9)
    assert peak_memory(competition, tmp_path, workers=3) == pytest.approx(3 * one)
    without = competition.model_copy(update={"masks": competition.masks.model_copy(update={"kind": "none"})})
    assert peak_memory(without, tmp_path) == pytest.approx((900 * 2000 * 3 + 200e6) / 1e9)


def test_a_stratum_is_the_same_word_in_training_and_in_test(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    sites = {"train": ["01", "", "1", "NA", "01", "02", "02", "02"], "test": ["01", "NA", ""]}
    for split, values in sites.items():
        named = pd.DataFrame({"id": [f"{split}{index:02d}" for index in range(len(values))], "site": values})
        named.to_csv(tmp_path / f"{split}_sites.csv", index=False)
    tables = [*competition.tables, {"file": "train_sites.csv"}]
    competition = rle_contract(tables=tables, test_tables=[{"file": "test_sites.csv"}], strata=["site"])
    look(competition, tmp_path)
    table, _ = read_inventory(tmp_path / "out")
    for split, values in sites.items():
        listing, _ = list_images(competition, tmp_path, split)  # type: ignore[arg-type]
        for rows in (listing, table[table["split"] == split]):
            assert [decision_group(competition, dict(row)) for row in rows.to_dict("records")] == values
    assert table["area_thing"].isna().tolist() == [False] * 8 + [True] * 3


@pytest.mark.parametrize("name", [name for name in LAYOUTS if load_competition(name).masks.kind == "images"])
def test_mask_files_that_change_change_the_digest_of_the_host(name: str, tmp_path: Path) -> None:
    competition = load_competition(name)
    LAYOUTS[name](tmp_path)
    row = list_images(competition, tmp_path, "train")[0].iloc[0].to_dict()
    patterns = [pattern for pattern in (competition.masks.path, competition.masks.valid) if pattern]
    for pattern in patterns:
        before = host_digest(competition, tmp_path)
        path = tmp_path / fill(pattern, {**row, "id": row["image_id"], "class": competition.classes[0]}, "masks")
        path.write_bytes(path.read_bytes() + b"mended")
        assert host_digest(competition, tmp_path) != before


def test_masks_named_by_an_id_of_folder_and_page_are_found(tmp_path: Path) -> None:
    masks = {"kind": "images", "path": "masks/{id}.png"}
    images = {"train": "train/{batch}/{name}_{n:d}.png", "id": "{batch}/{name}-{n:0>3}"}
    competition = rle_contract(images=images, masks=masks, tables=[], group=None, submission=None)
    (tmp_path / "masks/b1").mkdir(parents=True)
    before = host_digest(competition, tmp_path)
    (tmp_path / "masks/b1/cell-007.png").write_bytes(b"")
    assert host_digest(competition, tmp_path) != before


def test_the_mask_of_a_volume_read_in_parts_has_the_same_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = write_volume_host(tmp_path, train=2, test=0)
    competition = Competition.model_validate({**document, "submission": None})
    whole, _ = look(competition, tmp_path)
    monkeypatch.setattr("submissions.host.masks.PART", 2 * 19 * 22)
    parts, _ = look(competition, tmp_path)
    same = [name for name in whole if name != "mask_hash"]
    pd.testing.assert_frame_equal(parts[same], whole[same])
    assert whole["void"].min() > 0 and (parts["mask_hash"] != whole["mask_hash"]).all()


def test_a_file_that_grows_in_an_image_that_is_a_folder_changes_the_digest(tmp_path: Path) -> None:
    competition = rle_contract(images={"train": "train/{id}.zarr"}, tables=[], group=None, submission=None)
    (tmp_path / "train/a.zarr/0").mkdir(parents=True)
    (tmp_path / "train/a.zarr/.zarray").write_text("{}")
    before = host_digest(competition, tmp_path)
    (tmp_path / "train/a.zarr/0/1").write_bytes(b"chunk")
    assert host_digest(competition, tmp_path) != before


def test_a_mask_has_one_hash_whatever_its_spelling(tmp_path: Path) -> None:
    competition = write_rle_host(tmp_path)
    table, _ = look(competition, tmp_path)
    train = table[table["split"] == "train"]
    assert train["mask_hash"].nunique() == 8 and table["mask_hash"].isna().tolist() == [False] * 8 + [True] * 3
    moved = competition.masks.model_copy(update={"dialect": Dialect(base=0)})
    other, _ = look(competition.model_copy(update={"masks": moved}), tmp_path)
    assert (other["area_thing"][:7] == table["area_thing"][:7]).all()
    assert (other["mask_hash"][:7] != table["mask_hash"][:7]).all() and other["mask_hash"][7] == table["mask_hash"][7]
    assert inventory_digest(other) != inventory_digest(table)
    planes = draw_mask(1)[None, None]
    label = planes[0].astype(np.int32)
    kinds = [
        Truth(planes), Truth(planes, np.ones_like(planes[0])), Truth(planes, planes[0]), Truth(planes, None, label),
        Truth(planes, None, 2 * label), Truth(planes.swapaxes(0, 1).reshape(1, 1, *SHAPE[::-1])),
    ]  # fmt: skip
    assert len({truth_hash(truth) for truth in kinds}) == 6
    assert truth_hash(Truth(np.asfortranarray(planes))) == truth_hash(Truth(planes))
