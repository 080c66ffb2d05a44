"""Which models a decision asks for: with which views, with what weight, and which of them classify whole images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from inference.decide.decision import Decision
from inference.predict.members import ReadyMember
from inference.predict.tta_names import expand_views
from inference.weights import LoadedModel

Member = LoadedModel | ReadyMember


class Origin(NamedTuple):
    """Where a member comes from: its experiment, and the fold that it was not trained on."""

    experiment: str
    fold: int


def interleaved_origins(experiments: Mapping[str, Sequence[int]]) -> list[Origin]:
    """Origins of experiments and their folds: everyone's first fold, then everyone's second.

    What a time budget gives up first comes last, and no experiment is given up as long as folds are left.
    """
    places = [
        (place, Origin(name, fold)) for name, folds in experiments.items() for place, fold in enumerate(sorted(folds))
    ]
    return [origin for _, origin in sorted(places, key=lambda one: one[0])]


def split_classifiers(
    members: Sequence[Member], origins: Sequence[Origin] | None, decision: Decision
) -> tuple[Sequence[Member], Sequence[Origin] | None, list[Member]]:
    """Members and origins without those of the decision's classifier, and these.

    Raises ValueError where the decision names a classifier that no member comes from.
    """
    if decision.classifier is None or not members:
        return members, origins, []
    given = list(zip(members, checked_origins(origins, len(members)), strict=True))
    classifiers = [member for member, origin in given if origin.experiment == decision.classifier]
    if not classifiers:
        raise ValueError(
            f"the decision needs the classifier {decision.classifier!r}, but its models are not among the "
            "members; run stage 07 or 08 again"
        )
    rest = [pair for pair in given if pair[1].experiment != decision.classifier]
    return [member for member, _ in rest], [origin for _, origin in rest], classifiers


def weighted_members(
    members: Sequence[Member], origins: Sequence[Origin] | None, decision: Decision
) -> tuple[list[Member], list[float] | None]:
    """The segmentation models that count, with the views that the decision keeps, and their weights.

    Weights are None where all count alike; a model of weight 0 is left out. Raises as `with_kept_views` and
    `member_shares`.
    """
    used, shares = with_kept_views(members, decision), member_shares(decision, origins, len(members))
    if shares is None:
        return used, None
    kept = [index for index, share in enumerate(shares) if share > 0]
    return [used[index] for index in kept], [shares[index] for index in kept]


def with_kept_views(members: Sequence[Member], decision: Decision) -> list[Member]:
    """The members with the views that the decision keeps; ValueError where it keeps none of those that are set."""
    found = []
    for member in members:
        settings = member.predict_config
        if decision.views is not None:
            views = [view for view in expand_views(settings.views) if view in decision.views]
            if not views:
                raise ValueError(
                    f"the decision uses the TTA views {decision.views}, but predict.views are {settings.views}; "
                    "run stage 06 for these views"
                )
            settings = settings.model_copy(update={"views": views})
        found.append(replace(member, predict_config=settings))
    return found


def member_shares(decision: Decision, origins: Sequence[Origin] | None, number: int) -> list[float] | None:
    """Weight of each member: its experiment's, shared equally by its folds; None where all count alike.

    Raises ValueError where the decision weighs other experiments than those of the members.
    """
    if not decision.weights:
        return None
    given = checked_origins(origins, number)
    folds = Counter(origin.experiment for origin in given)
    if set(folds) != set(decision.weights):
        raise ValueError(
            f"the decision weights {sorted(decision.weights)}, but the members are {sorted(folds)}; run stage 06 again"
        )
    return [decision.weights[origin.experiment] / folds[origin.experiment] for origin in given]


def checked_origins(origins: Sequence[Origin] | None, number: int) -> Sequence[Origin]:
    """The origins; raises ValueError where they are not one per member."""
    if origins is None or len(origins) != number:
        found = "none" if origins is None else len(origins)
        raise ValueError(f"{found} origins for {number} members: ensemble weights need the experiment and fold of each")
    return origins
