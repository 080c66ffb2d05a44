"""The same square with a hole, or the same pixels, in every format; drawn here, read as one thing."""

from __future__ import annotations

import base64
import itertools
import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_hosts import SHAPE, rle_contract
from pycocotools import mask as coco_masks

from submissions.host.masks import MaskReader, Truth
from submissions.host.polygons import draw, read_document
from submissions.host.polygons.coco import decode_counts
from submissions.host.polygons.outlines import Outline

OUTSIDE = [[10, 5], [30, 5], [30, 25], [10, 25]]
HOLE = [[15, 10], [20, 10], [20, 15], [15, 15]]
LINE = {"shape_type": "line", "label": "scratch", "points": [[0, 0], [5, 5]]}


def square() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[5:26, 10:31] = True
    return mask


def with_hole() -> np.ndarray:
    mask = square()
    mask[11:15, 16:20] = False  # the hole's own line belongs to the object
    return mask


def dotted() -> np.ndarray:
    """The square, and single pixels beside it."""
    mask = square()
    mask[30, 40], mask[32, 45] = True, True
    return mask


def between_corners(*holes: bool) -> np.ndarray:
    """OUTSIDE, and HOLE, where places count from the outer corner of the first pixel."""
    mask = np.zeros(SHAPE, bool)
    mask[5:25, 10:30] = True
    mask[10:15, 15:20] = not holes
    return mask


def png_text(pixels: np.ndarray, *, zipped: bool = False) -> str:
    data = cv2.imencode(".png", pixels.astype(np.uint8) * 255)[1].tobytes()
    return base64.b64encode(zlib.compress(data) if zipped else data).decode()


def labelme(*shapes: dict[str, Any]) -> dict[str, Any]:
    return {"shapes": list(shapes), "imagePath": "..\\a.jpg", "imageHeight": SHAPE[0], "imageWidth": SHAPE[1]}


def counts(mask: np.ndarray, *, packed: bool) -> dict[str, Any]:
    if packed:
        text = coco_masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
        return {"size": list(SHAPE), "counts": text.decode() if isinstance(text, bytes) else text}
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int), [1 - int(flat[-1])]])))
    return {"size": list(SHAPE), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


def brush(mask: np.ndarray) -> list[int]:
    """Label Studio's bytes of a mask: each run of a colour or of nothing as one length of 16 bits and one value."""
    values = np.repeat(mask.ravel() * 255, 4).tolist()
    lengths = [(value, len(list(run))) for value, run in itertools.groupby(values)]
    bits = f"{len(values):032b}{7:05b}" + "".join(f"{width - 1:04b}" for width in (3, 4, 8, 16))
    for value, length in lengths:
        literal = length == 4  # written one by one, as is what changes often
        bits += f"0{0b00:02b}{length - 1:03b}" + f"{value:08b}" * length if literal else (
            f"1{0b11:02b}{length - 1:016b}{value:08b}"
        )  # fmt: skip
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def in_percent(points: list[list[int]]) -> list[list[float]]:
    return [[100 * x / SHAPE[1], 100 * y / SHAPE[0]] for x, y in points]


def label_studio(kind: str, **value: Any) -> list[dict[str, Any]]:
    value[f"{kind}labels"] = ["thing"]
    item = {"type": f"{kind}labels", "original_height": SHAPE[0], "original_width": SHAPE[1], "value": value}
    done = [{"was_cancelled": True, "result": []}, {"result": [item, {"type": "choices", "value": {}}]}]
    return [{"annotations": done, "data": {"image": "/data/upload/1/0123abcd-a.png"}}]


def coco(**annotation: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "images/a.png", "height": SHAPE[0], "width": SHAPE[1]}],
        "categories": [{"id": 3, "name": "thing"}],
        "annotations": [{"id": 9, "image_id": 1, "category_id": 3, **annotation}],
    }


def via(shape: dict[str, Any]) -> dict[str, Any]:
    region = {"shape_attributes": shape, "region_attributes": {"kind": {"thing": True, "other": False}}}
    return {"_via_img_metadata": {"a.png123": {"filename": "a.png", "regions": [region]}}}


POLYGON = [OUTSIDE[0], OUTSIDE[1], OUTSIDE[2], OUTSIDE[3]]


def imagescope(layer: str, *regions: tuple[str, list[list[int]]]) -> str:
    """A document of one layer; regions: attributes and vertices."""
    drawn = ""
    for told, points in regions:
        vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
        drawn += f"<Region {told}><Vertices>{vertices}</Vertices></Region>"
    return f'<?xml version="1.0"?><Annotations><Annotation {layer}<Regions>{drawn}</Regions></Annotation></Annotations>'


def asap(kind: str, points: list[list[int]], group: str = "thing") -> str:
    """A document of one annotation, its places not in their order."""
    told = [f'<Coordinate Order="{n}" X="{x}.0" Y="{y}.0"/>' for n, (x, y) in enumerate(points)]
    return (
        f'<ASAP_Annotations><Annotations><Annotation Name="a" Type="{kind}" PartOfGroup="{group}"><Coordinates>'
        f"{''.join(reversed(told))}</Coordinates></Annotation></Annotations></ASAP_Annotations>"
    )


FLAT = [number for point in OUTSIDE for number in point]
CROPPED = square()[5:26, 10:31]
FORMATS: dict[str, tuple[str, Any, np.ndarray]] = {
    "labelme polygon": ("a.json", labelme({"label": "thing", "points": OUTSIDE}), square()),
    "labelme rectangle": (
        "a.json", labelme({"label": "thing", "points": [[30, 25], [10, 5]], "shape_type": "rectangle"}), square()
    ),
    "labelme mask": (
        "a.json",
        labelme({"label": "thing", "points": [[10, 5], [30, 25]], "shape_type": "mask", "mask": png_text(CROPPED)}),
        square(),
    ),
    "COCO polygon": ("all.json", coco(segmentation=[FLAT]), between_corners()),
    "COCO counts": ("all.json", coco(segmentation=counts(with_hole(), packed=False), iscrowd=1), with_hole()),
    "COCO packed counts": ("all.json", coco(segmentation=counts(with_hole(), packed=True)), with_hole()),
    "VIA polygon": (
        "via.json",
        via({"name": "polygon", "all_points_x": [x for x, _ in OUTSIDE], "all_points_y": [y for _, y in OUTSIDE]}),
        square(),
    ),
    "VIA table": (
        "via.csv",
        'filename,region_shape_attributes,region_attributes\nb.png,"{}","{}"\na.png,"{""name"":""rect"",""x"":10,""y"":5,'
        '""width"":20,""height"":20}","{""kind"":""thing""}"\n',
        square(),
    ),
    "VIA rectangle": ("via.json", via({"name": "rect", "x": 10, "y": 5, "width": 20, "height": 20}), square()),
    "QuPath": (
        "a.geojson",
        {"type": "FeatureCollection", "features": [{
            "type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[*OUTSIDE, OUTSIDE[0]], HOLE]},
            "properties": {"objectType": "annotation", "classification": {"name": "thing", "color": [1, 2, 3]}}}]},
        between_corners(True),
    ),
    "Supervisely polygon": (
        "a.json",
        {"size": {"height": SHAPE[0], "width": SHAPE[1]}, "objects": [{
            "classTitle": "thing", "geometryType": "polygon", "points": {"exterior": OUTSIDE, "interior": [HOLE]}}]},
        with_hole(),
    ),
    "Supervisely bitmap": (
        "a.json",
        {"size": {"height": SHAPE[0], "width": SHAPE[1]}, "objects": [{
            "classTitle": "thing", "geometryType": "bitmap",
            "bitmap": {"origin": [10, 5], "data": png_text(CROPPED, zipped=True)}}]},
        square(),
    ),
    "JSON lines": (
        "all.jsonl", {"id": "a", "annotations": [{"type": "thing", "coordinates": [OUTSIDE, HOLE]}]}, with_hole()
    ),
    "CVAT polygon": (
        "all.xml",
        f'<annotations><image name="d/a.png" width="{SHAPE[1]}" height="{SHAPE[0]}"><polygon label="thing" '
        'points="10.0,5.0;30,5;30,25;10,25" z_order="0"/></image></annotations>',
        between_corners(),
    ),
    "CVAT mask": (
        "all.xml",
        f'<annotations><image name="a.png" width="{SHAPE[1]}" height="{SHAPE[0]}"><mask label="thing" left="10" '
        'top="5" width="21" height="21" rle="0, 441"/></image></annotations>',
        square(),
    ),
    "ImageScope regions": (
        "a.xml",
        imagescope('Name="thing">', ('Type="0"', OUTSIDE), ('Type="0" NegativeROA="1"', HOLE)),
        between_corners(True),
    ),
    "ImageScope rectangle, MoNuSAC's name": (
        "a.xml",
        imagescope('Name=""><Attributes><Attribute Name="thing"/></Attributes>', ('Type="1"', OUTSIDE[::2])),
        between_corners(),
    ),
    "ASAP polygon": ("a.xml", asap("Polygon", OUTSIDE), between_corners()),
    "Label Studio polygon": ("all.json", label_studio("polygon", points=in_percent(OUTSIDE)), between_corners()),
    "Label Studio rectangle": (
        "all.json",
        label_studio("rectangle", x=1000 / SHAPE[1], y=500 / SHAPE[0], width=2000 / SHAPE[1], height=2000 / SHAPE[0]),
        between_corners(),
    ),
    "Label Studio brush": ("all.json", label_studio("brush", format="rle", rle=brush(dotted())), dotted()),
    "Darwin": (
        "a.json",
        {"version": "2.0", "item": {"name": "a.png", "slots": [{"width": SHAPE[1], "height": SHAPE[0]}]},
         "annotations": [{"name": "thing", "polygon": {"paths": [
             [{"x": x, "y": y} for x, y in ring] for ring in (OUTSIDE, HOLE)]}}]},
        between_corners(True),
    ),
    "Darwin 1": (
        "a.json",
        {"image": {"filename": "a.png", "width": SHAPE[1], "height": SHAPE[0]},
         "annotations": [{"name": "thing", "polygon": {"path": [{"x": x, "y": y} for x, y in OUTSIDE]}}]},
        between_corners(),
    ),
    "Datumaro": (
        "default.json",
        {"categories": {"label": {"labels": [{"name": "other"}, {"name": "thing"}]}},
         "items": [{"id": "images/a", "image": {"path": "a.png", "size": [*SHAPE]},
                    "annotations": [{"type": "polygon", "label_id": 1, "points": FLAT}]}]},
        between_corners(),
    ),
    "SuperAnnotate": (
        "a.json",
        {"metadata": {"name": "a.png", "width": SHAPE[1], "height": SHAPE[0]},
         "instances": [{"type": "polygon", "className": "thing", "points": FLAT, "exclude": [
             [number for point in HOLE for number in point]]}]},
        between_corners(True),
    ),
    "SA-1B": (
        "a.json",
        {"image": {"image_id": 1, "file_name": "a.png", "width": SHAPE[1], "height": SHAPE[0]},
         "annotations": [{"id": 1, "segmentation": counts(with_hole(), packed=True)}]},
        with_hole(),
    ),
    "ISAT": (
        "a.json",
        {"info": {"name": "a.png", "width": SHAPE[1], "height": SHAPE[0]},
         "objects": [{"category": "thing", "group": 1, "segmentation": OUTSIDE}]},
        between_corners(),
    ),
    "objects in a list of images": (
        "all.json",
        {"images": [{"file_name": "b.tif", "annotations": []}, {"file_name": "a.tif", "width": SHAPE[1],
                     "height": SHAPE[0], "annotations": [{"class": "thing", "segmentation": FLAT}]}]},
        between_corners(),
    ),
    "YOLO": (
        "a.txt", "0 " + " ".join(f"{x / SHAPE[1]:.8f} {y / SHAPE[0]:.8f}" for x, y in OUTSIDE) + "\n", between_corners()
    ),
}  # fmt: skip


def read(folder: Path, file: str, **masks: Any) -> Truth:
    pattern = file.replace("a.", "{id}.") if file.startswith("a.") else file
    row = {"image_id": "a", "id": "a", "path": "images/a.png", "page": -1}
    given = {"kind": "polygons", "file": pattern, **masks}
    competition = rle_contract(masks=given, images={"train": "images/{id}.png"}, tables=[], submission=None, group=None)
    return MaskReader(competition, folder).read(row, (1, *SHAPE))


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_read_pixel_for_pixel(name: str, tmp_path: Path) -> None:
    file, document, expected = FORMATS[name]
    (tmp_path / file).write_text(document if isinstance(document, str) else json.dumps(document))
    own = {"YOLO": "0", "SA-1B": "object"}.get(name)
    meaning = {"polygon_classes": {own: "thing"}} if own else {}
    np.testing.assert_array_equal(read(tmp_path, file, **meaning).planes[0, 0], expected)


def test_polygons_of_coco_are_those_of_pycocotools() -> None:
    rng = np.random.default_rng(0)
    for count in [3, 4, 7, 12] * 8:
        ring = (rng.random((count, 2)) * 1.6 - 0.3) * SHAPE[::-1]
        ring = np.round(ring) if count == 4 else ring
        runs = coco_masks.frPyObjects([ring.ravel().tolist()], *SHAPE)
        drawn = draw(Outline("thing", [[ring]], corners=True), SHAPE, "here")
        np.testing.assert_array_equal(drawn, coco_masks.decode(runs)[..., 0])


def test_tracks_name_frames(tmp_path: Path) -> None:
    shape = '<polygon frame="{}" outside="{}" points="10,5;30,5;30,25;10,25" z_order="0"/>'
    text = f'<annotations><track id="0" label="thing">{shape.format(7, 0)}{shape.format(8, 1)}</track></annotations>'
    (tmp_path / "all.xml").write_text(text)
    entries = read_document(tmp_path / "all.xml")
    assert list(entries) == ["frame_000007"]
    (outline,) = entries["frame_000007"].outlines
    np.testing.assert_array_equal(draw(outline, SHAPE, "a"), between_corners())


def test_round_shapes(tmp_path: Path) -> None:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    lined = (rows - 20) ** 2 + (columns - 25) ** 2 <= 8.5**2  # the line itself belongs to it
    centred = (rows - 19.5) ** 2 + (columns - 24.5) ** 2 <= 8**2
    circle = {"label": "thing", "points": [[25, 20], [25, 28]], "shape_type": "circle"}
    cvat = '<ellipse label="thing" cx="25" cy="20" rx="8" ry="8"/>'
    documents = {
        "a.json": json.dumps(labelme(circle)),
        "via.json": json.dumps(via({"name": "ellipse", "cx": 25, "cy": 20, "rx": 8, "ry": 8, "theta": 0.3})),
        "c.xml": f'<annotations><image name="a.png" width="56" height="40">{cvat}</image></annotations>',
        "a.xml": imagescope('Name="thing">', ('Type="2"', [[17, 12], [33, 28]])),
    }
    for file, text in documents.items():
        (tmp_path / file).write_text(text)
        drawn, disc = read(tmp_path, file).planes[0, 0], centred if file.endswith("xml") else lined
        assert (drawn & disc).sum() / (drawn | disc).sum() > 0.93


def test_what_has_no_area_is_named_unless_it_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(labelme(LINE, {"label": "thing", "points": OUTSIDE})))
    with pytest.raises(ValueError, match=r"id a: scratch: a 'line', which has no area"):
        read(tmp_path, "a.json")
    left_out = read(tmp_path, "a.json", polygon_classes={"scratch": []})
    np.testing.assert_array_equal(left_out.planes[0, 0], square())
    for text in (imagescope('Name="thing">', ('Type="4"', OUTSIDE[:2])), asap("Dot", OUTSIDE[:1])):
        (tmp_path / "a.xml").write_text(text)
        with pytest.raises(ValueError, match=r"id a: thing: a '(region of 2 points|Dot)', which has no area"):
            read(tmp_path, "a.xml")
    (tmp_path / "a.xml").write_text(asap("Polygon", OUTSIDE, group="None"))
    assert [one.name for one in read_document(tmp_path / "a.xml")[""].outlines] == ["object"]
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(ValueError, match="a 'box', which has no area"):
        read(tmp_path, "a.txt", polygon_classes={"0": "thing"})
    (tmp_path / "all.json").write_text(json.dumps(coco(bbox=[1, 2, 3, 4])))
    with pytest.raises(ValueError, match="annotation 9 has a box but no segmentation"):
        read(tmp_path, "all.json")


def test_label_studio_ellipses_and_what_it_holds_without_outlines(tmp_path: Path) -> None:
    ellipse = {"x": 50, "y": 50, "radiusX": 800 / SHAPE[1], "radiusY": 800 / SHAPE[0]}
    (tmp_path / "all.json").write_text(json.dumps(label_studio("ellipse", **ellipse)))
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disc = (rows - 19.5) ** 2 + (columns - 27.5) ** 2 <= 8**2
    drawn = read(tmp_path, "all.json").planes[0, 0]
    assert (drawn & disc).sum() / (drawn | disc).sum() > 0.93
    for document, words in (
        (label_studio("brush", rle=[1, 2]), "a brush of 2 bytes, which end inside its runs"),
        (label_studio("brush", rle=brush(square())[:-4]), "which end inside its runs"),
        (label_studio("brush", rle=brush(square()[1:])), "a brush of 8736 values, expected 8960 for 40 x 56 pixels"),
        (label_studio("brush", rle=[300]), "no list of bytes"),
        (label_studio("rectangle", rotation=30), "a 'turned rectangle', which has no area"),
        (label_studio("keypoint", x=1, y=2), "a 'keypoint', which has no area"),
    ):
        (tmp_path / "all.json").write_text(json.dumps(document))
        with pytest.raises(ValueError, match=words):
            read(tmp_path, "all.json")


def test_several_documents_of_some_images_each_are_read_as_one(tmp_path: Path) -> None:
    other = coco(segmentation=[FLAT])
    other["images"][0]["file_name"] = "images/b.png"
    (tmp_path / "all_val.json").write_text(json.dumps(coco(segmentation=[FLAT])))
    (tmp_path / "all_train.json").write_text(json.dumps(other))
    np.testing.assert_array_equal(read(tmp_path, "all_{part:train|val}.json").planes[0, 0], between_corners())
    (tmp_path / "all_train.json").write_text(json.dumps(coco(segmentation=[FLAT])))
    with pytest.raises(ValueError, match=r"all_val\.json: names images/a, and so does another document"):
        read(tmp_path, "all_{part:train|val}.json")


def test_a_crowd_of_instances_is_not_scored(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text(json.dumps(coco(segmentation=[FLAT], iscrowd=1)))
    truth = read(tmp_path, "all.json", instances=True)
    assert truth.valid is not None and truth.instances is not None
    np.testing.assert_array_equal(truth.valid[0], ~between_corners())
    assert not truth.instances.any()


def test_another_size_and_a_missing_document_are_named(tmp_path: Path) -> None:
    document = coco(segmentation=[FLAT])
    document["images"][0]["height"] = 99
    (tmp_path / "all.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r"drawn on an image of \(99, 56\)"):
        read(tmp_path, "all.json")
    with pytest.raises(FileNotFoundError, match=r"a\.json: no such file"):
        read(tmp_path, "a.json")
    assert not read(tmp_path, "a.json", missing="empty").planes.any()


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("a.json", "{", "Expecting"),
        ("a.json", "[1]", "expected COCO"),
        ("a.json", '{"other": 1}', r"a document with the keys \['other'\]"),
        ("a.json", '{"shapes": [{"points": []}]}', "'label'"),
        ("a.txt", "0 0.1 0.2\n", "line 1: .*at least three points"),
        ("a.txt", "0 0 0 9 0 9 9\n", "coordinates from 0.0 to 9.0"),
        ("a.txt", "0 a b\n", "could not convert"),
        ("a.csv", "id,rle\n1,2\n", "'filename'"),
        ("a.csv", "filename,region_shape_attributes\na.png,x\n", "Expecting value"),
        ("a.xml", "<annotations>", "no element found"),
        ("a.xml", "<other/>", "the XML's root is 'other'"),
        ("a.xml", '<!DOCTYPE x [<!ENTITY a "b">]><annotations/>', "defines entities"),
    ],
)
def test_broken_documents_are_named(tmp_path: Path, file: str, text: str, words: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        read(tmp_path, file)
    assert file in str(caught.value)


def test_pixels_and_counts_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"counts add up to 5 pixels, expected 2 x 3"):
        decode_counts({"size": [2, 3], "counts": [2, 3]}, "annotation 1")
    np.testing.assert_array_equal(
        decode_counts({"size": [2, 3], "counts": [1, 2, 3]}, ""), [[False, True, False], [True, False, False]]
    )
    bitmap = {"origin": [50, 5], "data": png_text(CROPPED, zipped=True)}
    document = {"size": {"height": SHAPE[0], "width": SHAPE[1]}, "objects": [
        {"classTitle": "thing", "geometryType": "bitmap", "bitmap": bitmap}]}  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="columns 50 to 71, in an image of"):
        read(tmp_path, "a.json")
    outline = read_document(tmp_path / "a.json")[""].outlines[0]
    assert draw(outline, (90, 90), "x").sum() == CROPPED.sum()


@pytest.mark.parametrize(
    ("ring", "said"),
    [
        ([[60, 3], [70, 3], [70, 9]], "x from 60 to 70, y from 3 to 9"),
        ([[2.35, 48.85], [2.36, 48.85], [2.36, 48.86]], "x from 2.35 to 2.36, y from 48.85 to 48.86"),
        ([[2.35, 8.85], [2.36, 8.85], [2.36, 8.86]], "x from 2.35 to 2.36"),
        ([[50, 3], [70, 3], [70, 9]], ""),
    ],
    ids=["beside it", "a map", "a map, inside by chance", "in part"],
)
def test_outlines_none_of_which_lies_in_the_image_are_refused(
    ring: list[list[float]], said: str, tmp_path: Path
) -> None:
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    contract = rle_contract(masks={"kind": "polygons", "file": "{id}.geojson"}, classes=["object"], tables=[])
    reader = MaskReader(contract, tmp_path)
    row = {"image_id": "a", "path": "a.png"}
    if not said:
        assert reader.read(row, (1, *SHAPE)).planes.any()
        return
    with pytest.raises(
        ValueError, match=f"id a: all outlines lie outside of the image of 40 x 56 .*{said}.*convert them"
    ):
        reader.read(row, (1, *SHAPE))


def test_xbd_names_damage_or_kind_and_has_polygons_in_pixels_beside_those_on_the_map(tmp_path: Path) -> None:
    told: list[tuple[dict[str, str], str]] = [
        ({"feature_type": "building"}, "POLYGON ((4 3, 20 3, 20 12, 4 12, 4 3), (6 5, 9 5, 9 8, 6 8, 6 5))"),
        ({"feature_type": "building", "subtype": "destroyed"}, "MULTIPOLYGON (((30 20, 40 20, 40 30, 30 20)))"),
        ({"feature_type": "building", "subtype": "minor-damage"}, "POLYGON EMPTY"),
    ]
    features = {kind: [{"properties": words, "wkt": text} for words, text in told] for kind in ("lng_lat", "xy")}
    about = {"width": SHAPE[1], "height": SHAPE[0], "img_name": "fire_00000001_post_disaster.png"}
    (tmp_path / "a.json").write_text(json.dumps({"features": features, "metadata": about}))
    ((name, entry),) = read_document(tmp_path / "a.json").items()
    assert (name, entry.size) == ("fire_00000001_post_disaster", SHAPE)
    whole, torn, none = entry.outlines
    assert [one.name for one in entry.outlines] == ["building", "destroyed", "minor-damage"]
    expected = np.zeros(SHAPE, bool)
    expected[3:12, 4:20] = True
    expected[5:8, 6:9] = False
    np.testing.assert_array_equal(draw(whole, SHAPE, ""), expected)
    assert draw(torn, SHAPE, "").sum() > 40 and "which has no area" in none.fault
