"""Places on the map become pixels as a GeoTIFF's header says, and outlines drawn there become masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from drawn_hosts import SHAPE, rle_contract

from submissions.host.masks import MaskReader
from submissions.images.georeference import KEYS, SCALE, TIEPOINT, TRANSFORMATION, pixels_of_map

STEP, LEFT, TOP = 2.7e-6, -115.19, 36.2
NORTH_UP = {SCALE: (STEP, STEP, 0.0), TIEPOINT: (0, 0, 0, LEFT, TOP, 0.0)}
MIDDLE = {SCALE: (STEP, STEP, 0.0), TIEPOINT: (10, 20, 0, LEFT + 10 * STEP, TOP - 20 * STEP, 0.0)}
TURNED = {TRANSFORMATION: (0, STEP, 0, LEFT, STEP, 0, 0, TOP, 0, 0, 0, 0, 0, 0, 0, 1.0)}  # a column is a step north
POINTS = {SCALE: (STEP, STEP, 0.0), TIEPOINT: (0, 0, 0, LEFT + STEP / 2, TOP - STEP / 2, 0.0),
          KEYS: (1, 1, 0, 1, 1025, 0, 1, 2)}  # fmt: skip


def write_tiff(path: Path, tags: dict[int, tuple[float, ...]]) -> None:
    extra: list[Any] = [(code, "H" if code == KEYS else "d", len(value), value, True) for code, value in tags.items()]
    tifffile.imwrite(path, np.zeros(SHAPE, np.uint16), extratags=extra)


@pytest.mark.parametrize("tags", [NORTH_UP, MIDDLE, POINTS], ids=["corner", "tie point within", "pixels are points"])
def test_places_on_the_map_become_pixels(tags: dict[int, tuple[float, ...]], tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", tags)
    found = pixels_of_map(tmp_path / "a.tif")
    assert found is not None
    for col, row in ((0, 0), (5, 3), (56, 40)):
        np.testing.assert_allclose(found @ [LEFT + col * STEP, TOP - row * STEP, 1], [col, row], atol=1e-4)


def test_a_turned_image_has_a_matrix(tmp_path: Path) -> None:
    write_tiff(tmp_path / "a.tif", TURNED)
    found = pixels_of_map(tmp_path / "a.tif")
    assert found is not None
    np.testing.assert_allclose(found @ [LEFT + 7 * STEP, TOP + 3 * STEP, 1], [3, 7], atol=1e-4)


def test_other_files_lie_nowhere(tmp_path: Path) -> None:
    write_tiff(tmp_path / "plain.tif", {})
    write_tiff(tmp_path / "flat.tif", {SCALE: (0.0, 0.0, 0.0), TIEPOINT: (0, 0, 0, LEFT, TOP, 0.0)})
    (tmp_path / "torn.tif").write_bytes(b"II*\0")
    for name in ("plain.tif", "flat.tif", "torn.tif", "a.png"):
        assert pixels_of_map(tmp_path / name) is None


def test_outlines_on_the_map_of_a_geotiff_are_masks_and_those_elsewhere_are_refused(tmp_path: Path) -> None:
    """SpaceNet's: GeoJSON in longitude and latitude beside images of that projection."""
    write_tiff(tmp_path / "a.tif", NORTH_UP)
    corners = [(5, 3), (20, 3), (20, 12), (5, 12), (5, 3)]
    for name, shift in (("a", 0), ("far", 900)):
        ring = [[LEFT + (col + shift) * STEP, TOP - row * STEP, 0.0] for col, row in corners]
        feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
        (tmp_path / f"{name}.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    contract = rle_contract(masks={"kind": "polygons", "file": "{id}.geojson"}, classes=["object"], tables=[])
    reader = MaskReader(contract, tmp_path)
    wanted = np.zeros(SHAPE, bool)
    wanted[3:12, 5:20] = True
    truth = reader.read({"image_id": "a", "path": "a.tif", "page": -1}, (1, *SHAPE))
    np.testing.assert_array_equal(truth.planes[0, 0], wanted)
    with pytest.raises(ValueError, match=r"id far: all outlines lie outside of the image.*x from 905 to 920"):
        reader.read({"image_id": "far", "path": "a.tif", "page": -1}, (1, *SHAPE))
