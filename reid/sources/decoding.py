"""Text files of any encoding, and their lines."""

from reid.errors import InputError

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def decode_text(data: bytes) -> tuple[str, str | None]:
    """Text of unknown encoding: UTF-8, UTF-16, UTF-32, or the one of Windows.

    Returns:
        The text, and a note where it is not UTF-8.

    Raises:
        InputError: it is no text.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError as error:
                raise InputError(
                    f"begins as {encoding} text and goes on as none: {error}"
                ) from error
            return text, None if encoding == "utf-8-sig" else f"it is {encoding.upper()} text"
    nulls = data[:4096].count(0)
    if nulls and nulls >= len(data[:4096]) // 4:  # UTF-16 without its mark: every other byte is 0
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
        try:
            return data.decode(encoding), f"it is {encoding.upper()} text"
        except UnicodeDecodeError as error:
            raise InputError(f"this is no text file: {error}") from error
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        at = data.count(b"\n", 0, error.start) + 1
    # Every byte but five means something here, so this succeeds for most wrong guesses as well.
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text, (
        f"it is not UTF-8 (line {at}) and is read as Windows' cp1252; if letters come out wrong, save it "
        "as UTF-8"
    )


def text_lines(text: str) -> list[str]:
    """Lines, at \\n, \\r\\n or (where there is neither) \\r; other separators are part of names."""
    if "\n" in text:
        return [line.removesuffix("\r") for line in text.split("\n")]
    return text.split("\r")
