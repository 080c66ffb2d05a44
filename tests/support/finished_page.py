"""The page and the cells of a notebook on a finished run, in this process and without a browser or a kernel."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pipeline.report.finished_run import open_finished
from pipeline.report.page import render

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def page_of(folder: Path, run: str) -> str:
    """The page, without the script that is not ours, of a run of the contract and data that lie in `folder`."""
    (contract,) = (path for path in folder.glob("*.yaml") if (folder / "runs" / path.stem).is_dir())
    finished = open_finished(folder / "runs" / contract.stem / run, data=folder / "data", competition=contract)
    page = render(finished, ledger=folder / "ledger.csv")
    return re.sub(r"<script>.*?plotly\.js v.*?</script>", "", page, count=1, flags=re.DOTALL)


def run_cells(notebook: str, **given: Any) -> dict[str, Any]:
    """Every code cell but the first, which opens the runs, with these names; returns the names at the end."""
    cells = json.loads((NOTEBOOKS / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    for source in ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][1:]:
        exec(source, given)
    return given
