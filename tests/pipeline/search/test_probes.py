"""The minute before a run: learning rates, batch sizes, and the cost of all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_run import space_of, write_tiny_experiment

from pipeline.__main__ import main
from pipeline.search.probes import expected_cost, lr_range, suggested_rate
from pipeline.sequence import run_stages


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("probes")
    arguments = write_tiny_experiment(folder)
    run_stages(arguments, ("01", "02", "03"))
    return folder, arguments


def test_the_rate_rises_and_nothing_is_written_but_a_picture(
    prepared: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, arguments = prepared
    table = lr_range(space_of(arguments), steps=12)
    assert np.allclose(np.diff(np.log(table["lr"])), np.log(1e6) / 11) and table["lr"].iloc[0] == pytest.approx(1e-6)
    assert np.isfinite(table["loss"]).all()
    capsys.readouterr()
    main(["lr-range", *arguments, "--steps", "14"])
    assert "the loss falls fastest at train.lr" in capsys.readouterr().out
    assert (folder / "runs/drawn/tiny/lr_range.png").is_file()
    assert not list((folder / "runs/drawn/tiny").glob("fold_*"))


def test_the_suggested_rate_is_where_a_drawn_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-6, 1, 61)
    position = np.log10(rates)
    smooth = 1 / (1 + np.exp(4 * (position + 3))) + np.where(position > -1, (position + 1) ** 2 * 5, 0)
    assert suggested_rate(pd.DataFrame({"lr": rates, "smooth": smooth})) == pytest.approx(1e-3, rel=0.3)
    with pytest.raises(ValueError, match=r"9 step\(s\) were made"):
        suggested_rate(pd.DataFrame({"lr": rates[:9], "smooth": smooth[:9]}))


def test_batches_are_timed_and_the_run_is_forecast(
    prepared: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["batch-size", *prepared[1], "--sizes", "1", "2"])
    said = capsys.readouterr().out
    assert "images_per_second" in said and "min for 2 fold(s)" in said
    table = pd.DataFrame({"batch": [1, 4], "seconds_a_step": [9.0, 2.0], "gigabytes": [1.0, 3.0]})
    space = space_of(prepared[1], "--set", "train.batch_size=4", "--set", "train.steps_per_epoch=30")
    assert expected_cost(space.experiment, table) == (
        "train.batch_size 4: 1.00 min an epoch, 2.0 min a fold of 2 epochs, 4 min for 2 fold(s), 3.0 GB"
    )
