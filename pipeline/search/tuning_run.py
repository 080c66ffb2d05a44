"""`segpipe tune`: the noise floor, the trials, and the best trial judged by folds that the search never saw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.distributed.ray_cluster import Cluster
from pipeline.search.noise_floor import known_scores, measure_noise, unknown_seeds
from pipeline.search.parts import Ahead, run_part, side_by_side, trial_parts
from pipeline.search.trials import (
    best_settings,
    open_study,
    run_trials,
    scored,
    steady_optuna,
    trial_table,
    write_best,
)
from pipeline.search.variants import FOLDER, experiment_key, run_variant, search_folds, variant_name
from pipeline.stage import digest
from pipeline.workspace import Workspace
from submissions.host.atomic import write_atomic

TABLE, REPORT = "trials.csv", "report.md"


def tune_experiment(
    space: Workspace, argv: Sequence[str], *, trials: int, hours: float | None, cluster: Cluster | None = None
) -> Path:
    """Search, and leave trials.csv, pictures, best.yaml and report.md in the folder `search`; returns the report.

    Stages 01 and 02 of the experiment have to be done. With a `cluster`, its nodes do trials and other runs side by
    side, on the same journal. Raises ValueError where no trial could be scored.
    """
    _, unseen = search_folds(space.experiment)
    open_study(space)  # what is missing is said before anything is trained
    name, goal = space.experiment.name, space.experiment.search.objective
    with side_by_side(cluster, space, argv) as ahead:
        floor = _floor(space, argv, ahead)
        until = None if hours is None else time.time() + hours * 3600
        ahead(trial_parts(space, trials, until) if cluster is not None else [])
        seconds = None if until is None else max(0.0, until - time.time())
        study = run_trials(space, argv, trials=trials, seconds=seconds)
        if not scored(study):
            raise ValueError(f"none of {len(study.trials)} trials could be scored; {space.own / FOLDER} says why")
        settings = best_settings(space, study)
        best = write_best(space, settings)
        table = trial_table(study, floor)
        write_atomic(space.own / FOLDER / TABLE, table.to_csv(index=False, lineterminator="\n"))
        draw_study(study, space.own / FOLDER)
        checked = {"unseen": {"folds.use": unseen}, "best-unseen": {**settings, "folds.use": unseen}}
        last = [(variant_name(space.experiment, what, one), one) for what, one in checked.items()]
        ahead([run_part(*one) for one in last])
        base, other = (run_variant(space, argv, *one).scores[goal] for one in last)
    first = known_scores(space.own, _noise_key(space))[str(space.experiment.seed)]
    lines = verdict(base, other, first=first, top=study.best_value, floor=floor)
    print("\n".join(lines))
    text = [f"# Search of {name}", "", *(f"- {line}" for line in lines), "", f"Best: {settings}, as {best}.", ""]
    write_atomic(space.own / FOLDER / REPORT, "\n".join(text))
    return space.own / FOLDER / REPORT


def _floor(space: Workspace, argv: Sequence[str], ahead: Ahead) -> float:
    """The noise floor on the folds of the search."""
    experiment, goal, key = space.experiment, space.experiment.search.objective, _noise_key(space)
    seen, _ = search_folds(experiment)

    def run_at(seed: int) -> tuple[str, dict[str, Any]]:
        settings = {"seed": seed, "folds.use": seen}
        return variant_name(experiment, f"seed{seed}", settings), settings

    def score(seed: int) -> float:
        found = run_variant(space, argv, *run_at(seed))
        print(f"{found.name}: {goal} {found.scores[goal]:.4f}")
        return found.scores[goal]

    ahead([run_part(*run_at(seed)) for seed in unknown_seeds(space.own, experiment.seed, key)])
    floor = measure_noise(space.own, score, experiment.seed, key=key)
    print(f"noise floor: {floor:.4f}; runs that differ by less may differ only by their seed")
    return floor


def _noise_key(space: Workspace) -> str:
    experiment = space.experiment
    return digest([experiment_key(experiment), search_folds(experiment)[0], experiment.search.objective])


def verdict(base: float, other: float, *, first: float, top: float, floor: float) -> list[str]:
    """Sentences on the best trial: what the search says of it, what folds that it never saw say, and the difference.

    base, other: the experiment and the best trial on unseen folds; first, top: the same where the search looked.
    """
    promised, kept = top - first, other - base
    clear = "more than the noise floor" if kept > floor else "within the noise floor: nothing was found"
    return [
        f"on the folds of the search: {top:.4f} against {first:.4f} as it was, {promised:+.4f}",
        f"on folds that the search never saw: {other:.4f} against {base:.4f}, {kept:+.4f}, {clear} ({floor:.4f})",
        f"optimism of the search: {promised - kept:+.4f}",
    ]


def draw_study(study: Any, folder: Path) -> None:
    """History, slices and (from four scored trials on, where two settings differ) importance, as pictures."""
    import optuna.visualization.matplotlib as plots

    from pipeline.pictures import save_figure

    drawn = {"history": plots.plot_optimization_history, "slices": plots.plot_slice}
    if len(scored(study)) >= 4 and len(study.best_trial.params) > 1:
        drawn["importance"] = plots.plot_param_importances
    for name, draw in drawn.items():
        with steady_optuna():
            axes = draw(study)
        panels = [axes] if hasattr(axes, "figure") else list(axes.flat)
        if name == "slices":
            _legible(panels)
        save_figure(panels[0].figure, folder / f"{name}.png")


def _legible(panels: Sequence[Any]) -> None:
    """Room for each panel; plain numbers, and values of lists without the quotes of their JSON."""
    panels[0].figure.set_size_inches(2.6 * len(panels) + 2, 4.5)
    for panel in panels:
        panel.tick_params(axis="x", rotation=45)
        if panel.get_xscale() == "log":
            panel.xaxis.set_major_formatter("{x:g}")
        elif any("'" in label.get_text() for label in panel.get_xticklabels()):
            names = [label.get_text().strip("'\"") for label in panel.get_xticklabels()]
            panel.set_xticks(panel.get_xticks(), names)
