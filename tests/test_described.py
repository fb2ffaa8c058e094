"""The list of settings: complete, in words, and what the page in the docs says."""

from pathlib import Path

import pytest

from reid.config import described
from reid.config.load_config import load_config

DOCS = Path(__file__).parents[1] / "docs"


def test_every_setting_says_what_it_means() -> None:
    found = described.settings()
    assert [one.key for one in found if not one.description or not one.range] == []
    assert len({one.key for one in found}) == len(found)


@pytest.mark.parametrize(
    ("key", "default", "values"),
    [
        ("max_failures", "0.1", "number ≥ 0 and ≤ 1"),
        ("cluster.eps", "auto", "number, or auto"),
        ("cluster.per_species_eps", "", "number > 0 and < 2, by name"),
        ("embed.tta", "[identity, hflip]", "list of text"),
        ("embed.batch_size", "auto", "whole number ≥ 1 and ≤ 1,000,000, or auto"),
        ("embed.per_species", "", "settings, by name"),
        ("finetune.erase_area", "[0.02, 0.2]", "2 × number ≥ 0 and ≤ 1,000,000"),
        ("identify.encounters", "", "auto, off, best, mean"),
        ("report.map", "true", "true, false"),
    ],
)
def test_a_setting_in_words(key: str, default: str, values: str) -> None:
    (found,) = [one for one in described.settings() if one.key == key]
    assert (found.default, found.range) == (default, values)


def test_every_default_can_be_given() -> None:
    given = [f"{one.key}={one.default}" for one in described.settings() if one.default]
    assert load_config(None, given) == load_config()


def test_the_page_in_the_docs_is_this_one() -> None:
    """After a change: `reid settings --markdown > docs/settings.md`."""
    assert (DOCS / "settings.md").read_text("utf-8") == described.in_markdown()
