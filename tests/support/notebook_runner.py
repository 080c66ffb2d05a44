"""Runs a notebook with another interpreter: python notebook_runner.py NOTEBOOK INTERPRETER FOLDER."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run_notebook(notebook: Path, python: Path, folder: Path) -> None:
    """Execute every cell by a kernel of `python`; the notebook with its outputs goes to `folder`/executed.ipynb."""
    kernel = folder / "jupyter" / "kernels" / "stand-in"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": command, "display_name": "stand-in", "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(folder / "jupyter")
    document = nbformat.read(notebook, as_version=4)
    NotebookClient(
        document, kernel_name="stand-in", timeout=600, resources={"metadata": {"path": str(folder)}}
    ).execute()
    nbformat.write(document, folder / "executed.ipynb")


if __name__ == "__main__":
    run_notebook(*map(Path, sys.argv[1:4]))
