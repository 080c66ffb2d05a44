"""The dry run's parts: forecast, limits, the environment that stands for the host's image, the cut-off network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from drawn_hosts import write_rle_host
from tiny_bundle import write_tiny_bundle

from inference.__main__ import main
from inference.bundle import dry_run as dry_run_module
from inference.bundle import host_image as stand_in
from inference.bundle import offline
from inference.bundle.dry_run import GB, dry_run
from inference.bundle.host_image import make_environment
from inference.bundle.offline import cut_off, why_not

CODE = Path(__file__).parents[3]
FOUND: dict[str, Any] = {
    "images": 9, "pixels": [100, 100, 100], "all_pixels": 900, "first": 60.0, "seconds": [9.0, 1.0, 3.0],
    "one_by_one": True, "ending": 2.0, "memory": 2 * GB, "gpu_memory": [], "disk": 1e6, "installed": ["timm"],
    "troubles": ["no preview"],
}  # fmt: skip


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Any]]:
    """Folder with bundle/ and data/, and what a trial answers, which is not carried out."""
    answer = dict(FOUND)
    monkeypatch.setattr(dry_run_module, "_try", lambda *given: (answer, "cut off"))
    monkeypatch.setattr(dry_run_module, "make_environment", lambda *given: (Path("python"), ["torch"]))
    write_rle_host(tmp_path / "data")
    write_tiny_bundle(tmp_path)
    return tmp_path, answer


def test_the_forecast_is_that_of_the_time_budget(parts: tuple[Path, dict[str, Any]]) -> None:
    folder, answer = parts
    found = dry_run(folder / "bundle", folder / "data", copies=9, seconds=600, work=folder)
    assert found.measured[0].value == 60 + 600 * (1 + 3) / 200 + 2  # the first image, which warms up, does not count
    assert found.fits and "made from 3, which were predicted" in str(found) and "no GPU here" in str(found)
    assert str(found).endswith("\nno preview")
    answer["one_by_one"] = False
    voted = dry_run(folder / "bundle", folder / "data", copies=9, seconds=60, work=folder)
    assert voted.measured[0].value == 60 + 600 * 13 / 300 + 2
    assert not voted.fits and "DOES NOT FIT" in str(voted)
    answer |= {"all_pixels": 300}
    assert dry_run(folder / "bundle", folder / "data", copies=0, seconds=60, work=folder).measured[0].value == 62
    assert sorted(path.name for path in folder.iterdir()) == ["bundle", "data", "decision.json", "fold_0"]


def test_without_a_test_image_no_time_is_foretold(parts: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = parts
    for path in (folder / "data/test").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"no test image of which 500 copies .* under the names of 'test/{id}.png'"):
        dry_run(folder / "bundle", folder / "data", copies=500, seconds=60, work=folder)
    assert dry_run(folder / "bundle", folder / "data", copies=0, seconds=60, work=folder).notes  # an empty test set


@pytest.mark.parametrize("wrong", [{"copies": -1}, {"copies": 5, "sources": 0}])
def test_numbers_that_cannot_be_are_refused(parts: tuple[Path, dict[str, Any]], wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected 0 or more copies, and at least one source"):
        dry_run(parts[0] / "bundle", parts[0] / "data", seconds=60, **wrong)


@pytest.mark.parametrize(
    "change", [{"memory": 32 * GB}, {"gpu_memory": [1 * GB, 15.5 * GB]}, {"disk": 21 * GB}, {"ending": 9 * 3600}]
)
def test_every_limit_is_kept(
    parts: tuple[Path, dict[str, Any]], change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, answer = parts
    answer |= change
    with pytest.raises(SystemExit):
        main(["dry-run", str(folder / "bundle"), "--data", str(folder / "data"), "--copies", "9"])
    said = capsys.readouterr()
    assert said.out.count("DOES NOT FIT") == 1 and "it does not fit: use fewer TTA views" in said.err


def test_a_trial_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rle_host(tmp_path / "data", test=1)
    bundle = write_tiny_bundle(tmp_path)
    monkeypatch.setattr(dry_run_module, "make_environment", lambda *given: (Path("/bin/false"), []))
    monkeypatch.setattr(dry_run_module, "why_not", lambda: "not allowed")
    with pytest.raises(ValueError, match="the dry run failed"):
        dry_run(bundle, tmp_path / "data", copies=1, seconds=1, work=tmp_path)
    assert not list(tmp_path.glob("dry-run-*"))


def test_the_image_is_linked_and_what_wheels_bring_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stand_in.venv, "EnvBuilder", lambda **options: FakeBuilder())
    python, linked = make_environment(tmp_path, ["timm-1.0.0-py3-none-any.whl"], ["timm", "tifffile"])
    site = next(tmp_path.glob("lib/python3.*/site-packages"))
    assert python == tmp_path / "bin" / "python"
    assert {"torch", "numpy", "typing-extensions"} <= set(linked) and not {"timm", "tifffile"} & set(linked)
    assert (site / "torch").is_symlink() and (site / "torch" / "nn").is_dir() and not (site / "timm").exists()
    assert list(site.glob("torch-*.dist-info"))
    _, linked = make_environment(tmp_path / "all", [], ["timm", "tifffile", "no-such"])
    assert {"torch", "timm", "tifffile"} <= set(linked) and "no-such" not in linked


class FakeBuilder:
    def create(self, folder: Path) -> None:
        (folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages").mkdir(parents=True)


def test_the_network_is_cut_off_but_for_the_loopback() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"the kernel does not allow it here: {reason}")
    program = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "socket.create_connection(server.getsockname(), 5)\n"
        "try:\n    socket.create_connection(('192.0.2.1', 80), 5)\n"
        "except OSError as error:\n    print(error.strerror)\n"
    )
    done = subprocess.run(
        cut_off([sys.executable, "-c", program]), cwd=CODE, capture_output=True, text=True, check=True
    )
    assert done.stdout == "Network is unreachable\n"


def test_why_the_network_cannot_be_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "APART", ("no-such-command",))
    assert "no-such-command" in str(why_not())
    monkeypatch.setattr(offline, "APART", ("sh", "-c", "echo no >&2; exit 1"))
    assert why_not() == "no"


@pytest.mark.smoke
@pytest.mark.timeout(900)
def test_a_dry_run_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    work.mkdir()
    write_rle_host(data)
    bundle = write_tiny_bundle(tmp_path, python=".".join(map(str, sys.version_info[:2])))
    main(["dry-run", str(bundle), "--data", str(data), "--copies", "40", "--work", str(work)])
    said = capsys.readouterr().out
    print(said)
    assert "40, made from 3, which were predicted; the time of the others is a forecast" in said
    assert said.count("  fits") >= 3 and "6 installed from wheels/" in said
    assert list(work.iterdir()) == []
    assert not list(bundle.rglob("__pycache__"))
