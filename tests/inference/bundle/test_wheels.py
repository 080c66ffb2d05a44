"""Versions and wheels: what is accepted, fetched, installed, and refused with a sentence."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from inference.bundle import versions, wheels
from inference.bundle.manifest import FORMAT, MANIFEST, list_files
from inference.bundle.versions import (
    ACCEPTED,
    SPECIAL,
    accepted_ranges,
    fits,
    installed_version,
    installed_versions,
    refuse_special,
    unmet,
)
from inference.bundle.wheels import check_imports, fetch_wheels, install_wheels

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def test_the_accepted_ranges_are_those_of_the_project() -> None:
    declared = {one.name: str(one.specifier) for one in map(Requirement, PROJECT["dependencies"])}
    assert {name: declared.get(name) for name in ACCEPTED if name != "Python"} == {
        name: span for name, span in ACCEPTED.items() if name != "Python"
    }
    assert ACCEPTED["Python"] == PROJECT["requires-python"]
    extras = {one.name: str(one.specifier) for one in map(Requirement, PROJECT["optional-dependencies"]["maskformer"])}
    assert {name: span for group in SPECIAL.values() for name, span in group.items()} == extras


def test_special_models_need_more() -> None:
    assert set(accepted_ranges({"unet"})) == set(ACCEPTED)
    assert set(accepted_ranges({"maskformer", "unet"})) - set(ACCEPTED) == {"transformers"}


def test_what_special_models_need_is_not_bundled() -> None:
    refuse_special({"unet"})
    with pytest.raises(ValueError, match=r"maskformer needs transformers ==.*stage 08 fetches no wheels for these"):
        refuse_special({"unet", "maskformer"})


def test_versions_are_compared_by_their_number() -> None:
    assert fits("2.6.0+cu124", ">=2.6") and fits("3.0.0rc1", ">=2.6") and not fits("2.5.9", ">=2.6")
    assert installed_version("no-such-distribution") is None
    assert installed_versions(["numpy", "no-such-distribution"]) == {"numpy": metadata.version("numpy")}
    assert [str(one) for one in unmet({"Python": ">=99", "numpy": ">=1"})] == [
        f"Python: found {'.'.join(map(str, sys.version_info[:3]))}, accepted >=99"
    ]


def test_another_distribution_of_the_same_module_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"opencv-python": "4.12.0"}

    def version(name: str) -> str:
        if name not in found:
            raise metadata.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(versions.metadata, "version", version)
    assert unmet({"opencv-python-headless": ">=4.10"}) == []


def write_wheel(folder: Path, name: str, version: str = "1.0", tag: str = "py3-none-any") -> Path:
    """An empty distribution as a wheel."""
    path = folder / f"{name}-{version}-{tag}.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def write_manifest(bundle: Path, accepts: dict[str, str]) -> None:
    bundle.mkdir(exist_ok=True)
    files = sorted(path.name for path in (bundle / "wheels").glob("*.whl"))
    document = {
        "format": FORMAT, "accepts": accepts, "made_with": dict.fromkeys(accepts, "1.0"),
        "wheels": {"files": files}, "files": list_files(bundle),
    }  # fmt: skip
    (bundle / MANIFEST).write_text(json.dumps(document))


@pytest.fixture
def into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip installs into, instead of the environment of the tests."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PIP_TARGET", str(folder))
    return folder


def test_what_is_absent_is_installed_from_the_wheels_and_nothing_else(tmp_path: Path, into: Path) -> None:
    bundle, said = tmp_path / "bundle", []
    for name in ("drawn_needed", "drawn_unneeded"):
        write_wheel(bundle / "wheels", name)
    write_manifest(bundle, {"drawn-needed": ">=1", "numpy": ">=1.26"})
    assert install_wheels(bundle, said.append) == ["drawn_needed-1.0-py3-none-any.whl"]
    assert (into / "drawn_needed.py").is_file() and not (into / "drawn_unneeded.py").exists()
    assert said == ["drawn-needed 1.0, made with 1.0", f"numpy {metadata.version('numpy')}, made with 1.0"]
    assert install_wheels(bundle, said.append) == []


def test_what_has_no_wheel_is_listed_and_nothing_is_installed(tmp_path: Path, into: Path) -> None:
    bundle = tmp_path / "bundle"
    write_wheel(bundle / "wheels", "drawn_needed")
    write_manifest(bundle, {"drawn-needed": ">=1", "torch": ">=99", "drawn-absent": ">=2"})
    with pytest.raises(
        ValueError, match=r"wheels/ has no wheel for them:\n  torch: found .*\n  drawn-absent: found nothing"
    ):
        install_wheels(bundle)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        (
            "cp38-cp38-manylinux2014_x86_64",
            r"a wheel for cp38 on manylinux2014_x86_64, but this is Python 3\.\d+; bundle",
        ),
        ("cp311-cp311-win_amd64", "a wheel for cp311 on win_amd64"),
    ],
)
def test_a_wheel_for_another_python_or_machine_is_refused(tmp_path: Path, into: Path, tag: str, words: str) -> None:
    bundle = tmp_path / "bundle"
    write_wheel(bundle / "wheels", "drawn_needed", tag=tag)
    write_manifest(bundle, {"drawn-needed": ">=1"})
    with pytest.raises(ValueError, match=words):
        install_wheels(bundle)
    assert list(into.iterdir()) == []


def test_a_changed_or_broken_wheel_is_not_installed(tmp_path: Path, into: Path) -> None:
    bundle = tmp_path / "bundle"
    path = write_wheel(bundle / "wheels", "drawn_needed")
    write_manifest(bundle, {"drawn-needed": ">=1"})
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    with pytest.raises(ValueError, match="missing or changed since the bundle was made"):
        install_wheels(bundle)
    path.write_bytes(b"no archive")
    write_manifest(bundle, {"drawn-needed": ">=1"})
    with pytest.raises(ValueError, match="pip could not install"):
        install_wheels(bundle)
    path.write_bytes(content)
    write_manifest(bundle, {"drawn-needed": ">=2"})
    with pytest.raises(
        ValueError, match=r"installed the wheels, but these still do not fit:\n  drawn-needed: found 1.0, acc"
    ):
        install_wheels(bundle)


def test_pip_is_asked_for_pure_and_binary_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(list(command))
        failed = "h5py" in command[-1]
        return subprocess.CompletedProcess(command, int(failed), "", "ERROR: first\nERROR: no such wheel\n")

    monkeypatch.setattr(wheels.subprocess, "run", run)
    assert fetch_wheels(tmp_path, "3.12", ["timm", "safetensors"]) == []
    pure, binary = asked
    assert {"--no-deps", "--only-binary=:all:", f"timm=={metadata.version('timm')}"} <= set(pure) & {*pure}
    assert pure[pure.index("--platform") + 1] == "any" and binary.count("--platform") == len(wheels.PLATFORMS)
    assert binary[binary.index("--python-version") + 1] == "3.12"
    assert fetch_wheels(tmp_path, "3.12", ["pydicom"]) == [] and asked[-1].count("--platform") == 1
    with pytest.raises(ValueError, match=r"wheel of h5py==.* for Python 3.12: ERROR: no such wheel; use --no-wheels"):
        fetch_wheels(tmp_path, "3.12", ["h5py"])


def test_code_from_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"submissions was imported from .*put that folder first on sys.path"):
        check_imports(tmp_path)
