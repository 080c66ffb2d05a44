"""The contract's form of the answer: what does not go together is refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from drawn_hosts import rle_contract

from submissions.host.contract.answer_form import placed
from submissions.rle.codec import Dialect

VOLUMES = {"kind": "volumes", "train": "train/{id}.nii", "test": "test/{id}.nii"}
IMAGES = {"train": "train/{id}.png", "test": "test/{id}.png"}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"kind": "images", "files": {"path": "{id}.jpg"}}, "images are written without loss"),
        ({"kind": "volumes", "files": {"path": "{id}.png"}}, "volumes are written without loss"),
        ({"kind": "images", "files": {"path": "../{id}.png"}}, "inside the data folder"),
        ({"kind": "images", "files": {"values": {"thing": 300}}}, "expected 0 to 255"),
        ({"kind": "images", "files": {"values": {"other": 3}}}, r"files.values names \['other'\]"),
        ({"kind": "images", "files": {"objects": True, "values": {"thing": 1}}}, "leave out values"),
        ({"kind": "images", "files": {"dtype": "int32"}}, r"\.png holds uint16 at most"),
        ({"kind": "images", "files": {"path": "{id}.bmp", "dtype": "uint16"}}, r"uint16: \.bmp holds uint8 at most"),
        ({"kind": "images", "files": {"objects": True}}, "uint8 holds 255 objects of an image"),
        ({"files": {"path": "x/{id}.png"}}, "submission.files says nothing where submission.kind is 'table'"),
        ({"kind": "images", "coco": {"box": True}}, "submission.coco says nothing where submission.kind is 'images'"),
        ({"kind": "volumes", "files": {"path": "{id}.tif"}}, "needs images.kind 'volumes'"),
        ({"kind": "coco", "coco": {"categories": {"other": 3}}}, r"coco.categories names \['other'\]"),
    ],
)
def test_forms_that_do_not_fit_images(form: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rle_contract(images=IMAGES, submission=form)


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"kind": "images"}, "write {z}, one file per slice"),
        ({"kind": "coco"}, "holds objects of images"),
        ({"size": [3, 4]}, "submission.size is a size of images, and images.kind"),
        ({"kind": "volumes", "files": {"path": "{id}.tif"}, "size": [3, 4]}, "volumes are handed in on their own grid"),
    ],
)
def test_forms_that_do_not_fit_volumes(form: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rle_contract(images=VOLUMES, submission=form)


def test_two_classes_of_one_value_and_objects_of_two_classes() -> None:
    with pytest.raises(ValueError, match="two classes of one value"):
        rle_contract(classes=["a", "b"], submission={"kind": "images", "files": {"values": {"a": 1, "b": 1}}})
    with pytest.raises(ValueError, match="objects of one class"):
        rle_contract(classes=["a", "b"], submission={"kind": "images", "files": {"objects": True, "dtype": "uint16"}})
    both = {"kind": "images", "files": {"path": "{class}_{id}.png", "values": {"a": 1, "b": 1}}}
    form = rle_contract(classes=["a", "b"], submission=both).submission
    assert form is not None and form.files.by_class and not form.wants_objects and not form.has_table


def test_a_span_is_filled_from_the_row_and_a_missing_column_is_named() -> None:
    dialect = Dialect(kind="wkt", span=("{Xmax}", "-1"))
    assert placed(dialect, {"Xmax": "0.009"}).span == ("0.009", "-1")
    assert placed(Dialect(), {}) == Dialect()
    with pytest.raises(ValueError, match=r"dialect.span: template '{Xmax}' cannot be filled: no field \['Xmax'\]"):
        placed(dialect, {"id": "x"})
