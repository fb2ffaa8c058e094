"""YAML as settings need it: plain values within bounds of size, depth and number."""

from typing import Any

import yaml

LONGEST_TEXT = 1_000_000  # characters
MOST_VALUES = 20_000  # with what aliases stand for: 500 bytes can stand for 10⁹ values
DEEPEST = 20


class YamlError(ValueError):
    """Text that is no YAML, or more of it than settings can be; the message is one line or a few."""


class _Loader(yaml.SafeLoader):
    """Counts while it reads, so that it stops early."""

    values = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.values += 1
        self.depth += 1
        _check(self.values, self.depth)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def parse_yaml(text: str) -> Any:
    """The value of a YAML document; None of an empty one.

    Raises:
        YamlError: it is not YAML, names types of its own, or is too large.
    """
    if len(text) > LONGEST_TEXT:
        raise YamlError(f"{len(text):,} characters, over the limit of {LONGEST_TEXT:,}")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _expanded(node, 1, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except YamlError:
        raise
    except yaml.YAMLError as error:
        raise YamlError(f"not YAML: {error}") from error
    # What its constructors raise on dates, numbers and tags that cannot be.
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        raise YamlError(f"not YAML: {type(error).__name__}: {error}") from error
    except RecursionError as error:
        raise YamlError("nested too deeply") from error


def _expanded(node: Any, depth: int, known: dict[int, int]) -> int:
    """Values under a node with every alias written out."""
    if id(node) in known:
        if not known[id(node)]:
            raise YamlError("an alias (*name) stands for what it is a part of")
        return known[id(node)]
    known[id(node)] = 0
    inside = node.value if isinstance(node, yaml.CollectionNode) else []
    total = 1
    for item in inside:
        for part in item if isinstance(item, tuple) else (item,):
            total += _expanded(part, depth + 1, known)
            _check(total, depth)
    known[id(node)] = total
    return total


def _check(values: int, depth: int) -> None:
    if values > MOST_VALUES:
        raise YamlError(f"more than {MOST_VALUES:,} values, aliases (*name) written out")
    if depth > DEEPEST:
        raise YamlError(f"nested more than {DEEPEST} levels deep")
