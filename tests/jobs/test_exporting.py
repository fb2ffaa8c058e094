"""`reid export` from a catalogue and from a run's folder; no Ray is needed for any of it."""

import codecs
import csv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from jobs.common import outputs
from jobs.common.verdicts import as_stored
from jobs.exports.exporting import FORMATS
from jobs.exports.history_exports import HISTORY_FORMATS
from reid import schema, store
from reid.catalogue import Change, open_catalogue, update
from reid.catalogue.commits import ROW_SCHEMA
from reid.catalogue.reviewer_decisions import IMPORT_SCHEMA
from reid.verdict import Verdict
from tests.leopard_cats import CAMERA_TABLE, frame

Reid = Callable[..., int]
Say = Callable[[], str]


def keep(
    place: str,
    table: pd.DataFrame,
    decisions: pa.Table | None = None,
    verdict: Verdict | None = None,
) -> None:
    """A catalogue of these sightings."""
    rows = table.reindex(columns=ROW_SCHEMA.names)
    rows["source_key"] = "a key"
    change = Change(
        pa.Table.from_pandas(rows, schema=ROW_SCHEMA, preserve_index=False),
        decisions=decisions,
        verdicts={} if verdict is None else {str(table["species"].iloc[0]): as_stored(verdict)},
    )
    update(open_catalogue(place, create=True), "r1", lambda _: change)


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The leopard cats as a catalogue, with one image that nobody is sure of, and one that somebody is."""
    place = str(tmp_path_factory.mktemp("cats") / "catalogue")
    table = frame()
    extra = table.iloc[[0]].assign(
        annotation_id="f" * 24, image_path="A/=unsure.JPG", identity_id="4", decision="unsure",
        nearest_id=table["annotation_id"].iloc[0], timestamp=pd.Timestamp("2009-05-08"),
    )  # fmt: skip
    a, b = sorted(table["annotation_id"].iloc[[1, 2]])
    decisions = pa.Table.from_pylist(
        [
            {
                "a_id": a, "b_id": b, "decision": "match", "reviewer": "anna",
                "timestamp": pd.Timestamp("2026-01-02", tz="UTC"), "note": None,
            }
        ],
        schema=IMPORT_SCHEMA,
    )  # fmt: skip
    keep(place, pd.concat([table, extra], ignore_index=True), decisions)
    return place


@pytest.fixture
def cameras(tmp_path: Path) -> Path:
    (tmp_path / "cameras.csv").write_text(CAMERA_TABLE)
    return tmp_path / "cameras.csv"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    return lambda: " ".join(capsys.readouterr().err.split())


def lines(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_plain_tables_have_time_place_and_who_confirmed(
    reid: Reid, cats: str, tmp_path: Path, said: Say
) -> None:
    assert reid("export", "-C", cats, "-o", tmp_path / "who.csv") == 0
    assert "22 images of 4 individuals" in said()
    rows = lines(tmp_path / "who.csv")
    assert list(rows[0]) == [
        "annotation_id", "image_path", "species", "identity_id", "name", "identity", "decision",
        "confidence", "timestamp", "utc_offset_minutes", "location_id", "encounter_id", "viewpoint",
        "image_id", "confirmed_by", "confirmed_at",
    ]  # fmt: skip
    assert reid("export", "-C", cats, "-o", tmp_path / "excel.csv", "--excel") == 0
    plain = (tmp_path / "who.csv").read_bytes()
    assert (tmp_path / "excel.csv").read_bytes() == codecs.BOM_UTF8 + plain
    confirmed = [row for row in rows if row["confirmed_by"]]
    assert [row["image_path"] for row in confirmed] == ["A/IMG_0001.JPG", "A/IMG_0002.JPG"]
    assert confirmed[0]["confirmed_at"].startswith("2026-01-02")
    assert reid("export", "-C", cats, "-f", "parquet", "-o", tmp_path / "who") == 0
    assert pl.read_parquet(tmp_path / "who")["timestamp"].dtype == pl.Datetime("us")
    assert reid("export", "-C", cats) == 0
    assert (Path(cats) / "export/identities.csv").exists()
    assert (Path(cats) / "export/identities.parquet").exists()


def test_secr_files_of_a_catalogue(
    reid: Reid, cats: str, cameras: Path, tmp_path: Path, said: Say
) -> None:
    out = tmp_path / "secr"
    command = ("export", "-C", cats, "-f", "secr", "-d", cameras, "--occasion-days", "10")
    assert reid(*command, "-o", out) == 0
    text = said()
    assert "leopard-cat: 3 individuals, 15 detections on 5 occasions of 10 days at 3" in text
    assert "1 unsure images are left out; `reid review` asks about them" in text
    assert "left out: 1 images: nobody is sure who this is" in text
    assert len((out / "captures.txt").read_text().splitlines()) == 16
    assert lines(out / "left_out.csv")[0]["image_path"] == "A/=unsure.JPG"
    assert {file.name for file in out.iterdir()} == {
        "captures.txt", "traps.txt", "detectors.csv", "individuals.csv", "left_out.csv",
        "README.txt",
    }  # fmt: skip
    (tmp_path / "sexes.csv").write_text("name;sex\n1;F\n2;M\n3;F\n")
    assert reid(*command, "-o", out, "--individuals", tmp_path / "sexes.csv") == 0
    assert " Sex" in (out / "captures.txt").read_text().splitlines()[0]


@pytest.mark.parametrize("kind", HISTORY_FORMATS)
def test_every_program_gets_its_files(
    reid: Reid, cats: str, cameras: Path, tmp_path: Path, kind: str, said: Say
) -> None:
    code = reid("export", "-C", cats, "-f", kind, "-d", cameras, "-o", tmp_path / kind)
    if kind == "multimark":
        assert code == 1
        assert "no image shows the left or the right side" in said()
        return
    assert code == 0
    assert (tmp_path / kind / "README.txt").exists()
    assert (tmp_path / kind / "left_out.csv").exists()


def test_wildbook_insights_and_folders(
    reid: Reid, cats: str, cameras: Path, tmp_path: Path, said: Say
) -> None:
    wildbook = ("export", "-C", cats, "-f", "wildbook", "-o", tmp_path / "wildbook")
    assert reid(*wildbook) == 1
    assert "say --scientific-name 'leopard cat=Genus species'" in said()
    assert reid(*wildbook, "--scientific-name", "Prionailurus bengalensis") == 0
    assert "19 encounters in 1 files for Wildbook" in said()
    assert reid("export", "-C", cats, "-f", "wildlife-insights") == 1
    assert "no image has an image_id" in said()
    assert reid("export", "-C", cats, "-f", "folders", "-o", tmp_path / "folders") == 0
    assert "left out: 22 images: the file is not there" in said()


def test_from_the_output_folder_of_a_run(
    reid: Reid, cameras: Path, tmp_path: Path, said: Say
) -> None:
    table = frame().reindex(columns=schema.ANNOTATIONS.names)
    table["source_key"] = "a key"
    annotations = pa.Table.from_pandas(table, schema=schema.ANNOTATIONS, preserve_index=False)
    who = frame()["identity_id"]
    clusters = pa.table(
        {
            "annotation_id": table["annotation_id"][1:],
            "species": table["species"][1:],
            "cluster": [int(one) - 1 if one != "3" else -1 for one in who[1:]],
            "cluster_label": [
                f"cluster_cat_{one}" + (f"{row}" if one == "3" else "")
                for row, one in enumerate(who[1:])
            ],
            "nearest_id": pa.nulls(20, pa.string()),
            "nearest_distance": pa.nulls(20, pa.float32()),
        }
    )
    out = tmp_path / "results"
    store.write_table(str(out / outputs.ANNOTATIONS), annotations)
    store.write_table(str(out / outputs.CLUSTERS), clusters)
    command = ("export", "-r", out, "-f", "matrix", "-d", cameras, "--occasion-days", "10")
    assert reid(*command, "-o", tmp_path / "matrix") == 0
    text = said()
    assert "left out: 1 images without a vector" in text
    assert "5 individuals" in text
    rows = lines(tmp_path / "matrix" / "matrix.csv")
    assert rows[0]["individual"] == "cluster-cat-1"
    assert reid("export", "-r", out) == 0
    decided = {row["identity_id"]: row["decision"] for row in lines(out / "export/identities.csv")}
    assert decided["cluster_cat_1"] == "known"
    assert sorted(decided.values()) == ["known", "known", "new", "new", "new"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either --catalogue (of `reid identify`) or --results"),
        (("-C", "x", "-r", "y"), "give either --catalogue"),
        (("-C", "CATS", "-f", "sekr"), f"--format sekr: known: {', '.join(FORMATS)}"),
        (("-C", "CATS", "-o", "who.xls"), "--out who.xls: no workbook is written; --out who.csv --excel gives a table"),
        (("-C", "CATS", "-f", "secr"), "--format secr needs to know when and where cameras stood"),
        (("-C", "CATS", "-f", "matrix", "--species", "dog"), "known: leopard cat"),
        (("-C", "CATS", "-f", "matrix", "--start", "soon"), "--start soon: write a day like 2026"),
        (("-C", "CATS", "-f", "matrix", "--day-starts", "noon"), "write a time of day like 12:00"),
        (("-C", "CATS", "-f", "matrix", "--unsure", "no"), "--unsure no: known: drop, own, as-best"),
        (("-C", "CATS", "-f", "matrix", "--detector", "no"), "--detector no: known: proximity, count"),
        (("-C", "CATS", "-f", "matrix", "--individuals", "CSV"), "none of its 1 lines is an individual"),
        (("-C", "CATS", "-f", "folders", "--images", "move"), "--images move: known: link, copy"),
    ],
)  # fmt: skip
def test_mistakes_say_what_to_do(
    reid: Reid, cats: str, tmp_path: Path, said: Say, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "sexes.csv").write_text("name,sex\nnobody,F\n")
    words = {"CATS": cats, "CSV": str(tmp_path / "sexes.csv")}
    target = () if "-o" in arguments else ("-o", tmp_path / "out")
    if "-C" not in arguments or "x" in arguments:
        target = ()
    assert reid("export", *(words.get(one, one) for one in arguments), *target) == 1
    text = said()
    assert text.startswith("error: ") or "error: " in text
    assert message in text
    assert not (tmp_path / "out").exists()


def test_what_is_handed_on_says_that_it_is_not_usable(
    reid: Reid, cats: str, tmp_path: Path, said: Say
) -> None:
    place = str(tmp_path / "catalogue")
    table = frame()
    keep(place, table, verdict=Verdict("not usable", "Not usable: chance.", "no labels"))
    for kind in ("csv", "matrix"):
        target = tmp_path / kind / "who.csv" if kind == "csv" else tmp_path / kind
        assert reid("export", "-C", place, "-f", kind, "-o", target, "--occasion-days", "5") == 0
        assert "the verdict on these individuals is NOT USABLE" in said()
    assert reid("export", "-C", cats, "-f", "csv", "-o", tmp_path / "who.csv") == 0
    assert "verdict" not in said(), "nobody has judged it"


# ── Camtrap DP ────────────────────────────────────────────────────────────────────────────────────


def test_a_new_camtrap_dp_with_its_pictures(reid: Reid, tmp_path: Path, said: Say) -> None:
    table = frame(root=str(tmp_path / "photos"))
    for name in table["image_path"]:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(b"a picture")
    keep(str(tmp_path / "catalogue"), table)
    command = ("export", "-C", tmp_path / "catalogue", "-f", "camtrap-dp", "-o", tmp_path / "out")
    assert reid(*command) == 1
    assert "give --package, the Camtrap DP that the images came from; or, for a new one" in said()
    (tmp_path / "places.csv").write_text(
        "detector,lat,lon,start,end\n"
        + "".join(f"{one},5.4,117.2,2009-04-01,2009-06-01\n" for one in "ABC")
    )
    new = (*command, "-d", tmp_path / "places.csv", "--timezone", "+08:00")
    assert reid(*new, "--scientific-name", "Prionailurus bengalensis") == 0
    text = said()
    assert "3 deployments, 21 media, 39 observations of 3 individuals" in text
    assert "correct them in datapackage.json before you publish" in text
    assert (tmp_path / "out/media/A/IMG_0000.JPG").is_symlink()
    rows = lines(tmp_path / "out" / "observations.csv")
    assert {row["scientificName"] for row in rows} == {"Prionailurus bengalensis"}

    # And back: the package that was made is a package that came in.
    back = ("export", "-C", tmp_path / "catalogue", "-f", "camtrap-dp", "-o", tmp_path / "back")
    assert reid(*back, "--package", tmp_path / "out", "--images", "copy") == 0
    assert "21 observations with one of 3 individuals, 0 of them new rows" in said()
    for name in ("deployments.csv", "media.csv"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    assert (tmp_path / "back/media/C/IMG_0020.JPG").read_bytes() == b"a picture"
    again = lines(tmp_path / "back" / "observations.csv")
    named = [row["individualID"] for row in rows]
    assert [row["individualID"] for row in again] == named
    assert reid(*command, "--package", tmp_path / "out") == 1
    assert "that is the package itself; give another place" in said()

    # The same as a .zip, and out of one.
    packed = ("export", "-C", tmp_path / "catalogue", "-f", "camtrap-dp", "-o", tmp_path / "p.zip")
    assert reid(*packed, "--package", tmp_path / "out") == 0
    with zipfile.ZipFile(tmp_path / "p.zip") as archive:
        names = set(archive.namelist())
        assert archive.read("media/C/IMG_0020.JPG") == b"a picture"
    assert names >= {"datapackage.json", "deployments.csv", "media.csv", "observations.csv"}
    for target in ("again.zip", "unpacked"):
        out = ("export", "-C", tmp_path / "catalogue", "-f", "camtrap-dp", "-o", tmp_path / target)
        assert reid(*out, "--package", tmp_path / "p.zip") == 0
    with zipfile.ZipFile(tmp_path / "again.zip") as archive:
        assert set(archive.namelist()) == names
        for name in names - {"observations.csv", "datapackage.json"}:
            assert archive.read(name) == (tmp_path / "unpacked" / name).read_bytes()
    assert lines(tmp_path / "unpacked" / "observations.csv") == again
