"""Fetch the wheels that a borrowed GPU machine without a network lacks, for CPython 3.12, into a folder below 60 MB.

    python benchmarks/fetch_gpu_wheels.py FOLDER

There: `python -m pip install --no-index --no-deps --target SITE FOLDER/*.whl`, then `PYTHONPATH=SITE python -m
benchmarks.gpu --minutes 8 --out DIR`. The list is gpu_wheels.txt beside this file.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

LIST = Path(__file__).with_name("gpu_wheels.txt")
PYTHON = "3.12"
GLIBC = ("2_28", "2_27", "2_26", "2_24", "2_17")
LIMIT = 60_000_000  # bytes


def wanted(path: Path = LIST) -> list[str]:
    """Requirements of the list, each 'name==version'; ValueError for a line that says no exact version."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [line for line in lines if line and not line.startswith("#")]
    loose = [name for name in names if name.count("==") != 1]
    if loose:
        raise ValueError(f"{path}: {loose[0]!r}, expected name==version")
    return names


def command(folder: Path, names: list[str]) -> list[str]:
    """What pip is asked for."""
    platforms = [f"--platform=manylinux_{glibc}_x86_64" for glibc in GLIBC] + ["--platform=manylinux2014_x86_64"]
    return [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        f"--python-version={PYTHON}", "--implementation=cp", *platforms, f"--dest={folder}", *names,
    ]  # fmt: skip


def check_size(folder: Path, limit: int = LIMIT) -> int:
    """Bytes of the wheels in a folder; ValueError that names the largest where they are too many."""
    sizes = {path.name: path.stat().st_size for path in folder.glob("*.whl")}
    total = sum(sizes.values())
    if total >= limit:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"{folder}: {total / 1e6:.1f} MB of wheels, expected less than {limit / 1e6:.0f}; the largest is {largest} "
            f"of {sizes[largest] / 1e6:.1f} MB"
        )
    return total


def main() -> None:
    """Fetch and weigh."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(command(folder, wanted()), check=True)
    total = check_size(folder)
    print(f"{len(list(folder.glob('*.whl')))} wheels, {total / 1e6:.1f} MB -> {folder}")


if __name__ == "__main__":
    main()
