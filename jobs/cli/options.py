"""Options that commands share, and the configuration that they make."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reid.config import Config

ConfigFile = Annotated[
    str | None, typer.Option("--config", "-c", metavar="FILE.yaml", help="Settings in a file.")
]
Catalogue = Annotated[
    str | None,
    typer.Option(
        "--catalogue", "-C", metavar="FOLDER", help="The catalogue; s3://… and gs://… alike."
    ),
]
RunOut = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FOLDER",
        help="Where the run is written down. [default: CATALOGUE/runs/RUN]",
    ),
]
Constraints = Annotated[
    list[str] | None,
    typer.Option(
        "--constraints",
        metavar="FILE",
        help="Reviewers' decisions, .csv: `a_id, b_id, decision (match, nomatch, unknown), reviewer, "
        "timestamp, note`. Kept in the catalogue or folder. May be given several times.",
    ),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
LargePx = Annotated[
    int,
    typer.Option(
        "--large-px",
        min=0,
        max=4000,
        help="Longer side of pictures that are enlarged; 0: the small ones are, which saves most of the room.",
    ),
]

# By the name of the argument of `config_of`. None, for each of them: not given.
OPTIONS: dict[str, Any] = {
    "overrides": Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings, for example `cluster.eps=0.3` or `embed.model=megadescriptor-l-384`. "
            "An unknown key lists those that are known.",
            show_default=False,
        ),
    ],
    "config": ConfigFile,
    "input": Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="SOURCE",
            help="A folder (searched recursively), a glob in quotes, a .txt list of any of these, a .csv, .xlsx or "
            ".parquet table with a column `path`; MegaDetector's, SpeciesNet's or COCO JSON, a Camtrap DP package. May "
            "be given several times.",
        ),
    ],
    "out": Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="Where results go. [default: results]"),
    ],
    "root": Annotated[
        str | None,
        typer.Option("--root", metavar="FOLDER", help="Folder that image paths are relative to."),
    ],
    "species": Annotated[
        str | None,
        typer.Option("--species", metavar="NAME", help="Species of images that name none."),
    ],
    "identity_from_parent": Annotated[
        bool | None,
        typer.Option(
            "--identity-from-parent", help="Known identities are the names of the images' folders."
        ),
    ],
    "column": Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="FIELD=NAME",
            help="Which column of a table is what, for example `image_path=filename`, where its name does not "
            "say so. May be given several times.",
        ),
    ],
    "date_order": Annotated[
        str | None,
        typer.Option(
            "--date-order",
            metavar="dmy|mdy",
            help="Of dates such as 11/04/2021, where no date of the table proves it.",
        ),
    ],
    "keep_word": Annotated[
        list[str] | None,
        typer.Option(
            "--keep-word",
            metavar="WORD",
            help="A word that is a name here, though it looks empty (`NA`, `Nan`). May be given several times.",
        ),
    ],
    "time_format": Annotated[
        str | None,
        typer.Option(
            "--time-format",
            metavar="FORMAT",
            help="Of the time in file names, where nothing else tells it: %Y%m%d_%H%M%S. It goes before EXIF.",
        ),
    ],
    "detections": Annotated[
        str | None,
        typer.Option(
            "--detections",
            metavar="FILE",
            help="Boxes for the images of --input FOLDER: MegaDetector's or SpeciesNet's JSON, or a folder with a "
            "JSON a picture (`image_path`, `boxes`).",
        ),
    ],
    "trust_individual_ids": Annotated[
        bool | None,
        typer.Option(
            "--trust-individual-ids",
            help="individualID of a Camtrap DP package names individuals, whatever the package says.",
        ),
    ],
    "as_folder": Annotated[
        bool | None,
        typer.Option(
            "--as-folder", help="Read a folder that is another program's package as plain images."
        ),
    ],
    "max_failures": Annotated[
        float | None,
        typer.Option(
            "--max-failures", metavar="SHARE", help="Share of images that may fail. [default: 0.1]"
        ),
    ],
    "excel": Annotated[
        bool | None,
        typer.Option("--excel", help="CSV with a mark by which Excel sees that it is UTF-8."),
    ],
    "retry_failed": Annotated[
        bool | None,
        typer.Option(
            "--retry-failed", help="Try images again that failed before and have not changed."
        ),
    ],
    "model": Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="NAME", help="A model, or several with commas."),
    ],
    "store": Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FOLDER",
            help="Embedding store to share between runs. [default: OUT/embeddings]",
        ),
    ],
    "address": Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS",
            help="Ray cluster to join. [default: RAY_ADDRESS, or this machine]",
        ),
    ],
    "catalogue": Catalogue,
    "constraints": Constraints,
    "metrics": Annotated[
        bool | None,
        typer.Option(
            "--metrics", help="Counters for Prometheus, at the cluster's metrics endpoint."
        ),
    ],
    "seed": Annotated[
        int | None, typer.Option("--seed", help="Seed of everything random. [default: 0]")
    ],
}
# How sources are read.
READING = (
    "root", "species", "identity_from_parent", "column", "date_order", "time_format", "keep_word", "detections",
    "trust_individual_ids", "as_folder",
)  # fmt: skip


def takes(*names: str, **others: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The command takes these options, and --debug: its argument `given` maps their names to what was given.

    What else the command has as arguments are options of its own; `--help` shows those of `given` in its place.

    Args:
        names: of OPTIONS, in the order of `--help`.
        others: name → type, of those that OPTIONS does not have, or has with another meaning.
    """
    options = {name: others[name] if name in others else OPTIONS[name] for name in names}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def run(*, debug: bool, **values: Any) -> None:  # noqa: ARG001  read by run_command
            command(given={name: values.pop(name) for name in options}, **values)

        parameters: list[inspect.Parameter] = []
        for own in inspect.signature(command).parameters.values():
            if own.name == "given":
                parameters += [_option(name, kind, None) for name, kind in options.items()]
            else:
                parameters.append(own.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        parameters.append(_option("debug", Debug, False))
        # What typer reads.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__name__, run.__doc__, run.__annotations__ = command.__name__, command.__doc__, {}
        return run

    return decorate


def _option(name: str, kind: Any, default: bool | None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def config_of(
    config: str | None,
    overrides: Sequence[str] | None,
    *,
    model: str | None = None,
    base: Mapping[str, Any] | None = None,
    **flags: Any,
) -> "Config":
    """The configuration: the file, then flags, then `key=value`; a flag that is None was not given."""
    from reid.config import load_config
    from reid.errors import InputError

    for text in overrides or ():
        meant = next((name for name in ("input", "out", "catalogue") if name in flags), None)
        if "=" not in text and meant is not None:
            raise InputError(f"{text!r} is no setting (key=value); did you mean --{meant} {text}?")
    for flag in ("identity_from_parent", "metrics", "excel"):
        if not flags.get(flag):
            flags.pop(flag, None)  # not given: what the file says holds
    embed = {"model": model, "retry_failed": flags.pop("retry_failed", None) or None}
    if given := {key: value for key, value in embed.items() if value is not None}:
        flags["embed"] = given
    tables = {
        "columns": _pairs(flags.pop("column", None)),
        "date_order": flags.pop("date_order", None),
        "time_format": flags.pop("time_format", None),
        "keep_words": flags.pop("keep_word", None),
        "detections": flags.pop("detections", None),
        "trust_individual_ids": flags.pop("trust_individual_ids", None),
        "as_folder": flags.pop("as_folder", None),
    }
    flags["sources"] = {key: value for key, value in tables.items() if value}
    catalogue = {
        "catalogue": flags.pop("catalogue", None),
        "constraints": flags.pop("constraints", None),
    }
    flags["identify"] = {key: value for key, value in catalogue.items() if value}
    return load_config(config, overrides or (), flags, base)


def _pairs(given: list[str] | None) -> dict[str, str]:
    """`FIELD=NAME`, several times, as a mapping."""
    from reid.errors import InputError

    pairs: dict[str, str] = {}
    for text in given or []:
        name, equals, column = text.partition("=")
        if not equals or not name or not column:
            raise InputError(
                f"--column {text}: write FIELD=NAME, for example --column image_path=filename"
            )
        if pairs.setdefault(name.strip(), column) != column:
            raise InputError(f"--column {text}: {name} is {pairs[name.strip()]} already")
    return pairs


def later_config_of(
    config: str | None, overrides: Sequence[str] | None, *, out: str | None, **flags: Any
) -> "Config":
    """Settings of a stage that goes on from an output folder: those of its earlier stages hold.

    But not where to compute, nor whether code may be run: the folder may be somebody else's.
    """
    from jobs.common.console import say
    from jobs.common.outputs import CONFIG, check_config
    from reid import store
    from reid.config import data_settings

    settings = config_of(config, overrides, out=out, **flags)
    earlier = store.join(settings.out, CONFIG)
    if config is not None or not store.exists(earlier):
        return settings
    check_config(earlier)
    base, left = data_settings(earlier)
    if left:
        say(
            f"note: {earlier}: not taken from there: {', '.join(left)}; say it again if you want it"
        )
    return config_of(None, overrides, base=base, out=settings.out, **flags)
