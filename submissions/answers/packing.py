"""Many files as one answer: a zip or a folder, written beside its place and renamed, read back a file at a time."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from submissions.host.atomic import partial_path, put_in_place, remove, room_for
from submissions.host.patterns import is_system_name

COMPRESSED = (".png", ".tif", ".tiff", ".gz")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same answer is the same zip, byte for byte


class Packer:
    """Adds files; zip or folder are at their place once `finish` returns. Leaving a `with` early removes all."""

    def __init__(self, out: Path, *, zipped: bool) -> None:
        self.out, self.partial = out, partial_path(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        remove(self.partial)
        self._folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent)) if zipped else self.partial
        self._zip = zipfile.ZipFile(self.partial, "w") if zipped else None
        self.names: list[str] = []

    def add(self, name: str, write: Callable[[Path], None], *, size: int) -> None:
        """A file that `write` writes to the path it is given, of at most about `size` bytes. DiskFull without room."""
        self.names.append(name)
        place = self._folder / (name if self._zip is None else f"file-{PurePosixPath(name).name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with room_for(self.out, size, self.partial):
            write(place)
            if self._zip is None:
                return
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr, info.file_size = 0o644 << 16, place.stat().st_size
            stored = place.suffix.lower() in COMPRESSED
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            with place.open("rb") as source, self._zip.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
        place.unlink()

    def finish(self) -> None:
        """Rename to the final name; what was there goes."""
        if self._zip is not None:
            self._zip.close()
            shutil.rmtree(self._folder)
        else:
            self.partial.mkdir(parents=True, exist_ok=True)
        put_in_place(self.partial, self.out)

    def __enter__(self) -> Packer:
        return self

    def __exit__(self, *error: object) -> None:
        if self._zip is not None:
            self._zip.close()
            shutil.rmtree(self._folder, ignore_errors=True)
        remove(self.partial)


class PackedFiles:
    """The files of a zip or folder. FileNotFoundError where there is none, ValueError where it is neither."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; expected a zip or folder of mask files")
        if path.is_dir():
            found = [one.relative_to(path).as_posix() for one in sorted(path.rglob("*")) if one.is_file()]
        else:
            try:
                with zipfile.ZipFile(path) as packed:
                    found = [one.filename for one in packed.infolist() if not one.is_dir()]
            except zipfile.BadZipFile as error:
                raise ValueError(f"{path}: no readable zip ({error}); expected a zip or a folder of files") from error
        self.names = [name for name in found if not any(is_system_name(part) for part in PurePosixPath(name).parts)]

    @property
    def size(self) -> int:
        """Bytes of the zip, or of the folder's files."""
        if not self.path.is_dir():
            return self.path.stat().st_size
        return sum((self.path / name).stat().st_size for name in self.names)

    @contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """A file on disk, for as long as it is needed. ValueError where it cannot be unpacked."""
        if self.path.is_dir():
            yield self.path / name
            return
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / PurePosixPath(name).name
            try:
                with zipfile.ZipFile(self.path) as packed, packed.open(name) as source, place.open("wb") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
            except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
                raise ValueError(f"{self.path}: {name} cannot be unpacked ({error})") from error
            yield place
