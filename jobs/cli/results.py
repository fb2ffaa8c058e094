"""Commands of the main job and its stages."""

from typing import Annotated

import typer

from jobs.cli.app import app
from jobs.cli.options import (
    Address,
    AsFolder,
    Column,
    ConfigFile,
    DateOrder,
    Debug,
    Detections,
    FromParent,
    Input,
    KeepWord,
    MaxFailures,
    Metrics,
    Model,
    Out,
    Overrides,
    Root,
    Seed,
    Species,
    Store,
    TrustIds,
    config_of,
    later_config_of,
)

PANEL = "Images to individuals"


@app.command(rich_help_panel=PANEL)
def run(
    overrides: Overrides = None,
    input: Input = None,  # noqa: A002
    out: Out = None,
    config: ConfigFile = None,
    root: Root = None,
    species: Species = None,
    identity_from_parent: FromParent = None,
    column: Column = None,
    date_order: DateOrder = None,
    keep_word: KeepWord = None,
    detections: Detections = None,
    trust_individual_ids: TrustIds = False,
    as_folder: AsFolder = False,
    model: Model = None,
    store: Store = None,
    max_failures: MaxFailures = None,
    address: Address = None,
    metrics: Metrics = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001  read by run_command
) -> None:
    """Everything: embed images, find individuals, write the report.

    Run it again to go on after an interruption, or to add new images: what is embedded already is
    not embedded again.
    """
    settings = config_of(
        config, overrides, model=model, input=input, out=out, root=root, species=species,
        identity_from_parent=identity_from_parent, column=column, date_order=date_order,
        keep_word=keep_word, detections=detections, trust_individual_ids=trust_individual_ids,
        as_folder=as_folder, store=store, max_failures=max_failures,
        address=address, metrics=metrics, seed=seed,
    )  # fmt: skip
    from jobs.run import run as everything

    everything(settings)


@app.command(rich_help_panel=PANEL)
def embed(
    overrides: Overrides = None,
    input: Input = None,  # noqa: A002
    out: Out = None,
    config: ConfigFile = None,
    root: Root = None,
    species: Species = None,
    identity_from_parent: FromParent = None,
    column: Column = None,
    date_order: DateOrder = None,
    keep_word: KeepWord = None,
    detections: Detections = None,
    trust_individual_ids: TrustIds = False,
    as_folder: AsFolder = False,
    model: Model = None,
    store: Store = None,
    max_failures: MaxFailures = None,
    address: Address = None,
    metrics: Metrics = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Images to embeddings in Parquet; nothing is clustered."""
    settings = config_of(
        config, overrides, model=model, input=input, out=out, root=root, species=species,
        identity_from_parent=identity_from_parent, column=column, date_order=date_order,
        keep_word=keep_word, detections=detections, trust_individual_ids=trust_individual_ids,
        as_folder=as_folder, store=store, max_failures=max_failures,
        address=address, metrics=metrics,
    )  # fmt: skip
    from jobs.run import run_embed

    run_embed(settings)


@app.command(rich_help_panel=PANEL)
def match(
    overrides: Overrides = None,
    out: Out = None,
    fit_window: Annotated[
        bool,
        typer.Option(
            "--fit-window",
            help="Only choose images.window, on labelled individuals, and draw it over a dozen pictures.",
        ),
    ] = False,
    config: ConfigFile = None,
    address: Address = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """A closer look at pairs: keypoints, matches, and the probability that two images show one animal.

    After `reid embed`. Run it again to go on after an interruption: what is found is kept. Needs the
    extra `local`, and `images.window=[left,top,right,bottom]`, shares of the picture, says where the
    pattern is.
    """
    settings = later_config_of(config, overrides, out=out, address=address, seed=seed)
    from jobs.run import run_fit_window, run_match

    (run_fit_window if fit_window else run_match)(settings)


@app.command(rich_help_panel=PANEL)
def cluster(
    overrides: Overrides = None,
    out: Out = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            "--embeddings",
            "-e",
            metavar="FILE",
            help="Anybody's embeddings instead of those in OUT: .parquet (column `embedding`, optional "
            "`annotation_id`, `identity`, `species`) or .npy. Rows of unit length.",
        ),
    ] = None,
    config: ConfigFile = None,
    species: Species = None,
    address: Address = None,
    metrics: Metrics = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Embeddings to individuals: tune or estimate the threshold, cluster, write the tables."""
    settings = later_config_of(
        config, overrides, out=out, species=species, address=address, metrics=metrics, seed=seed
    )
    from jobs.run import run_cluster

    run_cluster(settings, embeddings)


@app.command(rich_help_panel=PANEL)
def report(
    overrides: Overrides = None,
    out: Out = None,
    config: ConfigFile = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Write report.html of an output folder again."""
    settings = later_config_of(config, overrides, out=out, seed=seed)
    from jobs.run import run_report

    run_report(settings)


@app.command(rich_help_panel=PANEL)
def evaluate(
    overrides: Overrides = None,
    out: Out = None,
    embeddings: Annotated[
        str | None,
        typer.Option(
            "--embeddings",
            "-e",
            metavar="FILE",
            help="Anybody's embeddings instead of those in OUT: .parquet (column `embedding`, optional "
            "`annotation_id`, `identity`, `encounter_id`, `species`) or .npy. Rows of unit length.",
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Identities, .csv or .parquet: `identity`, and `annotation_id`, `path` or `image_id`; "
            "without these a row an image, in order. Optional `encounter_id`, `timestamp`. "
            "[default: those that came with the images]",
        ),
    ] = None,
    config: ConfigFile = None,
    species: Species = None,
    column: Column = None,
    date_order: DateOrder = None,
    keep_word: KeepWord = None,
    address: Address = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """How good is it? Retrieval, known or new, and clusters, scored against known identities."""
    # The settings of a run say nothing about anybody's embeddings.
    read = later_config_of if embeddings is None else config_of
    settings = read(
        config, overrides, out=out, species=species, column=column, date_order=date_order,
        keep_word=keep_word, address=address, seed=seed,
    )  # fmt: skip
    from jobs.run import run_evaluate

    run_evaluate(settings, embeddings, labels)


@app.command(rich_help_panel=PANEL)
def demo(
    overrides: Overrides = None,
    individuals: Annotated[int, typer.Option(help="Individuals of each species.")] = 30,
    images_per_individual: Annotated[int, typer.Option(help="Pictures of each individual.")] = 8,
    species: Annotated[int, typer.Option(help="Species, 1 to 4.")] = 2,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FOLDER", help="Where results go.")
    ] = "demo",
    config: ConfigFile = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """The main job on an invented herd, scored against its truth. Needs no images and no network."""
    settings = config_of(config, overrides, out=out, seed=seed)
    from jobs.demo import demo as run_demo

    run_demo(
        settings,
        individuals=individuals,
        images_per_individual=images_per_individual,
        species=species,
    )
