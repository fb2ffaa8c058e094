"""`reid export --format camtrap-dp`: a package given back, or a new one."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime

import numpy as np
import pandas as pd

import reid
from jobs.common.console import progress, say
from jobs.exports.holdings import Holdings
from jobs.exports.left_outs import with_left_out
from jobs.exports.wishes import Survey, Wish, read_sexes, scientific_names
from reid import store
from reid.errors import InputError
from reid.exports.camtrap_back import GivenBack, give_back
from reid.exports.camtrap_checks import in_words, package_mistakes
from reid.exports.camtrap_files import DESCRIPTOR, PackageFiles, is_archive, is_inside, packing
from reid.exports.camtrap_new import new_package
from reid.exports.camtrap_package import CamtrapPackage, read_package
from reid.exports.camtrap_words import SEXES, SOFTWARE, Teller, read_zone
from reid.exports.deployments import read_stations
from reid.exports.picture_folders import place_pictures
from reid.exports.picture_sizes import upright_sizes
from reid.exports.sightings import counted_as


def write_camtrap_dp(holdings: Holdings, out: str, wish: Wish, survey: Survey) -> None:
    """Write a package, and beside its tables left_out.csv.

    Args:
        holdings: of the species that are wanted.
        out: folder, or .zip.
        wish, survey: what was asked for.

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
    how = wish.images or "link"
    if wish.package is not None:
        package = read_package(wish.package)
        if store.filesystem(package.files.place)[1] == store.filesystem(out)[1]:
            raise InputError(f"--out {out}: that is the package itself; give another place")
        given = give_back(package, frame, teller)
        _tell(given)
        _tell_mistakes(package_mistakes(package.deployments, package.media, given.observations))
        tables, pictures = _others(package, given)
        texts = with_left_out(given.files, given.left_out)
        _write(out, {**tables, **texts}, pictures, how, package.files)
        return
    if survey.deployments is None or wish.timezone is None:
        raise InputError(
            "--format camtrap-dp: give --package, the Camtrap DP that the images came from; or, for a new one, "
            "--deployments (with latitude and longitude) and --timezone of the cameras' clocks"
        )
    made = new_package(
        frame,
        read_stations(survey.deployments, date_order=survey.date_order),
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
    _write(out, with_left_out(made.files, made.left_out), made.pictures, how)


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


def _others(package: CamtrapPackage, given: GivenBack) -> tuple[dict[str, bytes], dict[str, str]]:
    """All that does not change: the other tables, and where each picture lies → its name in the package."""
    listed = [
        path
        for one in package.descriptor["resources"]
        if isinstance(one, dict)
        for path in ([one["path"]] if isinstance(one.get("path"), str) else one.get("path") or [])
        if isinstance(path, str)
    ]
    wanted = dict.fromkeys(one for one in listed if one not in (*given.files, DESCRIPTOR))
    tables = {name: package.files.read(name) for name in wanted if is_inside(name)}
    media = [row["filePath"] for row in package.media]
    pictures = {
        name if package.files.archive else package.files.path_of(name): name
        for name in media
        if is_inside(name)
    }
    far = sum("://" in name for name in media)
    if far:
        say(f"note: {far:,} media are web addresses and stay so")
    return tables, pictures


def _write(
    out: str,
    tables: Mapping[str, str | bytes],
    pictures: Mapping[str, str],
    how: str,
    files: PackageFiles | None = None,
) -> None:
    """Write tables and pictures.

    Args:
        out: folder, or .zip.
        tables: name → content.
        pictures: where each lies → its name in the package.
        how: link or copy, where both are folders.
        files: the package that it came as, where pictures lie in a .zip.
    """
    contents = {name: one.encode() if isinstance(one, str) else one for name, one in tables.items()}
    packed = files is not None and files.archive
    if not packed and not is_archive(out):
        for name, data in contents.items():
            store.write_bytes(store.join(out, name), data)
        _place([(path, store.join(out, name)) for path, name in pictures.items()], how)
        return
    read = files.read if files is not None and packed else store.read_bytes
    with packing(out) if is_archive(out) else nullcontext(_into_folder(out)) as put:
        for name, data in contents.items():
            put(name, data)
        _put_pictures(pictures, read, put)


def _into_folder(out: str) -> Callable[[str, bytes], None]:
    return lambda name, data: store.write_bytes(store.join(out, name), data)


def _put_pictures(
    pictures: Mapping[str, str],
    read: Callable[[str], bytes],
    put: Callable[[str, bytes], None],
) -> None:
    wrong = {}
    with progress("pictures", len(pictures), "pictures") as advance:
        for path, name in pictures.items():
            try:
                put(name, read(path))
            except FileNotFoundError:
                wrong[path] = "the file is not there"
            advance(1)
    _tell_wrong(wrong)


def _place(pairs: list[tuple[str, str]], how: str) -> None:
    there = [(source, target) for source, target in pairs if not store.exists(target)]
    with progress("pictures", len(there), "pictures") as advance:
        wrong = place_pictures(there, how=how, advance=advance)
    _tell_wrong(wrong)
    if how == "link" and len(there) > len(wrong):
        say(
            f"note: {len(there) - len(wrong):,} pictures are links; say --images copy, or --out ….zip, for a "
            "package to pass on"
        )


def _tell_wrong(wrong: Mapping[str, str]) -> None:
    if wrong:
        path, reason = next(iter(wrong.items()))
        say(
            f"note: {len(wrong):,} pictures are not beside the tables, for example {path}: {reason}"
        )
