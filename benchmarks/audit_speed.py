"""Near-duplicate search at full size: time, planted duplicates found, false alarms.

    python benchmarks/audit_speed.py --images 20000 --planted 100

Every image is a 64×64 view of a drawn scene (noise of a random smoothness and stretch, a few blobs and
edges) at two pixels a thumbnail pixel. Planted: exact copies; the same view under another gain, offset,
gamma and noise; crops shifted by 10, 20 and 30 % of the side in one and in both directions, with another
exposure. 200 flat images of different content hash must not match at all. Prints a table in markdown.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator

import numpy as np
import pandas as pd

from folds.audit import find_duplicates

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
    image = image / image.std()
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
    for _ in range(FLAT):
        yield f"{count:06d}", "", np.full((64, 64), rng.integers(0, 256), dtype=np.uint8)
        count += 1
    while count < images:
        yield f"{count:06d}", "", quantised(view(draw_scene(rng), 0, 0))
        count += 1


def main() -> None:
    """Draw, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--planted", type=int, default=100, help="pairs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    ids, pairs, thumbnails = zip(*draw_images(arguments.images, arguments.planted, arguments.seed), strict=True)
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
    for kind in planted_kinds():
        print(f"| {kind} | {arguments.planted} | {kinds.get(kind, 0)} |")
    print(f"| false alarms | – | {len(found) - len(hits)} |")


if __name__ == "__main__":
    main()
