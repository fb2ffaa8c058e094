"""Text of any encoding, and CSV without slack."""

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.sources.decoding import decode_text, text_lines
from reid.sources.delimited import Delimited, read_delimited


def columns(found: Delimited) -> dict[str, list[str]]:
    return dict(zip(found.header, (column.to_pylist() for column in found.columns), strict=True))


def test_lines_are_numbered_as_in_the_file() -> None:
    found = read_delimited(b'path,note\na,"two\nlines"\n,\nb,x\n')
    assert columns(found) == {"path": ["a", "b"], "note": ["two\nlines", "x"]}
    assert found.lines.tolist() == [2, 5]
    assert found.notes == ["1 empty rows are left out"]
    quick = read_delimited(b"sep=;\npath;note\na;1\n;\nb;2")
    assert quick.lines.tolist() == [3, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2,\n3,4,\n", r"line 2: 3 cells where the header has 2, 1 extra.*line 3"),
        ("a,b\n1\n3,4\n", "line 2: 1 cells where the header has 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: 3 cells"),
        ('a,b\n1,"2\n3,4\n5,6\n', "line 2: a quotation mark is opened and never closed"),
        ('a,b,c\n1,2,"x\n3,4,y"\n', "line 2: a quoted cell runs over several lines"),
        ('a,b\n1,"x"y\n3,4\n', "line 2: a quotation mark is closed in the middle"),
        ("a,b,a\n1,2,3\n", "2 columns are called 'a'"),
        ("", "it is empty"),
        ("\n\n", "it is empty"),
    ],
)
def test_rows_that_do_not_fit_are_an_error_with_their_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_delimited(text.encode())


@pytest.mark.parametrize("end", ['3,"4', "3", "3\n", '"3'])
def test_a_cut_last_row_is_given_back(end: str) -> None:
    found = read_delimited(b"a,b\n1,2\n" + end.encode())
    assert columns(found) == {"a": ["1"], "b": ["2"]}
    ((line, _, cells),) = found.broken
    assert (line, cells[0]) == (3, "3")


def test_the_separator_is_the_headers() -> None:
    for separator in ",;\t|":
        found = read_delimited(f"path{separator}x\na{separator}1,5\n".encode()
                               if separator != "," else b'path,x\na,"1,5"\n')  # fmt: skip
        assert columns(found) == {"path": ["a"], "x": ["1,5"]}
    # More commas than semicolons, and the name that we know says which it is.
    found = read_delimited(b"path;x, y, z\na;1\n", known=("path",))
    assert found.header == ["path", "x, y, z"]


def test_text_of_other_encodings() -> None:
    assert decode_text("ñ".encode()) == ("ñ", None)
    assert decode_text("ñ".encode("utf-8-sig")) == ("ñ", None)
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        text, note = decode_text("ñandu, the bird".encode(encoding))
        assert (text, bool(note)) == ("ñandu, the bird", True)
    text, note = decode_text("ok\nñ".encode("cp1252"))
    assert text == "ok\nñ"
    assert note is not None
    assert "line 2" in note


def test_only_line_breaks_break_lines() -> None:
    assert text_lines("a\x0bb\u2028c\r\nd\x85e") == ["a\x0bb\u2028c", "d\x85e"]
    assert text_lines("a\rb") == ["a", "b"]


CELLS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n\0"), max_size=6)


@given(
    st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8),
    st.sampled_from(",;\t"),
    st.booleans(),
)
def test_what_python_writes_is_read_back(
    rows: list[list[str]], separator: str, quoted: bool
) -> None:
    stream = io.StringIO()
    writer = csv.writer(
        stream, delimiter=separator, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    )
    writer.writerow(["path", "x", "y"])
    writer.writerows(rows)
    found = read_delimited(stream.getvalue().encode(), known=("path",))
    kept = [row for row in rows if any(cell.strip() for cell in row)]
    assert len(found) == len(kept)
    read = [
        list(row) for row in zip(*(column.to_pylist() for column in found.columns), strict=True)
    ]
    assert read == kept
    assert all(column.type == pa.string() for column in found.columns)
