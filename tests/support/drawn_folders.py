"""Folders as hosts and collections hand them over, drawn: each function writes the files of one below a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from drawn_hosts import draw_image, draw_mask, white, write


def subset_in_two_folders(root: Path) -> None:
    """FloodNet: the word for training or validation stands in the folder and in the folder below it."""
    for k in range(12):
        part = ("train", "train", "val", "test")[k % 4]
        label = draw_mask(k).astype(np.uint8) + 2 * (draw_mask(k + 20) & ~draw_mask(k))
        write(root / f"{part}/{part}-org-img/{6280 + k}.jpg", draw_image(label > 0, k))
        write(root / f"{part}/{part}-label-img/{6280 + k}_lab.png", label.astype(np.uint8))


def class_folders(root: Path) -> None:
    """A folder a class, which has files of the images that show it alone."""
    for k in range(9):
        write(root / f"images/img_{k:03d}.jpg", draw_image(draw_mask(k), k))
        for number, name in enumerate(("road", "water")):
            if k % 3 != number:
                half = draw_mask(k)
                half[:, 28:] &= number == 1
                half[:, :28] &= number == 0
                write(root / f"masks/{name}/img_{k:03d}.png", white(half))


def outlines_named_in_part(root: Path) -> None:
    """Documents that leave out what all images' names begin with; test images begin so too."""
    for k in range(9):
        name = f"AOI_2_img{k}"
        write(root / f"{'train' if k < 7 else 'test'}/RGB/RGB-PanSharpen_{name}.png", draw_image(draw_mask(k), k))
        ring = [[4, 3], [20, 3], [20, 6 + k], [4, 6 + k], [4, 3]]
        feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        place = root / f"train/geojson/buildings_{name}.geojson"
        place.parent.mkdir(parents=True, exist_ok=True)
        if k < 7:
            place.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))


def folders_named_as_their_case(root: Path) -> None:
    """PH2: the folders of a case are named as it is, and so are its files."""
    for k in range(9):
        name = f"IMD{3 * k + 1:03d}"
        write(root / f"images/{name}/{name}_Dermoscopic_Image/{name}.bmp", draw_image(draw_mask(k), k))
        write(root / f"images/{name}/{name}_lesion/{name}_lesion.bmp", white(draw_mask(k)))


def rare_class(root: Path) -> None:
    """A class whose folder has files of few images."""
    for k in range(12):
        write(root / f"images/img_{k:03d}.jpg", draw_image(draw_mask(k), k))
        write(root / f"masks/road/img_{k:03d}.png", white(draw_mask(k)))
        if k % 4 == 3:
            write(root / f"masks/crack/img_{k:03d}.png", white(draw_mask(k + 40) & ~draw_mask(k)))


def few_test_images_beside_training(root: Path) -> None:
    """GlaS: training and two sets of test images in one folder, few in the second."""
    for part, count in (("train", 9), ("testA", 3), ("testB", 2)):
        for k in range(1, count + 1):
            write(root / f"{part}_{k}.bmp", draw_image(draw_mask(k), k))
            write(root / f"{part}_{k}_anno.bmp", draw_mask(k).astype(np.uint8))


def lines_beside_outlines(root: Path) -> None:
    """labelme: outlines of one class, and lines of another, which have no area."""
    for k in range(6):
        write(root / f"{k}.jpg", draw_image(draw_mask(k), k))
        shapes = [{"label": "hole", "shape_type": "polygon", "points": [[4, 3], [20, 3], [20, 9 + k]]}]
        shapes += [{"label": "crack", "shape_type": "linestrip", "points": [[2, 2], [9, 9]]}]
        document = {"shapes": shapes, "imagePath": f"{k}.jpg", "imageHeight": 40, "imageWidth": 56}
        (root / f"{k}.json").write_text(json.dumps(document))


def outlines_two_folders_down(root: Path) -> None:
    """VIA's balloons: a document in the folder of each subset, below that of the download."""
    for part, count in (("train", 6), ("val", 3)):
        found = {}
        for k in range(count):
            name = f"{10 * count + k}.jpg"
            write(root / f"balloon/{part}/{name}", draw_image(draw_mask(k), k))
            shape = {"name": "polygon", "all_points_x": [8, 29, 29, 8], "all_points_y": [5, 5, 19, 19 + k]}
            regions = {"0": {"shape_attributes": shape, "region_attributes": {}}}
            found[f"{name}99"] = {"filename": name, "size": 99, "regions": regions}
        (root / f"balloon/{part}/via_region_data.json").write_text(json.dumps(found))


def word_within(root: Path) -> None:
    """KITTI's roads: um_000001 has the mask um_road_000001, and some have another of lanes."""
    for kind, count in (("um", 4), ("umm", 4), ("uu", 4)):
        for k in range(count):
            write(root / f"training/image_2/{kind}_{k:06d}.png", draw_image(draw_mask(k), k))
            write(root / f"training/gt_image_2/{kind}_road_{k:06d}.png", white(draw_mask(k)))
            if kind == "um":
                write(root / f"training/gt_image_2/{kind}_lane_{k:06d}.png", white(draw_mask(k + 9)))
        write(root / f"testing/image_2/{kind}_{count:06d}.png", draw_image(draw_mask(count), count))


def other_word_within(root: Path) -> None:
    """sub01_img_000 has the mask sub01_mask_000."""
    for k in range(12):
        write(root / f"images/sub{k // 3:02d}_img_{k:03d}.png", draw_image(draw_mask(k), k))
        write(root / f"masks/sub{k // 3:02d}_mask_{k:03d}.png", white(draw_mask(k)))


def bands_beside_class_folders(root: Path) -> None:
    """Agriculture-Vision: RGB and infrared in folders of their own, a folder a class, where pixels count, blanks."""
    for k in range(11):
        part, name = ("train", "train", "val", "test")[k % 4], f"{'ABCDEFGHIJK'[k]}{k % 3}F_{97 * k}-{k}-1536"
        write(root / f"{part}/images/rgb/{name}.jpg", draw_image(draw_mask(k), k))
        write(root / f"{part}/images/nir/{name}.jpg", draw_image(draw_mask(k), k + 9)[..., 0])
        write(root / f"{part}/boundaries/{name}.png", np.full((40, 56), 255, np.uint8))
        inside = np.ones((40, 56), bool)
        inside[:2, :9] = False
        write(root / f"{part}/masks/{name}.png", white(inside))
        for number, kind in enumerate(("cloud_shadow", "double_plant", "water") if part != "test" else ()):
            half = draw_mask(k + 20 * number) & (np.arange(56) // 19 == number)
            write(root / f"{part}/labels/{kind}/{name}.png", white(half & inside))


def classes_of_one_word_and_of_two(root: Path) -> None:
    """Masks lung_left, lung_right and aorta in a folder an image, and a picture of all of them."""
    for k in range(6):
        write(root / f"scans/case{k}/image.png", draw_image(draw_mask(k), k))
        for number, name in enumerate(("lung_left", "lung_right", "aorta")):
            part = draw_mask(k + 7 * number) & (np.arange(56) // 19 == number)
            write(root / f"scans/case{k}/masks/{name}.png", white(part))
        write(root / f"scans/case{k}/all.png", white(draw_mask(k)))


def pictures_before_and_after(root: Path) -> None:
    """xBD: a picture before and one after a disaster, and a document of polygons each."""
    for k in range(8):
        for when in ("pre", "post"):
            name = f"{('socal-fire', 'santa-rosa-wildfire')[k % 2]}_{k:08d}_{when}_disaster"
            write(root / f"train/images/{name}.png", draw_image(draw_mask(k), k))
            told = {"feature_type": "building"} | ({"subtype": "destroyed"} if when == "post" else {})
            houses = [{"properties": told, "wkt": f"POLYGON ((4 3, 20 3, 20 {12 + k}, 4 {12 + k}, 4 3))"}]
            document = {"features": {"lng_lat": [], "xy": houses}, "metadata": {"width": 56, "height": 40}}
            place = root / f"train/labels/{name}.json"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(document))


def kinds_named_in_folder_and_file(root: Path) -> None:
    """Kelp Wanted: train_satellite/AA123_satellite.tif has the mask train_kelp/AA123_kelp.tif."""
    for k in range(11):
        name, part = f"{'ABCDEFGHIJK'[k]}A{977 * k + 100000}", "train" if k < 8 else "test"
        write(root / f"{part}_satellite/{name}_satellite.tif", draw_image(draw_mask(k), k))
        if part == "train":
            write(root / f"train_kelp/{name}_kelp.tif", draw_mask(k).astype(np.uint8))


def pictures_that_show_nothing(root: Path) -> None:
    """SolarDK: pictures with and without a thing in folders of their own, and masks of those with one."""
    for k in range(14):
        part, kind = "gentofte_trainval" if k < 10 else "herlev_test", ("positive", "negative")[k % 2]
        mask = draw_mask(k) if k % 2 == 0 else np.zeros((40, 56), bool)
        write(root / f"{part}/{kind}/{600000 + k}.png", draw_image(mask, k))
        if k % 2 == 0:
            write(root / f"{part}/mask/{600000 + k}.png", white(mask))
