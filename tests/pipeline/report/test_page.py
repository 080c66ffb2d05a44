"""The page of a run: its sections, what it says where something is missing, and that no host's text becomes HTML."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.offline
import pytest
from tiny_run import write_tiny_experiment

from pipeline.__main__ import main
from pipeline.report.figures import learning_figure
from pipeline.report.finished_run import FinishedRun, finished_runs, learning_curves, open_finished, stage_documents
from pipeline.report.image_pictures import look_at, shrink
from pipeline.report.markup import data_script, element, number, span, table
from pipeline.report.page import contents, render, write_report
from pipeline.report.shift_section import test_against_training as shift_section
from pipeline.report.thresholds import explore_thresholds, plateau_of_run
from pipeline.sequence import run_stages
from submissions.kaggle.ledger import Entry, record
from submissions.table.show import EXTRA

HOSTILE = "<img src=x onerror=alert(1)>\"'</script><script>alert(2)</script>&amp;"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn competition taken through stages 01 to 06, with a sample for views and one shift."""
    made = tmp_path_factory.mktemp("report")
    tune = {"rounds": 100, "rules": ["global"], "sample": 4, "shifts": ["brightness:0.2"]}
    run_stages(write_tiny_experiment(made, tune=tune), ("01", "02", "03", "04", "05", "06"))
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> FinishedRun:
    return reopened(folder)


@pytest.fixture(scope="module")
def page(run: FinishedRun, folder: Path) -> str:
    return render(run, ledger=folder / "ledger.csv")


def reopened(folder: Path, data: str = "data") -> FinishedRun:
    own = folder / "runs" / "drawn" / "tiny"
    return open_finished(own, data=folder / data, competition=folder / "drawn.yaml")


def without_plotly(page: str) -> str:
    """The page without the script that is not ours."""
    own, found = re.subn(r'(<script type="application/gzip" id="plotly">)[^<]*', r"\1", page)
    assert found == 1
    return own


class Tags(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def tags(page: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(page)
    return parser.found


def test_the_page_has_its_sections_and_the_scores(page: str, run: FinishedRun) -> None:
    found = tags(page)
    ids = [given["id"] for _, given in found if "id" in given]
    assert len(ids) == len(set(ids))
    assert set(contents(run)) <= set(ids) and "answers" not in ids
    assert {"learning-figure", "thresholds-figure", "balance-figure", "views-figure", "shifts-figure"} <= set(ids)
    for figure in ("CV, dice", f"{run.tuned['score']:.4f}", f"{run.tuned['nested']:.4f}", "one leaderboard"):
        assert figure in page
    for image_id in run.scores["image_id"]:
        assert f">{image_id}<" in page
    for document in stage_documents(run).values():
        assert document["fingerprint"] in page
        assert document["made"]["command"] == shlex.join(sys.orig_argv)
        assert set(document["made"]["versions"]) >= {"python", "torch", "numpy"}


def test_the_page_compares_test_with_training(page: str, run: FinishedRun) -> None:
    for sentence in json.loads(run.beside_folds("shift.json").read_text(encoding="utf-8"))["sentences"]:
        assert element("li", sentence) in page
    for image_id in pd.read_csv(run.beside_folds("shift_images.csv"))["image_id"]:
        assert f"<td>{image_id}</td>" in page
    titles = [given.get("alt") for tag, given in tags(page) if tag == "img"]
    assert {"training and test images by what they are like"} < set(titles)


def test_without_test_images_the_page_says_so(run: FinishedRun, tmp_path: Path) -> None:
    other = replace(run)
    object.__setattr__(other, "beside_folds", lambda name: tmp_path / name)
    assert "Stage 02 had no test images to compare with training." in shift_section(other)


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    for tag, given in tags(page):
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = given.get(name) or ""
            assert not value or value.startswith(("data:", "#")), (tag, name, value[:80])
    own = without_plotly(page)
    assert "@import" not in own and "url(" not in own and "fetch(" not in own
    assert "default-src 'none'" in page


def test_a_page_is_small_and_has_what_its_figures_need(page: str) -> None:
    assert len(page.encode()) < 3_000_000
    packed = re.search(r'id="plotly">([^<]*)', page)
    assert packed is not None and gzip.decompress(base64.b64decode(packed[1])).decode() == plotly.offline.get_plotlyjs()
    figures = re.findall(r'<div class="figure"><div id="([^"]+)" style="height:(\d+)px"></div>', page)
    assert len(figures) >= 5
    for name, height in figures:
        stored = re.search(rf'<script type="application/json" id="{name}-data">([^<]*)</script>', page)
        assert stored is not None
        figure = go.Figure(json.loads(stored[1]))
        assert figure.data and figure.layout.height == int(height)


def test_the_same_run_gives_the_same_page(page: str, folder: Path) -> None:
    assert render(reopened(folder), ledger=folder / "ledger.csv") == page


def test_ids_and_names_of_the_host_are_escaped(run: FinishedRun, folder: Path, tmp_path: Path) -> None:
    hostile = run.scores.assign(group=HOSTILE, stratum=HOSTILE)
    decision = run.decision.model_copy(update={"learned": {**run.decision.learned, "reasons": [HOSTILE]}})
    units = [
        replace(
            unit,
            items=tuple(
                replace(
                    i,
                    stratum=HOSTILE,
                )
                for i in unit.items
            ),
        )
        for unit in run.units
    ]  # type: ignore[type-var]
    renamed = [replace(unit, name=HOSTILE + unit.name) for unit in units]
    hostile["image_id"] = HOSTILE + hostile["image_id"]
    competition = run.space.competition.model_copy(update={"classes": [HOSTILE], "name": run.space.competition.name})
    decision = decision.model_copy(update={"classes": [HOSTILE], "channels": [HOSTILE]})
    changed = replace(run, scores=hostile, decision=decision, space=replace(run.space, competition=competition))
    changed.__dict__["units"] = renamed
    ledger = tmp_path / "ledger.csv"
    record(ledger, Entry("drawn", HOSTILE, "a", cv=0.5, public=0.4, description=HOSTILE))
    record(ledger, Entry("drawn", "other", "b", cv=0.6, public=0.5))
    page = render(changed, ledger=ledger)
    assert not [given for tag, given in tags(page) if any(name.startswith("on") for name in given)]
    assert not [given for tag, given in tags(page) if tag == "img" and given.get("src") == "x"]
    assert "alert(2)</script>" not in page and "<img src=x" not in page
    scripts = sum(tag == "script" for tag, _ in tags(page))
    plain = sum(tag == "script" for tag, _ in tags(render(run, ledger=ledger)))
    assert scripts == plain


def test_what_is_missing_is_said(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    shutil.copy(folder / "drawn.yaml", tmp_path)
    own = tmp_path / "runs" / "drawn" / "tiny"
    for name in ("views.csv", "shifts.csv", "curves.csv", "nested_scores.csv"):
        (own / "tuning" / name).unlink()
    for path in (*own.glob("fold_*/log.jsonl"), *own.parent.glob("folds/*/balance.csv")):
        path.unlink()
    for path in own.parent.glob("folds/*/leaks.csv"):
        path.unlink()
    for path in own.parent.rglob("stage.json"):
        document = json.loads(path.read_text())
        document.pop("made", None)
        path.write_text(json.dumps(document))
    page = render(reopened(tmp_path, "nowhere"), ledger=tmp_path / "ledger.csv")
    for sentence in (
        "the host&#x27;s files are not in", "No fold left a log", "no balance.csv", "no leaks.csv",
        "TTA views were not measured", "no averaging was measured", "Not measured: set tune.sample",
        "No submission to drawn is in the ledger", "did not note their commands",
    ):  # fmt: skip
        assert sentence in page, sentence
    assert "<canvas" not in page


def test_a_classifier_has_no_pictures(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    shutil.copytree(folder / "data", tmp_path / "data")
    shutil.copy(folder / "drawn.yaml", tmp_path)
    made = tmp_path / "runs" / "drawn" / "tiny" / "fold_0" / "stage.json"
    document = json.loads(made.read_text())
    document["identity"]["settings"]["task"] = "classify"
    made.write_text(json.dumps(document))
    page = render(reopened(tmp_path), ledger=tmp_path / "ledger.csv")
    assert "tiny predicts whole images and has no masks" in page and "<canvas" not in page
    assert ">train00<" in page


def test_leaks_and_a_checkpoint_chosen_on_its_fold_are_warned_of(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "runs", tmp_path / "runs")
    shutil.copy(folder / "drawn.yaml", tmp_path)
    shared = tmp_path / "runs" / "drawn"
    leak = {"image_a": "train00", "image_b": "train01", "fold_a": 0, "fold_b": 1, "kind": "near", "similarity": 0.97}
    for path in shared.glob("folds/*/leaks.csv"):
        shifted = {"image_a": "train02", "image_b": "train03", "kind": "shifted"}
        pd.DataFrame([{**leak, "distance": np.nan}] * 30 + [{**leak, **shifted}]).to_csv(path, index=False)
    chosen = shared / "tiny" / "fold_1" / "stage.json"
    chosen.write_text(json.dumps({**json.loads(chosen.read_text()), "selected_on_held_out_fold": True}))
    page = render(reopened(tmp_path, "nowhere"), ledger=tmp_path / "ledger.csv")
    assert "31 pair(s) lie on both sides of a fold (30 of kind near, 1 of kind shifted)" in page
    assert "train00 (fold 0), train01 (fold 1)" in page and "train02 (fold 0), train03 (fold 1)" in page
    assert "The weights of tiny/fold_1 were chosen on the fold that they are scored on" in page


def test_the_ledger_says_noise_or_shift(run: FinishedRun, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.csv"
    for name, public in (("tiny", 0.4), ("other", 0.5)):
        record(ledger, Entry("drawn", name, name, cv=0.5, predicted_low=0.3, predicted_high=0.7, public=public))
    record(ledger, Entry("another competition", "tiny", "c", cv=0.1))
    page = render(run, ledger=ledger)
    assert "<b>tiny</b>" in page and "another competition" not in page
    assert "2 of 2 scores lie in their interval" in page and 'id="ledger-public-figure"' in page


def test_the_word_writes_the_page_beside_the_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = folder / "runs" / "drawn" / "tiny"
    places = ["--data", str(folder / "data"), "--competition", str(folder / "drawn.yaml")]
    main(["report", str(own), *places, "--ledger", str(folder / "ledger.csv")])
    assert f"report -> {own / 'report.html'}" in capsys.readouterr().out
    assert [path.name for path in own.glob("report*")] == ["report.html"]
    assert (own / "report.html").stat().st_size < 15_000_000


def test_the_folder_of_a_run_is_enough(
    folder: Path, run: FinishedRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = (folder / "runs" / "drawn" / "tiny").resolve()
    monkeypatch.chdir("/")  # where no contract and no data lie
    alone = open_finished(own)
    assert alone.space.competition == run.space.competition and alone.space.data.samefile(folder / "data")
    assert len(alone.units) == len(run.units)
    main(["compare", str(own), str(own)])
    assert "within noise" in capsys.readouterr().out


def test_a_run_that_is_not_finished_or_of_another_contract_is_refused(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run 06_tune.py absent first"):
        open_finished(folder / "runs" / "drawn" / "absent")
    with pytest.raises(ValueError, match="is a run of 'drawn', but the contract is 'tgs-salt'"):
        open_finished(folder / "runs" / "drawn" / "tiny", competition="tgs-salt")
    with pytest.raises(FileNotFoundError, match="name the host's files with --data"):
        _ = reopened(folder, "nowhere").units
    with pytest.raises(FileNotFoundError, match="no experiment is finished"):
        finished_runs(folder / "runs", "salt")
    (found,) = finished_runs(folder / "runs")
    assert (found.name, found.space.data) == ("tiny", (folder / "data").resolve())


def test_every_threshold_scores_what_counting_pixels_gives(run: FinishedRun) -> None:
    found = explore_thresholds(run)
    assert found is not None
    threshold = 128
    dice, hits, said, true = [], 0, 0, 0
    for unit in run.units:
        item = unit.items[0]
        mask, truth = item.probs()[0] >= threshold, item.truth().planes[0, 0]
        total = int(mask.sum() + truth.sum())
        dice.append(2 * int((mask & truth).sum()) / total if total else 1.0)
        hits, said, true = hits + (mask & truth).sum(), said + mask.sum(), true + truth.sum()
    assert found.names == [unit.name for unit in run.units]
    np.testing.assert_allclose(found.by_unit[:, threshold], dice)
    assert found.score[threshold] == pytest.approx(np.mean(dice))
    assert (found.precision[threshold], found.recall[threshold]) == pytest.approx((hits / said, hits / true))
    counts = run.scores["fold"].value_counts()
    means = sum(found.by_fold[fold][threshold] * counts[fold] for fold in found.by_fold) / len(run.scores)
    assert means == pytest.approx(found.score[threshold])
    rule = run.decision.learned["values"]["threshold"]
    edges = plateau_of_run(run)
    assert edges is not None and edges[0] <= rule <= edges[1]
    assert found.score[rule] == pytest.approx(run.tuned["score"])


def test_a_look_shows_right_missed_and_extra(run: FinishedRun) -> None:
    look = look_at(run, run.units[0])
    assert look.image.shape == (40, 56, 3) and look.probs.shape == look.truth.shape == look.mask.shape == (1, 40, 56)
    grey = np.full((5, 7, 3), 100, np.uint8)
    truth, mask, valid = np.zeros((2, 5, 7), bool), np.zeros((2, 5, 7), bool), np.ones((5, 7), bool)
    truth[0, 0], mask[0, 0] = True, True  # right
    truth[0, 1], mask[1, 1] = True, True  # of the other class: extra
    truth[0, 2] = True  # missed
    mask[0, 3], valid[3] = True, False  # void
    error = replace(look, image=grey, truth=truth, mask=mask, valid=valid).error_picture
    expected = 0.45 * 100 + 0.55 * np.array(EXTRA)
    np.testing.assert_allclose(error[1, 0], expected, atol=1)
    assert len({tuple(error[row, 0]) for row in range(3)}) == 3
    assert tuple(error[3, 0]) == tuple(error[4, 0]) == (100, 100, 100)
    assert shrink(np.zeros((20, 80, 3), np.uint8), 40).shape == (10, 40, 3)
    assert shrink(np.zeros((20, 30), np.uint8), 40).shape == (20, 30)


def test_learning_curves_have_a_row_an_epoch_and_fold(run: FinishedRun) -> None:
    curves = learning_curves(run)
    assert curves[["fold", "epoch"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    figure = learning_figure(curves.assign(score=curves["score"] * 1e-3))
    assert figure.layout.template.layout.yaxis.exponentformat == "none"  # 0.0008, not 800µ
    assert curves["loss"].notna().all() and curves.groupby("fold")["score"].last().notna().all()


def test_pieces_of_html() -> None:
    assert element("p", "a<b", class_='x"y') == '<p class="x&quot;y">a&lt;b</p>'
    assert (number(0.12345), number(3), number(float("nan")), number(0.1, 2, signed=True)) == (
        "0.1235",
        "3",
        "–",
        "+0.10",
    )
    assert (span(0.1, 0.2), span(None, 0.2), span(float("nan"), 1)) == ("0.1000 to 0.2000", "", "")
    made = table(["name", "value"], [["<x>", 0.5], ["y", None]], sortable=True)
    assert 'data-value="0.5"' in made and "&lt;x&gt;" in made and "–" in made
    script = data_script("here", {"text": "</script><!--"})
    inner = re.fullmatch(r'<script type="application/json" id="here">(.*)</script>', script)
    assert inner is not None and "<" not in inner[1]
    assert json.loads(inner[1]) == {"text": "</script><!--"}
    with pytest.raises(ValueError, match="JSON"):
        data_script("here", {"number": float("nan")})


def test_a_page_is_written_aside_and_renamed(run: FinishedRun, folder: Path, tmp_path: Path) -> None:
    made = write_report(run, tmp_path / "deep" / "page.html", ledger=folder / "ledger.csv")
    assert made.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in made.parent.iterdir()] == ["page.html"]
