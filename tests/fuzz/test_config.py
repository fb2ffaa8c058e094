"""Configuration files and `key=value`: a configuration, or an error that says what is wrong."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reid.config import Config, dump_config, load_config
from reid.errors import ReidError
from tests.fuzz.examples import fuzzed

pytestmark = pytest.mark.fuzz

DEFAULTS = yaml.safe_load(dump_config(Config()))
ODD = st.sampled_from(
    [
        None, True, -1, 0, 1, 2**31, 5_000_000_000, 10**400, -0.0, 0.5, 1e308, float("inf"),
        float("-inf"), float("nan"), "", "auto", "on", "cpu", "cuda:999999999999", "\0", "\x1b[31m", "é", "x" * 5000,
        "s3://KEY:SECRET@bucket/x", "../..", "~", [], {}, [[]], {"a": 1}, ["a", None],
    ]
)  # fmt: skip
VALUES = st.recursive(
    ODD | st.text(max_size=8) | st.integers() | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


def keys_of(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """Every setting that there is, with dots."""
    found = []
    for key, value in settings.items():
        found.append(prefix + key)
        if isinstance(value, dict):
            found += keys_of(value, f"{prefix}{key}.")
    return found


KEYS = st.sampled_from(keys_of(DEFAULTS))
SPECIES = st.sampled_from(["lynx", "Equus sp.", '"E. q"', "'", '"', "a=b", ".", "..", "model"])
PATHS = (
    KEYS
    | st.builds("{}.{}".format, KEYS, SPECIES)
    | st.builds("{}.{}.{}".format, KEYS, SPECIES, st.sampled_from(["model", "tta", "radius", "x"]))
    | st.text(max_size=12)
)


def check(file: str | None, overrides: list[str]) -> None:
    with contextlib.suppress(ReidError):
        config = load_config(file, overrides)
        assert load_config(None, [], yaml.safe_load(dump_config(config))) == config
        config.embed.route("lynx")
        config.identify.rules("lynx")


@fuzzed
@given(
    overrides=st.lists(
        st.builds(
            "{}={}".format,
            PATHS,
            VALUES.map(lambda v: yaml.safe_dump(v)[:-1]) | st.text(max_size=30),
        )
        | st.text(max_size=20),
        max_size=3,
    )
)
def test_overrides(overrides: list[str]) -> None:
    check(None, overrides)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """The defaults with some values of another kind, as YAML, and then perhaps damaged."""
    settings = yaml.safe_load(dump_config(Config()))
    for _ in range(draw(st.integers(0, 3))):
        where = settings
        *path, last = draw(KEYS).split(".")
        for part in path:
            where = where[part] if isinstance(where, dict) and part in where else {}
        if isinstance(where, dict):
            where[last] = draw(VALUES)
    data = bytearray(yaml.safe_dump(settings, allow_unicode=True).encode())
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 5))] = draw(
            st.sampled_from(
                [b"&a ", b"*a", b"<<: ", b"!!", b"[", b"}", b"\xff", b"\t", b"? ", b"- ", b"'"]
            )
            | st.binary(max_size=5)
        )
    return bytes(data)


@fuzzed
@given(data=files() | st.binary(max_size=300) | st.text(max_size=200).map(lambda t: t.encode()))
def test_files(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_bytes(data)
        check(str(file), [])
