"""Slides through OpenSlide: drawn in the layouts of Hamamatsu (NDPI, VMS), 3DHISTECH (MRXS) and Leica (SCN)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from submissions.images.opening import Reading, open_image, open_mask, probe_image
from submissions.images.readers import valid_pixels

pytest.importorskip("openslide")

FINE = np.add.outer(np.arange(300), np.arange(420))[..., None] % 250 * np.ones(3)


def write_ndpi(path: Path) -> None:
    """Two levels, each one JPEG strip, with the tags by which Hamamatsu's files are known; 20x, 0.5 µm a pixel."""
    with tifffile.TiffWriter(path) as tiff:
        for k in range(2):
            level = FINE[:: 2**k, :: 2**k].astype(np.uint8)
            tags = [(65420, "I", 1, 1, False), (65421, "f", 1, 20.0 / 2**k, False)]
            tags += [(number, "i", 1, 0, False) for number in (65422, 65423, 65424)]
            tiff.write(
                level, photometric="rgb", compression="jpeg", compressionargs={"level": 98}, rowsperstrip=len(level),
                resolution=(20000 / 2**k, 20000 / 2**k), resolutionunit="CENTIMETER", extratags=tags, metadata=None,
            )  # fmt: skip


def test_a_slide_has_levels_and_micrometres(tmp_path: Path) -> None:
    write_ndpi(tmp_path / "a.ndpi")
    info = probe_image(tmp_path / "a.ndpi")
    assert info.levels[:2] == ((300, 420), (150, 210)) and info.pixel_size_um == pytest.approx(0.5)
    reader = open_image(tmp_path / "a.ndpi")
    assert reader.shape == (1, 300, 420, 3)
    window = reader.read(0, slice(40, 90), slice(200, 260)).astype(float)
    assert np.abs(window - FINE[40:90, 200:260]).mean() < 4
    reader.close()
    half = open_image(tmp_path / "a.ndpi", reading=Reading(level=1))
    assert half.shape == (1, 150, 210, 3)
    assert probe_image(tmp_path / "a.ndpi", reading=Reading(level=1)).pixel_size_um == pytest.approx(1.0)
    assert np.abs(half.read(0, slice(20, 45), None).astype(float) - FINE[40:90:2, ::2]).mean() < 4


def smooth() -> np.ndarray:
    """uint8 (256, 384, 3), which JPEG hardly changes."""
    rows, cols = np.mgrid[:256, :384]
    return np.stack([rows, cols * 255 // 384, (rows + cols) // 4], axis=2).astype(np.uint8)


def write_vms(path: Path) -> None:
    """A list of JPEG files with restart markers, two in a row of blocks (https://openslide.org/formats/hamamatsu)."""
    height, width = smooth().shape[:2]
    for name, step in (("Image", 1), ("Map", 4), ("Macro", 8)):
        part = Image.fromarray(smooth()[::step, ::step])
        part.save(path.with_name(f"{name}.jpg"), quality=98, subsampling=0, restart_marker_blocks=width // step // 16)
    lines = ["[Virtual Microscope Specimen]", "NoLayers=1", "NoJpegColumns=1", "NoJpegRows=1", "ImageFile=Image.jpg"]
    lines += ["MapFile=Map.jpg", "MacroImage=Macro.jpg", f"PhysicalWidth={width * 250}"]
    path.write_text("\n".join([*lines, f"PhysicalHeight={height * 250}", "SourceLens=40"]) + "\n")


def write_mrxs(path: Path, side: int = 128, levels: int = 2) -> None:
    """A small picture, and a folder with an INI, an index of pages and JPEG tiles (https://openslide.org/formats/mirax)."""
    down, across = smooth().shape[0] // side, smooth().shape[1] // side
    data, pages = b"", []
    for level in range(levels):
        step, entries = 2**level, []
        for y in range(0, down, step):
            for x in range(0, across, step):
                tile = np.zeros((step * side, step * side, 3), np.uint8)
                part = smooth()[y * side : (y + step) * side, x * side : (x + step) * side]
                tile[: part.shape[0], : part.shape[1]] = part
                tile = cv2.resize(tile, (side, side), interpolation=cv2.INTER_AREA)[..., ::-1]
                packed = cv2.imencode(".jpg", np.ascontiguousarray(tile), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
                entries.append((y * across + x, len(data), len(packed), 0))
                data += packed
        pages.append(entries)
    head = b"01.02" + b"0123456789ABCDEF" * 2
    first, body, starts = len(head) + 8 + 4 * levels, b"", []
    for entries in pages:
        starts.append(first + len(body))
        body += struct.pack("<iiii", 0, starts[-1] + 8, len(entries), 0)
        body += b"".join(struct.pack("<iiii", *entry) for entry in entries)
    roots = struct.pack("<ii", len(head) + 8, first + len(body))
    lines = ["[GENERAL]", "SLIDE_VERSION=01.02", f"SLIDE_ID={head[5:].decode()}", f"IMAGENUMBER_X={across}"]
    lines += [f"IMAGENUMBER_Y={down}", "OBJECTIVE_MAGNIFICATION=20", "CameraImageDivisionsPerSide=1"]
    lines += [
        "[HIERARCHICAL]",
        "HIER_COUNT=1",
        "NONHIER_COUNT=0",
        "INDEXFILE=Index.dat",
        "HIER_0_NAME=Slide zoom level",
    ]
    lines += [f"HIER_0_COUNT={levels}", *(f"HIER_0_VAL_{k}_SECTION=LEVEL_{k}" for k in range(levels))]
    lines += ["[DATAFILE]", "FILE_COUNT=1", "FILE_0=Data0000.dat"]
    for k in range(levels):
        lines += [f"[LEVEL_{k}]", "OVERLAP_X=0", "OVERLAP_Y=0", f"MICROMETER_PER_PIXEL_X={0.25 * 2**k}"]
        lines += [f"MICROMETER_PER_PIXEL_Y={0.25 * 2**k}", "IMAGE_FORMAT=JPEG", "IMAGE_FILL_COLOR_BGR=16777215"]
        lines += [f"DIGITIZER_WIDTH={side}", f"DIGITIZER_HEIGHT={side}", f"IMAGE_CONCAT_FACTOR={int(k > 0)}"]
    folder = path.with_suffix("")
    folder.mkdir()
    Image.fromarray(smooth()[::8, ::8]).save(path, format="JPEG")  # a picture to look at
    (folder / "Data0000.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(head + roots + struct.pack(f"<{levels}i", *starts) + body + bytes(4))
    (folder / "Slidedat.ini").write_text("\r\n".join(lines) + "\r\n")


def write_scn(path: Path) -> None:
    """A BigTIFF whose XML lays the image on a larger slide (https://openslide.org/formats/leica)."""
    height, width = smooth().shape[:2]
    levels = "".join(
        f'<dimension sizeX="{width >> k}" sizeY="{height >> k}" r="{k}" ifd="{k}"/>' for k in range(2)
    )  # fmt: skip
    place = f'sizeX="{width * 250}" sizeY="{height * 250}" offsetX="0" offsetY="0"'
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="a" sizeX="{width * 500}" sizeY="{height * 500}"><image name="a"><device model="SCN400"/>'
        f'<pixels sizeX="{width}" sizeY="{height}">{levels}</pixels><view {place}/><scanSettings><objectiveSettings>'
        "<objective>20</objective></objectiveSettings><illuminationSettings><illuminationSource>brightfield"
        "</illuminationSource></illuminationSettings></scanSettings></image></collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for k in range(2):
            tiff.write(
                np.ascontiguousarray(smooth()[:: 2**k, :: 2**k]), tile=(64, 64), photometric="rgb", compression="jpeg",
                compressionargs={"level": 98}, description=None if k else text, metadata=None,
                resolution=(40000 / 2**k, 40000 / 2**k), resolutionunit="CENTIMETER",
            )  # fmt: skip


@pytest.mark.parametrize(("name", "write"), [("a.vms", write_vms), ("a.mrxs", write_mrxs), ("a.scn", write_scn)])
def test_slides_of_other_makers(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    write(tmp_path / name)
    reader = open_image(tmp_path / name)
    larger = 2 if name == "a.scn" else 1
    assert reader.shape == (1, 256 * larger, 384 * larger, 3)
    info = probe_image(tmp_path / name)
    assert info.pixel_size_um == pytest.approx(0.25) and info.levels[1] == (128 * larger, 192 * larger)
    window = reader.read(0, slice(100, 170), slice(90, 210)).astype(int)  # across tiles
    assert np.abs(window - smooth()[100:170, 90:210]).mean() < 2
    half = open_image(tmp_path / name, reading=Reading(level=1)).read(0, slice(20, 60), slice(30, 90)).astype(int)
    assert np.abs(half - smooth()[40:120:2, 60:180:2]).mean() < 2
    valid = valid_pixels(reader, 0)
    if larger == 1:
        assert valid is None
    else:  # of a slide that is larger than what was scanned
        assert valid is not None and valid[:250, :380].all() and not valid[260:].any() and not valid[:, 390:].any()


def test_slide_faults_are_named(tmp_path: Path) -> None:
    write_ndpi(tmp_path / "a.ndpi")
    with pytest.raises(ValueError, match="levels 0 to"):
        open_image(tmp_path / "a.ndpi", reading=Reading(level=9))
    with pytest.raises(ValueError, match="where a mask is expected"):
        open_mask(tmp_path / "a.ndpi")
    (tmp_path / "b.mrxs").write_bytes(b"\xff\xd8\xff\xe0 no slide")
    with pytest.raises(ValueError, match="damaged, or not what it says it is"):
        open_image(tmp_path / "b.mrxs")
