"""Commands of the main job and its stages."""

from typing import Annotated, Any

import typer

from jobs.cli.app import app
from jobs.cli.options import READING, Debug, LargePx, config_of, later_config_of, takes

PANEL = "Images to individuals"


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "input", "out", "config", *READING, "model", "store", "max_failures",
    "retry_failed", "excel", "address",
    "metrics", "seed", "constraints",
)  # fmt: skip
def run(
    given: dict[str, Any],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="KEY=VALUE,VALUE",
            help="Try all combinations, each in a folder of OUT over one store of embeddings, and compare them: "
            "--grid embed.model=a,b,a+b --grid cluster.method=dbscan,average. May be given several times.",
        ),
    ] = None,
) -> None:
    """Everything: embed images, find individuals, write the report.

    Run it again to go on after an interruption, or to add new images: what is embedded already is
    not embedded again.
    """
    if grid:
        from jobs.grid import run_grid

        own = given.pop("overrides") or []
        run_grid(grid, lambda more: config_of(overrides=[*own, *more], **given))
        return
    settings = config_of(**given)
    from jobs.run import run as everything

    everything(settings)


@app.command(rich_help_panel=PANEL)
@takes("overrides", "input", "config", *READING)
def browse(
    *,
    given: dict[str, Any],
    to: Annotated[
        str, typer.Option("--to", metavar="FOLDER", help="Where the pages go; index.html is first.")
    ] = "browse",
    large_px: LargePx = 1000,
) -> None:
    """Look at what was given: every picture as it was read, by folder, individual, species, place and side.

    Nothing is embedded or grouped. Files that open from disk, with no network; run it again after adding
    pictures, those that are there are not made again.
    """
    settings = config_of(**given)
    from jobs.pages.browsing import browse as run_browse

    run_browse(settings, to, large_px=large_px)


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "input", "out", "config", *READING, "model", "store", "max_failures",
    "retry_failed", "excel", "address",
    "metrics",
)  # fmt: skip
def embed(given: dict[str, Any]) -> None:
    """Images to embeddings in Parquet; nothing is clustered."""
    settings = config_of(**given)
    from jobs.run import run_embed

    run_embed(settings)


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "input", "out", "config", *READING, "model", "store", "max_failures", "retry_failed", "address",
    model=Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="NAME", help="A classifier: timm:<name>, or a folder in timm's format."),
    ],
)  # fmt: skip
def classify(
    *,
    given: dict[str, Any],
    taxonomy: Annotated[
        str | None,
        typer.Option(
            "--taxonomy",
            metavar="FILE.csv",
            help="A row a class, a column a rank, the broadest first: class_index,order,family,genus,species. "
            "[default: the model's own label names, where they are `Order;Family;Genus;species`]",
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold", metavar="P", help="The label is the deepest rank that is more probable."
        ),
    ] = 0.5,
) -> None:
    """What each picture shows, by rank: probabilities of a classifier's classes, summed up the tree.

    Writes taxa.csv and taxa.parquet: the deepest order, family, genus or species that is sure, and how sure each
    rank is. Run it again to go on after an interruption.
    """
    settings = config_of(**given)
    from jobs.run import run_classify

    run_classify(settings, taxonomy, threshold)


@app.command(rich_help_panel=PANEL)
@takes("overrides", "out", "config", "excel")
def foreground(
    *,
    given: dict[str, Any],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FILE.csv", help="[default: OUT/foreground.csv]"),
    ] = None,
) -> None:
    """A box around the animal in every image, as a table that `reid embed` takes: the same animals, larger.

    After `reid embed embed.tokens=true` with a vision transformer. Patches that differ most from the borders of
    the pictures are the animal (first principal component of a species' patch tokens); no picture is embedded here.
    """
    settings = later_config_of(**given)
    from jobs.run import run_foreground
    from reid import store

    run_foreground(settings, to or store.join(settings.out, "foreground.csv"))


@app.command(rich_help_panel=PANEL)
@takes("overrides", "out", "config", "address", "seed")
def match(
    given: dict[str, Any],
    fit_window: Annotated[
        bool,
        typer.Option(
            "--fit-window",
            help="Only choose images.window, on labelled individuals, and draw it over a dozen pictures.",
        ),
    ] = False,
) -> None:
    """A closer look at pairs: keypoints, matches, and the probability that two images show one animal.

    After `reid embed`. Run it again to go on after an interruption: what is found is kept. Needs the
    extra `local`, and `images.window=[left,top,right,bottom]`, shares of the picture, says where the
    pattern is.
    """
    settings = later_config_of(**given)
    from jobs.run import run_fit_window, run_match

    (run_fit_window if fit_window else run_match)(settings)


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "out", "config", "species", "constraints", "excel", "address", "metrics", "seed"
)
def cluster(
    given: dict[str, Any],
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
) -> None:
    """Embeddings to individuals: tune or estimate the threshold, cluster, write the tables."""
    settings = later_config_of(**given)
    from jobs.run import run_cluster

    run_cluster(settings, embeddings)


@app.command(rich_help_panel=PANEL)
@takes("overrides", "out", "config", "seed")
def report(given: dict[str, Any]) -> None:
    """Write report.html of an output folder again."""
    settings = later_config_of(**given)
    from jobs.run import run_report

    run_report(settings)


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "out", "config", "species", "column", "date_order", "keep_word", "address", "seed"
)
def evaluate(
    given: dict[str, Any],
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
) -> None:
    """How good is it? Retrieval, known or new, and clusters, scored against known identities."""
    # The settings of a run say nothing about anybody's embeddings.
    settings = (later_config_of if embeddings is None else config_of)(**given)
    from jobs.run import run_evaluate

    run_evaluate(settings, embeddings, labels)


@app.command(rich_help_panel=PANEL)
@takes("overrides", "out", "config", "seed")
def figures(
    *,
    given: dict[str, Any],
    to: Annotated[
        str | None, typer.Option("--to", metavar="FOLDER", help="[default: OUT/figures]")
    ] = None,
    format: Annotated[  # noqa: A002
        str,
        typer.Option("--format", "-f", metavar="png,pdf,svg", help="One, or several with commas."),
    ] = "png",
) -> None:
    """Figures for a paper, of a run or a fine-tuning, at the width of a column.

    Score distributions with the threshold, similarity and distance by cluster, tuning curves, right ones among
    the nearest, PCA and t-SNE by individual and by cluster (right ○, wrong ×, centroid ★), sizes of clusters,
    contact sheets, the most similar pairs and the worst mistakes; of `reid finetune` the training curves.
    """
    settings = later_config_of(**given)
    from jobs.cluster.drawing import draw_figures
    from reid import store

    kinds = [kind.strip() for kind in format.split(",") if kind.strip()]
    draw_figures(settings, to or store.join(settings.out, "figures"), kinds)


@app.command(rich_help_panel=PANEL)
def compare(
    folders: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER...",
            help="Output folders, or folders of output folders, as --grid makes.",
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FILE.png", help="Draw it too: .png, .pdf or .svg."),
    ] = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Trials side by side: settings, threshold, what held-out individuals say, ARI, individuals, seconds.

    Each clustering of an output folder is a row of its trials.csv; what replaces an earlier result says so.
    """
    from jobs.cluster.comparing import compare as run_compare

    run_compare(folders, to)


@app.command(rich_help_panel=PANEL)
@takes("overrides", "config", "seed")
def demo(
    *,
    individuals: Annotated[int, typer.Option(help="Individuals of each species.")] = 30,
    images_per_individual: Annotated[int, typer.Option(help="Pictures of each individual.")] = 8,
    species: Annotated[int, typer.Option(help="Species, 1 to 4.")] = 2,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FOLDER", help="Where results go.")
    ] = "demo",
    given: dict[str, Any],
) -> None:
    """The main job on an invented herd, scored against its truth. Needs no images and no network."""
    settings = config_of(**given, out=out)
    from jobs.demo import demo as run_demo

    run_demo(
        settings,
        individuals=individuals,
        images_per_individual=images_per_individual,
        species=species,
    )
