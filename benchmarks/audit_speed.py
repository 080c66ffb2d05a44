"""Near-duplicate search at full size: time, planted pairs found, false alarms; on lookalikes and real slices too.

    python benchmarks/audit_speed.py --images 20000 --planted 100
    python benchmarks/audit_speed.py --images 0 --aligned 2000 --data ../shared/data

Every image is a 64×64 view of a drawn scene (noise of a random smoothness and stretch, a few blobs and
edges) at two pixels a thumbnail pixel. Planted: exact copies; the same view under another gain, offset,
gamma and noise; crops shifted by 10, 20 and 30 % of the side in one and in both directions, with another
exposure; turned by quarters, mirrored, and parts magnified by 1.1, 1.25 and 1.4, with another exposure too. 200 flat
images of different content hash must not match at all. Aligned: pictures that differ only in the vessels inside a
common bright disc, of which every twentieth comes again under another exposure. Data: slices of the volumes of
`hippocampus`, where only slices of one volume may be paired. Prints tables in markdown.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pandas as pd

from folds.audit import find_duplicates
from folds.descriptors import turned

TURNED = {"rotated by 90, 180 or 270 degrees": (1, 2, 3), "mirrored": (4, 5, 6, 7)}
ZOOMED = {"a part magnified by 1.1": 1.1, "a part magnified by 1.25": 1.25, "a part magnified by 1.4": 1.4}
VIEW, SCENE, FLAT = 128, 172, 200


def draw_scene(rng: np.random.Generator) -> np.ndarray:
    """`(172, 172)` float32 of grey levels: filtered noise, blobs and one straight edge."""
    ky, kx = np.fft.fftfreq(SCENE)[:, None], np.fft.rfftfreq(SCENE)[None, :]
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 4)
    along, across = ky * np.cos(angle) + kx * np.sin(angle), kx * np.cos(angle) - ky * np.sin(angle)
    radius = np.hypot(along * stretch, across) + 0.003
    spectrum = radius ** -rng.uniform(0.8, 1.8) * np.exp(-((radius / 0.25) ** 2))
    noise = rng.standard_normal((SCENE, SCENE))
    image = np.fft.irfft2(np.fft.rfft2(noise) * spectrum, s=(SCENE, SCENE))
    image = (image - image.mean()) / image.std()
    rows, cols = np.mgrid[:SCENE, :SCENE]
    for _ in range(rng.integers(0, 12)):
        y, x, r = rng.uniform(0, SCENE), rng.uniform(0, SCENE), rng.uniform(4, 20)
        image += rng.uniform(-2, 2) * (((rows - y) ** 2 + (cols - x) ** 2) < r**2)
    normal = rng.uniform(0, 2 * np.pi)
    edge = (rows - SCENE / 2) * np.cos(normal) + (cols - SCENE / 2) * np.sin(normal) > rng.uniform(-40, 40)
    return (110 + rng.uniform(15, 35) * (image + rng.uniform(-1, 1) * edge)).astype(np.float32)


def view(scene: np.ndarray, row: int, col: int) -> np.ndarray:
    """`(64, 64)` float32 thumbnail of the 128×128 view at (row, col)."""
    return scene[row : row + VIEW, col : col + VIEW].reshape(64, 2, 64, 2).mean(axis=(1, 3))


def expose(thumbnail: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The thumbnail under another gamma, gain and offset, with noise."""
    levels = 255 * (np.clip(thumbnail, 0, 255) / 255) ** rng.uniform(0.7, 1.4)
    return rng.uniform(0.6, 1.1) * levels + rng.uniform(-20, 20) + rng.normal(0, 2, levels.shape)


def planted_kinds() -> dict[str, tuple[int, int]]:
    """Name -> shift in scene pixels (rows, columns); 44 is the most a scene has room for."""
    kinds = {"exact copy": (0, 0), "other exposure": (0, 0)}
    for share in (0.1, 0.2, 0.3):
        step = round(share * VIEW)
        kinds[f"shifted {share:.0%} in one direction"] = (0, step)
        kinds[f"shifted {share:.0%} in both"] = (step, step)
    return kinds


def magnified(scene: np.ndarray, zoom: float, rng: np.random.Generator) -> np.ndarray:
    """`(64, 64)` float32: a part of the view at (0, 0), anywhere in it, its side over `zoom`, as a thumbnail."""
    side = round(VIEW / zoom)
    row, col = rng.integers(0, VIEW - side + 1, 2)
    return cv2.resize(scene[row : row + side, col : col + side], (64, 64), interpolation=cv2.INTER_AREA)


def quantised(thumbnail: np.ndarray) -> np.ndarray:
    """uint8 of a float thumbnail."""
    return np.clip(np.rint(thumbnail), 0, 255).astype(np.uint8)


def draw_images(images: int, planted: int, seed: int) -> Iterator[tuple[str, str, np.ndarray]]:
    """(image_id, kind and number of the planted pair or '', thumbnail uint8); `images` of them."""
    rng = np.random.default_rng(seed)
    count = 0
    for kind, (down, right) in planted_kinds().items():
        for number in range(planted):
            scene = draw_scene(rng)
            row, col = rng.integers(0, SCENE - VIEW - down + 1), rng.integers(0, SCENE - VIEW - right + 1)
            first, second = view(scene, row, col), view(scene, row + down, col + right)
            second = first if kind == "exact copy" else expose(second, rng)
            for thumbnail in (first, second):
                yield f"{count:06d}", f"{kind}/{number}", quantised(thumbnail)
                count += 1
    for kind in (*TURNED, *ZOOMED):
        for number in range(planted):
            scene = draw_scene(rng)
            first = view(scene, 0, 0)
            if kind in TURNED:
                second = turned(first[None], int(rng.choice(TURNED[kind])))[0]
            else:
                second = magnified(scene, ZOOMED[kind], rng)
            for thumbnail in (first, expose(second, rng)):
                yield f"{count:06d}", f"{kind}/{number}", quantised(thumbnail)
                count += 1
    for _ in range(FLAT):
        yield f"{count:06d}", "", np.full((64, 64), rng.integers(0, 256), dtype=np.uint8)
        count += 1
    while count < images:
        yield f"{count:06d}", "", quantised(view(draw_scene(rng), 0, 0))
        count += 1


def draw_aligned(count: int, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """(image_id, thumbnail uint8) of vessels in a common disc; every twentieth again, `..._again`, other exposure."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:192, :192]
    away = np.hypot(rows - 96, cols - 96)
    for number in range(count):
        vessels = np.zeros((192, 192), np.uint8)
        for _ in range(14):
            points = np.cumsum(rng.normal(0, 9, (12, 2)) + rng.normal(0, 4, 2), axis=0) + rng.uniform(60, 132, 2)
            cv2.polylines(vessels, [points.astype(np.int32)], False, 1, int(rng.integers(1, 4)))
        image = ((120 - 0.35 * away - 45.0 * vessels + rng.normal(0, 3, away.shape)) * (away < 88)).astype(np.float32)
        small = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
        yield f"{number:05d}", quantised(2 * small)
        if number % 20 == 0:
            yield f"{number:05d}_again", quantised(expose(2 * small, rng))


def report_aligned(count: int, seed: int) -> None:
    """Found and false pairs among aligned pictures."""
    ids, thumbnails = zip(*draw_aligned(count, seed), strict=True)
    found = find_duplicates(pd.DataFrame({"image_id": ids, "content_hash": ids}), np.stack(thumbnails))
    true = sum(f"{a}_again" == b for a, b in zip(found["image_a"], found["image_b"], strict=True))
    pairs = sum(name.endswith("again") for name in ids)
    print(f"\naligned pictures: {len(ids)}, {true} of {pairs} pairs found, {len(found) - true} false")


def report_slices(data: Path) -> None:
    """How many pairs of hippocampus slices are of one volume, and how far apart."""
    names, thumbnails = [], []
    for path in sorted((data / "hippocampus" / "images").glob("*.nii.gz")):
        volume = np.asarray(nib.load(path).dataobj).astype(np.float32)  # type: ignore[attr-defined]
        for z in range(volume.shape[2]):
            small = cv2.resize(volume[:, :, z], (64, 64), interpolation=cv2.INTER_AREA)
            low, high = np.percentile(small, [1, 99])
            names.append(f"{path.name}/{z:03d}")
            thumbnails.append(quantised(np.clip((small - low) / max(high - low, 1e-6), 0, 1) * 255))
    found = find_duplicates(pd.DataFrame({"image_id": names, "content_hash": names}), np.stack(thumbnails))
    a, b = (found[column].str.split("/", expand=True) for column in ("image_a", "image_b"))
    same = a[0] == b[0]
    apart = (a[1].astype(int) - b[1].astype(int)).abs()[same].value_counts().to_dict()
    print(
        f"\nhippocampus: {len(names)} slices, {len(found)} pairs, {(~same).sum()} of two volumes; slices apart: {apart}"
    )


def main() -> None:
    """Draw, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--planted", type=int, default=100, help="pairs of each kind")
    parser.add_argument("--aligned", type=int, default=0, help="pictures that look alike")
    parser.add_argument("--data", type=Path, help="folder with `hippocampus`")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.images:
        report_planted(arguments.images, arguments.planted, arguments.seed)
    if arguments.aligned:
        report_aligned(arguments.aligned, arguments.seed)
    if arguments.data:
        report_slices(arguments.data)


def report_planted(images: int, planted: int, seed: int) -> None:
    """Time, planted pairs found and false alarms among drawn images."""
    ids, pairs, thumbnails = zip(*draw_images(images, planted, seed), strict=True)
    hashes = list(ids)
    for index, pair in enumerate(pairs):
        if pair.startswith("exact") and pairs[index - 1] == pair:
            hashes[index] = ids[index - 1]
    inventory = pd.DataFrame({"image_id": ids, "content_hash": hashes})
    wall, cpu = time.perf_counter(), time.process_time()
    found = find_duplicates(inventory, np.stack(thumbnails))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    by_id = dict(zip(ids, pairs, strict=True))
    hits = [by_id[a] for a, b in zip(found["image_a"], found["image_b"], strict=True) if by_id[a] == by_id[b] != ""]
    kinds = pd.Series(hits, dtype=object).str.split("/").str[0].value_counts()
    cores = len(os.sched_getaffinity(0))
    print(f"{len(ids)} images, {cores} cores: {wall:.0f} s wall, {cpu:.0f} s of CPU\n")
    print("| planted | pairs | found |\n|---|---|---|")
    for kind in (*planted_kinds(), *TURNED, *ZOOMED):
        print(f"| {kind} | {planted} | {kinds.get(kind, 0)} |")
    print(f"| false alarms | – | {len(found) - len(hits)} |")


if __name__ == "__main__":
    main()
