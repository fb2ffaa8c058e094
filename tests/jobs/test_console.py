"""Names that come from anywhere do not command the terminal."""

import io
import logging

import pytest
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from jobs.common import console as module
from jobs.common.console import PlainConsole, PlainFormatter, print_result, printable, say

EVIL = "a\x1b[2J\x1b]0;title\x07b\rc\x9b31md\u202egpj.exe\u2066"
COMMANDS = ("\x1b", "\x07", "\r", "\x9b", "\u202e", "\u2066")


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert printable("Lynx lynx, Größe 3 × 4\n\tλ 山猫 🐆") == "Lynx lynx, Größe 3 × 4\n\tλ 山猫 🐆"
    assert printable(EVIL) == r"a\x1b[2J\x1b]0;title\x07b\rc\x9b31md\u202egpj.exe\u2066"
    assert printable("\udcff\x7f\u2028\0") == r"\udcff\x7f\u2028\x00"
    assert printable(printable(EVIL)) == printable(EVIL)


def shown(thing: object, **options: object) -> str:
    stream = io.StringIO()
    PlainConsole(file=stream, **options).print(thing)
    return stream.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_lines_tables_and_texts_are_plain(terminal: bool) -> None:
    table = Table(EVIL, "n", title=EVIL, caption="[red]x[/red]")
    table.add_row(EVIL, "[bold]1[/bold] :leopard:")
    for thing in (EVIL, table, Text(EVIL), Padding(Text(EVIL), 1), Padding(EVIL, 1)):
        text = shown(thing, force_terminal=terminal, no_color=True, width=200, legacy_windows=False)
        for command in COMMANDS[1:]:
            assert command not in text
        assert "\x1b[2J" not in text
        assert "\x1b]0;" not in text
        assert r"\x1b[2J" in text
    text = shown(table, width=200)
    assert "[bold]1[/bold] :leopard:" in text
    assert "[red]x[/red]" in text


def test_columns_stay_in_line() -> None:
    table = Table("species", "images")
    table.add_row(EVIL, "1")
    table.add_row("lynx", "2")
    lines = [line for line in shown(table, width=200).splitlines() if line.startswith("│")]
    assert len({line.rindex("│") for line in lines}) == 1


def test_say_and_results(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(module, "console", PlainConsole(file=stream, soft_wrap=True))
    say(f"note: {EVIL} [/nothing]")
    assert stream.getvalue() == f"note: {printable(EVIL)} [/nothing]\n"
    print_result("results/é\x1b.html")
    assert capsys.readouterr().out == "results/é\x1b.html\n", "a program gets what is there"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_result("results/é\x1b.html")
    assert capsys.readouterr().out == "results/é\\x1b.html\n"


def test_logs_of_libraries_are_plain() -> None:
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "%s: again", (EVIL,), None)
    assert PlainFormatter().format(record) == f"{printable(EVIL)}: again"
