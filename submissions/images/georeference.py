"""Where does a GeoTIFF lie on the map? Its header takes places of the map to pixels (OGC 19-008r4, chapter 7)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from submissions.images.damaged import naming

SCALE, TIEPOINT, TRANSFORMATION, KEYS = 33550, 33922, 34264, 34735  # tags
RASTER_TYPE, OF_POINTS = 1025, 2  # a key, and its value where pixels' centres are named, not their corners

F64 = npt.NDArray[np.float64]


def pixels_of_map(path: Path) -> F64 | None:
    """float64 (2, 3): takes (x, y, 1) on the map to (column, row) from the outer corner of the first pixel.

    None for another file, for a header without these tags, and for one that cannot be read or turned round.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        with naming(path), tifffile.TiffFile(path) as tiff:
            tags = {tag.code: tag.value for tag in tiff.pages.first.tags}
        matrix = _map_of_pixels(tags)
        return None if matrix is None else np.asarray(np.linalg.inv(matrix)[:2], np.float64)
    except (OSError, ValueError):
        return None


def _map_of_pixels(tags: dict[int, tuple[float, ...]]) -> F64 | None:
    """float64 (3, 3): takes (column, row, 1) to (x, y, 1)."""
    matrix = np.eye(3)
    if TRANSFORMATION in tags:
        matrix[:2] = np.array(tags[TRANSFORMATION], float).reshape(4, 4)[:2, [0, 1, 3]]
    elif SCALE in tags and TIEPOINT in tags:
        (across, down), (col, row, _, x, y) = tags[SCALE][:2], tags[TIEPOINT][:5]
        matrix[:2] = [[across, 0, x - across * col], [0, -down, y + down * row]]
    else:
        return None
    keys = np.array(tags.get(KEYS, ()), int).reshape(-1, 4)
    of_points = any(key[0] == RASTER_TYPE and key[3] == OF_POINTS for key in keys)
    return matrix @ np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]) if of_points else matrix
