"""What is wrong, as whoever reads failures.csv sees it."""

import struct
from pathlib import Path

import pytest

from reid.errors import in_plain_words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("image file is truncated (40 bytes not processed)"), "image file is truncated (40 bytes not processed)"),
        (PermissionError(13, "Permission denied", "/a/b.jpg"), "permission denied"),
        (struct.error("unpack requires a buffer of 4 bytes"), "unpack requires a buffer of 4 bytes"),
        (OSError("gone"), "gone"),
        (KeyError(5), "KeyError: 5"),
        (KeyError("shape"), "KeyError: 'shape'"),
        (ValueError(), "ValueError"),
    ],
)  # fmt: skip
def test_reasons_name_no_exception_where_words_do(error: Exception, words: str) -> None:
    assert in_plain_words(error) == words


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        (tmp_path / "gone.jpg").read_bytes()
    assert in_plain_words(raised.value) == "no such file or directory"
