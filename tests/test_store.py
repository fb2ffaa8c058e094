import os
import stat
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid import store
from reid.errors import (
    DamagedError,
    InputError,
    PlaceError,
    StorageDownError,
    StorageError,
)
from reid.store import files, retries

if TYPE_CHECKING:
    from tests.flaky_bucket import FlakyBucket


@pytest.fixture(params=["local", "s3"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that does not exist yet: each test below runs on a disk and on object storage."""
    if request.param == "local":
        return str(tmp_path / "herd")
    return f"{request.getfixturevalue('bucket')}/herd"


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("a", "b", "c.jpg"), "a/b/c.jpg"),
        (("a/", "b"), "a/b"),
        (("", "b"), "b"),
        (("/", "b"), "/b"),
        (("a", "/b"), "/b"),
        (("s3://bucket", "b", "c"), "s3://bucket/b/c"),
        (("s3://bucket/", "b"), "s3://bucket/b"),
        (("a", "s3://bucket/b"), "s3://bucket/b"),
        (("s3://bucket/a", "/b"), "/b"),
        (("a",), "a"),
    ],
)
def test_join(parts: tuple[str, ...], joined: str) -> None:
    assert store.join(*parts) == joined


def test_what_is_written_can_be_read(base: str) -> None:
    path = store.join(base, "deep", "er", "a.bin")
    assert not store.exists(path)
    assert not store.exists(base)
    store.write_bytes(path, b"\x00one")
    assert store.exists(path)
    assert not store.is_folder(path)
    assert store.is_folder(base)
    assert store.read_bytes(path) == b"\x00one"
    store.write_bytes(path, b"two")
    assert store.read_bytes(path) == b"two", "a second write replaces the first"


def test_an_empty_file_is_a_file(base: str) -> None:
    store.write_bytes(store.join(base, "empty"), b"")
    assert store.list_files(base) == [store.join(base, "empty")]
    assert store.read_bytes(store.join(base, "empty")) == b""


def test_json_and_text(base: str) -> None:
    path = store.join(base, "a.json")
    store.write_json(path, {"é": [1, 2.5, None]})
    assert store.read_json(path) == {"é": [1, 2.5, None]}
    assert "é" in store.read_bytes(path).decode(), "readable for people"
    with pytest.raises(ValueError, match="JSON"):
        store.write_json(path, float("nan"))
    assert store.read_json(path) == {"é": [1, 2.5, None]}, "refused, and nothing was replaced"


def test_listing_is_sorted_and_goes_down_only_if_asked(base: str) -> None:
    assert store.list_files(base) == []
    for name in ("b", "a", "sub/c", "sub/deeper/d"):
        store.write_bytes(store.join(base, name), b"x")
    assert store.list_files(base) == [store.join(base, name) for name in ("a", "b")]
    found = store.list_files(base + "/", recursive=True)
    assert found == [store.join(base, name) for name in ("a", "b", "sub/c", "sub/deeper/d")]


@pytest.mark.parametrize(
    "name", ["my photo.jpg", "Gürteltier.jpg", "50%20off.jpg", "a#1.jpg", "a+b&c.jpg", "why?.jpg"]
)
def test_a_listed_name_can_be_opened(base: str, name: str) -> None:
    store.write_bytes(store.join(base, name), name.encode())
    assert store.list_files(base) == [store.join(base, name)]
    assert store.read_bytes(store.list_files(base)[0]) == name.encode()
    assert store.exists(store.join(base, name))


def test_tables(base: str) -> None:
    table = pa.table({"id": ["a", "b", "c"], "value": pa.array([1, 2, 3], pa.int32())})
    # A folder named key=value must not become a column.
    path = store.join(base, "species=lynx", "t.parquet")
    store.write_table(path, table, row_group_rows=2)
    assert store.read_table(path) == table
    assert store.read_table(path, ["value"]).column_names == ["value"]
    store.write_table(store.join(base, "u.parquet"), table[:1])
    read = list(store.iter_tables([path, store.join(base, "u.parquet")], ["id"]))
    assert [len(part) for part in read] == [3, 1]
    fs, inner = store.filesystem(path)
    with pq.ParquetFile(inner, filesystem=fs) as file:
        assert file.num_row_groups == 2


def test_remove(base: str) -> None:
    for name in ("a", "sub/b", "sub/deeper/c", "subway"):
        store.write_bytes(store.join(base, name), b"x")
    store.remove(store.join(base, "sub"))
    assert store.list_files(base, recursive=True) == [
        store.join(base, name) for name in ("a", "subway")
    ]
    store.remove(store.join(base, "a"))
    store.remove(store.join(base, "never was"))
    assert store.list_files(base) == [store.join(base, "subway")]


def test_what_is_missing_is_a_missing_file(base: str) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_bytes(store.join(base, "no"))
    with pytest.raises(FileNotFoundError):
        store.read_json(store.join(base, "no"))
    with pytest.raises(FileNotFoundError):
        store.read_table(store.join(base, "no"))


def test_what_is_not_parquet_is_named(base: str) -> None:
    path = store.join(base, "half.parquet")
    store.write_bytes(path, b"PAR1 and then the disk was full")
    with pytest.raises(DamagedError, match=r"half\.parquet: damaged"):
        store.read_table(path)


@given(data=st.binary(max_size=300))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_come_back(tmp_path: Path, data: bytes) -> None:
    store.write_bytes(str(tmp_path / "x"), data)
    assert store.read_bytes(str(tmp_path / "x")) == data


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("when", ["fsync", "rename"])
def test_a_write_that_breaks_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    path = tmp_path / "result.json"
    store.write_bytes(str(path), b"old")

    def cut(*_: object) -> None:
        raise PowerCutError

    if when == "fsync":
        monkeypatch.setattr(os, "fsync", cut)
    else:
        monkeypatch.setattr(Path, "replace", cut)
    with pytest.raises(PowerCutError):
        store.write_bytes(str(path), b"new and longer")
    with pytest.raises(PowerCutError):
        store.write_bytes(str(tmp_path / "fresh.json"), b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"], "and nothing to clean up"


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "x")
    versions = [bytes([digit]) * 200_000 for digit in range(2)]
    store.write_bytes(path, versions[0])
    seen: list[bytes] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(store.read_bytes(path))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(30):
            for version in versions:
                store.write_bytes(path, version)
    finally:
        stop.set()
        reader.join()
    assert seen
    assert set(seen) <= set(versions)


def test_what_a_kill_leaves_aside_is_not_listed_as_a_result(tmp_path: Path) -> None:
    """The file aside begins with a dot; readers of a folder look for names that do not."""
    names: list[str] = []
    replace = Path.replace

    def watch(self: Path, target: Path) -> Path:
        names.append(self.name)
        return replace(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", watch)
        store.write_bytes(str(tmp_path / "part-1.parquet"), b"x")
    assert names[0].startswith(".part-1.parquet.")


def test_results_have_the_rights_of_any_other_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        store.write_bytes(str(tmp_path / "x"), b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_where_nothing_can_be_written_the_path_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"file/below/x: cannot write"):
        store.write_bytes(str(tmp_path / "file" / "below" / "x"), b"")


def test_uris_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="foo://bucket/x: cannot be used as storage"):
        store.exists("foo://bucket/x")
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL"):
        store.exists("s3://bucket/x?endpoint_override=localhost:9000&scheme=http")


def test_a_home_folder_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store.write_bytes("~/x", b"1")
    assert (tmp_path / "x").read_bytes() == b"1"
    assert store.read_bytes("~/x") == b"1"
    assert store.list_files("~") == ["~/x"]


def test_a_bucket_that_does_not_exist_is_an_error(s3: str) -> None:
    with pytest.raises(PlaceError, match=r"s3://nobody-has-this/x: cannot write") as caught:
        store.write_bytes("s3://nobody-has-this/x", b"1")
    assert caught.value.exit_code == 1, "to try again does not help"
    with pytest.raises(PlaceError, match=r"Check the bucket's name"):
        store.list_files("s3://nobody-has-this/x")


def test_an_array_keeps_its_bits_through_storage(base: str) -> None:
    vectors = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 5)
    path = store.join(base, "v.parquet")
    store.write_table(path, pa.table({"v": column}))
    read = store.read_table(path)["v"].combine_chunks()
    assert read.type == pa.list_(pa.float32(), 5)
    np.testing.assert_array_equal(read.flatten().to_numpy().reshape(7, 5), vectors)


# ── Storage that has a bad day ────────────────────────────────────────────────────────────────────


def test_storage_that_fails_half_of_its_requests(flaky_bucket: "FlakyBucket") -> None:
    base = store.join(flaky_bucket.uri, "herd")
    table = pa.table({"id": ["a", "b", "c"]})
    flaky_bucket.fail(requests=1000)
    store.write_bytes(store.join(base, "sub", "x"), b"one")
    store.write_table(store.join(base, "t.parquet"), table, row_group_rows=1)
    assert store.read_bytes(store.join(base, "sub", "x")) == b"one"
    assert store.read_table(store.join(base, "t.parquet")) == table
    assert store.read_row_group(store.join(base, "t.parquet"), 1) == table[1:2]
    assert store.list_files(base) == [store.join(base, "t.parquet")]
    assert store.list_folders(base) == [store.join(base, "sub")]
    assert store.exists(store.join(base, "t.parquet"))
    assert not store.exists(store.join(base, "no"))
    with pytest.raises(FileNotFoundError):
        store.read_bytes(store.join(base, "no"))
    store.remove(base)
    assert store.list_files(base, recursive=True) == []
    assert flaky_bucket.failed > 10


def test_an_outage_that_outlasts_arrows_own_patience(flaky_bucket: "FlakyBucket") -> None:
    path = store.join(flaky_bucket.uri, "x")
    store.write_bytes(path, b"one")
    flaky_bucket.fail(requests=33, share=1)  # Arrow gives up after 31
    assert store.read_bytes(path) == b"one"
    assert flaky_bucket.failed == 33


@pytest.mark.parametrize("answer", ["403 AccessDenied", "403 InvalidAccessKeyId", "400 Malformed"])
def test_what_will_not_pass_is_an_error_at_once(flaky_bucket: "FlakyBucket", answer: str) -> None:
    for act in (
        lambda: store.list_files(flaky_bucket.uri),
        lambda: store.write_bytes(store.join(flaky_bucket.uri, "x"), b"1"),
        lambda: store.read_bytes(store.join(flaky_bucket.uri, "x")),
    ):
        before = flaky_bucket.failed
        flaky_bucket.fail(requests=100, share=1, answers=(answer,))
        with pytest.raises(StorageError, match=f"{flaky_bucket.uri}.*: cannot ") as error:
            act()
        assert not isinstance(error.value, StorageDownError)
        assert flaky_bucket.failed == before + 1


class Watch:
    """Time that passes only by sleeping."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.sleep)
        monkeypatch.setattr(retries, "time", clock)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def reads(monkeypatch: pytest.MonkeyPatch, *answers: Exception | bytes) -> list[str]:
    """Let storage answer reads so, the last for ever; the paths that were asked for."""
    asked: list[str] = []

    def open_input_stream(path: str) -> Any:
        asked.append(path)
        answer = answers[min(len(asked), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return pa.BufferReader(answer)

    fake = SimpleNamespace(open_input_stream=open_input_stream)
    monkeypatch.setattr(files, "filesystem", lambda path: (fake, path))
    return asked


BUSY = OSError("When reading key 'x': AWS Error SLOW_DOWN during GetObject operation: wait")


@pytest.mark.parametrize(
    "message",
    [
        "AWS Error NETWORK_CONNECTION during PutObject operation: curlCode: 52, Server returned nothing",
        "AWS Error INTERNAL_FAILURE during PutObject operation: no",
        "AWS Error SERVICE_UNAVAILABLE during PutObject operation: no",
        "AWS Error UNKNOWN (HTTP status 503) during HeadObject operation: No response body.",
        "AWS Error UNKNOWN (HTTP status 429) during HeadObject operation: No response body.",
        "google::cloud::Status(UNAVAILABLE: Retry policy exhausted in GetObjectMetadata)",
    ],
)
def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    watch = Watch(monkeypatch)
    asked = reads(monkeypatch, OSError(message), OSError(message), b"one")
    assert store.read_bytes("s3://bucket/x") == b"one"
    assert asked == ["s3://bucket/x"] * 3
    assert len(watch.pauses) == 2


@pytest.mark.parametrize(
    "message",
    [
        "AWS Error ACCESS_DENIED during HeadObject operation: No response body.",
        "AWS Error NO_SUCH_BUCKET during CreateMultipartUpload operation: no",
        "AWS Error UNKNOWN (HTTP status 400) during HeadObject operation: No response body.",
        "google::cloud::Status(PERMISSION_DENIED: no)",
        "something that nobody thought of",
    ],
)
def test_anything_else_is_not(monkeypatch: pytest.MonkeyPatch, message: str) -> None:
    watch = Watch(monkeypatch)
    asked = reads(monkeypatch, OSError(message))
    with pytest.raises(StorageError, match="s3://bucket/x: cannot read"):
        store.read_bytes("s3://bucket/x")
    assert (len(asked), watch.pauses) == (1, [])


def test_a_missing_file_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    asked = reads(monkeypatch, FileNotFoundError("AWS Error SLOW_DOWN"))
    with pytest.raises(FileNotFoundError):
        store.read_bytes("s3://bucket/x")
    assert (len(asked), watch.pauses) == (1, [])


def test_pauses_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    asked = reads(monkeypatch, BUSY)
    with pytest.raises(StorageDownError, match=r"cannot read, for \d+ s now: .*SLOW_DOWN") as error:
        store.read_bytes("s3://bucket/x")
    assert error.value.exit_code == 3
    assert len(asked) == len(watch.pauses) + 1
    assert (
        retries.RETRY_SECONDS - retries.LONGEST_PAUSE_SECONDS < watch.now <= retries.RETRY_SECONDS
    )
    for number, pause in enumerate(watch.pauses):
        most = min(retries.FIRST_PAUSE_SECONDS * 2**number, retries.LONGEST_PAUSE_SECONDS)
        assert most / 2 <= pause <= most
    assert watch.pauses[-1] > 8 * watch.pauses[0]
    assert len({pause / watch.pauses[0] for pause in watch.pauses}) == len(watch.pauses), "jitter"


def test_folders_and_when_they_were_written(base: str) -> None:
    assert store.list_folders(base) == []
    assert store.last_written(base) is None
    before = time.time()
    for name in ("b/x", "a/deeper/y", "z"):
        store.write_bytes(store.join(base, name), b"")
    assert store.list_folders(base) == [store.join(base, name) for name in ("a", "b")]
    last = store.last_written(base)
    assert last is not None
    assert before - 2 <= last <= time.time() + 2, "storage may count in whole seconds"
    assert store.last_written(store.join(base, "none")) is None


@pytest.mark.parametrize(
    "path",
    ["s3://KEY:SECRET@bucket/a", "s3://KEY@bucket", "gs://KEY:SECRET@bucket/a", "S3://a:b@c/d@e"],
)
def test_keys_in_a_uri_are_refused_without_being_repeated(path: str) -> None:
    for act in (store.exists, store.read_bytes, store.list_files, store.filesystem):
        with pytest.raises(InputError, match=r"…@.*keys do not belong into a path") as caught:
            act(path)
        assert "KEY" not in str(caught.value).replace("_KEY", "")
        assert "SECRET@" not in str(caught.value)


def test_an_at_sign_elsewhere_in_a_path_is_fine(tmp_path: Path) -> None:
    store.refuse_keys("s3://bucket/me@home/a.jpg")
    store.refuse_keys(str(tmp_path / "me@home"))
    store.refuse_keys("hf:owner/name@main")
