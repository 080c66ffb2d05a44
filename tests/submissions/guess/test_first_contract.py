from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from drawn_hosts import SHAPE, draw_image, draw_mask, write_rle_host
from drawn_layouts import LAYOUTS, slow_runs
from PIL import Image

from pipeline.__main__ import main
from pipeline.experiment import load_experiment
from submissions.answers import check_answer
from submissions.guess.first_contract import draft_contract, write_first_contract
from submissions.guess.layout.files import group_files
from submissions.guess.layout.pairing import Finder
from submissions.host.competition import Competition, load_competition
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader

GUESSED = [
    "airbus-ships-2018", "hubmap-kidney-2021", "hubmap-organs-2022", "sennet-hoa-2024", "severstal-2019",
    "siim-pneumothorax-2019", "ultrasound-nerve-2016", "uw-madison-gi-2022", "cub-birds",
]  # fmt: skip
LISTED_ONLY = {"carvana-2017", "cassava-2021", "dstl-satellite-2017", "sennet-hoa-2024"}


def guess(folder: Path, out: Path) -> Competition:
    return load_competition(write_first_contract(folder, out=out))


def test_the_drawn_host_is_guessed_whole(tmp_path: Path) -> None:
    expected = write_rle_host(tmp_path / "host")
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.name == "host"
    assert contract.images.train == expected.images.train and contract.images.test == expected.images.test
    assert contract.masks.column == "rle" and contract.masks.dialect == expected.masks.dialect
    assert (contract.group, contract.submission) == ("patient", expected.submission)
    text = (tmp_path / "first.yaml").read_text()
    assert "# guess: 8 training images, 3 test images" in text
    assert "# guess: empty: 1 of 8 cells are ''" in text
    for split in ("train", "test"):
        assert list_images(contract, tmp_path / "host", split)[1] == []  # type: ignore[arg-type]
    truth = MaskReader(contract, tmp_path / "host").read(
        {"image_id": "train00", "path": "train/train00.png", "page": -1}, (1, *SHAPE)
    )
    np.testing.assert_array_equal(truth.planes[0, 0], draw_mask(0))


@pytest.mark.parametrize(
    "name",
    [
        "SampleSubmission.csv", "sample_sub.CSV", "stage1_sample_submission.csv.gz", "submission_format.csv",
        "tables/sample_submission.parquet", "sample.tsv",
    ],
)  # fmt: skip
def test_a_sample_submission_is_found_under_its_usual_names(name: str, tmp_path: Path) -> None:
    write_rle_host(tmp_path / "host")
    (tmp_path / "host/train.csv").rename(tmp_path / "host/train_samples.csv")  # of training images: it is no sample
    frame = pd.read_csv(tmp_path / "host/sample_submission.csv", dtype=str, keep_default_na=False)
    (tmp_path / "host/sample_submission.csv").unlink()
    path = tmp_path / "host" / name
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".parquet":
        pytest.importorskip("fastparquet")
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.submission is not None and contract.submission.sample == name
    assert check_answer(contract, tmp_path / "host") == []


@pytest.mark.parametrize(
    ("text", "encoding", "words"),
    [
        ("", "utf-8", "the file is empty"),
        ("id;rle\ntest00;\ntest01;\ntest02;\n", "utf-8", "separated by ';'"),
        ("id,rle\ntest00,\ntest01,\ntest02,\n", "utf-16", "encoded as UTF-16"),
        ("id,rle\ntest00,\ntest00,\ntest01,\ntest02,\n", "utf-8", "in more than one row: test00"),
        ("id,rle\ntest00,\ntest01,\ntest02,\n77,\n", "utf-8", "without a test image: 77"),
        ("id,rle\na,\nb,\nc,\n", "utf-8", "without a test image: a, b, c"),
    ],
)
def test_a_faulty_sample_is_named_by_the_contract_and_by_stage_01(
    text: str, encoding: str, words: str, tmp_path: Path
) -> None:
    write_rle_host(tmp_path / "host")
    (tmp_path / "host/sample_submission.csv").write_text(text, encoding=encoding)
    (tmp_path / "host/sample_old.csv").write_text("")
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.submission is not None and contract.submission.sample == "sample_submission.csv"
    assert words in " ".join(map(str, check_answer(contract, tmp_path / "host")))
    assert "# guess: not used: sample_old.csv (" in (tmp_path / "first.yaml").read_text()


def test_the_command_says_what_it_found_and_writes_nothing_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rle_host(tmp_path / "host")
    arguments = ["new-competition", str(tmp_path / "host"), "--name", "mine", "--out", str(tmp_path / "mine.yaml")]
    main(arguments)
    said = capsys.readouterr().out
    assert "train: 8 images, 0 problem(s)" in said and "test: 3 images, 0 problem(s)" in said
    heads = {"mine": "competition", "mine-baseline": "experiment"}
    for name, document in heads.items():
        first = (tmp_path / f"{name}.yaml").read_text().splitlines()[0]
        shown = Path(first.removeprefix("# yaml-language-server: $schema="))
        assert shown.is_file() and shown.name == f"{document}.schema.json"
    assert load_experiment(tmp_path / "mine-baseline.yaml").competition == str(tmp_path / "mine.yaml")
    before = (tmp_path / "mine.yaml").read_bytes()
    with pytest.raises(SystemExit):
        main(arguments)
    assert "exists and is not overwritten" in capsys.readouterr().err
    assert (tmp_path / "mine.yaml").read_bytes() == before


def test_a_folder_without_images_is_no_competition(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_first_contract(tmp_path / "none", out=tmp_path / "a.yaml")
    (tmp_path / "text.txt").touch()
    (tmp_path / "images.pkl").touch()
    with pytest.raises(
        ValueError, match=r"no image file in the folder or below it; there are files \.pkl \(1\), which"
    ):
        write_first_contract(tmp_path, out=tmp_path / "a.yaml")
    for number in range(2):  # EchoNet's
        (tmp_path / f"0X1A{number}.avi").touch()
    with pytest.raises(ValueError, match=r"there are files \.avi \(2; save their frames as PNG\), \.pkl \(1\), which"):
        write_first_contract(tmp_path, out=tmp_path / "a.yaml")


@pytest.mark.parametrize("name", LAYOUTS)
def test_of_every_known_layout_a_contract_is_written_that_loads(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    layout = LAYOUTS[name](folder)
    contract = guess(folder, tmp_path / "first.yaml")
    if name not in GUESSED and name not in LISTED_ONLY:
        return
    listing, problems = list_images(contract, folder, "train")
    assert (sorted(listing["image_id"]), problems) == (sorted(layout.truth), [])
    listing_of_test, problems = list_images(contract, folder, "test")
    expected = layout.test or layout.truth  # without test images the training images stand for them
    assert (sorted(listing_of_test.get("image_id", [])), problems) == (sorted(expected), [])
    if name in LISTED_ONLY:
        return
    reader = MaskReader(contract, folder)
    for row in listing.to_dict("records"):
        drawn = layout.truth[row["image_id"]].any(axis=0)
        np.testing.assert_array_equal(reader.read(row, (1, *drawn.shape)).planes.any(axis=0)[0], drawn)


def test_mask_images_and_their_values(tmp_path: Path) -> None:
    label = np.zeros(SHAPE, np.uint8)
    label[3:9, 5:20], label[20:30, 30:50], label[0] = 1, 4, 255
    for index in range(3):
        for part, pixels in (("images", draw_image(label == 1, index)), ("labels", label)):
            (tmp_path / part).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / part / f"{index}.png"), pixels)
    masks = draft_contract(tmp_path, "a").sections
    assert masks["masks"]["values"] == {0: "background", 1: "class_1", 4: "class_4", 255: "void"}
    assert masks["classes"] == ["background", "class_1", "class_4"] and masks["exclusive"]
    cv2.imwrite(str(tmp_path / "labels/0.png"), np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE))
    many = draft_contract(tmp_path, "a")
    assert "values" not in many.sections["masks"]
    assert (
        "2240 values, up to 2240 in one mask and different ones in each mask: every value is taken for an object"
        in many.text()
    )
    cv2.imwrite(str(tmp_path / "labels/0.png"), draw_image(label == 1, 0) // np.array([1, 2, 3], np.uint8))
    assert "masks cannot be read" in draft_contract(tmp_path, "a").text()


def test_an_image_without_a_row_means_that_empty_masks_are_missing(tmp_path: Path) -> None:
    write_rle_host(tmp_path)
    table = pd.read_csv(tmp_path / "train.csv").dropna(subset=["rle"])
    table.to_csv(tmp_path / "train.csv", index=False)
    assert draft_contract(tmp_path, "a").sections["masks"]["dialect"]["empty"] == "missing"


def test_the_order_of_rows_is_found_where_images_are_not_square(tmp_path: Path) -> None:
    write_rle_host(tmp_path, train=20, empty=0)
    rows = [{"id": f"train{i:02d}", "rle": slow_runs(draw_mask(i), "row")} for i in range(20)]
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    draft = draft_contract(tmp_path, "a")
    assert draft.sections["masks"]["dialect"]["order"] == "row"
    assert "images have no row" not in draft.text() and "an empty cell is the usual way" in draft.text()


def test_tables_that_cannot_be_read_and_documents_that_are_no_polygons_are_passed_over(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), draw_image(draw_mask(0), 0))
    (tmp_path / "broken.csv").write_bytes(b"\xff\xfe\x00a,b\n\x81")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "notes.json").write_text('{"comment": "nothing"}')
    (tmp_path / "a.pkl").touch()
    draft = draft_contract(tmp_path, "a")
    assert "files of other kinds are not read: .pkl (1)" in draft.text()
    sections = draft.sections
    assert "tables" not in sections
    assert sections["masks"] == {"kind": "images", "path": "masks/{id}.png"}
    document = {
        "images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 2, "name": "x"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "segmentation": [[0, 0, 9, 0, 9, 9]]}],
    }  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(document))
    assert draft_contract(tmp_path, "a").sections["masks"] == {"kind": "polygons", "file": "coco.json"}


def test_groups_of_files(tmp_path: Path) -> None:
    for path in (
        "train/case1/case1_day2/scans/s_01.png", "train/case1/case1_day2/scans/s_02.png",
        "train/case22/case22_day0/scans/s_01.png", "test/case3/case3_day1/scans/s_01.png",
        "train_masks/a_mask.png", ".hidden/x.png", "train/.x.png", "readme.txt",
    ):  # fmt: skip
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    groups = group_files(tmp_path)
    layout = Finder(tmp_path, groups).layout()
    train, test = layout.train, layout.test
    assert train.pattern == "train/{folder1}/{folder2}/scans/{name}.png"
    assert train.id_template == "{folder1}_{folder2}_{name}"
    assert train.ids(train.id_template)[0] == "case1_case1_day2_s_01"
    assert test is not None and test.pattern == "test/{folder1}/{folder2}/scans/{name}.png"
    assert [group.pattern for group in groups if group.looks_like_masks] == ["train_masks/{name}_mask.png"]
    assert layout.masks is None


@pytest.mark.parametrize("name", ["tgs-salt", "dsb2018", "monuseg", "camvid", "isbi2012", "hippocampus"])
def test_real_files(name: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / name
    contract = guess(folder, tmp_path / f"{name}.yaml")
    known = load_competition(name)
    for split in ("train", "test"):
        listing, problems = list_images(contract, folder, split)  # type: ignore[arg-type]
        assert problems == []
        if split == "train" or known.images.test:  # without test images the training images stand for them
            assert len(listing) == len(list_images(known, folder, split)[0])  # type: ignore[arg-type]
    assert (contract.masks.kind, contract.masks.dialect) == (known.masks.kind, known.masks.dialect)
    assert contract.exclusive == known.exclusive


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (["volume-{}.nii", "segmentation-{}.nii"], ["segmentation-{name}.nii", "volume-{name}.nii"]),
        (["train_{}.bmp", "testA_{}.bmp"], ["testA_{name}.bmp", "train_{name}.bmp"]),
        (["case_0{}/imaging.nii.gz", "case_0{}/seg.nii.gz"], ["{name}/imaging.nii.gz", "{name}/seg.nii.gz"]),
        (
            ["B_Training_0{0}/B_Training_0{0}_t1.nii", "B_Training_0{0}/B_Training_0{0}_seg.nii"],
            ["{folder1}/{name}_seg.nii", "{folder1}/{name}_t1.nii"],
        ),
        (["cat_{}.jpg", "dog_{}.jpg"], ["{name}.jpg"]),  # no words of a layout
        (["{}/1.png", "{}/2.png"], ["{folder1}/{name}.png"]),  # slices
        ([f"{{0}}/p{{0}}_z{z:02d}.png" for z in range(9)], ["{folder1}/{name}.png"]),  # slices too
        (["train_1/x{}.png", "train_2/x{}.png"], ["{folder1}/{name}.png"]),
        (
            ["us/benign/b ({}).png", "us/benign/b ({})_mask.png", "us/normal/n ({}).png", "us/normal/n ({})_mask.png"],
            ["us/{folder1}/{name}.png", "us/{folder1}/{name}_mask.png"],
        ),
        (["plain/a{}.png", "other/a{}.png"], ["other/{name}.png", "plain/{name}.png"]),
        (["train/x{}.png", "test/a/p{}.png", "test/b/q{}.png"], ["test/{folder1}/{name}.png", "train/{name}.png"]),
        (["test/rgb/p{}.png", "test/depth/p{}.png"], ["test/depth/{name}.png", "test/rgb/{name}.png"]),  # of one image
    ],
)
def test_files_belong_together_by_what_their_names_begin_with_or_are(
    names: list[str], patterns: list[str], tmp_path: Path
) -> None:
    for name in names:
        for number in range(3):
            path = tmp_path / name.format(number)
            path.parent.mkdir(exist_ok=True, parents=True)
            path.touch()
    assert sorted(group.pattern for group in group_files(tmp_path)) == patterns


def test_masks_saved_as_jpeg_are_thresholded(tmp_path: Path) -> None:
    for k in range(6):
        for folder, pixels in (("images", draw_image(draw_mask(k), k)), ("masks", draw_mask(k).astype(np.uint8) * 255)):
            (tmp_path / "host" / folder).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / f"host/{folder}/{k}.jpg"), pixels)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert (contract.masks.threshold, contract.classes) == (128, ["thing"])
    assert "in a lossy format: thresholded in the middle" in (tmp_path / "first.yaml").read_text()
    truth = MaskReader(contract, tmp_path / "host").read(
        {"image_id": "2", "id": "2", "path": "images/2.jpg", "page": -1}, (1, *SHAPE)
    )
    assert (truth.planes[0, 0] ^ draw_mask(2)).sum() <= 2


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("{}/_annotations.coco.json", "{}/"), ("annotations/instances_{}2017.json", "{}/"),
        ("cells_coco_{}.json", "images/"),
    ],
)  # fmt: skip
def test_a_coco_document_a_split(file: str, place: str, tmp_path: Path) -> None:
    number = 0
    for split, count in (("train", 5), ("valid", 2)):
        images, objects = [], []
        for _ in range(count):
            number += 1
            path = tmp_path / f"host/{place.format(split)}{number:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), draw_image(draw_mask(number), number))
            images.append({"id": number, "file_name": path.name, "height": SHAPE[0], "width": SHAPE[1]})
            ring = [2, 3, 2 + number, 3, 2 + number, 9, 2, 9]
            objects.append({"id": number, "image_id": number, "category_id": 1, "segmentation": [ring], "iscrowd": 0})
        name = "cell" if split == "train" else "cell and more"
        document = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": name}]}
        path = tmp_path / "host" / file.format(split)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.masks.file == file.format(
        "{subset}" if "{" in place else "{part:train|valid}"
    ) and contract.classes == ["cell", "cell and more"]
    listing, problems = list_images(contract, tmp_path / "host", "train")
    assert (len(listing), problems) == (7, [])
    reader = MaskReader(contract, tmp_path / "host")
    areas = [reader.read(row, (1, *SHAPE)).planes.sum(axis=(1, 2, 3)).tolist() for row in listing.to_dict("records")]
    assert [sum(area) for area in areas] == [6 * k for k in range(1, 8)]
    assert [area[1] > 0 for area in areas] == [False] * 5 + [True] * 2


def write_pairs(root: Path, image: Callable[[Path, int], None], mask: Callable[[int], np.ndarray]) -> None:
    """Five images by `image` and their masks."""
    for k in range(5):
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        image(root / "images" / str(k), k)
        assert cv2.imwrite(str(root / f"masks/{k}.png"), mask(k).astype(np.uint8) * 255)


def test_masks_of_half_the_size_are_brought_to_their_images_and_one_alone_is_not(tmp_path: Path) -> None:
    def image(path: Path, k: int) -> None:
        assert cv2.imwrite(f"{path}.png", draw_image(draw_mask(k), k))

    write_pairs(tmp_path / "all", image, lambda k: draw_mask(k)[::2, ::2])
    assert guess(tmp_path / "all", tmp_path / "all.yaml").masks.size == "any"
    write_pairs(tmp_path / "one", image, lambda k: draw_mask(k)[::2, ::2] if k == 1 else draw_mask(k))
    assert guess(tmp_path / "one", tmp_path / "one.yaml").masks.size == "image"


def test_a_page_an_object_is_guessed(tmp_path: Path) -> None:
    for k in range(4):
        for folder in ("images", "masks"):
            (tmp_path / "host" / folder).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / f"host/images/{k}.png"), draw_image(draw_mask(k), k))
        pages = [np.roll(draw_mask(k), 9 * page, axis=1) for page in range(1 + k % 3)]
        np.save(tmp_path / f"host/masks/{k}.npy", np.stack(pages).astype(np.uint8))
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.masks.instances and contract.masks.path == "masks/{id}.npy"


def test_photos_are_turned_where_their_masks_are_upright(tmp_path: Path) -> None:
    def image(path: Path, k: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6 if k else 1
        upright = Image.fromarray(draw_image(draw_mask(k), k)[..., ::-1])
        (upright.rotate(90, expand=True) if k else upright).save(f"{path}.jpg", exif=exif)

    write_pairs(tmp_path / "host", image, draw_mask)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert (contract.images.exif, contract.masks.size) == ("turned", "image")
    write_pairs(tmp_path / "stored", image, lambda k: np.rot90(draw_mask(k)) if k else draw_mask(k))
    contract = guess(tmp_path / "stored", tmp_path / "stored.yaml")
    assert (contract.images.exif, contract.masks.size) == ("stored", "image")


def test_pixels_that_are_no_numbers_are_given_one(tmp_path: Path) -> None:
    def image(path: Path, k: int) -> None:
        pixels = draw_image(draw_mask(k), k)[..., 0].astype(np.float32)
        pixels[:2] = np.nan
        tifffile.imwrite(f"{path}.tif", pixels)

    write_pairs(tmp_path / "host", image, draw_mask)
    assert guess(tmp_path / "host", tmp_path / "first.yaml").images.nan == 0


def test_of_files_of_several_pages_with_a_mask_of_one_the_first_is_read(tmp_path: Path) -> None:
    def image(path: Path, k: int) -> None:
        pages = np.stack([draw_image(draw_mask(k), k + page)[..., 0] for page in range(4)])
        tifffile.imwrite(f"{path}.tif", pages, photometric="minisblack")

    write_pairs(tmp_path / "host", image, draw_mask)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert (contract.images.kind, contract.images.frame) == ("files", 0)
    listing, problems = list_images(contract, tmp_path / "host", "train")
    assert (listing["image_id"].tolist(), problems) == (list("01234"), [])


def test_masks_of_test_images_are_no_test_images(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    for part, count in (("train", 6), ("testA", 3)):
        for k in range(1, count + 1):
            assert cv2.imwrite(str(tmp_path / f"host/{part}_{k}.bmp"), draw_image(draw_mask(k), k))
            assert cv2.imwrite(str(tmp_path / f"host/{part}_{k}_anno.bmp"), draw_mask(k).astype(np.uint8))
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert (contract.images.train, contract.images.test) == ("train_{id}.bmp", "testA_{id:d}.bmp")
    assert contract.masks.path == "train_{id}_anno.bmp"
    assert [len(list_images(contract, tmp_path / "host", split)[0]) for split in ("train", "test")] == [6, 3]  # type: ignore[arg-type]


def test_files_that_are_no_images_but_fit_their_pattern_are_left_out(tmp_path: Path) -> None:
    for k in range(8):
        pixels = draw_mask(k).astype(np.uint8) * 255
        for name, array in (("", draw_image(draw_mask(k), k)), ("_mask", pixels)):
            (tmp_path / "host/scans").mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / f"host/scans/s ({'abcdefgh'[k]}{name}.png"), array)
    assert cv2.imwrite(str(tmp_path / "host/scans/s (d_label.png"), draw_mask(9).astype(np.uint8) * 255)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert (
        contract.masks.missing == "skip" and "1 other files fit images.train" in (tmp_path / "first.yaml").read_text()
    )
    listing, problems = list_images(contract, tmp_path / "host", "train")
    assert (len(listing), problems) == (8, [])


def test_a_column_that_numbers_rows_is_no_class_and_is_filled_by_numbers(tmp_path: Path) -> None:
    rows = []
    for k in range(4):
        path = tmp_path / f"host/{'train' if k < 3 else 'test'}/{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), draw_image(draw_mask(k), k))
        rows += [f'{k},{number},"POLYGON ((5 5,15 5,15 15,5 15,5 5))"' for number in range(k + 1)] if k < 3 else []
    (tmp_path / "host/houses.csv").write_text("\n".join(["id,nr,wkt", *rows]) + "\n")
    (tmp_path / "host/sample_submission.csv").write_text("id,nr,wkt,sure\n3,0,POLYGON EMPTY,1\n")
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.masks.instances and contract.masks.dialect.kind == "wkt" and contract.masks.class_column is None
    assert contract.submission is not None and contract.submission.extra == {"nr": "{number}", "sure": "1"}


def test_a_document_of_images_whose_folders_repeat_their_numbers_is_found(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    LAYOUTS["trash-segmentation"](tmp_path / "host")
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.masks.file == "train_all.json" and contract.classes == ["Glass", "Metal"]


def test_documents_in_a_folder_beside_others_belong_to_their_images_by_name(tmp_path: Path) -> None:
    for k in range(4):
        for folder in ("01_images", "01_outlines_cells", "01_outlines_tissue"):
            (tmp_path / f"host/{folder}").mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(tmp_path / f"host/01_images/roi_{k}.png"), draw_image(draw_mask(k), k))
        for word in ("cells", "tissue"):
            ring = [[2, 2], [9 + k, 2], [9 + k, 9], [2, 2]]
            feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
            feature["properties"] = {"classification": {"name": word}}
            document = json.dumps({"type": "FeatureCollection", "features": [feature]})
            (tmp_path / f"host/01_outlines_{word}/roi_{k}_{word}.geojson").write_text(document)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.masks.file == "01_outlines_cells/{id}_cells.geojson"
    (tmp_path / "alone").mkdir()
    (tmp_path / "host/01_images").rename(tmp_path / "alone/images")
    (tmp_path / "host/01_outlines_cells/roi_0_cells.geojson").rename(tmp_path / "alone/all.geojson")
    draft = draft_contract(tmp_path / "alone", "a")  # the document names none of four images
    assert draft.sections["masks"]["kind"] == "images"
    assert any("of no kind that is read: all.geojson (1 in all)" in note for note in draft.notes["masks"])


def test_masks_of_classes_in_a_folder_below_the_image_of_a_case(tmp_path: Path) -> None:
    for case in ("s01", "s02", "s03"):
        path = tmp_path / f"host/{case}/scan.png"
        (path.parent / "segmentations").mkdir(parents=True)
        mask = draw_mask(int(case[1:]))
        assert cv2.imwrite(str(path), draw_image(mask, 1))
        for shift, word in ((0, "liver"), (30, "spleen")):
            moved = np.roll(mask, shift, axis=1).astype(np.uint8) * 255
            assert cv2.imwrite(str(path.parent / f"segmentations/{word}.png"), moved)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert (contract.images.train, contract.masks.path) == ("{id}/scan.png", "{id}/segmentations/{class}.png")
    assert contract.classes == ["liver", "spleen"] and "not used" not in (tmp_path / "first.yaml").read_text()


@pytest.mark.parametrize(
    ("image", "mask", "cells", "path"),
    [
        ("photo/{}.png", "gt/m{}_x.png", ("photo/{}.png", "gt/m{}_x.png"), "gt/{gt_stem}.png"),
        ("train/{}.png", "train/m{}.png", ("{}.png", "m{}.png"), "train/{gt}"),
        ("photo/{}.png", "gt/m{}_x.png", ("{}", "m{}_x.png"), "gt/{gt}"),
    ],
)  # fmt: skip
def test_masks_that_a_table_names_are_found(
    image: str, mask: str, cells: tuple[str, str], path: str, tmp_path: Path
) -> None:
    rows = []
    for k in range(6):
        for file, pixels in ((image.format(k), draw_image(draw_mask(k), k)), (mask.format(9 - k), draw_mask(k) * 255)):
            (tmp_path / "host" / file).parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / "host" / file), pixels.astype(np.uint8))
        rows.append(f"{cells[0].format(k)},{cells[1].format(9 - k)}")
    (tmp_path / f"host/{image.partition('/')[0]}/metadata.csv").write_text("\n".join(["file_name,gt", *rows]) + "\n")
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.masks.path == path
    reader = MaskReader(contract, tmp_path / "host")
    for split in ("train", "test"):
        listing, problems = list_images(contract, tmp_path / "host", split)  # type: ignore[arg-type]
        assert (listing["image_id"].tolist(), problems) == (list("012345"), [])
    listing, _ = list_images(contract, tmp_path / "host", "train")
    for k, row in enumerate(listing.to_dict("records")):
        np.testing.assert_array_equal(reader.read(row, (1, *SHAPE)).planes[0, 0], draw_mask(k))


def test_places_that_hold_the_same_folders_are_a_field(tmp_path: Path) -> None:
    for place in ("aachen", "bogota", "coxs bazar"):
        for k in range(3):
            for folder, pixels in (("pictures", draw_image(draw_mask(k), k)), ("labels", draw_mask(k) * 255)):
                path = tmp_path / f"host/{place}/{folder}/{place}_{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), pixels.astype(np.uint8))
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.masks.path == "{folder1}/labels/{id}.png"
    assert len(list_images(contract, tmp_path / "host", "train")[0]) == 9


def test_numbers_of_few_objects_are_no_classes_and_negative_ones_are_void(tmp_path: Path) -> None:
    def image(path: Path, k: int) -> None:
        assert cv2.imwrite(f"{path}.png", draw_image(draw_mask(k), k))

    write_pairs(tmp_path / "host", image, draw_mask)
    for k in range(5):
        label = np.zeros(SHAPE, np.int16)
        for number in range(2 + k):
            label[2 + 6 * number : 6 + 6 * number, 3:20] = number + 1
        (tmp_path / f"host/masks/{k}.png").unlink()
        tifffile.imwrite(tmp_path / f"host/masks/{k}.tif", label)
    assert guess(tmp_path / "host", tmp_path / "first.yaml").masks.instances
    for k in range(5):
        tifffile.imwrite(tmp_path / f"host/masks/{k}.tif", draw_mask(k).astype(np.int16) - (np.arange(56) < 3))
    contract = guess(tmp_path / "host", tmp_path / "second.yaml")
    assert contract.masks.values == {-1: "void", 0: "background", 1: "class_1"}
    assert contract.classes == ["background", "class_1"]


def test_masks_of_several_endings_are_found_whichever_their_images_have(tmp_path: Path) -> None:
    def image(path: Path, k: int) -> None:
        assert cv2.imwrite(f"{path}.png", draw_image(draw_mask(k), k))

    write_pairs(tmp_path / "host", image, draw_mask)
    for k in (1, 3):
        (tmp_path / f"host/masks/{k}.png").unlink()
        assert cv2.imwrite(str(tmp_path / f"host/masks/{k}.tif"), draw_mask(k).astype(np.uint8) * 255)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    listing, problems = list_images(contract, tmp_path / "host", "train")
    assert problems == [] and "not used" not in (tmp_path / "first.yaml").read_text()
    reader = MaskReader(contract, tmp_path / "host")
    for k, row in enumerate(listing.to_dict("records")):
        np.testing.assert_array_equal(reader.read(row, (1, *SHAPE)).planes[0, 0], draw_mask(k))


def test_tables_and_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    host, _ = tmp_path / "host", write_rle_host(tmp_path / "host")
    table = pd.read_csv(host / "train.csv", dtype=str, keep_default_na=False)
    table.assign(other=table["rle"]).to_csv(host / "train.csv", index=False)
    assert any("['other'] hold runs too" in note for note in draft_contract(host, "a").notes["masks"])
    (host / "train.csv").write_bytes("id,rle,place\ntrain00,1 2,Köln\n".encode("latin-1"))
    assert any("is not UTF-8" in note for note in draft_contract(host, "a").notes["masks"])
    (host / "train.csv").write_text("id,rle\n0,1 2\n1,3 4\n")  # train00, train01
    said = "not used: train.csv names none of these images; its first row begins with '0', '1 2'"
    assert f"guess: {said}" in draft_contract(host, "a").notes["masks"]


def test_what_systems_leave_and_a_table_an_image_do_not_hide_the_hosts_tables(tmp_path: Path) -> None:
    expected = write_rle_host(tmp_path / "host")
    copies, boxes = tmp_path / "host/.ipynb_checkpoints", tmp_path / "host/boxes"
    copies.mkdir()
    boxes.mkdir()
    for name in ("train", "sample_submission"):
        (copies / f"{name}-checkpoint.csv").write_bytes((tmp_path / f"host/{name}.csv").read_bytes())
    for k in range(31):
        (boxes / f"{k}.csv").write_text("x,y\n1,2\n")
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert [table.file for table in contract.tables] == ["train.csv"]
    assert contract.masks.table is not None and contract.masks.table.file == "train.csv"
    assert contract.submission == expected.submission


def test_a_damaged_image_does_not_keep_the_others_from_telling_the_dialect(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "host", train=20, empty=0)
    (tmp_path / "host/train/train03.png").write_bytes(b"")
    dialect = draft_contract(tmp_path / "host", "a").sections["masks"]["dialect"]
    assert (dialect["kind"], dialect["order"]) == ("absolute", "column")


def test_a_row_without_class_and_runs_is_of_an_image_without_objects(tmp_path: Path) -> None:
    write_rle_host(tmp_path / "host", train=4, empty=0)
    rows = [{"id": f"train0{k}", "kind": kind, "rle": slow_runs(draw_mask(k), "column")}
            for k in range(3) for kind in ("cat", "dog")]  # fmt: skip
    pd.DataFrame([*rows, {"id": "train03", "kind": "", "rle": ""}]).to_csv(tmp_path / "host/train.csv", index=False)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.classes == ["cat", "dog"] and contract.masks.class_column == "kind"
    listing, _ = list_images(contract, tmp_path / "host", "train")
    reader = MaskReader(contract, tmp_path / "host")
    shown = [reader.read(row, (1, *SHAPE)).planes.any(axis=(1, 2, 3)) for row in listing.to_dict("records")]
    np.testing.assert_array_equal(shown, [[True, True]] * 3 + [[False, False]])


def test_a_folder_without_latin_letters_gives_a_name(tmp_path: Path) -> None:
    for folder, name in (("データ_1", "データ-1"), ("___", "competition")):
        write_rle_host(tmp_path / folder)
        assert guess(tmp_path / folder, tmp_path / f"{name}.yaml").name == name


@pytest.mark.parametrize("background", [255, 0])
def test_shades_of_grey_are_classes_and_the_common_one_is_the_background(tmp_path: Path, background: int) -> None:
    for k in range(4):
        label = np.full(SHAPE, background, np.uint8)
        label[8:20, 8 + k : 24] = 128
        label[10:14, 10 + k : 18] = 255 - background
        for folder, pixels in (("images", draw_image(label == 128, k)), ("masks", label)):
            (tmp_path / "host" / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / f"host/{folder}/{k}.png"), pixels)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    other = f"class_{255 - background}"
    assert contract.masks.values == {background: "background", 128: "class_128", 255 - background: other}
    assert contract.classes[0] == "background" and set(contract.classes[1:]) == {"class_128", other}


def test_a_tiff_in_colour_is_no_mask_of_three_channels(tmp_path: Path) -> None:
    """PANDA writes its classes into the first channel."""
    for k in range(4):
        label = draw_mask(k).astype(np.uint8) * (1 + k % 2)
        colours = np.stack([label, label * 0, label * 0], axis=-1)
        for folder, pixels in (("images", draw_image(label > 0, k)), ("masks", colours)):
            (tmp_path / "host" / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / f"host/{folder}/{k}.tif", pixels)
    masks = guess(tmp_path / "host", tmp_path / "first.yaml").masks
    assert masks.channels == [] and set(masks.values or {}) == {"0,0,0", "1,0,0", "2,0,0"}


def test_one_value_between_black_and_white_is_a_class(tmp_path: Path) -> None:
    """REFUGE's cup in its disc: a thin ring of 128 around black, on white."""
    for k in range(6):
        disc = draw_mask(k).astype(np.uint8)
        label = np.where(cv2.erode(disc, np.ones((3, 3))) > 0, 0, np.where(disc > 0, 128, 255)).astype(np.uint8)
        for folder, pixels in (("images", draw_image(disc > 0, k)), ("masks", label)):
            (tmp_path / "host" / folder).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(tmp_path / f"host/{folder}/{k}.bmp"), pixels)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    assert contract.masks.values == {0: "class_0", 128: "class_128", 255: "background"}


def test_names_of_several_numbers_of_words_are_grouped_by_what_stands_before_the_last(tmp_path: Path) -> None:
    """xBD: a picture before and one after a disaster, whose name has one word or two, stay in one fold."""
    for k in range(8):
        for when in ("pre", "post"):
            name = f"{('socal-fire', 'santa-rosa-wildfire', 'nepal')[k % 3]}_{k:08d}_{when}_disaster"
            for part in ("images", "targets"):
                path = tmp_path / f"host/train/{part}/{name}{'_target' * (part == 'targets')}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = draw_image(draw_mask(k), k) if part == "images" else draw_mask(k).astype(np.uint8)
                assert cv2.imwrite(str(path), pixels)
    contract = guess(tmp_path / "host", tmp_path / "first.yaml")
    listing, problems = list_images(contract, tmp_path / "host", "train")
    assert contract.group is not None and problems == [] and set(Counter(listing[contract.group]).values()) == {2}
    assert listing[contract.group].nunique() == 8
    reader = MaskReader(contract, tmp_path / "host")
    assert all(reader.read(row, (1, *SHAPE)).planes.any() for row in listing.to_dict("records"))


def test_packed_files_are_to_be_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "host"
    folder.mkdir()
    for name in ("train.zip", "masks.tar.gz", "test.z01", "test.zip", "more.7z"):
        (folder / name).touch()
    said = r"packed files are not looked into: masks\.tar\.gz, more\.7z, test\.z01 and 2 more; unpack those"
    with pytest.raises(ValueError, match=rf"no image file in the folder or below it; {said}"):
        write_first_contract(folder, out=tmp_path / "a.yaml")
    for k in range(4):
        (folder / "train").mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / f"train/{k}.png"), draw_image(draw_mask(k), k))
    guess(folder, tmp_path / "a.yaml")
    text = (tmp_path / "a.yaml").read_text(encoding="utf-8")
    assert "masks.tar.gz, more.7z, test.z01 and 1 more" in text  # train.zip is unpacked already
    assert "files of other kinds" not in text


def test_what_does_not_fit_into_the_notes_is_counted_and_a_scored_zero_is_asked_for(tmp_path: Path) -> None:
    for k in range(4):
        label = np.where(draw_mask(k), k % 3, 3).astype(np.uint8)
        label[:2] = 255
        for kind in ("images", "labels", *(f"view{chr(97 + n)}" for n in range(14))):
            path = tmp_path / f"host/{kind}/x{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = label if kind == "labels" else draw_image(draw_mask(k), k + len(kind))
            assert cv2.imwrite(str(path), pixels if kind in ("images", "labels") else pixels[:20])
    guess(tmp_path / "host", tmp_path / "a.yaml")
    text = (tmp_path / "a.yaml").read_text(encoding="utf-8")
    assert "# guess: and 5 more\n" in text
    assert "0 is taken for the background, which is not scored: name it where it is a class too" in text
