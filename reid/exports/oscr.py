"""Capture histories for the R package oSCR: edf.csv and a tdf a session."""

from reid.exports.histories import Histories
from reid.exports.history_files import common_files, number, with_coordinates
from reid.exports.sheets import program_sheet

UNKNOWN_SEX = "U"


def oscr_files(histories: Histories) -> dict[str, str]:
    """edf.csv (encounters) and tdf_<session>.csv (traps: 0/1 an occasion, `/`, days in use).

    Args:
        histories: with deployments and coordinates.

    Returns:
        name → text.
    """
    with_coordinates(histories, "oscr")
    encounters, files = [], {}
    for session in histories.sessions:
        names = session.detectors["detector"].tolist()
        for who, occasion, place, _ in session.captures.itertuples(index=False):
            sex = histories.sexes.get(session.identities[who], "") or UNKNOWN_SEX
            encounters.append(
                (session.name, session.individuals[who], occasion + 1, names[place], sex)
            )
        assert session.usage is not None
        occasions = range(1, session.calendar.count + 1)
        traps = [
            (name, number(x), number(y), *(int(one > 0) for one in days), "/", number(days.sum()))
            for name, x, y, days in zip(
                names, session.detectors["x"], session.detectors["y"], session.usage, strict=True
            )
        ]
        files[f"tdf_{session.name}.csv"] = program_sheet(
            ("Detector", "X", "Y", *map(str, occasions), "sep", "days"), traps
        )
    k, traps_a_session = histories.sessions[0].calendar.count, len(histories.sessions[0].detectors)
    sexes = {sex for *_, sex in encounters} - {UNKNOWN_SEX}
    sexed = f', sex.col = 5, sex.nacode = "{UNKNOWN_SEX}"' if sexes else ""
    read = ", ".join(f'read.csv("{name}", check.names = FALSE)' for name in files)
    number_of = len(files)
    how = f"""\
In R (sessions in the order of their names):

    library(oSCR)
    edf <- read.csv("edf.csv", stringsAsFactors = FALSE)
    tdf <- list({read})
    data <- data2oscr(edf, sess.col = 1, id.col = 2, occ.col = 3, trap.col = 4{sexed},
                      tdf = tdf, K = rep({k}, {number_of}), ntraps = rep({traps_a_session}, {number_of}), tdf.sep = "/")
    sf <- data$scrFrame
    # Some versions of data2oscr take every trap as always in use; this says when each was:
    sf$trapOperation <- lapply(tdf, function(t) as.matrix(t[, as.character(1:{k})]))
"""
    header = ("Session", "ID", "Occasion", "Detector", "Sex")
    return {"edf.csv": program_sheet(header, encounters), **files, **common_files(histories, how)}
