from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from drawn_anomalies import mvtec, mvtec_products
from drawn_hosts import SHAPE

from pipeline.new_competition import start_competition
from submissions.guess.first_contract import write_first_contract
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader


def guess(folder: Path) -> tuple[Competition, str]:
    path = write_first_contract(folder, out=folder.with_suffix(".yaml"))
    return load_competition(path), path.read_text()


def test_labelled_test_images_are_trained_on_and_faultless_ones_show_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "bottle"
    mvtec(folder)
    contract, text = guess(folder)
    assert (contract.images.train, contract.images.id) == ("test/{folder1}/{name}.png", "{folder1}_{name}")
    assert (contract.masks.path, contract.masks.missing) == ("ground_truth/{folder1}/{name}_mask.png", "empty")
    assert contract.images.stack is None and contract.strata == ["folder1"]
    assert "only test images have masks: they are the training images, 4 without a mask as faultless ones" in text
    listing, problems = list_images(contract, folder, "train")
    assert len(listing) == 17 and problems == []
    shown = {
        row["image_id"]: bool(MaskReader(contract, folder).read(row, (1, *SHAPE)).planes.any())
        for row in listing.to_dict("records")
    }
    assert [name for name, any_pixel in shown.items() if not any_pixel] == [f"good_{k:03d}" for k in range(4)]


@pytest.mark.parametrize("several", [False, True])
def test_the_notes_say_how_to_train_on_all_faultless_images(several: bool, tmp_path: Path) -> None:
    folder = tmp_path / "host"
    (mvtec_products if several else mvtec)(folder)
    contract, text = guess(folder)
    listing, _ = list_images(contract, folder, "train")
    note = next(line for line in text.splitlines() if "to train on them too, write" in line)
    train, identity = note.split("'")[1::2]
    more = contract.model_copy(update={"images": contract.images.model_copy(update={"train": train, "id": identity})})
    every, problems = list_images(more, folder, "train")
    faultless = 21 if several else 7
    assert len(every) == len(listing) + faultless and problems == [] and f"not used: {faultless} faultless" in note
    row = every[every["part"] == "train"].iloc[-1].to_dict()
    assert not MaskReader(more, folder).read(row, (1, *SHAPE)).planes.any()


def test_it_is_said_where_the_contract_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mvtec(tmp_path / "bottle")
    monkeypatch.chdir(tmp_path)
    assert "only test images have masks, so these are the training images" in start_competition(Path("bottle"))


def test_training_images_elsewhere_are_named(tmp_path: Path) -> None:
    mvtec(tmp_path / "bottle")
    shutil.move(tmp_path / "bottle/train/good", tmp_path / "bottle/good")
    shutil.rmtree(tmp_path / "bottle/train")
    assert "not used: 7 training images without a mask, good/{name}.png" in guess(tmp_path / "bottle")[1]


@pytest.mark.parametrize("change", ["faulty without masks", "other masks", "training shows something"])
def test_other_layouts_stay_as_they_are(change: str, tmp_path: Path) -> None:
    folder = tmp_path / "bottle"
    mvtec(folder)
    if change == "faulty without masks":
        shutil.rmtree(folder / "ground_truth/contamination")
    elif change == "other masks":
        for path in sorted((folder / "ground_truth").rglob("*.png")):
            path.rename(path.with_name(f"9{path.name}"))
    else:
        (folder / "train/good").rename(folder / "train/parts")
    contract, text = guess(folder)
    assert contract.images.train.startswith("train/") and "no masks were found" in text
