"""The host's files on object storage: fetched once, into a folder beside the inventory that every stage then reads.

Libraries that read images by windows want a file, so each object is fetched whole; whoever has less disk than data
mounts the bucket instead. Results are not written to object storage: HDF5 and memory maps need files, and "done or not
at all" needs renaming and locks. A finished stage can be copied there and back as it is.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from inference.progress import progress_bar
from submissions.host.atomic import partial_path, write_atomic

FOLDER, NOTE = "data", "data.json"
TOGETHER = 64  # objects asked for at once, where the file system can


def data_place(text: str) -> Path | str:
    """What `--data` names: a URL such as s3://bucket/folder stays text."""
    return text if "://" in text else Path(text)


def fetched(url: str, shared: Path) -> Path:
    """The folder with all files below `url`, fetched into the competition's folder `shared` if they are not there yet.

    What is there is trusted and not listed again. Raises ValueError where the URL's file system is not known or not
    installed, its files do not fit on the disk, or others were fetched before; FileNotFoundError where there are none.
    """
    folder, note = shared / FOLDER, shared / NOTE
    shared.mkdir(parents=True, exist_ok=True)
    with FileLock(shared / f".{FOLDER}.lock"):
        known = json.loads(note.read_text(encoding="utf-8"))["url"] if note.is_file() else None
        if known == url:
            return folder
        if known is not None:
            raise ValueError(f"{folder} came from {known}, not from {url}; delete it and {note}, or give other --runs")
        system, root = _opened(url)
        sizes = _listed(system, root)
        if not sizes:
            raise FileNotFoundError(f"{url}: no files there; expected the host's files, unpacked")
        wanted = {name: size for name, size in sizes.items() if not _is_there(folder / name, size)}
        _require_room(url, sum(wanted.values()), shared)
        _fetch(system, root, list(wanted), folder)
        write_atomic(note, json.dumps({"url": url, "files": len(sizes), "bytes": sum(sizes.values())}) + "\n")
    return folder


def _opened(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        system, root = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"--data {url}: {error}") from error
    return system, str(root)


def _listed(system: Any, root: str) -> dict[str, int]:
    """Size in bytes by path below the root; ValueError for a name that leads out of it."""
    found = {}
    for path, facts in system.find(root, detail=True).items():
        name = str(path).removeprefix(root).lstrip("/")
        if ".." in PurePosixPath(name).parts:
            raise ValueError(f"--data: the name {path!r} leads out of {root!r}; rename the object")
        found[name] = int(facts["size"])
    return found


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _require_room(url: str, size: int, shared: Path) -> None:
    free = shutil.disk_usage(shared).free
    if size > free:
        raise ValueError(
            f"--data {url}: {size / 1e9:.1f} GB are to be fetched, but {shared} has room for {free / 1e9:.1f} GB; give "
            "--runs on a larger disk, or mount the bucket (s3fs, gcsfuse, rclone) and give --data its folder"
        )


def _fetch(system: Any, root: str, names: list[str], folder: Path) -> None:
    """Fetch files, each aside and then renamed."""
    with progress_bar(total=len(names), desc="fetching data", unit="file") as bar:
        for start in range(0, len(names), TOGETHER):
            part = names[start : start + TOGETHER]
            paths = [folder / name for name in part]
            aside = [partial_path(path) for path in paths]
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            system.get([f"{root.rstrip('/')}/{name}" for name in part], [str(path) for path in aside])
            for path, partial in zip(paths, aside, strict=True):
                partial.replace(path)
            bar.update(len(part))
