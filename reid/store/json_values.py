"""JSON files, and those that carry a digest of themselves."""

import json
from collections.abc import Mapping
from typing import Any

from reid import parquet
from reid.store.files import read_bytes, write_text
from reid.value_digests import value_digest

SEAL = "digest"  # key of a JSON object's digest of itself


def write_json(path: str, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str) -> Any:
    """The value of a JSON file.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not JSON.
    """
    raw = read_bytes(path)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise parquet.damaged(path, f"not JSON: {error}") from error


def write_sealed(path: str, value: Mapping[str, Any]) -> None:
    """Write a JSON object with a digest of itself, by which `read_sealed` notices any change."""
    plain = json.loads(json.dumps(value, allow_nan=False))
    plain.pop(SEAL, None)
    write_json(path, {**plain, SEAL: value_digest(plain)})


def read_sealed(path: str) -> dict[str, Any]:
    """The JSON object of `write_sealed`; one without a digest, of an earlier version, as it is.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is no JSON object, or was changed after it was written.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise parquet.damaged(path, f"a JSON object is needed, and this is {type(value).__name__}")
    seal = value.pop(SEAL, None)
    if seal is not None and seal != value_digest(value):
        raise parquet.damaged(path, "it was changed after it was written")
    return value
