"""`reid export --format camtrap-dp`: a package given back, or a new one."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd

import reid
from jobs.common.console import progress, say
from jobs.exports.holdings import Holdings
from jobs.exports.wishes import Survey, Wish, read_sexes, scientific_names
from reid import store
from reid.errors import InputError
from reid.exports.camtrap_back import GivenBack, give_back
from reid.exports.camtrap_checks import in_words, package_mistakes
from reid.exports.camtrap_new import new_package
from reid.exports.camtrap_package import DESCRIPTOR, CamtrapPackage, read_package
from reid.exports.camtrap_words import SEXES, SOFTWARE, Teller, read_zone
from reid.exports.deployments import read_stations
from reid.exports.picture_folders import place_pictures
from reid.exports.picture_sizes import upright_sizes
from reid.exports.sightings import counted_as


def camtrap_files(
    holdings: Holdings, out: str, wish: Wish, survey: Survey
) -> tuple[dict[str, str], pd.DataFrame]:
    """Copy what does not change, and give the files that do.

    Returns:
        name → text, to be written into `out`, and lines of left_out.csv.

    Raises:
        InputError: the package cannot be read, `out` is the package itself, or what a new one needs is
            missing.
    """
    frame = holdings.frame.assign(individual=counted_as(holdings.frame, survey.unsure))
    names = scientific_names(wish.scientific_name, sorted(frame["species"].unique()))
    sexes = {
        who: SEXES[sex.lower()]
        for who, sex in read_sexes(survey.individuals, frame).items()
        if sex.lower() in SEXES
    }
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def classified_by(species: str) -> str:
        recipe = holdings.recipes.get(species)
        return f"{SOFTWARE} {reid.__version__}" + (f", {recipe}" if recipe else "")

    teller = Teller(classified_by, now, reid.__version__, _sizes(frame), names, sexes)
    if wish.package is not None:
        package = read_package(wish.package)
        if store.filesystem(package.folder)[1] == store.filesystem(out)[1]:
            raise InputError(f"--out {out}: that is the package itself; give another folder")
        given = give_back(package, frame, teller)
        _tell(given)
        _tell_mistakes(package_mistakes(package.deployments, package.media, given.observations))
        _copy_rest(package, out, given, wish.images or "link")
        return given.files, given.left_out
    if survey.deployments is None or wish.timezone is None:
        raise InputError(
            "--format camtrap-dp: give --package, the Camtrap DP that the images came from; or, for a new one, "
            "--deployments (with latitude and longitude) and --timezone of the cameras' clocks"
        )
    stations = read_stations(survey.deployments, date_order=survey.date_order)
    made = new_package(
        frame,
        stations,
        read_zone(wish.timezone),
        teller,
        title=wish.title,
        contributor=wish.contributor,
    )
    for note in made.notes:
        say(f"note: {note}")
    say(
        f"export: a new Camtrap DP: {len(made.rows[0]):,} deployments, {len(made.rows[1]):,} media, "
        f"{len(made.rows[2]):,} observations of {made.individuals:,} individuals"
    )
    _tell_mistakes(package_mistakes(*made.rows))
    pairs = [(path, store.join(out, place)) for path, place in made.pictures.items()]
    _place(pairs, wish.images or "link")
    return made.files, made.left_out


def _sizes(frame: pd.DataFrame) -> dict[str, tuple[int, int] | None]:
    """Of the pictures whose boxes are in pixels."""
    has_box = (
        frame["bbox"].notna().to_numpy(copy=True)
        if "bbox" in frame
        else np.zeros(len(frame), np.bool_)
    )
    if "bbox_unit" in frame:
        has_box = has_box & (frame["bbox_unit"] != "relative").to_numpy()
    rows = frame[has_box]
    return upright_sizes(
        store.join(root, path) for root, path in zip(rows["root"], rows["image_path"], strict=True)
    )


def _tell(given: GivenBack) -> None:
    for note in given.notes:
        say(f"note: {note}")
    say(
        f"export: {given.named:,} observations with one of {given.individuals:,} individuals, {given.added:,} of "
        f"them new rows; {given.split:,} events became a row for each animal"
    )


def _tell_mistakes(mistakes: dict[str, list[str]]) -> None:
    for line in in_words(mistakes):
        say(f"warning: the package is not as Camtrap DP wants it: {line}")


def _copy_rest(package: CamtrapPackage, out: str, given: GivenBack, how: str) -> None:
    """All other files of the package: tables as they are, pictures linked or copied."""
    tables = [
        path
        for one in package.descriptor["resources"]
        if isinstance(one, dict)
        for path in ([one["path"]] if isinstance(one.get("path"), str) else one.get("path") or [])
    ]
    changed = {*given.files, DESCRIPTOR}
    for path in tables:
        if path not in changed and "://" not in path:
            data = store.read_bytes(store.join(package.folder, path))
            store.write_bytes(store.join(out, path), data)
    pictures = [row["filePath"] for row in package.media if "://" not in row["filePath"]]
    pairs = [
        (store.join(package.folder, path), store.join(out, path))
        for path in dict.fromkeys(pictures)
    ]
    _place(pairs, how)
    far = len(package.media) - len(pictures)
    if far:
        say(f"note: {far:,} media are web addresses and stay so")


def _place(pairs: list[tuple[str, str]], how: str) -> None:
    there = [(source, target) for source, target in pairs if not store.exists(target)]
    with progress("pictures", len(there), "pictures") as advance:
        wrong = place_pictures(there, how=how, advance=advance)
    if wrong:
        path, reason = next(iter(wrong.items()))
        say(
            f"note: {len(wrong):,} pictures are not beside the tables, for example {path}: {reason}"
        )
    elif how == "link" and there:
        say(f"note: {len(there):,} pictures are links; say --images copy for a package to pass on")
