"""What a dry run does in its own environment: install, predict, decide, measure.

python -m inference.bundle.dry_run_process SPEC.json
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from inference.bundle.wheels import check_imports, install_wheels


def main(spec: Path) -> None:
    """Carry out a trial and write what was measured into the file that the specification names."""
    asked = json.loads(spec.read_text(encoding="utf-8"))
    bundle = Path(asked["bundle"])
    installed = install_wheels(bundle, report=lambda text: None)
    check_imports(bundle)
    found = _measure(asked, bundle, Path(asked["seen"]), Path(asked["full"]))
    Path(asked["result"]).write_text(json.dumps({**found, "installed": installed}), encoding="utf-8")


def _measure(asked: dict[str, Any], bundle: Path, seen: Path, full: Path) -> dict[str, Any]:
    """Predict the images in `seen`; give their predictions to their copies in `full`, which are then decided.

    Returned in seconds: the first run whole, its images one by one, the end of the second after the last image, with
    the preview; in bytes: memory, GPU memory by device, files written; as sentences: why there is no preview.
    """
    import torch

    from inference.bundle.bundle import run
    from inference.bundle.preview import draw_preview
    from inference.predict.image_list import pixels_of
    from inference.predict.store import prediction_path
    from inference.submission import open_test_images
    from submissions.answers import lint_answer
    from submissions.host.competition import load_competition

    folder = Path(asked["folder"])
    predictions, clock = folder / "predictions", _Clock()
    run(bundle, seen, folder / "seen" / "submission.csv", folder=predictions, progress=clock.note)
    first = time.time() - asked["began"]
    places = sorted({path.parent for path in predictions.rglob("*.h5")})
    written = sum(path.stat().st_size for path in predictions.rglob("*.h5"))
    for place in places:
        for copy, original in asked["origins"].items():
            if copy != original:
                os.link(prediction_path(place, original), prediction_path(place, copy))
    images, end = open_test_images(load_competition(bundle / "competition.yaml"), seen), _Clock()
    # The linter's statistics take images for independent, which copies are not: only its time counts.
    summary = run(bundle, full, folder / "submission.csv", folder=predictions, lint=False, progress=end.note)
    lint_answer(summary.path, load_competition(bundle / "competition.yaml"), full)
    troubles: list[str] = []
    draw_preview(bundle, full, summary, folder / "preview.png", report=troubles.append)
    ending = time.monotonic() - end.last
    copied = open_test_images(load_competition(bundle / "competition.yaml"), full)
    return {
        "images": summary.images,
        "pixels": [pixels_of(images, image_id) for image_id in images.ids],
        "all_pixels": sum(pixels_of(copied, image_id) for image_id in copied.ids),
        "first": first,
        "seconds": clock.steps,
        "one_by_one": places in ([], [predictions]),
        "ending": ending,
        "troubles": troubles,
        "memory": _peak_memory(),
        "gpu_memory": [torch.cuda.max_memory_reserved(index) for index in range(torch.cuda.device_count())],
        "disk": written * summary.images // max(1, len(images.ids)) + _size(summary.path),
    }


def _size(path: Path) -> int:
    """Bytes of a file, or of the files in a folder."""
    return sum(one.stat().st_size for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file())


class _Clock:
    """Seconds from one image to the next."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.steps: list[float] = []

    def note(self, done: int, total: int) -> None:
        now = time.monotonic()
        self.steps.append(now - self.last)
        self.last = now


def _peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]))
