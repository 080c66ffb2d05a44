"""Instance rules of stage 06, this checkout against another commit: processor time of decisions and their scores.

python benchmarks/instance_speed.py --against REVISION [--images 30] [--rounds 3]

Drawn nuclei on 256 x 320 pixels, each image decided at five thresholds and three depths of the valley and scored by
the metric of DSB2018 by `decided_rows`. Both sides take turns, each in a process of its own; scores, and the masks and
confidences that `apply` gives one by one, have to be the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

THRESHOLDS, DEPTHS, SHAPE = (77, 102, 128, 153, 179), (0.1, 0.2, 0.4), (256, 320)


@cache
def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities uint8 (1, H, W) of drawn nuclei, and their instances int32 (H, W)."""
    rng = np.random.default_rng(seed)
    label = np.zeros(SHAPE, np.int32)
    for number in range(1, 61):
        centre = (int(rng.integers(0, SHAPE[1])), int(rng.integers(0, SHAPE[0])))
        cv2.circle(label, centre, int(rng.integers(5, 14)), number, -1)
    probs = cv2.GaussianBlur((label > 0).astype(np.float32) * 255, (0, 0), 2.0) + rng.normal(0, 8, SHAPE)
    return np.clip(probs, 0, 255).astype(np.uint8)[None], label


@dataclass(frozen=True)
class Drawn:
    """An out-of-fold item as stage 06 sees one."""

    seed: int
    fold: int = 0
    group: str = ""
    stratum: str = ""
    stack: str = ""
    z: int = 0
    block: None = None
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def image_id(self) -> str:
        return str(self.seed)

    def probs(self) -> np.ndarray:
        return draw(self.seed)[0]

    def truth(self) -> Any:
        from submissions.host.masks import Truth

        label = draw(self.seed)[1]
        return Truth((label > 0)[None, None], None, label[None])


def side(images: int) -> None:
    """Decide and score every image under every decision; prints processor seconds and a digest as JSON."""
    from inference.decide.decision import Decision, apply
    from inference.decide.instances import InstanceSettings
    from inference.decide.rules import ThresholdRule
    from pipeline.tuning.scores.units import Unit, decided_rows
    from submissions.host.competition import Competition
    from submissions.metrics import build_metric

    metric, digest = build_metric("dsb2018_precision"), hashlib.sha256()
    contract = Competition.model_validate(
        {
            "name": "drawn", "images": {"train": "{id}.png"}, "classes": ["nucleus"],
            "masks": {"kind": "images", "path": "{id}.png", "instances": True}, "metric": {"name": metric.name},
        }
    )  # fmt: skip
    decisions = [
        Decision(
            fingerprint="drawn", classes=["nucleus"], channels=["nucleus"], rule=ThresholdRule(thresholds=[threshold]),
            instances=InstanceSettings(method="distance", depth=depth),
        )
        for threshold in THRESHOLDS for depth in DEPTHS
    ]  # fmt: skip
    items = [Drawn(seed) for seed in range(images)]
    for item in items:
        item.probs()  # drawn before the clock runs
    for decision in decisions:  # kernels are compiled too
        said = apply(items[0].probs(), decision)
        assert said.instances is not None
        digest.update(said.instances.tobytes() + json.dumps(said.scores).encode())
    began = time.process_time()
    for item in items:
        rows = decided_rows(contract, metric, (Unit(item.image_id, (item,)), decisions))
        digest.update(json.dumps(rows).encode())
    print(json.dumps({"seconds": time.process_time() - began, "digest": digest.hexdigest()}))


def main() -> None:
    """Compare, or be one side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="commit to compare with")
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.against is None:
        side(arguments.images)
        return
    sys.path.insert(0, str(Path(__file__).parent))
    from revisions import HERE, environment_of, tree_at

    with tree_at(arguments.against) as other:
        found: dict[Path, list[dict[str, float]]] = {HERE: [], other: []}
        for _ in range(arguments.rounds):
            for tree, runs in found.items():
                command = [sys.executable, __file__, "--images", str(arguments.images)]
                done = subprocess.run(
                    command, cwd=tree, env=environment_of(tree), check=True, capture_output=True, text=True
                )
                runs.append(json.loads(done.stdout.splitlines()[-1]))
    here, there = found.values()
    each = 1000 / (arguments.images * len(THRESHOLDS) * len(DEPTHS))
    ratio = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(here, there, strict=True))
    for name, runs in (("this checkout", here), (arguments.against, there)):
        print(f"{name}: {statistics.median(run['seconds'] for run in runs) * each:.2f} ms a decision and its score")
    same = len({run["digest"] for run in [*here, *there]}) == 1
    print(f"{ratio:.2f} times faster; masks, confidences and scores are {'the same' if same else 'NOT THE SAME'}")


if __name__ == "__main__":
    main()
