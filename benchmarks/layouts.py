"""From a host's files to an answer with no edit: every layout that the tests draw, by two commands in an empty folder.

    python benchmarks/layouts.py OUT [NAME ...]        (needs the tests beside it; about a minute a layout on one core)

`python -m pipeline new-competition data`, then `python -m pipeline run` with the experiment that it wrote, whose
training alone is cut to two steps. A line a layout: 'answer' and its file, or the last line of what refused it.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / part) for part in ("support", "pipeline")]
SHORT = (
    "train.epochs=1", "train.steps_per_epoch=2", "train.validate_images=2", "tune.copies=0", "tune.rounds=100",
    "predict.views=[identity]",
)  # fmt: skip
SMALL = ("model.encoder=mobilenetv3_small_050", "model.weights=none")


def layouts() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Names, and functions that draw the files of a host into a folder."""
    import drawn_layouts
    import test_new_competition

    for name, (draw, *_) in test_new_competition.LAYOUTS.items():
        yield name, draw
    yield from drawn_layouts.LAYOUTS.items()


def answer_of(folder: Path) -> tuple[bool, str]:
    """Whether the files in folder/data end in an answer, and which, or why not."""
    command = [sys.executable, "-m", "pipeline"]
    done = subprocess.run([*command, "new-competition", "data"], cwd=folder, capture_output=True, text=True)
    if done.returncode == 0:
        (experiment,) = folder.glob("*-baseline.yaml")
        labels = "task: classify" in experiment.read_text(encoding="utf-8")
        changes = [*(SHORT[:3] if labels else SHORT), *SMALL]
        more = [word for change in changes for word in ("--set", change)]
        places = ["run", experiment.name, "--data", "data", "--device", "cpu"]
        done = subprocess.run([*command, *places, *more], cwd=folder, capture_output=True, text=True)
    answers = sorted(folder.glob("runs/*/*/submission.*"))
    if done.returncode or not answers:
        return False, (done.stderr.strip().splitlines() or ["no answer"])[-1].strip()
    return True, answers[0].name


def main(argv: list[str]) -> None:
    """Print a line a layout, of those whose names hold one of the words, or of all."""
    out, words = Path(argv[0]), argv[1:]
    for name, draw in layouts():
        if words and not any(word in name for word in words):
            continue
        folder, start = out / name, time.perf_counter()
        folder.mkdir(parents=True)
        if draw.__module__ == "drawn_layouts":
            (folder / "data").mkdir()
        draw(folder / "data")
        answered, said = answer_of(folder)
        print(
            f"| {name} | {'answer' if answered else 'refused'} | {said} | {time.perf_counter() - start:.0f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
