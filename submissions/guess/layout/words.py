"""What hosts call their files and folders: endings, and words that say image, mask, training or test."""

from __future__ import annotations

import re
from collections.abc import Sequence

SUFFIXES = (
    ".nii.gz", ".ome.tif", ".ome.tiff", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".jp2",
    ".avif", ".ppm", ".pgm", ".pnm", ".npy", ".npz", ".nii", ".dcm", ".nrrd", ".mha", ".mhd", ".mrc", ".svs", ".ndpi",
    ".mrxs", ".mat", ".h5", ".hdf5", ".hdf",
)  # fmt: skip
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".mrc")
MOVIES = (".avi", ".mp4", ".mov", ".mkv", ".wmv", ".m4v", ".mpg")
DOCUMENTS = (".json", ".txt", ".xml", ".geojson")
READ = (*SUFFIXES, *DOCUMENTS, ".csv", ".tsv", ".gz", ".jsonl", ".ndjson", ".yaml", ".yml", ".md")
MASK_WORDS = (
    "mask", "label", "annot", "segment", "trimap", "truth", "gtfine", "manual", "target", "seg", "wmh", "lesion",
)  # fmt: skip
IMAGE_WORDS = ("image", "img", "input", "photo", "scan", "raw", "original", "dicom")
MR_WORD = re.compile(r"(?<![a-z])t[12]", re.IGNORECASE)  # T1 and T2 are no numbers of files
TEST_WORDS = re.compile(r"test|imagests|unseen|evaluation", re.IGNORECASE)
SPLIT_WORDS = re.compile(r"(?<![a-zA-Z])(training|train|validation|valid|val|dev)", re.IGNORECASE)
KNOWN_ENDING = re.compile(
    r"[_.-](?:masks?(?:_[0-9]{1,2})?|labels?|seg|segmentation|gt|ground_?truth|annotation|volume|image|img|train|test)",
    re.IGNORECASE,
)
SEPARATORS = "_-. "
WORDED = re.compile(r".[^_\-. ]*[a-zA-Z]")
NUMBER_LAST = re.compile(r"[_\-. ](?:[0-9]+|[a-zA-Z]{3,}[0-9]{2,})\Z")
BAND_NAME = re.compile(r"(?:b|band|ch|channel)[_\-. ]?[0-9]{1,2}[a-z]?", re.IGNORECASE)
BAND = re.compile(r"[_\-. ](?:(?:b|band|ch|channel)[0-9]{1,2}[a-z]?|[a-z]+)", re.IGNORECASE)


def says_mask(name: str) -> bool:
    """Whether a word of a name says mask, label, annotation and the like."""
    words = re.findall(r"[a-z]+", name.lower())
    return bool({"gt", "gts"} & {*words}) or any(hint in word for hint in MASK_WORDS for word in words)


def is_layout_word(name: str) -> bool:
    """Whether a folder's name says what lies in it, image, mask, training or test, and is no item's own."""
    words = "|".join(("train", "test", "val", "dev", "gt", *IMAGE_WORDS, *MASK_WORDS))
    return re.search(words, name, re.IGNORECASE) is not None


def endings_of(stem: str) -> list[str]:
    """Endings of a name, longest first, from a separator on: words, or the number of a channel.

    One that ends in a number is none, unless known: of TCGA-A9K0-01Z-DX1_2 that is the second image of a patient, of
    patient007_frame12 a moment.
    """
    places = [place for place, letter in enumerate(stem) if letter in SEPARATORS and place]
    endings = [stem[place:] for place in places]
    return [
        one
        for one in endings
        if re.fullmatch("_[0-9]{4}", one)
        or (WORDED.match(one) and (not NUMBER_LAST.search(one) or BAND.fullmatch(one) or says_mask(one)))
    ]


def shared_beginning(texts: Sequence[str]) -> str:
    """The letters that all texts begin with."""
    first, last = min(texts), max(texts)
    same = next(
        (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:same]
