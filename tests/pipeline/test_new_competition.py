"""From a host's files to a contract, an experiment and a picture, all written where the user stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import scipy
import tifffile
from drawn_folders import (
    bands_beside_class_folders,
    class_folders,
    classes_of_one_word_and_of_two,
    few_test_images_beside_training,
    folders_named_as_their_case,
    kinds_named_in_folder_and_file,
    lines_beside_outlines,
    outlines_named_in_part,
    outlines_two_folders_down,
    pictures_before_and_after,
    pictures_that_show_nothing,
    rare_class,
    subset_in_two_folders,
)  # fmt: skip
from drawn_hosts import SHAPE, draw_image, draw_mask, white, write, write_rle_host
from drawn_series import ground_of_slices, volume_masks

from folds.splitters import check_method
from pipeline.contract_fit import resolve
from pipeline.data.fold_tables import split_of
from pipeline.experiment import load_experiment
from pipeline.new_competition import start_competition
from pipeline.planning.first_experiment import look_at_host
from pipeline.sequence import run_stage_named, run_stages
from pipeline.workspace import Workspace
from submissions.answers.packing import PackedFiles
from submissions.host.competition import Competition, load_competition
from submissions.host.listed_images import ListedImages, open_row
from submissions.host.listing import list_images
from submissions.host.masks import MaskReader
from submissions.rle.codec import Dialect, encode


def object_files(root: Path) -> None:
    for k in range(10):
        mask, name = draw_mask(k), f"{k:064x}"
        write(root / f"stage1_{'train' if k < 8 else 'test'}/{name}/images/{name}.png", draw_image(mask, k))
        for v, part in enumerate((mask[:, :28], mask[:, 28:]) if k < 8 else ()):
            whole = np.zeros(SHAPE, bool)
            whole[:, 28 * v : 28 * v + 28] = part
            write(root / f"stage1_train/{name}/masks/{v:064x}.png", white(whole))


def cityscapes(root: Path) -> None:
    for k in range(9):
        split, city = ("train", "val")[k % 3 == 0], ("aachen", "bochum", "ulm")[k % 3]
        name = f"{city}_{k:06d}_000019"
        label = draw_mask(k).astype(np.uint8) * 7 + (draw_mask(k + 20) & ~draw_mask(k)).astype(np.uint8) * 11
        write(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", draw_image(label > 0, k))
        write(root / f"gtFine/{split}/{city}/{name}_gtFine_labelIds.png", label)
        write(root / f"gtFine/{split}/{city}/{name}_gtFine_color.png", np.repeat(label[..., None] * 20, 3, 2))


def isic(root: Path) -> None:
    for k in range(6):
        write(root / f"ISIC_Training_Input/ISIC_{k:07d}.jpg", draw_image(draw_mask(k), k))
        write(root / f"ISIC_Training_GroundTruth/ISIC_{k:07d}_segmentation.png", white(draw_mask(k)))


def lgg(root: Path) -> None:
    for k in range(12):
        name = f"kaggle_3m/TCGA_CS_494{k % 3}_1996/TCGA_CS_494{k % 3}_1996_{k}"
        write(root / f"{name}.tif", draw_image(draw_mask(k), k))
        write(root / f"{name}_mask.tif", white(draw_mask(k)))


def two_observers(root: Path) -> None:
    for k in range(10):
        name = f"train/Image_{k // 2 + 1:02d}{'LR'[k % 2]}"
        write(root / f"{name}.jpg", draw_image(draw_mask(k), k))
        write(root / f"{name}_1stHO.png", white(draw_mask(k)))
        write(root / f"{name}_2ndHO.png", white(cv2.erode(draw_mask(k).astype(np.uint8), np.ones((3, 3))) > 0))


def medical_decathlon(root: Path) -> None:
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (root / part).mkdir(parents=True)
    for k in range(5):
        label = np.stack([draw_mask(k + z) for z in range(4)], axis=2).astype(np.uint8)
        image = nibabel.Nifti1Image(
            (label * 90 + np.random.default_rng(k).normal(0, 5, label.shape)).astype("f4"), np.eye(4)
        )
        nibabel.save(image, root / ("imagesTr" if k < 4 else "imagesTs") / f"organ_{k:03d}.nii.gz")
        if k < 4:
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), root / "labelsTr" / f"organ_{k:03d}.nii.gz")
    document = {"modality": {"0": "CT"}, "labels": {"0": "background", "1": "organ"}}
    (root / "dataset.json").write_text(json.dumps(document))


def one_pair(root: Path) -> None:
    root.mkdir()
    label = np.stack([draw_mask(z) for z in range(4)], axis=2).astype(np.uint8)
    image = (label * 90 + np.random.default_rng(0).normal(0, 5, label.shape)).astype("f4")
    nibabel.save(nibabel.Nifti1Image(image, np.eye(4)), root / "scan.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), root / "segmentation.nii.gz")


def coloured_objects(root: Path) -> None:
    for k in range(8):
        _, parts = cv2.connectedComponents(draw_mask(k).astype(np.uint8))
        ids = np.where(parts > 0, parts * 70_000 + k * 997 + 300, 0)
        write(root / f"images/{k:03d}.png", draw_image(parts > 0, k))
        write(root / f"panoptic/{k:03d}.png", np.stack([ids >> 16, ids >> 8 & 255, ids & 255], axis=2).astype(np.uint8))


def two_channels(root: Path) -> None:
    for k in range(6):
        mask, part = draw_mask(k), "Tr" if k < 4 else "Ts"
        for channel in range(2):
            grey = draw_image(mask, k)[..., 0] // (channel + 1)
            write(root / f"Dataset001_D/images{part}/case_{k:03d}_{channel:04d}.png", grey)
        if k < 4:
            write(root / f"Dataset001_D/labelsTr/case_{k:03d}.png", mask.astype(np.uint8))
    document = {"channel_names": {"0": "a", "1": "b"}, "labels": {"background": 0, "disc": 1}, "file_ending": ".png"}
    (root / "Dataset001_D/dataset.json").write_text(json.dumps(document))


def two_channel_volumes(root: Path) -> None:
    for part in ("imagesTr", "labelsTr"):
        (root / part).mkdir(parents=True)
    for k in range(4):
        label = np.stack([draw_mask(k + z) for z in range(4)], axis=2).astype(np.uint8)
        for channel in range(2):
            image = nibabel.Nifti1Image((label * 90.0 + channel).astype("f4"), np.eye(4))
            nibabel.save(image, root / f"imagesTr/case_{k:03d}_{channel:04d}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), root / f"labelsTr/case_{k:03d}.nii.gz")
    document = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "organ": 1}}
    (root / "dataset.json").write_text(json.dumps(document))


def volume(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def brats(root: Path) -> None:
    """Four modalities and the mask of a case in its folder; validation cases have no mask."""
    for k in range(6):
        split = "Training" if k < 4 else "Validation"
        case = f"BraTS20_{split}_{k:03d}"
        label = np.stack([draw_mask(k + z) for z in range(4)], axis=2).astype(np.uint8)
        noise = np.random.default_rng(k).normal(0, 5, label.shape)
        for word in ("t1", "flair", "t2", "t1ce"):
            volume(root / f"{split}Data/{case}/{case}_{word}.nii", (label * 90 + noise + ord(word[-1])).astype("f4"))
        if k < 4:
            volume(root / f"{split}Data/{case}/{case}_seg.nii", label)
    (root / "TrainingData/survival.csv").write_text("ID,Age\nBraTS20_Training_000,60\nBraTS20_Training_001,70\n")


def sequences_in_folders(root: Path) -> None:
    """One folder per patient, where T1 and T2 are no numbers of files."""
    for k in range(4):
        label = np.stack([draw_mask(k + z) for z in range(4)], axis=2).astype(np.uint8)
        for word in ("T1", "T2"):
            volume(
                root / f"{k * 11}/{word}.nii.gz",
                (label * 90 + np.random.default_rng(k).normal(0, 5, label.shape)).astype("f4"),
            )
        volume(root / f"{k * 11}/lesion.nii.gz", label)


def cells_over_time(root: Path) -> None:
    """The Cell Tracking Challenge's folders: two sequences, cells outlined in some frames, marked in all."""
    for sequence in ("01", "02"):
        for t in range(4):
            rows = np.arange(SHAPE[0])[:, None] // 8
            label = ((rows * 5 + np.arange(SHAPE[1]) // 12 + 1) * (rows % 2) * (rows < 2 + t)).astype(np.uint16)
            write(root / f"{sequence}/t{t:03d}.tif", draw_image(label > 0, t)[..., 0])
            write(root / f"{sequence}_GT/TRA/man_track{t:03d}.tif", label * (label % 2))
            if t != 1:
                write(root / f"{sequence}_GT/SEG/man_seg{t:03d}.tif", label)


def slides_beside_truth(root: Path) -> None:
    """A folder a slide, and one of masks beside it with the same number."""
    for slide in range(1, 5):
        for part in range(1, 4):
            name = f"{slide:02d}_{part}.png"
            write(root / f"Slide_{slide:02d}/{name}", draw_image(draw_mask(slide + part), part))
            write(root / f"GT_{slide:02d}/{name}", white(draw_mask(slide + part)))


def many_bands(root: Path) -> None:
    """One file per band, twelve of them, the last at half the size; masks in another folder."""
    for k in range(4):
        for band in range(1, 13):
            grey = draw_image(draw_mask(k), 20 * k + band)[..., 0]
            write(root / f"chips/S2A_MSIL2A_{k:02d}_B{band:02d}.tif", grey[::2, ::2] if band == 12 else grey)
        write(root / f"water/S2A_MSIL2A_{k:02d}.tif", white(draw_mask(k)))


def band_in_folder_and_name(root: Path) -> None:
    """38-Cloud: a folder per band, whose word the file names repeat."""
    for k in range(6):
        split, name = ("train", f"patch_{k}.tif") if k < 4 else ("test", f"patch_{k}.tif")
        for place, band in enumerate(("red", "green", "blue", "nir")):
            write(root / f"{split}_{band}/{band}_{name}", draw_image(draw_mask(k), 20 * k + place)[..., 0])
        if k < 4:
            write(root / f"train_gt/gt_{name}", white(draw_mask(k)))


def channels_of_arrays(root: Path) -> None:
    """PanNuke: all images of a fold in one array, masks with a channel a class whose values number nuclei."""
    for fold in (1, 2, 3):
        label = np.stack([draw_mask(10 * fold + k).astype(np.uint8) for k in range(4)])
        numbers = np.stack([label * 0, label * 0, label * 0], axis=-1).astype(np.float64)
        numbers[:, :20, :, 0], numbers[:, 20:, :, 1] = label[:, :20] * 3, label[:, 20:] * (1 + np.arange(56) // 20)
        numbers[..., 2] = ~numbers.any(axis=-1)
        images = np.stack([draw_image(one > 0, k) for k, one in enumerate(label)]).astype(np.float64)
        for what, array in (("images", images), ("masks", numbers)):
            path = root / f"Fold {fold}/{what}/fold{fold}/{what}.npy"
            path.parent.mkdir(parents=True)
            np.save(path, array)


def kinds_beside_objects(root: Path) -> None:
    """CoNIC: masks with a channel that numbers nuclei, and one that says of which kind they are."""
    label = np.stack([draw_mask(k).astype(np.int32) for k in range(6)])
    numbers = label * (1 + np.arange(56) // 8)
    root.mkdir()
    np.save(root / "images.npy", np.stack([draw_image(one > 0, k) for k, one in enumerate(label)]))
    np.save(root / "labels.npy", np.stack([numbers, label * (1 + numbers % 2)], axis=-1).astype(np.uint16))


def arrays_of_matlab(root: Path) -> None:
    """Lizard: a .mat an image, with the numbers of nuclei, and what each of them is."""
    (root / "Labels").mkdir(parents=True)
    for k in range(6):
        label = draw_mask(k).astype(np.int32) * (1 + np.arange(SHAPE[1]) // (8 + k))
        write(root / f"Images/consep_{k}.png", draw_image(label > 0, k))
        count = int(label.max())
        about = {"class": np.ones((count, 1), np.uint8), "bbox": np.ones((count, 4)), "centroid": np.ones((count, 2))}
        scipy.io.savemat(root / f"Labels/consep_{k}.mat", {"inst_map": label.astype(float), **about})


def image_and_mask_in_hdf5(root: Path) -> None:
    """BraTS as slices: image and mask are two arrays of one file, the mask with a channel a class."""
    root.mkdir()
    for patient in range(3):
        for z in range(3):
            label = draw_mask(3 * patient + z)
            planes = np.stack([label, label & (np.arange(SHAPE[1]) > 28)], axis=-1)
            with h5py.File(root / f"volume_{patient}_slice_{z}.h5", "w") as file:
                file["image"] = draw_image(label, z)[..., :2] / np.float32(100)
                file["mask"] = planes.astype(np.uint8)


def image_and_mask_in_npz(root: Path) -> None:
    """Two arrays in one .npz, and a table with several rows an image."""
    root.mkdir()
    for k in range(6):
        np.savez(root / f"s{k}.npz", image=draw_image(draw_mask(k), k), label=white(draw_mask(k)))
    rows = [f"{k}_{n},s{k},a{k}" for k in range(6) for n in "ab"]
    (root / "shots.csv").write_text("\n".join(["shot,id,location", *rows]) + "\n")


def volumes_in_hdf5(root: Path) -> None:
    """CREMI: a volume a file, with its labels beside it in groups."""
    root.mkdir()
    for sample in "ABC":
        label = np.stack([draw_mask(ord(sample) + z) for z in range(4)]).astype(np.uint64)
        with h5py.File(root / f"sample_{sample}.hdf", "w") as file:
            file["volumes/raw"] = np.stack([draw_image(one > 0, 0)[..., 0] for one in label])
            file["volumes/labels/neuron_ids"] = label * (1 + np.arange(SHAPE[1], dtype=np.uint64) // 20)


def objects_named_as_images(root: Path) -> None:
    """Open Images: a mask an object, named as its image with a class and a number of its own behind it."""
    for k in range(6):
        mask = draw_mask(k)
        write(root / f"train/{k:016x}.jpg", draw_image(mask, k))
        for side, part in enumerate((mask[:, :28], mask[:, 28:])):
            whole = np.zeros(SHAPE, bool)
            whole[:, 28 * side : 28 * side + 28] = part
            write(root / f"train-masks/{k:016x}_m0{side}bt_{(2 * k + side) * 40503 % 65536:08x}.png", white(whole))


def bids(root: Path) -> None:
    """A folder a subject, and masks in the same folders below `derivatives`, as BIDS has them."""
    for k in range(1, 5):
        label = np.stack([draw_mask(k + z) for z in range(4)], axis=2).astype(np.uint8)
        name = f"sub-stroke{k:04d}/ses-0001/sub-stroke{k:04d}_ses-0001"
        for word in ("dwi", "adc"):
            noise = np.random.default_rng(k).normal(0, 5, label.shape)
            volume(root / f"{name}_{word}.nii.gz", (label * 90 + noise).astype("f4"))
        volume(root / f"derivatives/{name}_msk.nii.gz", label)
    rows = "".join(f"sub-stroke{k:04d}\tf\n" for k in range(1, 5))
    (root / "participants.tsv").write_text("participant_id\tsex\n" + rows)


def bands_in_folders(root: Path) -> None:
    """DrivenData's cloud cover: a folder a chip, a file a band, and one place's chips in a table."""
    rows = ["chip_id,location"]
    for k in range(10):
        for band in ("B02", "B03", "B04", "B8A"):
            write(root / f"train_features/chip{'abcdefghij'[k]}/{band}.tif", draw_image(draw_mask(k), 9 * k)[..., 0])
        write(root / f"train_labels/chip{'abcdefghij'[k]}.tif", draw_mask(k).astype(np.uint8))
        rows.append(f"chip{'abcdefghij'[k]},Place{k // 2}")
    (root / "train_metadata.csv").write_text("\n".join(rows) + "\n")


def names_repeat_in_subsets(root: Path) -> None:
    """train/, val/ and test/ number their files from 0 each: those are no slices."""
    for k in range(9):
        place = root / ("train", "val", "test")[k % 3]
        write(place / f"image/{k // 3}.png", draw_image(draw_mask(k), k))
        write(place / f"label/{k // 3}.png", white(draw_mask(k)))


def twice_in_two_formats(root: Path) -> None:
    for k in range(6):
        for ending in ("png", "tif"):
            write(root / f"{ending.upper()}/Original/{k}.{ending}", draw_image(draw_mask(k), k))
            write(root / f"{ending.upper()}/Ground Truth/{k}.{ending}", white(draw_mask(k)))


def bands_first(root: Path) -> None:
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for k in range(6):
        bands = np.stack([draw_image(draw_mask(k), k + band)[..., 0] for band in range(6)]).astype(np.uint16)
        np.save(root / f"images/tile_{k}.npy", bands)
        np.save(root / f"labels/tile_{k}.npy", draw_mask(k).astype(np.uint8))


def images_in_one_array(root: Path) -> None:
    root.mkdir()
    np.save(root / "X_train.npy", np.stack([draw_image(draw_mask(k), k) for k in range(7)]))
    np.save(root / "Y_train.npy", np.stack([draw_mask(k)[..., None] for k in range(7)]).astype(np.uint8))
    np.save(root / "X_test.npy", np.stack([draw_image(draw_mask(k), k) for k in range(7, 9)]))


def a_row_an_image_and_class(root: Path) -> None:
    rows, sample = [], []
    for k in range(9):
        name = f"{k:08x}.jpg"
        write(root / f"{'train' if k < 7 else 'test'}_images/{name}", draw_image(draw_mask(k), k))
        if k < 7:
            rows.append(f"{name},{1 + k % 2},{encode(draw_mask(k), Dialect())}")
        else:
            sample += [f"{name}_{number}," for number in (1, 2)]
    (root / "train.csv").write_text("\n".join(["ImageId,ClassId,EncodedPixels", *rows]) + "\n")
    (root / "sample_submission.csv").write_text("\n".join(["ImageId_ClassId,EncodedPixels", *sample]) + "\n")


def labels_in_ids(root: Path) -> None:
    """One row per image and pattern, both in one cell."""
    rows, sample = [], []
    for k in range(6):
        name = f"{k:04x}_b.jpg"
        write(root / f"{'train' if k < 4 else 'test'}_images/{name}", draw_image(draw_mask(k), k))
        rows += [f"{name}_Fish,{encode(draw_mask(k), Dialect())}", f"{name}_Sugar,"] if k < 4 else []
        sample += [f"{name}_{kind}," for kind in ("Fish", "Sugar", "Gravel")] if k >= 4 else []
    (root / "train.csv").write_text("\n".join(["Image_Label,EncodedPixels", *rows]) + "\n")
    (root / "sample_submission.csv").write_text("\n".join(["Image_Label,EncodedPixels", *sample]) + "\n")


def wkt_of_tiles(root: Path) -> None:
    """One row per building; the tables name what follows the beginning that all files share."""
    rows = []
    for k in range(5):
        name, split = f"AOI_2_img{k + 1}", "train" if k < 4 else "test"
        write(root / f"{split}/RGB/RGB-Sharp_{name}.tif", draw_image(draw_mask(k), k))
        square = "POLYGON ((5 5 0,15 5 0,15 15 0,5 15 0,5 5 0))"
        rows += [f'{name},{number},"{square}"' for number in range(k + 1)] if k < 4 else []
    (root / "train/summary").mkdir(parents=True)
    (root / "train/summary/houses.csv").write_text("\n".join(["ImageId,BuildingId,WKT_Pix", *rows]) + "\n")
    sample = "ImageId,BuildingId,WKT_Pix,Confidence\nAOI_2_img5,0,POLYGON EMPTY,1\n"
    (root / "sample_submission.csv").write_text(sample)


def voc(root: Path) -> None:
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for k in range(14):
        name, mask = f"{2007 + k % 3}_{k:06d}", draw_mask(k)
        write(root / f"JPEGImages/{name}.jpg", draw_image(mask, k))
        if k >= 9:
            continue  # no mask: listed for detection only
        for folder, value in (("SegmentationClass", 12), ("SegmentationObject", 1)):
            label = mask.astype(np.uint8) * value
            label[:2] = 255
            write(root / f"{folder}/{name}.png", label)
        lists["val" if k % 3 == 0 else "train"].append(name)
    names = sorted(path.stem for path in (root / "JPEGImages").iterdir())
    for place, words in (("Segmentation", lists), ("Main", {"train": names[::2], "val": names[1::2]})):
        for word, of_word in {**words, "trainval": sorted(words["train"] + words["val"])}.items():
            path = root / f"ImageSets/{place}/{word}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(of_word) + "\n")
    (root / "ImageSets/Main/cat_train.txt").write_text("\n".join(f"{name} -1" for name in names))


LAYOUTS: dict[str, tuple[Callable[[Path], None], int, str | None]] = {
    "object-files": (object_files, 8, None),
    "cityscapes": (cityscapes, 9, None),
    "isic": (isic, 6, None),
    "lgg": (lgg, 12, "folder1"),
    "voc": (voc, 9, None),
    "two-observers": (two_observers, 10, "person"),
    "medical-decathlon": (medical_decathlon, 4, None),
    "one-pair": (one_pair, 1, None),
    "coloured-objects": (coloured_objects, 8, None),
    "two-channels": (two_channels, 4, None),
    "two-channel-volumes": (two_channel_volumes, 4, None),
    "bands-first": (bands_first, 6, None),
    "images-in-one-array": (images_in_one_array, 7, None),
    "labels-in-ids": (labels_in_ids, 4, None),
    "wkt-of-tiles": (wkt_of_tiles, 4, None),
    "brats": (brats, 4, None),
    "sequences-in-folders": (sequences_in_folders, 4, None),
    "cells-over-time": (cells_over_time, 6, None),
    "slides-beside-truth": (slides_beside_truth, 12, "folder1"),
    "many-bands": (many_bands, 4, None),
    "band-in-folder-and-name": (band_in_folder_and_name, 4, None),
    "channels-of-arrays": (channels_of_arrays, 12, None),
    "kinds-beside-objects": (kinds_beside_objects, 6, None),
    "arrays-of-matlab": (arrays_of_matlab, 6, None),
    "image-and-mask-in-hdf5": (image_and_mask_in_hdf5, 9, "patient"),
    "image-and-mask-in-npz": (image_and_mask_in_npz, 6, "location"),
    "volumes-in-hdf5": (volumes_in_hdf5, 3, None),
    "objects-named-as-images": (objects_named_as_images, 6, None),
    "bids": (bids, 4, None),
    "bands-in-folders": (bands_in_folders, 10, "location"),
    "names-repeat-in-subsets": (names_repeat_in_subsets, 6, None),
    "twice-in-two-formats": (twice_in_two_formats, 6, None),
    "row-an-image-and-class": (a_row_an_image_and_class, 7, None),
    "series-and-volumes": (volume_masks, 6, None),
    "masks-in-order-of-slices": (ground_of_slices, 36, "folder1"),
    "subset-in-two-folders": (subset_in_two_folders, 9, None),
    "class-folders": (class_folders, 9, None),
    "outlines-named-in-part": (outlines_named_in_part, 7, None),
    "bands-beside-class-folders": (bands_beside_class_folders, 9, None),
    "classes-of-one-word-and-of-two": (classes_of_one_word_and_of_two, 6, None),
    "pictures-before-and-after": (pictures_before_and_after, 16, "patient"),
    "kinds-named-in-folder-and-file": (kinds_named_in_folder_and_file, 8, None),
    "pictures-that-show-nothing": (pictures_that_show_nothing, 10, None),
    "folders-named-as-their-case": (folders_named_as_their_case, 9, None),
    "rare-class": (rare_class, 12, None),
    "few-test-images-beside-training": (few_test_images_beside_training, 9, None),
    "lines-beside-outlines": (lines_beside_outlines, 6, None),
    "outlines-two-folders-down": (outlines_two_folders_down, 9, None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_guessed_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, count, group = LAYOUTS[name]
    build(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    said = start_competition(Path(name))
    competition = load_competition(Path(f"{name}.yaml"))
    listing, problems = list_images(competition, Path(name), "train")
    assert (len(listing), problems) == (count, [])
    assert "no picture" not in said and Path("guess.png").stat().st_size > 5000
    assert name == "cityscapes" or competition.group == group
    experiment = resolve(load_experiment(f"{name}-baseline.yaml"), competition)
    space = Workspace(experiment, competition, Path(name), tmp_path / "runs")
    check_method(experiment.folds.method, experiment.folds.n, experiment.seed, split_of(space)[1])
    assert _masks_shown(competition, Path(name)) > 0


def guessed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Competition:
    """The contract that is written for a layout, in `folder`, which is then the working folder."""
    LAYOUTS[name][0](folder / name)
    monkeypatch.chdir(folder)
    start_competition(Path(name))
    return load_competition(Path(f"{name}.yaml"))


def test_a_class_without_a_file_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    competition = guessed("class-folders", tmp_path, monkeypatch)
    assert (competition.classes, competition.masks.missing) == (["road", "water"], "empty")
    assert "6 files of a class are not there" in Path("class-folders.yaml").read_text(encoding="utf-8")
    shown = {}
    for row in list_images(competition, Path("class-folders"), "train")[0].to_dict("records"):
        planes = MaskReader(competition, Path("class-folders")).read(row, (1, *SHAPE)).planes
        shown[row["image_id"]] = planes.any(axis=(1, 2, 3)).tolist()
    assert [shown[f"img_{k:03d}"] for k in range(3)] == [[False, True], [True, False], [True, True]]


def test_a_class_of_few_files_is_one_and_a_name_without_area_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert guessed("rare-class", tmp_path, monkeypatch).classes == ["road", "crack"]
    named = guessed("classes-of-one-word-and-of-two", tmp_path, monkeypatch).classes
    assert sorted(named) == ["aorta", "lung_left", "lung_right"]
    competition = guessed("lines-beside-outlines", tmp_path, monkeypatch)
    assert (competition.classes, competition.masks.polygon_classes) == (["hole"], {"crack": []})
    assert guessed("few-test-images-beside-training", tmp_path, monkeypatch).images.test == "testA_{id:d}.bmp"


def test_bands_in_folders_are_no_kinds_of_things_and_classes_may_have_names_of_several_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    competition = guessed("bands-beside-class-folders", tmp_path, monkeypatch)
    assert competition.images.train == "{subset:train|val}/images/rgb/{id}.jpg"
    assert competition.masks.valid == "{subset}/masks/{id}.png"
    assert sorted(competition.classes) == ["cloud_shadow", "double_plant", "water"]


def test_pictures_in_folders_of_those_that_show_nothing_have_empty_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    competition = guessed("pictures-that-show-nothing", tmp_path, monkeypatch)
    assert competition.masks.missing == "empty"
    assert competition.images.test == "herlev_test/{folder1:negative|positive}/{id:d}.png"
    test, problems = list_images(competition, Path("pictures-that-show-nothing"), "test")
    assert test["image_id"].tolist() == [str(600000 + k) for k in range(10, 14)] and problems == []


def test_test_images_are_named_as_documents_name_the_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    competition = guessed("outlines-named-in-part", tmp_path, monkeypatch)
    assert competition.masks.file == "train/geojson/buildings_AOI_2_img{id}.geojson"
    assert list_images(competition, Path("outlines-named-in-part"), "test")[0]["image_id"].tolist() == ["7", "8"]


@pytest.mark.parametrize(
    ("name", "channels"), [("channels-of-arrays", ["class_0", "class_1", ""]), ("kinds-beside-objects", ["thing", ""])]
)
def test_channels_of_masks_are_classes_or_number_objects(
    name: str, channels: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = guessed(name, tmp_path, monkeypatch).masks
    assert masks.channels == channels and masks.instances == (name == "kinds-beside-objects")


def test_objects_of_volumes_are_one_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions split the objects of flat images alone."""
    competition = guessed("volumes-in-hdf5", tmp_path, monkeypatch)
    assert competition.images.kind == "volumes" and competition.images.array == "volumes/raw"
    masks = competition.masks
    assert (masks.array, masks.threshold, masks.instances) == ("volumes/labels/neuron_ids", 1, False)


def test_the_array_that_numbers_objects_is_the_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = guessed("arrays-of-matlab", tmp_path, monkeypatch).masks
    assert (masks.path, masks.array, masks.instances) == ("Labels/{id}.mat", "inst_map", True)
    assert "inst_map is read, and not bbox, centroid" in Path("arrays-of-matlab.yaml").read_text()


def test_outlines_of_cells_are_preferred_to_markers_and_are_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    competition = guessed("cells-over-time", tmp_path, monkeypatch)
    assert competition.masks.path == "{folder1}_GT/SEG/man_seg{name}.tif" and competition.masks.instances
    assert competition.images.stack == "{folder1}"
    assert load_experiment("cells-over-time-baseline.yaml").folds.group == "stack"


@pytest.mark.parametrize(("files", "mask_pages", "kind"), [(3, 6, "volumes"), (1, 6, "pages"), (3, 1, "files")])
def test_files_of_several_pages_are_volumes_where_their_masks_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, mask_pages: int, kind: str
) -> None:
    for k in range(files):
        label = np.zeros((6, 20, 24), np.uint8)
        label[2:, 4:12, 3 + k : 14] = 1
        pixels = label * 90 + np.random.default_rng(k).integers(0, 40, label.shape).astype(np.uint8)
        for folder, array in (("images", pixels), ("labels", label[-mask_pages:])):
            (tmp_path / "mine" / folder).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / f"mine/{folder}/{k}.tif", array)
    monkeypatch.chdir(tmp_path)
    start_competition(Path("mine"))
    competition = load_competition(Path("mine.yaml"))
    assert competition.images.kind == kind
    assert competition.submission is not None
    assert (competition.submission.kind == "volumes") == (kind == "volumes")
    listing, _ = list_images(competition, Path("mine"), "train")
    images = ListedImages(competition, Path("mine"), listing)
    assert len(images.ids) == (6 if kind == "pages" else files)
    shape = images.open_alone(images.ids[-1]).shape[:3]
    assert MaskReader(competition, Path("mine")).read(images.row(images.ids[-1]), shape).planes.any()


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 1, 300)])
def test_label_volumes_are_answered_with_label_volumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: tuple[int, ...]
) -> None:
    for k in range(3):
        label = np.zeros((20, 24, 6), np.uint16)
        label[4:12, 3 + k : 14, 1:5], label[13:18, 6:20, 2:4] = values[1], values[2]
        pixels = label / 3 + np.random.default_rng(k).integers(0, 40, label.shape)
        for kind, array in (("images", pixels.astype(np.float32)), ("labels", label)):
            (tmp_path / "mine" / kind).mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / f"mine/{kind}/{k}.nii.gz")
    monkeypatch.chdir(tmp_path)
    start_competition(Path("mine"))
    competition = load_competition(Path("mine.yaml"))
    form = competition.submission
    assert form is not None and form.kind == "volumes" and form.files.path == "{id}.nii.gz"
    assert list((form.files.values or {}).values()) == list(values[1:])
    assert form.files.dtype == ("uint8" if max(values) < 256 else "uint16")
    assert set(form.files.values or {}) == set(competition.classes) - {"background"}


def test_volumes_of_several_structures_have_dice_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    medical_decathlon(tmp_path / "parts")
    for path in (tmp_path / "parts/labelsTr").iterdir():
        label = np.asarray(nibabel.load(path).dataobj)
        nibabel.save(nibabel.Nifti1Image((label + (label & (np.arange(4) > 1))).astype(np.uint8), np.eye(4)), path)
    labels = {"0": "background", "1": "front", "2": "back"}
    (tmp_path / "parts/dataset.json").write_text(json.dumps({"modality": {"0": "CT"}, "labels": labels}))
    monkeypatch.chdir(tmp_path)
    start_competition(Path("parts"))
    loss = load_experiment("parts-baseline.yaml").loss
    assert (loss.name, loss.params) == ("ce_dice", {"batch": True})


@pytest.mark.smoke
def test_a_decathlon_from_its_dataset_json_to_volumes_with_their_sources_affine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medical_decathlon(tmp_path / "Task99")
    turned = np.array([[0, -0.7, 0, 3], [1.5, 0, 0, -4], [0, 0, -2.5, 9], [0, 0, 0, 1.0]])
    for path in (tmp_path / "Task99").rglob("*.nii.gz"):
        volume = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.asarray(volume.dataobj), turned), path)
    monkeypatch.chdir(tmp_path)
    start_competition(Path("Task99"))
    (written,) = Path().glob("*-baseline.yaml")
    small = [
        *("train.epochs=1", "train.steps_per_epoch=2", "train.validate_images=1", "tune.copies=0", "tune.rounds=100"),
        *("model={architecture: unet, encoder: mobilenetv3_small_050, weights: none}", "predict.views=[identity]"),
    ]
    places = ["--data", "Task99", "--runs", "runs", "--device", "cpu"]
    run_stages(
        [
            str(written),
            *places,
            *(word for one in small for word in ("--set", one)),
        ]
    )
    (out,) = (tmp_path / "runs").glob("*/*/submission.zip")
    with PackedFiles(out).file("organ_004.nii.gz") as path:
        answer, source = nibabel.load(path), nibabel.load(tmp_path / "Task99/imagesTs/organ_004.nii.gz")
        np.testing.assert_allclose(answer.affine, source.affine)
        assert answer.shape == source.shape and answer.get_data_dtype() == np.uint8
        assert set(np.unique(np.asarray(answer.dataobj))) <= {0, 1}


def test_lists_of_names_say_which_images_count_and_what_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voc(tmp_path / "voc")
    (tmp_path / "voc/ImageSets/Segmentation/broken\n.txt").write_bytes(b"\xff\xfe\x00")
    monkeypatch.chdir(tmp_path)
    start_competition(Path("voc"))
    competition = load_competition(Path("voc.yaml"))
    listing, _ = list_images(competition, Path("voc"), "train")
    assert {name: len(rows) for name, rows in listing.groupby("subset")} == {"train": 6, "val": 3}
    test, problems = list_images(competition, Path("voc"), "test")
    assert test["image_id"].tolist() == listing.loc[listing["subset"] == "val", "image_id"].tolist() and not problems
    assert "so those of val stand in for them" in Path("voc.yaml").read_text()
    experiment = load_experiment("voc-baseline.yaml")
    assert experiment.folds.method == "predefined" and experiment.folds.use == [1]
    assert competition.masks.path == "SegmentationClass/{id}.png" and competition.masks.missing == "refuse"
    lists = Path("voc/ImageSets/Segmentation")
    (lists / "test.txt").write_text((lists / "val.txt").read_text())
    (lists / "val.txt").unlink()
    start_competition(Path("voc"), name="tested")
    competition = load_competition(Path("tested.yaml"))
    assert competition.tables[0].file == "ImageSets/Segmentation/trainval.txt"
    assert competition.test_tables[0].file == "ImageSets/Segmentation/test.txt"
    assert "stand in" not in Path("tested.yaml").read_text()


@pytest.mark.parametrize(
    ("line", "columns"),
    [
        ("{} 1 2 1", ["id", "column_2", "column_3", "column_4"]),
        ("{}.jpg", ["listed"]),
        ("/data/JPEGImages/{0}.jpg,/data/SegmentationClass/{0}.png", ["listed", "column_2"]),
    ],
)
def test_lists_of_several_columns_and_of_paths_are_read(
    line: str, columns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voc(tmp_path / "voc")
    for path in (tmp_path / "voc/ImageSets/Segmentation").iterdir():
        path.write_text("".join(f"{line.format(name)}\n" for name in path.read_text().split()))
    monkeypatch.chdir(tmp_path)
    start_competition(Path("voc"))
    competition = load_competition(Path("voc.yaml"))
    assert competition.tables[0].columns == columns
    listing, problems = list_images(competition, Path("voc"), "train")
    assert {name: len(rows) for name, rows in listing.groupby("subset")} == {"train": 6, "val": 3} and not problems
    with (tmp_path / "voc/ImageSets/Segmentation/val.txt").open("a") as file:
        file.write("2007_000000 and three words more\n")
    start_competition(Path("voc"), name="crooked")
    assert load_competition(Path("crooked.yaml")).tables[0].file == "ImageSets/Segmentation/trainval.txt"


def test_a_hosts_split_that_divides_drives_is_no_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(18):
        part, name = ("train", "val")[k % 5 == 0], f"{('0001TP', '0006R0', '0016E5')[k % 3]}_{k:05d}"
        write(tmp_path / f"set/{part}/{name}.png", draw_image(draw_mask(k), k))
        write(tmp_path / f"set/{part}annot/{name}.png", draw_mask(k).astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    start_competition(Path("set"))
    competition, experiment = load_competition(Path("set.yaml")), load_experiment("set-baseline.yaml")
    assert competition.group is not None and experiment.folds.method == "group" and experiment.folds.n == 3
    assert "the host's own split divides 3 of them" in Path("set-baseline.yaml").read_text()
    for stage in ("01_check_data", "02_make_folds"):
        run_stage_named(stage, ["set-baseline.yaml", "--data", "set", "--runs", "runs"])


CHANNELS = {
    "two-channels": 2, "two-channel-volumes": 2, "bands-first": 6, "brats": 4, "sequences-in-folders": 2,
    "many-bands": 12, "band-in-folder-and-name": 4, "bids": 2, "bands-in-folders": 4,
    "image-and-mask-in-hdf5": 2,
}  # fmt: skip


@pytest.mark.parametrize("name", CHANNELS)
def test_every_channel_is_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    competition = guessed(name, tmp_path, monkeypatch)
    listing, _ = list_images(competition, Path(name), "train")
    images = ListedImages(competition, Path(name), listing)
    source = images.open_alone(images.ids[0])
    depth = 4 if competition.images.kind == "volumes" else 1
    size = SHAPE[::-1] if depth > 1 else SHAPE
    assert source.shape == (depth, *size, CHANNELS[name])
    assert source.read(depth - 1).shape == (*size, CHANNELS[name])
    assert load_experiment(f"{name}-baseline.yaml").input.channels == CHANNELS[name]


def test_what_an_ids_ending_and_a_column_say_are_the_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_row_an_image_and_class(tmp_path / "steel")
    coloured_objects(tmp_path / "panoptic")
    monkeypatch.chdir(tmp_path)
    said = start_competition(Path("steel"))
    steel = load_competition(Path("steel.yaml"))
    assert steel.classes == ["1", "2"] and steel.masks.class_column == "ClassId" and "no row for" not in said
    start_competition(Path("panoptic"), name="panoptic", out=tmp_path / "p.yaml")
    assert load_competition(tmp_path / "p.yaml").masks.instances


def test_cases_without_a_mask_are_test_images_and_a_table_of_few_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    competition = guessed("brats", tmp_path, monkeypatch)
    listing, problems = list_images(competition, Path("brats"), "test")
    assert listing["image_id"].tolist() == ["BraTS20_Validation_004", "BraTS20_Validation_005"] and not problems
    words = [Path(part).stem.rpartition("_")[2] for part in listing["path"][0].split("|")]
    assert words == ["flair", "t1", "t1ce", "t2"] and competition.tables == []
    assert "survival.csv names 2 of 4 images" in Path("brats.yaml").read_text()


def test_windows_of_one_image_lie_beside_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_pair(tmp_path / "pair")
    monkeypatch.chdir(tmp_path)
    start_competition(Path("pair"))
    experiment = load_experiment("pair-baseline.yaml")
    buffer = experiment.folds.buffer
    assert experiment.folds.method == "blocks" and buffer is not None
    assert max(experiment.train.plane) / experiment.input.scale <= max(SHAPE) / 2 - buffer + 32


def test_slices_of_a_short_stack_are_not_dealt_out_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "short").mkdir()
    masks = np.stack([draw_mask(z) for z in range(4)])
    images = np.stack([draw_image(mask, z)[..., 0] for z, mask in enumerate(masks)])
    tifffile.imwrite(tmp_path / "short/train-volume.tif", images, photometric="minisblack")
    tifffile.imwrite(tmp_path / "short/train-labels.tif", masks.astype(np.uint8) * 255, photometric="minisblack")
    monkeypatch.chdir(tmp_path)
    start_competition(Path("short"))
    run_stages(["short-baseline.yaml", "--data", "short", "--device", "cpu"], ["01", "02"])
    folds = pd.concat(pd.read_csv(path) for path in Path("runs/short/folds").glob("*/folds.csv"))
    slices = sorted(folds["image_id"])
    assert sorted(map(sorted, folds.groupby("fold")["image_id"].agg(list))) == [slices[:2], slices[2:]]


def test_an_image_that_is_not_read_does_not_stop_the_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bands_first(tmp_path / "bands")
    (tmp_path / "bands/images/tile_3.npy").write_bytes(b"nothing")
    monkeypatch.chdir(tmp_path)
    start_competition(Path("bands"))
    assert load_experiment("bands-baseline.yaml").input.channels == 6
    competition = load_competition(Path("bands.yaml"))
    for path in (tmp_path / "bands/images").iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"none of the training images that were looked at is read: .*tile"):
        look_at_host(competition, tmp_path / "bands")


def _masks_shown(competition: Competition, folder: Path) -> int:
    listing, _ = list_images(competition, folder, "train")
    reader, shown = MaskReader(competition, folder), 0
    for record in listing.to_dict("records"):
        row = {str(key): value for key, value in record.items()}
        with closing(open_row(competition, folder, row)) as image:
            depth, height, width, _ = image.shape
        planes = reader.read(row, (depth, height, width)).planes
        shown += int(planes[[k for k, one in enumerate(competition.classes) if one != "background"]].any())
    return shown


def test_what_is_there_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rle_host(tmp_path / "host")
    monkeypatch.chdir(tmp_path)
    Path("host-baseline.yaml").write_text("mine")
    with pytest.raises(ValueError, match=r"host-baseline\.yaml exists and is not overwritten"):
        start_competition(Path("host"))
    assert Path("host-baseline.yaml").read_text() == "mine"


def test_an_image_with_values_that_are_no_numbers_is_left_out_of_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(4):
        grey = draw_image(draw_mask(k), k)[..., 0].astype(np.float32)
        grey[3, 3] = np.nan if k == 0 else grey[3, 3]
        write(tmp_path / f"mine/images/{k}.tif", grey)
        write(tmp_path / f"mine/masks/{k}.png", white(draw_mask(k)))
    monkeypatch.chdir(tmp_path)
    assert "masks as understood -> guess.png" in start_competition(Path("mine"))
