"""Commands that write what a competition wants."""

from typing import Annotated, Any

import typer

from jobs.cli.app import app
from jobs.cli.options import Debug, takes

PANEL = "Competitions"

To = Annotated[str, typer.Option("--to", metavar="FILE.csv", help="The file to write.")]


@app.command(rich_help_panel=PANEL)
def submission(
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FOLDER", help="Output folder of `reid run`.")
    ] = "results",
    sample: Annotated[
        str,
        typer.Option(
            "--sample",
            metavar="FILE.csv",
            help="The competition's sample submission: its ids, their order and its columns are kept, and its "
            "last column is filled.",
        ),
    ] = "sample_submission.csv",
    to: To = "submission.csv",
    prefix: Annotated[
        str,
        typer.Option(
            "--prefix",
            metavar="COLUMN",
            help="Column of the run's input table that names the data set of an image, for the labels "
            "`cluster_<dataset>_<n>`. Where there is none the species does.",
        ),
    ] = "dataset",
    truth: Annotated[
        str | None,
        typer.Option(
            "--truth",
            metavar="FILE",
            help="Identities, for a score: an id and `identity`. [default: labels that came with the images]",
        ),
    ] = None,
    allow_additional: Annotated[
        bool,
        typer.Option(
            "--allow-additional",
            help="Images without a known identity that the sample does not name are left out.",
        ),
    ] = False,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """The clusters of a run, in the form of a sample submission.

    `reid run -i metadata.csv -o results`, then
    `reid submission -o results --sample sample_submission.csv --to submission.csv`.

    Ids that are missing, doubled or not asked for are errors that name them. Where identities are known
    the ARI of each data set and their mean are printed.
    """
    from jobs.exports.submitting import submission as run_submission

    run_submission(out, sample, to, prefix=prefix, truth=truth, allow_additional=allow_additional)


@app.command(rich_help_panel=PANEL)
@takes("seed")
def score(
    *,
    out: Annotated[
        list[str] | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Output folder of `reid embed` or `reid run`; several are an ensemble, of folds for example. "
            "[default: results]",
        ),
    ] = None,
    pairs: Annotated[
        str,
        typer.Option(
            "--pairs",
            metavar="FILE.csv",
            help="Pairs to score: `row_id, query_image, gallery_image`; images by id, path or file name.",
        ),
    ] = "test.csv",
    to: To = "submission.csv",
    scale: Annotated[
        str,
        typer.Option(
            "--scale",
            metavar="SCALE",
            help="clip: max(cos, 0); affine: (cos + 1) / 2; calibrated: the probability of one individual, "
            "learned from the labelled images.",
        ),
    ] = "affine",
    join: Annotated[
        str,
        typer.Option(
            "--join",
            metavar="HOW",
            help="Several folders: scores (each scored, then averaged) or vectors (joined, then scored).",
        ),
    ] = "scores",
    rerank: Annotated[
        bool, typer.Option("--rerank", help="By k-reciprocal neighbours among all images.")
    ] = False,
    given: dict[str, Any],
) -> None:
    """A similarity in [0, 1] for each pair of a list: `row_id, similarity`.

    Where both images of pairs have labels, the identity-balanced mAP is printed.
    """  # fmt: skip
    from jobs.cluster.scoring import score as run_score

    run_score(
        out or ["results"],
        pairs,
        to,
        scale=scale,
        join=join,
        reranked=rerank,
        seed=given["seed"] or 0,
    )
