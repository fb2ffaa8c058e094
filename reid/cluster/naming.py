"""What a cluster is called in tables: by its species, in one word, and a number."""

import re
from collections.abc import Iterable

from reid.value_digests import text_digest


def species_words(species: Iterable[str]) -> dict[str, str]:
    """Each species as one word for its clusters' labels; species that differ get words that differ.

    `snow leopard` is `snow_leopard`. Where two would be the same word (`Lynx lynx`, `Lynx_lynx`),
    each that is not spelled as the word itself gets four digits of its own behind a tilde, which
    depend on its name alone.
    """
    names = sorted(set(species))
    plain = {name: re.sub(r"\s+", "_", name.strip()) for name in names}
    # Some systems do not tell capitals apart, and neither should a reader have to.
    alike: dict[str, list[str]] = {}
    for name, word in plain.items():
        alike.setdefault(word.casefold(), []).append(name)
    words = {}
    for name, word in plain.items():
        alone = len(alike[word.casefold()]) == 1
        words[name] = word if alone or word == name else f"{word}~{text_digest(name)[:4]}"
    while len({*words.values()}) < len(words):  # four digits agree once in 65,536 times
        words = {name: f"{plain[name]}~{text_digest(name)}" for name in names}
    return words
