"""Capture histories for the program MARK: an .inp file a session."""

from reid.exports.histories import Histories
from reid.exports.history_files import common_files, file_of, sexes_of


def mark_files(histories: Histories) -> dict[str, str]:
    """histories.inp: `/* id */ 01101 1;`, with a column of frequencies for each sex where all are known.

    Returns:
        name → text.
    """
    files, sessions = {}, []
    for session in histories.sessions:
        sexes = sexes_of(histories, session)
        groups = sorted(set(sexes)) if sexes else ["all"]
        own = sexes or ["all"] * len(session.individuals)
        name = file_of(session, histories, "histories", "inp")
        files[name] = "".join(
            f"/* {who} */ {session.words(row)} "
            + " ".join("1" if group == own[row] else "0" for group in groups)
            + ";\n"
            for row, who in enumerate(session.individuals)
        )
        sessions.append(f"{name}: {session.calendar.count} occasions, groups: {', '.join(groups)}")
    how = """\
In MARK: File, New, closed captures; the files above as encounter histories. Or in R:

    library(RMark)
    ch <- convert.inp("histories.inp", use.comments = TRUE)   # groups: group.df = data.frame(sex = c(...))
    mark(ch, model = "Closed")
"""
    return {**files, **common_files(histories, "\n".join(sessions) + "\n\n" + how)}
