"""Is a folder of DICOM slices one image, a volume, because its mask is one? train/<study>/1.dcm, masks/<study>.nii."""

from __future__ import annotations

from collections.abc import Sequence

from submissions.guess.layout.files import FileGroup
from submissions.guess.layout.matching import are_pairs
from submissions.guess.layout.words import VOLUMES


def with_series(groups: Sequence[FileGroup]) -> list[FileGroup]:
    """The groups with folders in the place of their DICOM slices, all of them, where folders of one are named as
    volumes are; otherwise the groups as they are."""
    slices = [group for group in groups if group.pattern.endswith(".dcm") and len(group.names) > 1]
    volumes = [group for group in groups if group.pattern.endswith(VOLUMES)]
    series = _folders(slices)
    if not any(are_pairs(folders, masks) for folders in series for masks in volumes):
        return list(groups)
    return [*series, *(group for group in groups if group not in slices)]


def _folders(slices: Sequence[FileGroup]) -> list[FileGroup]:
    """A group of folders for each pattern of folders; {name} is the last field of it."""
    found: dict[tuple[str, tuple[str, ...]], dict[str, tuple[str, ...]]] = {}
    for group in slices:
        pattern = group.folder.replace(f"{{{group.names[-2]}}}", "{name}")
        files = found.setdefault((pattern, (*group.names[:-2], "name")), {})
        files.update({path.rpartition("/")[0]: fields[:-1] for path, fields in group.files})
    return [
        FileGroup(pattern, names, tuple(sorted(files.items())), series=True)
        for (pattern, names), files in found.items()
        if "{name}" in pattern
    ]
