"""The command for a GPU, on a CPU: shares of time, what becomes of a part, the table, the peer, the wheels."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmarks are no package that is installed."""
    monkeypatch.syspath_prepend(str(ROOT))


def module(name: str) -> ModuleType:
    return __import__(f"benchmarks.{name}", fromlist=["_"])


def answers(part: str) -> list[dict[str, Any]]:
    out = io.StringIO()
    module("gpu.worker").do_part(part, module("gpu.place").Place(torch.device("cpu")), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_the_largest_batch_is_found_and_training_goes_on_with_it() -> None:
    *found, last = answers("memory")
    values = [answer["row"]["value"] for answer in found]
    assert last == {"done": "memory"}
    assert "--set train.batch_size=5" in values[0] and values[1:] == [5, 3]


def test_a_part_that_fails_says_so_and_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> Any:
        yield module("gpu.rows").Row("before", 1.0)
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(module("gpu.memory"), "run", broken)
    before, error, done = answers("memory")
    assert before["row"]["value"] == 1.0 and done == {"done": "memory"}
    assert error == {"error": "RuntimeError: no kernel image"}


TALKS = """
import json, sys, time
say = lambda **what: print(json.dumps(what), flush=True)
say(facts={"device": "drawn"})
for line in sys.stdin:
    name = line.strip()
    say(row={"what": "x", "value": 3, "unit": "s", "bar": 2, "below": True})
    if name == "prediction":
        time.sleep(60)
    if name == "training":
        sys.exit(3)
    if name == "models":
        say(error="OSError: no")
    say(done=name)
"""


def test_a_run_notes_what_hangs_ends_and_fails_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = module("gpu.__main__")
    begin = command.Worker.__init__

    def drawn(self: Any, device: str, pretend: str | None, log: Path) -> None:
        begin(self, device, pretend, log)
        self.command = [sys.executable, "-c", TALKS]

    monkeypatch.setattr(command.Worker, "__init__", drawn)
    monkeypatch.setattr(command, "RESERVE", 0.0)
    monkeypatch.setattr(command, "SHARES", {"stages": 1, "prediction": 0.1, "training": 1, "models": 1, "memory": 1})
    names = ["stages", "prediction", "training", "models", "memory"]
    arguments = ["--minutes", "0.5", "--out", str(tmp_path), "--device", "cpu", "--pretend", "t4", "--parts", *names]
    assert command.main(arguments) == 1
    made = json.loads((tmp_path / "gpu.json").read_text())
    assert [part["state"] for part in made["parts"]] == ["done", "cut off", "failed", "failed", "done"]
    assert all(len(part["rows"]) == 1 for part in made["parts"])
    assert made["parts"][3]["error"] == "OSError: no" and "the process ended" in made["parts"][2]["error"]
    assert made["device"] == "drawn"
    assert (tmp_path / "gpu.md").read_text().count("| | x | 3 s | at most 2: NO |") == 5


def test_the_most_important_comes_first_and_what_takes_minutes_last() -> None:
    planned = module("gpu.__main__").plan(list(module("gpu.worker").PARTS), repeat=True)
    assert [part.name for part, *_ in planned] == [
        "stages", "prediction", "training", "models", "memory",
        "as on a T4: stages", "as on a T4: prediction", "as on a T4: training", "compiled",
    ]  # fmt: skip
    assert {part.name for part, *_ in module("gpu.__main__").plan(["memory"], repeat=False)} == {"memory"}


def test_a_row_holds_its_figure_against_its_bar() -> None:
    row = module("gpu.rows").Row
    assert row("a", 2.5, "", 2.0).verdict == "at least 2: yes" and row("a", 1.5, "", 2.0).verdict == "at least 2: NO"
    assert row("a", 0.1, "", 0.05, below=True).verdict == "at most 0.05: NO"
    assert row("a", 3.0).verdict == row("a", "said", "", 1.0).verdict == ""


def test_a_t4_has_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    place, before = module("gpu.place"), torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", torch.cuda.is_bf16_supported)
    monkeypatch.setattr(place.precision, "cpu_has_bf16", lambda *_: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    try:
        assert place.take_place("cpu", None).precision == "bf16"
        assert place.take_place("cpu", "t4").precision == "fp32"
        assert not torch.cuda.is_bf16_supported(including_emulation=False)
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_ten_largest_networks_are_tried_and_all_of_three_dimensions() -> None:
    models = module("gpu.models")
    names = models.chosen(module("gpu.place").Place(torch.device("cuda")))
    figures = [models.read_figures()[name][0] for name in names[:10]]
    assert figures == sorted(figures, reverse=True) and len(set(names)) == len(names)
    assert {name for name, row in models.MODELS.items() if row.dims == 3} <= set(names)
    deep = models.draw_batch(3, 64)
    assert deep.images.shape == (2, 3, 32, 64, 64) and deep.target.shape == (2, 1, 32, 64, 64)


class Left(nn.Module):
    """Logits that grow to the right: no view of D4 but the mirrored ones sees them alike."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ramp = torch.linspace(-2, 2, x.shape[3]).expand(x.shape[0], 1, x.shape[2], -1)
        return 3 * x[:, :1] + ramp


def test_the_peer_written_out_is_a_weighted_mean_of_windows_and_views() -> None:
    peers = module("peers.sliding_d4")
    image = torch.rand(1, 3, 48, 80)
    with torch.no_grad():
        flat = peers.written_out(nn.Conv2d(3, 1, 1), torch.ones_like(image), 32)
    assert flat.shape == (1, 1, 48, 80) and float(flat.max() - flat.min()) < 1e-5
    found, window = peers.written_out(Left(), image[..., :32, :32], 32), image[..., :32, :32]
    views = [torch.rot90(_answer(window, turns), -turns, (2, 3)) for turns in range(4)]
    mirrored = [torch.rot90(_answer(window.flip(3), turns), -turns, (2, 3)).flip(3) for turns in range(4)]
    torch.testing.assert_close(found, torch.stack([*views, *mirrored]).mean(0))


def _answer(window: torch.Tensor, turns: int) -> torch.Tensor:
    return Left()(torch.rot90(window, turns, (2, 3))).sigmoid()


def test_monai_slides_the_same_window() -> None:
    inferers = pytest.importorskip("monai.inferers")
    peers = module("peers.sliding_d4")
    image, network = torch.rand(1, 3, 70, 90), peers.Probs(nn.Conv2d(3, 1, 3, padding=1))
    with torch.no_grad():
        theirs = inferers.sliding_window_inference(
            image, (32, 32), 4, lambda x: peers.d4_mean(network, x), overlap=0.5, mode="gaussian"
        )
        ours = peers.written_out(network.model, image, 32)
    assert float((theirs - ours).abs().mean()) < 0.01


def test_the_list_of_wheels_says_exact_versions(tmp_path: Path) -> None:
    fetch = module("fetch_gpu_wheels")
    names = {line.partition("==")[0] for line in fetch.wanted()}
    assert {"albumentations", "segmentation-models-pytorch", "pydantic", "pydantic-core", "nibabel", "plotly"} <= names
    (tmp_path / "list.txt").write_text("# some\n\nnumpy>=2\n")
    with pytest.raises(ValueError, match=r"'numpy>=2', expected name==version"):
        fetch.wanted(tmp_path / "list.txt")
    command = fetch.command(tmp_path, ["a==1"])
    assert command[-1] == "a==1" and "--python-version=3.12" in command and "--only-binary=:all:" in command


def test_too_many_bytes_of_wheels_are_refused(tmp_path: Path) -> None:
    fetch = module("fetch_gpu_wheels")
    (tmp_path / "a.whl").write_bytes(bytes(700))
    (tmp_path / "b.whl").write_bytes(bytes(400))
    assert fetch.check_size(tmp_path, 1101) == 1100
    with pytest.raises(ValueError, match=r"expected less than .*the largest is a\.whl"):
        fetch.check_size(tmp_path, 1100)
