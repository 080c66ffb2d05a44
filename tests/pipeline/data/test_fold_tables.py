from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from drawn_hosts import rle_contract, write_rle_host
from tiny_run import space_of as tiny_space
from tiny_run import stage, write_tiny_experiment

from folds.foldfile import read_folds, write_folds
from pipeline.data.fold_tables import fold_table, folds_stage, freeze, frozen_table, open_folds, split_of
from pipeline.data.inventory import take_inventory, write_inventory
from pipeline.data.leak_report import audit_and_report, find_leaks
from pipeline.experiment import Experiment
from pipeline.inventory_table import inventory_digest
from pipeline.settings.data import FoldsSettings
from pipeline.shift.similar_images import training_duplicates
from pipeline.stage import Stage
from pipeline.workspace import Workspace, limited


def space_of(folder: Path, **experiment: object) -> Workspace:
    """A drawn competition with its inventory taken."""
    data = folder / "data"
    competition = rle_contract() if data.exists() else write_rle_host(data, train=12)
    space = Workspace(Experiment(name="own", competition="drawn", **experiment), competition, data, folder / "runs")
    stage = Stage("01_check_data", space.inventory, {})
    if stage.begin():
        inspections = [one for _, _, found in take_inventory(competition, data) for one in found]
        table, _ = write_inventory(space.inventory, inspections)
        stage.finish(output=inventory_digest(table))
    return space


def test_groups_of_the_contract_stay_together_and_the_file_is_frozen(tmp_path: Path) -> None:
    space = space_of(tmp_path, folds={"method": "group", "n": 3})
    table = fold_table(space, None)
    groups = table["image_id"].str[-2:].astype(int) // 2
    assert (table.groupby(groups)["fold"].nunique() == 1).all()
    made = folds_stage(space, table)
    made.begin()
    freeze(space, table, made)
    with pytest.raises(FileNotFoundError, match="02_make_folds"):
        open_folds(space)
    made.finish()
    again, name = open_folds(space)
    pd.testing.assert_frame_equal(again, table)
    assert made.folder.name == name
    edited = table.assign(fold=(table["fold"] + 1) % 3)
    write_folds(edited, made.folder / "folds.csv")
    for use in (open_folds, frozen_table):
        with pytest.raises(ValueError, match=r"folds\.csv was edited after it was frozen.*--folds FILE"):
            use(space)


def test_sources_found_or_given_are_in_the_fold_file_and_divide_it(tmp_path: Path) -> None:
    found = fold_table(space_of(tmp_path, folds={"method": "group", "n": 3}), None)
    assert found["source"].tolist() == ["s1"] * 12
    sources = {"column": "patient"}
    settings = {"method": "leave_one_group_out", "group": "source", "n": 6, "sources": sources}
    given = fold_table(space_of(tmp_path, folds=settings), None)
    assert given["source"].tolist() == given["group"].tolist() and given["source"].nunique() == 6
    assert (given.groupby("source")["fold"].nunique() == 1).all()
    strata = fold_table(
        space_of(tmp_path, folds={"method": "stratified", "strata": ["source"], "n": 2, "sources": sources}), None
    )
    assert strata["stratum"].tolist() == strata["source"].tolist()
    wrong = space_of(tmp_path, folds={"sources": {"column": "scanner"}})
    with pytest.raises(ValueError, match=r"folds\.sources\.column: no column 'scanner'; the inventory has image_id"):
        fold_table(wrong, None)


def test_a_team_s_file_takes_the_sources_of_the_inventory(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    ids = space.training_images()[0]["image_id"]
    file = tmp_path / "team.csv"
    pd.DataFrame({"image_id": ids, "fold": [k % 2 for k in range(12)], "source": "HPA"}).to_csv(file, index=False)
    used = space_of(tmp_path, folds={"n": 2})
    assert set(fold_table(used, file)["source"]) == {"s1"}


def test_a_changed_split_has_to_be_made_again(tmp_path: Path) -> None:
    space = space_of(tmp_path, folds={"method": "group", "n": 3})
    table = fold_table(space, None)
    made = folds_stage(space, table)
    made.begin()
    freeze(space, table, made)
    made.finish()
    with pytest.raises(ValueError, match="settings of the split changed"):
        open_folds(space_of(tmp_path, folds={"method": "group", "n": 2}))
    used = space_of(tmp_path, folds={"method": "group", "n": 3, "use": [1]})
    assert open_folds(used)[1] == made.folder.name
    for change in ({"group": "path"}, {"strata": ["empty"]}):
        contract = replace(used, competition=used.competition.model_copy(update=change))
        if "group" in change:
            with pytest.raises(ValueError, match="settings of the split changed"):
                open_folds(contract)
        else:  # what the method does not take changes nothing
            assert open_folds(contract)[1] == made.folder.name


def test_before_any_split(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no folds yet"):
        open_folds(space_of(tmp_path))


def test_a_teams_file_is_used_as_it_is(tmp_path: Path) -> None:
    space = space_of(tmp_path, folds={"n": 2})
    names = [f"train{index:02d}" for index in range(12)]
    pd.DataFrame({"image_id": names, "fold": [i % 2 for i in range(12)]}).to_csv(tmp_path / "team.csv", index=False)
    assert fold_table(space, tmp_path / "team.csv")["fold"].tolist() == [i % 2 for i in range(12)]
    with pytest.raises(ValueError, match="uses a frozen file as it is"):
        fold_table(space, tmp_path / "team.csv", group_duplicates=True)
    wide = space_of(tmp_path, folds={"n": 4, "use": [3]})
    with pytest.raises(ValueError, match=r"folds.use names \[3\]"):
        fold_table(wide, tmp_path / "team.csv")


def test_groups_of_the_contract_are_kept_whole_where_no_method_is_named(tmp_path: Path) -> None:
    space = space_of(tmp_path, folds={"n": 4})
    assert space.competition.group == "patient"
    table = fold_table(space, None)
    assert table["group"].nunique() == 6 and (table.groupby("group")["fold"].nunique() == 1).all()
    alone = Workspace(space.experiment, space.competition.model_copy(update={"group": None}), space.data, space.runs)
    assert fold_table(alone, None)["group"].nunique() == 12
    by_hand = space.experiment.model_copy(update={"folds": FoldsSettings(n=4, group="patient")})
    assert fold_table(Workspace(by_hand, alone.competition, space.data, space.runs), None).equals(table)


def test_slices_of_stacks_stay_together_where_no_method_is_named(tmp_path: Path) -> None:
    space = space_of(tmp_path, folds={"n": 3}, input={"offsets": [-2, 0, 2]})
    ungrouped = space.competition.model_copy(update={"group": None})
    inventory = pd.read_csv(space.inventory / "inventory.csv", dtype={"image_id": str})
    inventory = inventory[inventory["split"] == "train"].head(12).assign(z=range(12))

    def split(slices: int) -> tuple[str, dict[str, object]]:
        stacks = pd.Series(range(12)) // slices
        return split_of(Workspace(space.experiment, ungrouped, space.data, space.runs), inventory.assign(stack=stacks))

    assert split(1) == ("kfold", {})  # an image each
    assert split(4) == ("group", {"group": "stack"})  # three stacks, as many as folds
    assert split(6) == ("slab", {"buffer": 2})  # two: slabs of both, as far apart as a sample reaches
    named = space.experiment.model_copy(update={"folds": FoldsSettings(n=3, method="kfold", buffer=1)})
    assert split_of(Workspace(named, ungrouped, space.data, space.runs), inventory.assign(stack=0)) == (
        "kfold", {"buffer": 1},
    )  # fmt: skip


def test_a_teams_file_is_audited_for_what_samples_reach(tmp_path: Path) -> None:
    """Slices two apart in different folds leak where a sample reaches that far, whether a buffer is set or not."""
    space = space_of(tmp_path, folds={"n": 2}, input={"offsets": [-2, 0, 2]})
    space = replace(space, competition=space.competition.model_copy(update={"group": None}))
    train, _ = space.training_images()
    train = train.assign(stack="s", z=range(12))
    pd.DataFrame({"image_id": train["image_id"], "fold": [0] * 6 + [1] * 6}).to_csv(tmp_path / "team.csv", index=False)
    folds = read_folds(tmp_path / "team.csv", train)
    leaks = find_leaks(space, folds, train, training_duplicates(space))
    pairs = leaks[leaks["kind"] == "neighbour"][["image_a", "image_b"]].to_numpy().tolist()
    assert sorted(pairs) == [["train04", "train06"], ["train05", "train06"], ["train05", "train07"]]


def test_duplicates_are_found_reported_drawn_and_kept_together(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write_rle_host(data, train=12)
    (data / "train" / "train09.png").write_bytes((data / "train" / "train00.png").read_bytes())
    table = pd.read_csv(data / "train.csv")
    table.loc[9, "rle"] = table.loc[0, "rle"]
    table.to_csv(data / "train.csv", index=False)
    space = space_of(tmp_path, folds={"method": "kfold", "n": 4})
    found = training_duplicates(space)
    assert found[["image_a", "image_b", "kind"]].values.tolist() == [["train00", "train09", "exact"]]
    for seed in range(8):
        seeded = Workspace(space.experiment.model_copy(update={"seed": seed}), space.competition, data, space.runs)
        folds = fold_table(seeded, None).set_index("image_id")["fold"]
        if folds["train00"] != folds["train09"]:
            break
    else:
        pytest.fail("no seed parts the two")
    folder = tmp_path / "report"
    said = audit_and_report(seeded, fold_table(seeded, None), folder)
    assert "1 leaking pair" in said or "1 of kind 'exact'" in said
    assert {"balance.csv", "balance.png", "leaks.csv", "leaks.png"} <= {path.name for path in folder.iterdir()}
    by_column = seeded.experiment.model_copy(update={"folds": FoldsSettings(method="leave_one_group_out", n=6)})
    with pytest.raises(ValueError, match="cannot keep other groups whole"):
        fold_table(Workspace(by_column, space.competition, data, space.runs), None, group_duplicates=True)
    joined = fold_table(seeded, None, group_duplicates=True)
    folds = joined.set_index("image_id")["fold"]
    assert folds["train00"] == folds["train09"]
    patients = joined["image_id"].str[-2:].astype(int) // 2
    assert (joined.groupby(patients)["fold"].nunique() == 1).all(), "the audit names groups that kfold parts, too"
    said = audit_and_report(seeded, joined, tmp_path / "joined")
    assert said.endswith("; 1 pair(s) of similar images each in one fold") and "exact" not in said


def test_a_limit_spreads_over_all_images() -> None:
    table = pd.DataFrame({"image_id": [f"{index:02d}" for index in range(10)]})
    assert limited(table, 5)["image_id"].tolist() == ["00", "02", "04", "06", "08"]
    assert limited(table, None) is table and limited(table, 20) is table


def table_of_stacks(*sizes: int) -> pd.DataFrame:
    """Rows of slices as the inventory has them, by id: the last slice of a stack first."""
    rows = [(f"s{k:02d}", z, f"s{k:02d}-{size - z:03d}") for k, size in enumerate(sizes) for z in range(size)]
    return pd.DataFrame(rows, columns=["stack", "z", "image_id"]).sort_values("image_id", ignore_index=True)


@pytest.mark.parametrize(
    ("sizes", "limit", "expected"),
    [
        ([100] * 12, 40, [8] * 5),  # runs of eight, of as many stacks as there is room for
        ([100] * 12, 12, [3] * 4),  # shorter ones, so that there are several stacks
        ([100] * 3, 60, [20] * 3),  # all stacks, longer runs
        ([5] * 30, 50, [5] * 10),  # whole stacks
        ([100, 2, 100, 2], 40, [18, 2, 18, 2]),
        ([300], 4, [4]),
        ([2, 300], 4, [2]),
    ],
)
def test_a_limit_keeps_neighbours_of_stacks(sizes: list[int], limit: int, expected: list[int]) -> None:
    table = table_of_stacks(*sizes)
    found = limited(table, limit)
    assert found["image_id"].is_monotonic_increasing and len(found) <= limit
    assert found.groupby("stack").size().tolist() == expected
    reach = found.groupby("stack")["z"].agg(lambda z: z.max() - z.min() + 1)
    assert reach.tolist() == expected, "no slice between two is left out"
    assert limited(table.iloc[::-1], limit)["image_id"].tolist()[::-1] == found["image_id"].tolist()


def test_runs_of_a_limit_lie_all_over_their_stacks() -> None:
    found = limited(table_of_stacks(*[98] * 5), 40).groupby("stack")["z"].min()
    assert found.tolist() == [9, 27, 45, 63, 81]


def test_a_limit_of_stacks_is_another_than_it_was(tmp_path: Path) -> None:
    space = space_of(tmp_path, limit=4)
    stacked = rle_contract(images={"train": "{case}_{z}.png", "test": "{case}_{z}.png", "stack": "{case}", "z": "{z}"})
    assert space.limit == 4 and replace(space, competition=stacked).limit == {"neighbouring slices": 4}
    assert space_of(tmp_path / "all").limit is None


def test_slabs_lie_further_apart_than_a_sample_reaches(tmp_path: Path) -> None:
    for folds in ({"buffer": 1}, {"options": {"buffer": 1}}):
        space = space_of(tmp_path, folds={"method": "slab", "n": 2, **folds}, input={"offsets": [-2, 0, 1]})
        with pytest.raises(ValueError, match=r"folds\.buffer is 1 slices, but input\.offsets reach 2"):
            fold_table(space, None)


def test_a_frozen_table_stays_until_another_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path)
    stage("01_check_data")(arguments)
    split, space = stage("02_make_folds"), tiny_space(arguments)
    split(arguments)
    plain = open_folds(space)[1]
    names = [f"train{index:02d}" for index in range(12)]
    pd.DataFrame({"image_id": names, "fold": [i % 2 for i in range(12)]}).to_csv(tmp_path / "team.csv", index=False)
    split([*arguments, "--folds", str(tmp_path / "team.csv")])
    team = open_folds(space)[1]
    assert team != plain
    (space.shared / "folds" / team / "stage.json").unlink()
    capsys.readouterr()
    split(arguments)  # the audit was interrupted: it goes on with the same table
    assert open_folds(space)[1] == team and "already made" not in capsys.readouterr().out
    split(arguments)
    assert open_folds(space)[1] == team and "02_make_folds: already made by --folds -> " in capsys.readouterr().out
    with pytest.raises(SystemExit):
        split([*arguments, "--set", "seed=3"])
    assert "made by --folds, and the settings of the split changed since; give --folds again" in capsys.readouterr().err
    split([*arguments, "--overwrite"])
    assert "earlier folds were made by --folds, these without it" in capsys.readouterr().out
    assert open_folds(space)[1] == plain


def test_a_grouped_table_that_is_gone_is_not_replaced_by_a_plain_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tiny_experiment(tmp_path)
    stage("01_check_data")(arguments)
    stage("02_make_folds")([*arguments, "--group-duplicates"])
    stage("02_make_folds")(arguments)
    assert "already made by --group-duplicates" in capsys.readouterr().out
    space = tiny_space(arguments)
    (space.shared / "folds" / open_folds(space)[1] / "folds.csv").unlink()
    with pytest.raises(SystemExit):
        stage("02_make_folds")(arguments)
    assert "folds.csv is gone; give --group-duplicates again" in capsys.readouterr().err


def test_blocks_are_held_out_only_of_images_that_can_be_cut(tmp_path: Path) -> None:
    split = {"method": "blocks", "n": 2, "buffer": 4}
    space = space_of(tmp_path, folds=split)
    table = fold_table(space, None)
    assert table.groupby("image_id")["fold"].nunique().eq(2).all()
    with pytest.raises(ValueError, match="task: classify needs whole images"):
        fold_table(space_of(tmp_path, folds=split, task="classify"), None)
    metric = space.competition.metric.model_copy(update={"unit": "stack"})
    stacked = replace(space, competition=space.competition.model_copy(update={"metric": metric}))
    with pytest.raises(ValueError, match="images are slices of stacks"):
        fold_table(stacked, None)
    listing, inventory = space.training_images()
    object.__setattr__(space, "training_images", lambda: (listing.assign(stack="s"), inventory))
    with pytest.raises(ValueError, match="images are slices of stacks"):
        fold_table(space, None)


@pytest.mark.parametrize("column, value", [("x1", 57), ("y0", 40)])
def test_blocks_of_a_teams_file_lie_in_their_images(tmp_path: Path, column: str, value: int) -> None:
    space = space_of(tmp_path, folds={"method": "blocks", "n": 2, "buffer": 4})
    table = fold_table(space, None)
    table.to_csv(tmp_path / "team.csv", index=False)
    assert len(fold_table(space, tmp_path / "team.csv")) == len(table)
    table.loc[3, column] = value
    table.to_csv(tmp_path / "team.csv", index=False)
    with pytest.raises(ValueError, match=r"1 blocks are empty or reach beyond .* of 'train01' with .* \[40, 56\]"):
        fold_table(space, tmp_path / "team.csv")
