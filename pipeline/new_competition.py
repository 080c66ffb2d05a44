"""A first contract for a new competition, from its files: `python -m pipeline new-competition DIR`."""

from __future__ import annotations

from pathlib import Path

from submissions.guess.first_contract import write_first_contract
from submissions.host.competition import load_competition
from submissions.host.listing import Split, list_images

SPLITS: tuple[Split, ...] = ("train", "test")
SHOWN = 5


def start_competition(folder: Path, *, name: str | None = None, out: Path | None = None) -> str:
    """Write the contract and say where it lies and what it finds in the files; see `write_first_contract`."""
    path = write_first_contract(folder, name=name, out=out)
    competition = load_competition(path)
    lines = []
    for split in SPLITS:
        listing, problems = list_images(competition, folder, split)
        lines.append(f"{split}: {len(listing)} images, {len(problems)} problem(s) with their listing")
        lines += [f"  {problem}" for problem in problems[:SHOWN]]
    lines.append(f"first contract -> {path}")
    lines.append("read every line marked '# guess', then let stage 01_check_data look at images and masks")
    return "\n".join(lines)
