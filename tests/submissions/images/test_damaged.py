"""Whatever a library raises over a file names the file; what names it already, and what is no fault of it, passes."""

from __future__ import annotations

import errno
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from submissions.images.damaged import named, naming, read_json
from submissions.images.opening import open_image

PATH = Path("train/a1.png")


@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("by zero"), struct.error("4 bytes"), IndexError(), zlib.error("-3"), OSError("truncated")],
)
def test_errors_of_libraries_name_the_file(error: Exception) -> None:
    with (
        pytest.raises(ValueError, match=r"^train/a1\.png: damaged, or not what it says it is \(") as caught,
        naming(PATH),
    ):
        raise error
    assert (str(error) or type(error).__name__) in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_size_that_cannot_be_is_said_as_one() -> None:
    with pytest.raises(ValueError, match="its sizes need more memory than there is"), naming(PATH):
        raise MemoryError("Unable to allocate 8.00 EiB")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("train/a1.png: the header gives 0 x 3 pixels"), FileNotFoundError(errno.ENOENT, "No such file", "x"),
        ModuleNotFoundError("pydicom"), NotImplementedError("JPEG XS"), KeyboardInterrupt(),
    ],
)  # fmt: skip
def test_what_says_it_already_passes_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, naming(PATH):
        raise error
    assert caught.value is error


def test_a_method_that_reads_names_its_path() -> None:
    class Source:
        path = PATH

        @named
        def read(self, z: int, *, rows: int = 1) -> int:
            """Window of a slice."""
            return [7, 8][z] * rows

    assert Source().read(1, rows=2) == 16 and Source.read.__doc__ == "Window of a slice."
    with pytest.raises(ValueError, match=r"train/a1\.png: damaged.*list index out of range"):
        Source().read(5)


def test_an_array_that_promises_what_it_has_not_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a1.npy"
    np.save(path, np.zeros((9, 7), np.uint8))
    path.write_bytes(path.read_bytes().replace(b"(9, 7)", b"(9, -)"))
    with pytest.raises(ValueError, match=r"a1\.npy"):
        open_image(path)


@pytest.mark.parametrize("text", [b'{"a": 1', b"\xff\xfe\x00", b""])
def test_json_that_is_none_names_its_file_and_the_cure(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "a1.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [1]}')
    assert read_json(path) == {"a": [1]}
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"a1\.json: not readable as JSON \(.*; copy it again from the host$"):
        read_json(path)
    with pytest.raises(ValueError, match=r"^answers/b\.json: not readable as JSON .*; write it again$"):
        read_json(path, "answers/b.json", cure="write it again")
