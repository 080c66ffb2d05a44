"""What else could run a network on a CPU: torch.compile, ONNX Runtime and OpenVINO beside PyTorch as we use it.

    pip install onnx onnxruntime openvino nncf      # beside the project's own
    python -m benchmarks.runtimes [--architecture fpn] [--rounds 5] [--threads 1] [--sides onnx_int8 openvino_bf16]

One network, briefly fitted to drawn discs, its batch norms folded on every side as prediction does. Sides take turns on
the same tiles of 512 x 512, one at a time, by processor time; int8 is calibrated on images that are neither fitted nor
judged, as out-of-fold images would be. Dice is against the drawn truth, at 0.5. A runtime beside PyTorch would have to
be 1.3 times faster than `torch_bf16` with Dice within 0.002. Few sides at a time measure better: each that is loaded
slows the others.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.prediction_speed import dice, draw_discs, fitted, normalised
from inference.config import ModelConfig
from inference.predict.precision import DTYPES, prepare_model

Run = Callable[[Tensor], Tensor]
TILE, CALIBRATED, JUDGED = 512, 16, 8


def torch_side(model: nn.Module, precision: str, *, compiled: bool = False) -> Run:
    """PyTorch, channels-last, as prediction runs it."""
    ready = prepare_model(model, 3, "cpu", precision)  # type: ignore[arg-type]
    run = torch.compile(ready) if compiled else ready
    return lambda x: run(x.to(DTYPES[precision], memory_format=torch.channels_last)).float()


def exported(model: nn.Module, folder: Path) -> Path:
    """The network as an ONNX file for one tile."""
    path = folder / "model.onnx"
    plain = prepare_model(model, 3, "cpu", "fp32").to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing takes sizes as constants, which they are here
        example = torch.zeros(1, 3, TILE, TILE)
        torch.onnx.export(plain, (example,), str(path), input_names=["x"], opset_version=17, dynamo=False)
    return path


def onnx_side(path: Path, threads: int) -> Run:
    """ONNX Runtime in fp32, or in what the file says."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def onnx_int8(path: Path, tiles: list[Tensor]) -> Path:
    """The ONNX file with weights and activations in int8, a scale a channel of the weights."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Tiles(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(tiles)

        def get_next(self) -> dict[str, np.ndarray] | None:
            tile = next(self.left, None)
            return None if tile is None else {"x": tile.numpy()}

    made = path.with_name("int8.onnx")
    quantize_static(
        path, made, Tiles(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return made


def openvino_side(path: Path, precision: str, threads: int) -> Run:
    """OpenVINO in fp32 or bf16."""
    import openvino

    return compiled_by_openvino(openvino.Core().read_model(str(path)), precision, threads)


def compiled_by_openvino(network: Any, precision: str, threads: int) -> Run:
    """An OpenVINO network on the CPU."""
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision], "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(network, "CPU", hints)
    return lambda x: torch.from_numpy(compiled(x.numpy(), share_inputs=True)[0].copy())


def openvino_int8(path: Path, tiles: list[Tensor], threads: int) -> Run:
    """OpenVINO in int8 where that is possible, by NNCF's post-training quantisation, and bf16 elsewhere."""
    import nncf
    import openvino

    given: Any = [tile.numpy() for tile in tiles]
    network = nncf.quantize(openvino.Core().read_model(str(path)), nncf.Dataset(given), subset_size=len(tiles))
    return compiled_by_openvino(network, "bf16", threads)


def sides_of(model: nn.Module, folder: Path, tiles: list[Tensor], threads: int) -> dict[str, Callable[[], Run]]:
    """What makes each side, by its name."""
    path = exported(model, folder)
    return {
        "torch_bf16": partial(torch_side, model, "bf16"),
        "torch_fp32": partial(torch_side, model, "fp32"),
        "compile_bf16": partial(torch_side, model, "bf16", compiled=True),
        "compile_fp32": partial(torch_side, model, "fp32", compiled=True),
        "onnx_fp32": partial(onnx_side, path, threads),
        "onnx_int8": lambda: onnx_side(onnx_int8(path, tiles), threads),
        "openvino_fp32": partial(openvino_side, path, "fp32", threads),
        "openvino_bf16": partial(openvino_side, path, "bf16", threads),
        "openvino_int8": partial(openvino_int8, path, tiles, threads),
    }


@torch.inference_mode()
def measure(runs: dict[str, Run], tiles: list[Tensor], rounds: int) -> dict[str, list[float]]:
    """Processor seconds a tile of each side and round, sides in turn."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.process_time()
            for tile in tiles[:4]:
                run(tile)
            taken[name].append((time.process_time() - began) / 4)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="efficientnet_unet_aspp_fpn")
    parser.add_argument("--steps", type=int, default=60, help="training steps beforehand")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sides", nargs="+")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    config = ModelConfig(architecture=arguments.architecture, encoder="tf_efficientnet_lite0")
    model = fitted(config, arguments.steps)
    drawn = [draw_discs(TILE, 9000 + number) for number in range(JUDGED)]
    tiles, truth = [normalised(image) for image, _ in drawn], np.stack([mask for _, mask in drawn])
    calibration = [normalised(draw_discs(TILE, 8000 + number)[0]) for number in range(CALIBRATED)]
    runs: dict[str, Run] = {}
    scores, apart, reference = {}, {}, np.zeros(0)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        made = sides_of(model, Path(folder), calibration, arguments.threads)
        for name in arguments.sides or made:
            began = time.perf_counter()
            runs[name] = made[name]()
            probs = np.stack([runs[name](tile).sigmoid().numpy()[0, 0] for tile in tiles])
            print(f"{name}: ready and judged after {time.perf_counter() - began:.0f} s", flush=True)
            reference = probs if not scores else reference
            scores[name] = dice(probs >= 0.5, truth)
            apart[name] = float(np.abs(probs - reference).mean())
        taken = measure(runs, tiles, arguments.rounds)
    first = next(iter(runs))
    print(f"| {arguments.architecture} | ms a tile | times {first} | Dice | mean change |\n|---|---|---|---|---|")
    for name, found in taken.items():
        ratio = statistics.median(a / b for a, b in zip(taken[first], found, strict=True))
        ms = 1000 * statistics.median(found)
        print(f"| {name} | {ms:.0f} | {ratio:.2f} | {scores[name] - scores[first]:+.4f} | {apart[name]:.4f} |")
    print(f"Dice of {first}: {scores[first]:.4f}")


if __name__ == "__main__":
    main()
