"""Capture histories for the R package RMark: a text file a session."""

from reid.exports.histories import Histories
from reid.exports.history_files import common_files, file_of, sexes_of


def rmark_files(histories: Histories) -> dict[str, str]:
    """histories.txt: `ch`, quoted as it must stay text, `id`, and `sex` where all are known; by tabs.

    Returns:
        name → text.
    """
    # Neither is skipped ("s"): a table of ch alone, import.chdata makes no table of.
    files, types = {}, '"f"'
    for session in histories.sessions:
        sexes = sexes_of(histories, session)
        types = '"f", "f"' if sexes else '"f"'
        lines = ["\t".join(["ch", "id", *(["sex"] if sexes else [])])]
        for row, who in enumerate(session.individuals):
            lines.append(
                "\t".join([f'"{session.words(row)}"', who, *([sexes[row]] if sexes else [])])
            )
        files[file_of(session, histories, "histories", "txt")] = "\n".join(lines) + "\n"
    how = f"""\
In R:

    library(RMark)
    ch <- import.chdata("{next(iter(files))}", field.types = c({types}))
    mark(ch, model = "Closed")
"""
    return {**files, **common_files(histories, how)}
