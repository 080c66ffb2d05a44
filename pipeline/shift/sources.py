"""Images that come from one place - a scanner, a stain, a batch, a drive - found from what they are like."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import scipy

from pipeline.shift.appearance import appearance, principal, standardised

LEAST_SILHOUETTE = 0.35
LEAST_OF_A_PART = 0.5
MOST_PARTS = 8
LEAST_DIVIDED = 20
MOST_CLUSTERED = 1000


def find_sources(table: pd.DataFrame, thumbnails: np.ndarray) -> pd.Series:
    """The source of every image, 's1' (most images), 's2' ..., in the order of `table` (the inventory's rows).

    Agglomerative clustering (Ward) over the principal components of what images are like. Images are divided into the
    number of parts, 2 to 8, whose mean silhouette (Rousseeuw 1987) is largest; where that is below 0.35, or where there
    are fewer than 20 images, they are one source. A part of 20 or more images is divided in turn, in its own
    components, where that silhouette is at least 0.5. Of more than 1000 images those that come first by content are
    clustered, and each of the others goes with the one most like it. Neither the order of the rows nor a seed
    matters. Raises ValueError for an inventory without measures.
    """
    from sklearn.neighbors import NearestNeighbors

    features = appearance(table, thumbnails)
    keys = table["content_hash"].astype(str) + "\x1f" + table["image_id"].astype(str)
    order = np.argsort(np.array([hashlib.sha256(key.encode()).hexdigest() for key in keys]), kind="stable")
    chosen, others = order[:MOST_CLUSTERED], order[MOST_CLUSTERED:]
    labels = np.zeros(len(table), np.int64)
    for number, members in enumerate(_parts(features.iloc[chosen])):
        labels[chosen[members]] = number
    if len(others):
        values = standardised(features)
        nearest = NearestNeighbors(n_neighbors=1).fit(values[chosen]).kneighbors(values[others], return_distance=False)
        labels[others] = labels[chosen[nearest[:, 0]]]
    return pd.Series(_named(labels, table["image_id"].astype(str).to_numpy()), index=table.index, dtype=object)


def _parts(features: pd.DataFrame) -> list[np.ndarray]:
    """Row numbers of each source."""
    waiting, done, least = [np.arange(len(features))], [], LEAST_SILHOUETTE
    while waiting:
        members = waiting.pop()
        parts = _divided(features.iloc[members], least) if len(members) >= LEAST_DIVIDED else None
        least = LEAST_OF_A_PART
        if parts is None:
            done.append(members)
        else:
            waiting += [members[parts == part] for part in np.unique(parts)]
    return done


def _divided(features: pd.DataFrame, least: float) -> np.ndarray | None:
    """The part of each row, by the number of parts with the largest mean silhouette; None where it is below `least`."""
    from sklearn.metrics import silhouette_score

    values = principal(standardised(features))
    if not values.shape[1]:
        return None
    distances = scipy.spatial.distance.pdist(values)
    tree, square = scipy.cluster.hierarchy.linkage(values, "ward"), scipy.spatial.distance.squareform(distances)
    best, found = least, None
    for number in range(2, min(MOST_PARTS, len(features) - 1) + 1):
        parts = scipy.cluster.hierarchy.fcluster(tree, number, "maxclust")
        if len(np.unique(parts)) < 2:
            continue
        score = round(float(silhouette_score(square, parts, metric="precomputed")), 9)
        if score > best:
            best, found = score, parts
    return found


def _named(labels: np.ndarray, image_ids: np.ndarray) -> list[str]:
    """Names by the number of images, most first; of equally many the one with the first id."""
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    ordered = sorted(parts, key=lambda part: (-len(part), min(image_ids[part])))
    names = np.empty(len(labels), dtype=object)
    for number, part in enumerate(ordered, start=1):
        names[part] = f"s{number}"
    return list(names)
