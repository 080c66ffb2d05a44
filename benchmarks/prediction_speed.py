"""Speed of prediction beside MONAI and ttach, the same weights on both sides, in one run on the same cores.

pip install --no-deps monai ttach      # the peers; no dependencies of the project
python benchmarks/prediction_speed.py [--rounds 3] [--size 1536] [--device cpu]
python benchmarks/prediction_speed.py --overlaps 0.5 0.25 0     # ours alone, by how much tiles overlap

A 1536 x 1536 image, tiles of 512 x 512 that overlap by half, Gaussian weights, the eight views of D4, an
FPN on EfficientNet-Lite0 that was briefly fitted to drawn discs (so that Dice means something). The peer is
`monai.inferers.sliding_window_inference` (batches of 4) around `ttach.SegmentationTTAWrapper` with its D4
and merge "mean", fp32, as their documentation shows them (on CUDA under fp16 autocast); ours is
`predict_image`, from the array to the written file. Every run has its own process, so that its peak memory
is its own; rounds are interleaved, and the median of the ratios is given, of the clock and of processor
time (where other work shares the cores, the second is the steadier).
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from inference.config import InputConfig, ModelConfig, PredictConfig
from inference.models import build_model
from inference.predict.predictor import predict_image, prepare_members
from inference.predict.store import open_prediction
from inference.weights import LoadedModel
from submissions.images.opening import ArrayReader

MODEL = ModelConfig(architecture="fpn", encoder="tf_efficientnet_lite0")


def draw_discs(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image `(size, size, 3)` uint8 of noisy discs on a noisy ground, and their bool mask."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[:size, :size]
    mask = np.zeros((size, size), dtype=bool)
    for _ in range(max(1, size * size // 16384)):
        row, col, radius = rng.integers((0, 0, 8), (size, size, 40))
        mask |= (rows - row) ** 2 + (cols - col) ** 2 < radius**2
    noise = rng.normal(0, 30, (size, size, 3))
    return np.clip(110 + 50 * mask[..., None] + noise, 0, 255).astype(np.uint8), mask


def normalised(image: np.ndarray) -> torch.Tensor:
    """Return `(1, 3, h, w)` float32 with the mean and standard deviation of ImageNet."""
    config = InputConfig()
    x = (torch.from_numpy(image).float() / 255 - torch.tensor(config.mean)) / torch.tensor(config.std)
    return x.permute(2, 0, 1)[None].contiguous()


def fitted(config: ModelConfig, steps: int) -> nn.Module:
    """A network after some steps on drawn discs."""
    torch.manual_seed(0)
    model = build_model(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for step in range(steps):
        drawn = [draw_discs(128, 1000 + 8 * step + number) for number in range(8)]
        x = torch.cat([normalised(image) for image, _ in drawn])
        y = torch.stack([torch.from_numpy(mask).float()[None] for _, mask in drawn])
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def load(path: Path) -> nn.Module:
    """Return the model with the saved weights."""
    model = build_model(MODEL)
    model.load_state_dict(load_file(path))
    return model.eval()


def run_peer(model: nn.Module, image: np.ndarray, device: str) -> tuple[float, np.ndarray]:
    """Return seconds and probabilities `(h, w)` of MONAI around ttach."""
    import ttach
    from monai.inferers import sliding_window_inference

    class Probs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.model(x).sigmoid()

    wrapped = ttach.SegmentationTTAWrapper(Probs().to(device), ttach.aliases.d4_transform(), merge_mode="mean")
    began = time.perf_counter()
    with torch.no_grad(), torch.autocast("cuda", torch.float16, enabled=device.startswith("cuda")):
        probs = sliding_window_inference(
            normalised(image).to(device), (512, 512), 4, wrapped, overlap=0.5, mode="gaussian"
        )
    result = probs[0, 0].float().cpu().numpy()
    return time.perf_counter() - began, result


def run_ours(
    precision: str, model: nn.Module, image: np.ndarray, device: str, *, overlap: float = 0.5
) -> tuple[float, np.ndarray]:
    """Return seconds and probabilities `(h, w)` of `predict_image`, writing the file included."""
    size = 64 if device != "cpu" else 8
    config = PredictConfig(views=["d4"], precision=precision, batch_size=size, overlap=overlap)
    member = LoadedModel(model, MODEL, InputConfig(), config, Path("model"))
    ready = prepare_members([member], device)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        report = predict_image(ready, ArrayReader(image[None]), [0], None, Path(folder) / "image.h5")
        seconds = time.perf_counter() - began
        with open_prediction(report.path) as prediction:
            return seconds, prediction.read(0) / np.float32(255)


def run_once(args: argparse.Namespace) -> None:
    """Run one side in this process; write its probabilities and print a line of JSON."""
    torch.set_num_threads(args.threads)
    image, _ = draw_discs(args.size, 1)
    model = load(args.weights)
    run = run_peer if args.side == "peer" else partial(run_ours, args.side)
    run(model, image[:512, :512], args.device)
    began = time.process_time()
    seconds, probs = run(model, image, args.device)
    cpu_seconds = time.process_time() - began
    np.save(args.out, probs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"side": args.side, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak}))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Dice of two bool masks."""
    return 2 * float((a & b).sum()) / max(1.0, float(a.sum() + b.sum()))


def compare(args: argparse.Namespace) -> None:
    """Run all sides in turn, and print times, ratios, memory and differences."""
    sides = ["peer", "fp32", "bf16" if args.device == "cpu" else "auto"]
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        torch.set_num_threads(args.threads)
        if args.weights is None:
            save_file(fitted(MODEL, args.steps).state_dict(), weights)
        else:
            weights = args.weights
        runs: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for number in range(args.rounds):
            for side in sides if number % 2 == 0 else sides[::-1]:
                options = {"side": side, "weights": weights, "size": args.size, "device": args.device}
                options["threads"] = args.threads
                options["out"] = f"{folder}/{side}.npy"
                command = [
                    sys.executable,
                    __file__,
                    *(f"--{name}={value}" for name, value in options.items()),
                ]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs[side].append(json.loads(done.stdout.splitlines()[-1]))
                print(runs[side][-1], flush=True)
        probs = {side: np.load(f"{folder}/{side}.npy") for side in sides}
    truth = draw_discs(args.size, 1)[1]
    peer_dice = dice(probs["peer"] >= 0.5, truth)
    print(f"Dice of the peer {peer_dice:.4f}")
    for side in sides[1:]:
        ratio = {
            kind: statistics.median(
                peer[kind] / ours[kind] for peer, ours in zip(runs["peer"], runs[side], strict=True)
            )
            for kind in ("seconds", "cpu_seconds")
        }
        memory = [max(one["peak_mb"] for one in runs[name]) for name in ("peer", side)]
        print(
            f"{side}: {ratio['seconds']:.2f} times faster ({ratio['cpu_seconds']:.2f} in processor time), "
            f"mean |dp| {np.abs(probs[side] - probs['peer']).mean():.5f}, "
            f"Dice {dice(probs[side] >= 0.5, truth) - peer_dice:+.5f}, "
            f"peak {memory[1]:.0f} MB against {memory[0]:.0f} MB"
        )


def compare_overlaps(args: argparse.Namespace) -> None:
    """Print processor seconds and Dice of ours by how much tiles overlap."""
    torch.set_num_threads(args.threads)
    image, truth = draw_discs(args.size, 1)
    with tempfile.TemporaryDirectory() as folder:
        weights = args.weights or Path(folder) / "weights.safetensors"
        if args.weights is None:
            save_file(fitted(MODEL, args.steps).state_dict(), weights)
        model = load(weights)
    run_ours("auto", model, image[:512, :512], args.device)
    first: np.ndarray | None = None
    for overlap in args.overlaps:
        began = time.process_time()
        _, probs = run_ours("auto", model, image, args.device, overlap=overlap)
        seconds = time.process_time() - began
        first = probs if first is None else first
        score, apart = dice(probs >= 0.5, truth), float(np.abs(probs - first).mean())
        print(f"overlap {overlap:g}: {seconds:.1f} processor s, Dice {score:.5f}, mean |dp| {apart:.5f}", flush=True)


def main() -> None:
    """Compare all sides, or with --side run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=["peer", "fp32", "bf16", "auto"], help="run this side only")
    parser.add_argument("--size", type=int, default=1536, help="pixels a side")
    parser.add_argument("--rounds", type=int, default=3, help="runs of every side")
    parser.add_argument("--steps", type=int, default=60, help="training steps beforehand")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--weights", type=Path, help="weights fitted before (.safetensors); default: fit now")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--overlaps", type=float, nargs="+", help="ours alone, at each of these overlaps")
    args = parser.parse_args()
    if args.overlaps:
        compare_overlaps(args)
    elif args.side:
        run_once(args)
    else:
        compare(args)


if __name__ == "__main__":
    main()
