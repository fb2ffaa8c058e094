"""Public names and results are those of the stored files; `python tests/golden/make.py` writes them."""

import json
from typing import Any

import pytest

from tests.golden import make


def same(found: Any, stored: Any) -> bool:
    if isinstance(stored, dict):
        return found.keys() == stored.keys() and all(same(found[k], stored[k]) for k in stored)
    if isinstance(stored, list):
        return len(found) == len(stored) and all(map(same, found, stored))
    if isinstance(stored, float):
        return bool(found == pytest.approx(stored, abs=2e-5))
    return bool(found == stored)


@pytest.mark.parametrize("name", make.FILES)
def test_nothing_has_changed_unnoticed(name: str) -> None:
    stored = json.loads((make.HERE / name).read_text(encoding="utf-8"))
    found = json.loads(json.dumps(make.FILES[name]()))
    assert found.keys() == stored.keys()
    for key, value in stored.items():
        assert same(found[key], value), (
            f"{name}: {key} is another than it was; if that is meant: python tests/golden/make.py"
        )
