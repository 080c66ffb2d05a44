from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pandas as pd
import pytest

from submissions.host.text_tables import lacking_columns, likely_separator, read_text_table

TEXT = 'id,rle\n007,"1 2"\nb.png,\n'
EXPECTED = {"id": ["007", "b.png"], "rle": ["1 2", ""]}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TEXT.replace(",", separator), encoding=encoding)
    assert read_text_table(path).to_dict("list") == EXPECTED


def test_gzip_and_files_without_a_header(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt") as stream:
        stream.write(TEXT)
    assert read_text_table(tmp_path / "t.csv.gz").to_dict("list") == EXPECTED
    (tmp_path / "list.txt").write_text("a 1\nb 2\n")
    assert read_text_table(tmp_path / "list.txt", separator=" ", columns=["id", "n"])["n"].tolist() == ["1", "2"]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_whole_numbers_beside_blank_cells_stay_whole(name: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": [7, None, -8], "share": [1.0, None, 0.5], "age": [70.0, 71.0, 72.0]})
    if name.endswith("parquet"):
        pytest.importorskip("fastparquet")
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, index=False)
    read = {"id": ["7", "", "-8"], "share": ["1.0", "", "0.5"], "age": ["70.0", "71.0", "72.0"]}
    assert read_text_table(tmp_path / name).to_dict("list") == read


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", "the file is empty"),
        ("t.csv", "id,ü\n".encode("latin-1") * 3, "is not UTF-8"),
        ("t.csv.gz", b"\x1f\x8bno", "damaged gzip"),
        ("t.csv", b'id,rle\n1,"2\n', "not readable as a table"),
        ("t.parquet", b"PAR", "damaged, or not what it says it is"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_text_table(tmp_path / name)
    assert name in str(caught.value)
    with pytest.raises(FileNotFoundError, match="none"):
        read_text_table(tmp_path / "none.csv")


def test_parquet_is_text_too(tmp_path: Path) -> None:
    pytest.importorskip("fastparquet")
    given = {"id": [7, 8], "rle": ["1 2", None], "share": [0.5, 1], "name": [b"a", b"b"]}
    pd.DataFrame(given).to_parquet(tmp_path / "t.parquet")
    read = {"id": ["7", "8"], "rle": ["1 2", ""], "share": ["0.5", "1.0"], "name": ["a", "b"]}
    assert read_text_table(tmp_path / "t.parquet").to_dict("list") == read


def test_without_a_library_parquet_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    for name in ("pyarrow", "fastparquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"needs fastparquet or pyarrow.*segmentation-pipeline\[parquet\]"):
        read_text_table(tmp_path / "t.parquet")


def test_the_separator_of_a_header_and_columns_that_differ_in_capitals() -> None:
    assert likely_separator('"a;b";"c,d,e"') == ";" and likely_separator("id") == ","
    said = lacking_columns(["id", "rle"], pd.DataFrame(columns=["ID", " rle"]))
    assert said.endswith("capitals and blanks count: write 'ID' for 'id', ' rle' for 'rle'")


def test_rows_with_more_cells_than_the_header(tmp_path: Path) -> None:
    """Behind the last separator is nothing, and a row's name is no cell; else pandas moves every cell by a column."""
    path = tmp_path / "table.csv"
    wanted = {"id": ["a", "b"], "rle": ["1 2", ""]}
    for text in ("id,rle\na,1 2,\nb,,\n", "id;rle\na;1 2;;\nb;;;\n", "id,rle\n1,a,1 2\n2,b,\n"):
        path.write_text(text)
        table = read_text_table(path)
        assert table.to_dict("list") == wanted and list(table.index) == [0, 1]
    path.write_text("a,1 2,\nb,,\n")
    assert read_text_table(path, columns=["id", "rle"]).to_dict("list") == wanted
    path.write_text("a,x,1 2\nb,y,3 4\n")
    with pytest.raises(ValueError, match=r"rows of 3 cells, and 2 names: \['id', 'rle'\]"):
        read_text_table(path, columns=["id", "rle"])
