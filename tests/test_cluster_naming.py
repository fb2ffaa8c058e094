from hypothesis import given
from hypothesis import strategies as st

from reid.cluster import species_words


def test_species_that_differ_have_words_that_differ() -> None:
    names = ["Lynx lynx", "Lynx_lynx", "lynx  lynx", "snow leopard", "fox"]
    words = species_words(names)
    assert words["snow leopard"] == "snow_leopard"
    assert words["fox"] == "fox"
    assert words["Lynx_lynx"] == "Lynx_lynx", "who is spelled as the word keeps it"
    assert words["Lynx lynx"].startswith("Lynx_lynx~")
    assert words["lynx  lynx"].startswith("lynx_lynx~")
    assert len({word.casefold() for word in words.values()}) == len(names)
    assert species_words(["Lynx lynx"]) == {"Lynx lynx": "Lynx_lynx"}


@given(st.lists(st.text(alphabet="aA_ ~\t", min_size=1, max_size=5)))
def test_words_are_told_apart(names: list[str]) -> None:
    words = species_words(names)
    assert set(words) == set(names)
    assert len(set(words.values())) == len(set(names))
    assert not any(character.isspace() for word in words.values() for character in word)
