"""Capture histories for the R package secr: captures.txt and traps.txt."""

from reid.exports.histories import Histories
from reid.exports.history_files import common_files, file_of, number, with_coordinates


def secr_files(histories: Histories, *, detector: str = "proximity") -> dict[str, str]:
    """captures.txt and a traps file a session, as `read.capthist` takes them.

    Args:
        histories: with deployments and coordinates.
        detector: proximity: a line for each individual, occasion and detector; count: a line for each
            encounter.

    Returns:
        name → text.
    """
    with_coordinates(histories, "secr")
    sexed = any(histories.sexes.get(name) for one in histories.sessions for name in one.identities)
    header = "# Session ID Occasion Detector" + (" Sex" if sexed else "")
    lines, files = [header], {}
    for session in histories.sessions:
        names = session.detectors["detector"].tolist()
        for who, occasion, place, times in session.captures.itertuples(index=False):
            # secr reads a sex that is not known as NA.
            sex = histories.sexes.get(session.identities[who], "") or "NA"
            words = [session.name, session.individuals[who], str(occasion + 1), names[place]]
            words += [sex.replace(" ", "-")] if sexed else []
            lines += [" ".join(words)] * (times if detector == "count" else 1)
        assert session.usage is not None
        traps = [
            f"# Detector X Y days in use on {session.calendar.count} occasions; {histories.zone}"
        ]
        traps += [
            " ".join([name, number(x), number(y), *map(number, days)])
            for name, x, y, days in zip(
                names, session.detectors["x"], session.detectors["y"], session.usage, strict=True
            )
        ]
        files[file_of(session, histories, "traps", "txt")] = "\n".join(traps) + "\n"
    trapfiles = ", ".join(f'"{name}"' for name in files)
    trapfiles = f"c({trapfiles})" if len(files) > 1 else trapfiles
    covariate = ', covnames = "Sex"' if sexed else ""
    how = f"""\
In R:

    library(secr)
    ch <- read.capthist("captures.txt", {trapfiles}, detector = "{detector}",
                        binary.usage = FALSE, noccasions = {histories.sessions[0].calendar.count}{covariate})
    summary(ch)
    fit <- secr.fit(ch, model = list(D ~ 1, g0 ~ 1, sigma ~ 1), buffer = suggest.buffer(ch), trace = FALSE)
"""
    if len(files) > 1:
        how += """
Sessions `left` and `right` are one population, seen from its two sides: keep one density (D ~ 1) for both.
"""
    return {
        "captures.txt": "\n".join(lines) + "\n",
        **files,
        **common_files(histories, how),
    }
