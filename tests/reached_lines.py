"""How much of the library the tests reach: `python tests/reached_lines.py measure | show`.

`measure` runs the tests that need no Ray (its workers are other processes) and counts the lines of reid/ that they
reach, by SlipCover, which takes its probes out of a line once it was reached: the tests take a few per cent longer.
It fails where a test fails, or where the share falls below the record in reached_lines.json; where it rises by a tenth of
a per cent, it writes the record. `show` prints the record.
"""

import json
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

RECORD = Path(__file__).with_suffix(".json")
SLACK = 0.1  # per cent: tests by made-up input reach a line more or less
PYTEST = (
    "pytest", "--ignore=tests/jobs", "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip


def measured(tests: list[str]) -> dict[str, float] | None:
    """Lines that were reached and those that there are; None: a test failed."""
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/lines.json"
        command = [sys.executable, "-m", "slipcover", "--source", "reid", "--json", "--out", out]
        done = subprocess.run([*command, "-m", *PYTEST, *tests], check=False)
        if done.returncode:
            return None
        found = json.loads(Path(out).read_text())["summary"]
    lines = found["covered_lines"] + found["missing_lines"]
    return {"lines": lines, "percent": round(100 * found["covered_lines"] / lines, 2)}


def in_words(record: dict[str, float]) -> str:
    return f"coverage: {record['percent']:.1f} % of {record['lines']:,} lines of reid/ by the tests without Ray"


def judged(found: dict[str, float], record: dict[str, float] | None) -> tuple[str, bool, bool]:
    """A sentence, whether it will do, and whether it is the new record."""
    if record is None:
        return in_words(found), True, True
    change = found["percent"] - record["percent"]
    if change < -SLACK:
        return (
            f"{in_words(found)}; the record is {record['percent']:.1f} %: test what is new",
            False,
            False,
        )
    return in_words(found), True, change >= SLACK


def main(what: str, tests: list[str]) -> int:
    record = json.loads(RECORD.read_text()) if RECORD.exists() else None
    if what == "show":
        print("coverage: not measured yet; make coverage" if record is None else in_words(record))
        return 0
    found = measured(tests)
    if found is None:
        return 1
    sentence, will_do, is_new = judged(found, record)
    print(sentence)
    if is_new and not tests:
        RECORD.write_text(json.dumps({**found, "measured": f"{date.today()}"}, indent=1) + "\n")
    return 0 if will_do else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
