"""The tree of another commit beside this one, for benchmarks that measure before and after."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]


@contextmanager
def tree_at(revision: str | None) -> Iterator[Path]:
    """The folder of a commit's tree, checked out for as long as the block runs; this checkout for None."""
    if revision is None:
        yield HERE
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), revision], cwd=HERE, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=HERE, check=True)


def environment_of(tree: Path) -> dict[str, str]:
    """The environment of a process that imports from `tree` and not from this checkout, on one thread."""
    return {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
