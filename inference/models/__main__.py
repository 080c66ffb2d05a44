"""Print the table of models: `python -m inference.models`.

Examples:
    python -m inference.models                  # every model
    python -m inference.models --family classic
    python -m inference.models --options unet   # what `model.options` may hold
    python -m inference.models --measure        # count parameters and operations anew, with the extra `maskformer`
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from inference.models.encoder_sizes import FAMILIES
from inference.models.figures import FILE, read_figures
from inference.models.table import MODELS, model_row
from submissions.command_exit import run_command

COLUMNS = ("name", "family", "encoders", "figures of", "M param", "GFLOPs", "source", "code", "weights")


def table_rows(family: str | None = None) -> list[tuple[str, ...]]:
    """The table as texts, one tuple of `COLUMNS` a model."""
    rows: list[tuple[str, ...]] = []
    figures = read_figures()
    for row in MODELS.values():
        if family in (None, row.family):
            parameters, gflops = figures.get(row.name, (math.nan, math.nan))  # a new row, not measured yet
            numbers = (f"{parameters / 1e6:.2f}", f"{gflops:.4g}")
            licences = (row.code_licence, row.weights_licence)
            rows.append((row.name, row.family, row.encoders, row.encoder, *numbers, row.source, *licences))
    return rows


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns side by side, as wide as their longest entry."""
    widths = [max(len(row[i]) for row in [COLUMNS, *rows]) for i in range(len(COLUMNS))]
    for row in [COLUMNS, *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    print(
        "\nGFLOPs: one 512x512 RGB image (volumes: 32x128x128 voxels of one channel), two operations a multiply-add, "
        "one class. Licences of an encoder's weights are its publisher's:\nMix Transformers (mit_b*) are NVIDIA's, not "
        "for commercial use; most of timm's are Apache-2.0, MIT or BSD, some non-commercial."
    )


def print_families() -> None:
    """The families of timm's encoders that the tests build and run at odd sizes, and in which networks."""
    print("\nEncoders of timm that are built and run at odd sizes by the tests, a small member each:")
    for name, family in FAMILIES.items():
        said = ", ".join(family.networks) if family.networks else "none"
        print(f"  {name:13} {family.member:29} {said}{'; ' if family.remark else ''}{family.remark}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of `python -m inference.models`."""
    parser = argparse.ArgumentParser(
        "python -m inference.models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--family", choices=sorted({row.family for row in MODELS.values()}), help="only this family")
    parser.add_argument("--options", metavar="MODEL", help="print the options of one model")
    parser.add_argument("--measure", action="store_true", help="measure every model and rewrite the figures")
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        from inference.models.measuring import write_figures

        write_figures(FILE)
    elif chosen.options:
        from inference.models.builder import option_names

        print("\n".join(option_names(model_row(chosen.options))))
    else:
        print_table(table_rows(chosen.family))
        print_families()


if __name__ == "__main__":
    run_command(main)
