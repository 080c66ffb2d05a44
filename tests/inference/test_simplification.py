"""Folding changes the work, not the answer; where it would change the answer it is not done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from inference.predict.precision import cpu_has_bf16, prepare_model, resolve_precision
from inference.simplification import RunningSum, simplify


class Branching(nn.Module):
    """The convolution's output is used beside the norm too: folding it would be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return self.norm(y) + y


def moved(model: nn.Module) -> nn.Module:
    """Give every batch norm statistics that are not the initial ones."""
    torch.manual_seed(0)
    model.train()
    for _ in range(3):
        model(torch.randn(4, 3, 64, 64) * 3 + 1)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_a_norm_is_folded_and_the_model_left_alone() -> None:
    model = moved(nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    faster = simplify(model, 3)
    x = torch.randn(2, 3, 20, 30)
    torch.testing.assert_close(faster(x), model(x), atol=1e-4, rtol=1e-4)
    assert (norms(model), norms(faster)) == (1, 0)


def test_a_shared_output_is_not_folded() -> None:
    model = moved(Branching())
    faster = simplify(model, 3)
    x = torch.randn(2, 3, 20, 30)
    assert torch.equal(faster(x), model(x))
    assert norms(faster) == 1


def test_a_norm_that_runs_twice_is_not_folded() -> None:
    conv, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    model = moved(nn.Sequential(conv, norm, conv, norm))
    assert norms(simplify(model, 3)) == 1


def test_a_real_network_gives_the_same_answer() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = moved(smp.FPN("tu-tf_efficientnet_lite0", encoder_weights=None, classes=2))
    faster = simplify(model, 3)
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(faster(x), model(x), atol=1e-3, rtol=1e-3)
    assert norms(faster) == 0
    assert any(isinstance(module, RunningSum) for module in faster.modules())


def test_running_sum_leaves_its_inputs_alone() -> None:
    parts = [torch.ones(2, 3), torch.full((2, 3), 2.0)]
    assert RunningSum()(parts).tolist() == torch.full((2, 3), 3.0).tolist()
    assert parts[0].tolist() == torch.ones(2, 3).tolist()


def test_precision_follows_the_flags_of_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = tmp_path / "cpuinfo"
    flags.write_text("processor : 0\nflags : fpu avx2 avx512_bf16\n")
    assert cpu_has_bf16(flags)
    flags.write_text("flags : fpu avx2\n")
    assert not cpu_has_bf16(flags)
    flags.write_text("Features : neon\n")
    assert not cpu_has_bf16(flags)
    assert not cpu_has_bf16(tmp_path / "none")
    monkeypatch.setattr("inference.predict.precision.cpu_has_bf16", lambda: False)
    assert resolve_precision("auto", "cpu") == "fp32"
    monkeypatch.setattr("inference.predict.precision.cpu_has_bf16", lambda: True)
    assert resolve_precision("auto", "cpu") == "bf16"
    assert (resolve_precision("fp32", "cpu"), resolve_precision("auto", "meta")) == ("fp32", "fp32")


class Current:
    """Stands for `torch.cuda.device` where there is no GPU: knows which one is asked."""

    asked: torch.device | None = None

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __enter__(self) -> None:
        Current.asked = self.device

    def __exit__(self, *_: object) -> None:
        Current.asked = None


@pytest.mark.parametrize(("real", "expected"), [(1, "bf16"), (0, "fp16")])
def test_bf16_is_asked_of_the_device_itself_and_emulation_does_not_count(
    real: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        assert Current.asked is not None
        return including_emulation or Current.asked.index == real

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "device", Current)
    assert resolve_precision("auto", "cuda:1") == expected
    assert resolve_precision("fp16", "cuda") == "fp16"


def test_bad_precisions_are_named() -> None:
    with pytest.raises(ValueError, match="precision is 'int8'"):
        resolve_precision("int8", "cpu")
    with pytest.raises(ValueError, match="'fp16' on a CPU"):
        resolve_precision("fp16", "cpu")


def test_weights_are_cast_once() -> None:
    ready = prepare_model(nn.Conv2d(3, 2, 3).train(), 3, "cpu", "bf16")
    assert not ready.training
    assert {weights.dtype for weights in ready.parameters()} == {torch.bfloat16}


class Elsewhere(nn.Conv2d):
    """A convolution that stands on another device until it is moved."""

    away = True

    def _apply(self, fn: Callable[..., torch.Tensor], recurse: bool = True) -> Elsewhere:
        self.away = False
        return super()._apply(fn, recurse)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.away:
            raise RuntimeError("input on the CPU, weights elsewhere")
        return super().forward(x)


def test_a_model_on_another_device_is_copied_to_the_cpu_first() -> None:
    model = nn.Sequential(Elsewhere(3, 2, 1))
    ready = prepare_model(model, 3, "cpu", "fp32")
    x = torch.randn(1, 3, 5, 7)
    torch.testing.assert_close(ready(x), nn.functional.conv2d(x, model[0].weight, model[0].bias))
    with pytest.raises(RuntimeError, match="weights elsewhere"):
        model(x)
