"""The demo competition: white matter in slices of the MNI152 brain template, laid out as a host would.

The template (Fonov et al. 2011, ICBM 152 nonlinear symmetric 2009a) comes in nilearn's wheel (BSD licence).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pandas as pd

from submissions.host.atomic import write_atomic
from submissions.host.competition import load_competition
from submissions.rle.codec import encode

NILEARN = "nilearn==0.14.1"
VOLUME = "nilearn/datasets/data/mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
FIRST_SLICE, SLAB_DEPTH, SLABS = 18, 9, 15
TEST_SLABS = (1, 5, 9, 13)
WHITE_MATTER = 128  # of 255: probability of at least one half


def fetch_template(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """T1 and white-matter volumes, uint8 (Z, H, W): axial slices, nose up. The wheel is fetched through pip.

    Raises RuntimeError with pip's own words where the wheel cannot be had.
    """
    wheels = sorted(folder.glob("nilearn-*.whl"))
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
        done = subprocess.run([*command, NILEARN], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"pip could not fetch {NILEARN}, which holds the demo's images:\n{done.stderr.strip()}")
        wheels = sorted(folder.glob("nilearn-*.whl"))
    with zipfile.ZipFile(wheels[-1]) as wheel, tempfile.TemporaryDirectory() as scratch:
        volumes = []
        for kind in ("t1", "wm"):
            path = wheel.extract(VOLUME.format(kind=kind), scratch)
            array = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
            volumes.append(np.ascontiguousarray(array.transpose(2, 1, 0)[:, ::-1]))
    return volumes[0], volumes[1]


def make_demo_data(folder: Path) -> Path:
    """Lay the demo competition out under `folder`; done or not at all. Returns the folder.

    Whole slabs of neighbouring slices are the test set, never single slices between training slices.
    """
    if (folder / "train.csv").is_file():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    cache = folder.parent / "downloads"
    cache.mkdir(parents=True, exist_ok=True)
    images, white = fetch_template(cache)
    dialect = load_competition("mni-white-matter").dialect
    rows: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    for slab in range(SLABS):
        split = "test" if slab in TEST_SLABS else "train"
        (partial / split).mkdir(exist_ok=True)
        for z in range(FIRST_SLICE + slab * SLAB_DEPTH, FIRST_SLICE + (slab + 1) * SLAB_DEPTH):
            name = f"mni_z{z:03d}"
            cv2.imwrite(str(partial / split / f"{name}.png"), images[z])
            rle = encode(white[z] >= WHITE_MATTER, dialect)
            rows[split].append({"id": name, "slab": f"slab{slab:02d}", "rle": rle})
    test = pd.DataFrame(rows["test"])
    tables = {
        "train.csv": pd.DataFrame(rows["train"]),
        "test.csv": test[["id", "slab"]],
        "sample_submission.csv": test[["id"]].assign(rle=""),
        "solution.csv": test[["id", "rle"]],
    }
    for file, table in tables.items():
        write_atomic(partial / file, table.to_csv(index=False, lineterminator="\n"))
    partial.rename(folder)
    return folder
