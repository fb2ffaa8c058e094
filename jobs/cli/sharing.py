"""Commands that hand results on: to other programs, and to a number."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.app import app
from jobs.cli.options import OPTIONS, Catalogue, LargePx, takes

if TYPE_CHECKING:
    from jobs.exports.wishes import Survey

PANEL = "From individuals to a number"

Results = Annotated[
    str | None,
    typer.Option("--results", "-r", metavar="FOLDER", help="Output folder of `reid run`, instead."),
]
# By the name of the field of `Survey`. None, for each of them: not given.
SURVEY: dict[str, Any] = {
    "species": Annotated[
        str | None,
        typer.Option("--species", metavar="NAME", help="Which, where there are several."),
    ],
    "deployments": Annotated[
        str | None,
        typer.Option(
            "--deployments",
            "-d",
            metavar="FILE",
            help="When and where cameras stood: deployments.csv of Camtrap DP, camtrapR's camera table (with "
            "Problem columns), or a table `detector, start, end` with `lat, lon` or `x, y` (metres).",
        ),
    ],
    "date_order": OPTIONS["date_order"],
    "occasion_days": Annotated[
        float | None,
        typer.Option("--occasion-days", metavar="DAYS", help="Length of an occasion. [default: 7]"),
    ],
    "start": Annotated[
        str | None,
        typer.Option(
            "--start", metavar="DAY", help="First day, 2026-05-01. [default: first camera]"
        ),
    ],
    "end": Annotated[
        str | None,
        typer.Option("--end", metavar="DAY", help="Last day. [default: that of the last camera]"),
    ],
    "day_starts": Annotated[
        str | None,
        typer.Option(
            "--day-starts", metavar="HH:MM", help="12:00 keeps a night in one day. [default: 00:00]"
        ),
    ],
    "flank": Annotated[
        str | None,
        typer.Option(
            "--flank",
            metavar="SIDE",
            help="left, right, best (the side with more individuals) or both-sessions. Sides are never thrown "
            "together unless an individual is known from both.",
        ),
    ],
}
Unsure = Annotated[
    str | None,
    typer.Option(
        "--unsure",
        metavar="RULE",
        help="Images nobody is sure of: drop; own (as the catalogue has them) or as-best (as the nearest); "
        "drop-singles or join-singles: only those of individuals met once, as `reid population` does. [default: drop]",
    ),
]
Individuals = Annotated[
    str | None,
    typer.Option("--individuals", metavar="FILE", help="Table `identity_id` (or `name`), `sex`."),
]


@app.command(rich_help_panel=PANEL)
@takes(*SURVEY, "unsure", "individuals", **SURVEY, unsure=Unsure, individuals=Individuals)
def export(
    *,
    catalogue: Catalogue = None,
    results: Results = None,
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="csv, parquet; camtrap-dp; secr, oscr, mark, rmark, camtrapr, spacecap, multimark, matrix; "
            "wildbook, wildlife-insights; folders; deduplicated (one picture a cluster). [default: by the ending of --out, or csv and parquet]",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PLACE",
            help="File (.csv, .parquet; .zip of camtrap-dp) or folder. [default: CATALOGUE/export/…]",
        ),
    ] = None,
    given: dict[str, Any],
    detector: Annotated[
        str,
        typer.Option(
            "--detector",
            metavar="TYPE",
            help="secr: proximity (seen or not) or count (a line an encounter).",
        ),
    ] = "proximity",
    package: Annotated[
        str | None,
        typer.Option(
            "--package",
            metavar="PACKAGE",
            help="camtrap-dp: the package that the images came from, a folder or .zip; it comes back with "
            "individuals in it.",
        ),
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(
            "--timezone",
            metavar="ZONE",
            help="camtrap-dp without --package: of the cameras' clocks, +02:00 or Europe/Brussels.",
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="Of a new camtrap-dp package.")
    ] = None,
    contributor: Annotated[
        str | None,
        typer.Option("--contributor", metavar="NAME", help="Of a new camtrap-dp package."),
    ] = None,
    scientific_name: Annotated[
        list[str] | None,
        typer.Option(
            "--scientific-name",
            metavar="NAME=GENUS SPECIES",
            help="For wildbook and camtrap-dp, of species that go by another name here.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images",
            metavar="HOW",
            help="folders, deduplicated, wildbook, camtrap-dp: link or copy the pictures.",
        ),
    ] = None,
    keep: Annotated[
        str,
        typer.Option(
            "--keep",
            metavar="WHICH",
            help="deduplicated: the picture that stands for a cluster: sharpest, medoid or first.",
        ),
    ] = "sharpest",
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="csv: no apostrophe before text that a spreadsheet takes for a formula."
        ),
    ] = False,
    excel: Annotated[
        bool,
        typer.Option("--excel", help="csv: with a mark by which Excel sees that it is UTF-8."),
    ] = False,
    confirmed: Annotated[
        bool,
        typer.Option("--confirmed", help="Only images that a person has joined with another one."),
    ] = False,
) -> None:
    """Who is who, for other programs: tables, Camtrap DP, capture histories, Wildbook, folders.

    `reid export -C lynx -o who.csv` is the plain table: who, where, when, how sure, confirmed by whom.

    `reid export -C lynx -f secr -d cameras.csv --occasion-days 7` writes captures and traps for secr, with
    a README that has the call for R, the names it uses, and left_out.csv.

    `reid export -C lynx -f camtrap-dp --package survey/` gives the package back with individualID.

    Images that nobody is sure of count for nobody, unless `--unsure` says so.
    """
    from jobs.exports.exporting import export as run_export
    from jobs.exports.wishes import Wish

    wish = Wish(
        format=format, out=out, raw=raw, excel=excel, detector=detector, scientific_name=scientific_name or (),
        images=images, package=package, timezone=timezone, title=title, contributor=contributor,
        keep=keep,
        confirmed=confirmed,
    )  # fmt: skip
    run_export(catalogue, results, wish, _survey(given))


@app.command(rich_help_panel=PANEL)
@takes("species", "deployments", "date_order", **SURVEY)
def book(
    *,
    catalogue: Catalogue = None,
    results: Results = None,
    to: Annotated[
        str, typer.Option("--to", metavar="FOLDER", help="Where the pages go; index.html is first.")
    ],
    given: dict[str, Any],
    large_px: LargePx = 1000,
) -> None:
    """A page an individual: who, where and when, every side, who else is near, and why each picture is here.

    Files that open from disk, with no network: for a report, or the office of a park. `--deployments` draws maps.

    Run it again to bring the book up to date: pictures that lie there are not made again.
    """
    from jobs.pages.bookmaking import book as run_book

    run_book(catalogue, results, to, large_px=large_px, **given)


@app.command(rich_help_panel=PANEL)
@takes(*SURVEY, **SURVEY)
def population(
    *,
    catalogue: Catalogue = None,
    results: Results = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="[default: CATALOGUE/population]"),
    ] = None,
    given: dict[str, Any],
) -> None:
    """How many are there? Chapman, M0, Mt and Chao's Mh, with intervals and a picture.

    For one species, one flank, one period, and a population that is closed meanwhile. Without
    --deployments occasions run from the first image to the last.

    Two numbers say what identification alone does: single sightings that nobody is sure of left out,
    and each joined to the individual nearest to it. Review those before you believe either.

    Written: population.html, population.json, and the capture history behind them. No density: the area
    is not known; `reid export --format secr` writes the files for that.
    """
    from jobs.exports.estimating import population as run_population

    run_population(catalogue, results, out, _survey(given))


def _survey(given: dict[str, Any]) -> "Survey":
    from jobs.exports.wishes import Survey

    return Survey(**{name: value for name, value in given.items() if value is not None})
