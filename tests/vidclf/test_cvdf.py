"""The mirror's tars: which of them are read, and what is taken out of them."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.misbehaving import MisbehavingServer, Reset, Silence, Status, Truncated
from vidclf.errors import Blocked, ConfigError, Gone, Unreachable
from vidclf.sources import Wanted, parse_source
from vidclf.sources._classes import that_may_hold
from vidclf.sources.archives import Archive, clip_name
from vidclf.sources.cvdf import CVDF

PUBLIC = "https://s3.amazonaws.com/kinetics/700_2020"
LABELS = ["abseiling", "belly dancing", "salsa dancing", "yoga"]


def clip(number: int, start: int = 5) -> str:
    return f"-id{number:08d}_{start:06d}_{start + 10:06d}"


def content(name: str, size: int = 3000) -> bytes:
    return (name.encode() * (size // len(name) + 1))[:size]


def tar_of(files: Mapping[str, bytes], compress: bool = True, folders: bool = True) -> bytes:
    """A tar as ``tar`` makes it: each folder before its files, zeros at the end."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compress else "w:") as tar:
        seen = set()
        for name, data in files.items():
            parent = name.rpartition("/")[0]
            if folders and parent and parent not in seen:
                seen.add(parent)
                info = tarfile.TarInfo(parent)
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """The layout of Kinetics-700-2020: a class per tar whose number is not the label's, and test tars by nothing."""
    root = tmp_path / "700_2020"
    for split, first in (("train", 2), ("val", 7)):  # the numbers are shifted: 001 holds no first class
        for position, label in enumerate(LABELS):
            names = [clip(10 * position + number) for number in range(3)]
            write(root, split, first + position, {f"{label}/{name}.mp4": content(name) for name in names})
    for number in (1, 2):
        names = [clip(100 * number + other) for other in range(2)]
        write(root, "test", number, {f"test/{name}.mp4": content(name) for name in names})
    for split in ("train", "val", "test"):
        tars = sorted((root / split).glob("*.tar.gz"))
        (root / split / f"k700_2020_{split}_path.txt").write_text("".join(f"{PUBLIC}/{split}/{t.name}\n" for t in tars))
    return root


def write(root: Path, split: str, number: int, files: Mapping[str, bytes]) -> None:
    path = root / split / f"k700_{split}_{number:03d}.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_of(files))


@pytest.fixture
def server(mirror: Path) -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        server.serve_folder("/k", mirror)
        yield server


def source_of(server: MisbehavingServer) -> CVDF:
    return CVDF(base=server.url + "/k", timeout=0.5)


def names_of(archives: list[Archive]) -> list[str]:
    return [archive.uri.rpartition("/")[2] for archive in archives]


def taken(source: CVDF, uri: str, into: Path, wanted: set[str] | None = None) -> list[str]:
    """Names of the clips in an archive; each file is whole, and taken away as the pipeline does."""
    names = []
    for name, path in source.members(Archive(uri, "train"), into, wanted):
        assert path.parent == into
        assert path.read_bytes() == content(name, path.stat().st_size)
        assert path.stat().st_size == 3000
        path.unlink()
        names.append(name)
    return names


def test_only_tars_of_wanted_classes_are_read_whatever_their_number(server: MisbehavingServer) -> None:
    source = source_of(server)
    archives = source.archives({"train": ["belly dancing", "salsa dancing"], "val": {"yoga"}})
    assert names_of(archives) == ["k700_train_003.tar.gz", "k700_train_004.tar.gz", "k700_val_010.tar.gz"]
    assert archives[0] == Archive(f"{server.url}/k/train/k700_train_003.tar.gz", "train")
    assert [archive.split for archive in archives] == ["train", "train", "val"]


def test_only_the_head_of_a_tar_is_read_to_see_its_class(server: MisbehavingServer) -> None:
    source_of(server).archives({"train": ["yoga"]})
    probes = [request for request in server.requests if request.path.endswith(".tar.gz")]
    assert len(probes) == len(LABELS)
    assert {request.headers["range"] for request in probes} == {"bytes=0-65535"}


def test_tars_that_are_not_by_class_are_all_taken(server: MisbehavingServer) -> None:
    source = source_of(server)
    both = ["k700_test_001.tar.gz", "k700_test_002.tar.gz"]
    assert names_of(source.archives({"test": ["belly dancing"]})) == both
    assert names_of(source.archives({"test": []})) == both
    assert len(source.archives({"train": []})) == len(LABELS)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ({"a": ("yoga",), "b": ("abseiling",)}, ["a"]),
        ({"a": ("k700", "train", "Yoga"), "b": ("k700", "train", "abseiling")}, ["a", "b"]),
        ({"a": ("yoga",), "b": (), "c": None, "d": ("abseiling",)}, ["a", "b", "c"]),
        ({"a": ("yoga",), "train_1.tar.gz": ("train_1",), "c": ("train",), "d": ("x",)}, ["a", "train_1.tar.gz", "c"]),
        ({"a": ("yoga",), "b": ("part",), "c": ("part",)}, ["a", "b", "c"]),
        ({"a": ("x",), "b": ("y",)}, ["a", "b"]),
    ],
)
def test_an_archive_is_left_out_only_where_its_folder_is_another_class(
    folders: dict[str, tuple[str, ...] | None], expected: list[str]
) -> None:
    assert that_may_hold(["yoga"], "train", folders) == expected


def test_classes_are_recognised_with_underscores(server: MisbehavingServer) -> None:
    assert that_may_hold(["Salsa dancing"], "val", {"a": ("salsa_dancing",), "b": ("yoga",)}) == ["a"]


def test_the_clips_of_a_tar_come_one_by_one(server: MisbehavingServer, tmp_path: Path) -> None:
    uri = f"{server.url}/k/train/k700_train_003.tar.gz"
    assert taken(source_of(server), uri, tmp_path) == [clip(10), clip(11), clip(12)]
    assert taken(source_of(server), uri, tmp_path, {clip(11), "another"}) == [clip(11)]
    assert [path.name for path in tmp_path.iterdir()] == ["700_2020"]


def test_the_same_layout_in_a_folder_or_a_bucket(mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    into = tmp_path / "into"
    into.mkdir()
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    host, port = s3.get_host_and_port()
    values = {"ACCESS_KEY_ID": "testing", "SECRET_ACCESS_KEY": "testing", "DEFAULT_REGION": "us-east-1"}
    for name, value in (values | {"ENDPOINT_URL": f"http://{host}:{port}"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket="copy")
    for file in mirror.rglob("*.*"):
        client.upload_file(str(file), "copy", f"k/{file.relative_to(mirror)}")
    for base, expected in ((str(mirror), None), (mirror.as_uri(), None), ("s3://copy/k", "copy")):
        source = CVDF(base=base)
        archives = source.archives({"val": ["salsa dancing"]})
        assert names_of(archives) == ["k700_val_009.tar.gz"]
        assert taken(source, archives[0].uri, into) == [clip(20), clip(21), clip(22)]
        assert source.host(Wanted("x", "x")) == expected
        with pytest.raises(Gone, match="there is no"):
            taken(source, f"{base}/val/missing.tar.gz", into)
    s3.stop()


def test_what_is_not_in_the_archives_is_gone(tmp_path: Path) -> None:
    wanted = Wanted("x", "x_000001_000011", 1.0, 11.0)
    source = CVDF()
    assert (source.host(wanted), source.unit(wanted)) == ("s3.amazonaws.com", "x_000001_000011")
    with pytest.raises(Gone, match="'x_000001_000011' is not in the archives"):
        source.fetch(wanted, tmp_path)


NAMES = [clip(number) for number in range(4)]
NOISE = {name: random.Random(name).randbytes(400_000) for name in NAMES}


def noisy_tar() -> bytes:
    """Incompressible, so that half of the archive is half of its clips."""
    return tar_of({f"yoga/{name}.mp4": data for name, data in NOISE.items()})


def whole_ones(server: MisbehavingServer, tmp_path: Path, kind: type[Exception] = Unreachable) -> list[str]:
    """The clips that came before it failed; every one is whole, and nothing else is left."""
    into = tmp_path / "into"
    into.mkdir(exist_ok=True)
    names = []

    def read() -> None:
        for name, path in source_of(server).members(Archive(server.url + "/t.tar.gz", "train"), into):
            assert path.read_bytes() == NOISE[name]
            path.unlink()
            names.append(name)

    with pytest.raises(kind):
        read()
    assert list(into.iterdir()) == []
    return names


def test_a_tar_that_is_cut_short_delivers_the_clips_that_were_whole(server: MisbehavingServer, tmp_path: Path) -> None:
    data = noisy_tar()
    for behaviour in (
        Truncated(data, after=len(data) * 6 // 10),
        Truncated(data, after=len(data) * 6 // 10, chunked=True),
        data[: len(data) * 6 // 10],  # the file itself is cut
    ):
        server.serve("/t.tar.gz", behaviour)
        assert whole_ones(server, tmp_path) in (NAMES[:2], NAMES[:1])  # what came last may be in the unread buffer
    for behaviour in (Reset(data, after=len(data) * 6 // 10), Silence(data[: len(data) // 2])):
        server.serve("/t.tar.gz", behaviour)
        delivered = whole_ones(server, tmp_path)
        assert delivered == NAMES[: len(delivered)]  # a reset takes with it what was on its way


@pytest.mark.parametrize("lost", [1, 8, 20, 2000])
def test_a_tar_without_its_end_is_never_taken_for_whole(server: MisbehavingServer, tmp_path: Path, lost: int) -> None:
    server.serve("/t.tar.gz", noisy_tar()[:-lost])
    whole_ones(server, tmp_path)


def test_a_plain_tar_named_gz_is_read_and_its_end_is_proven_too(server: MisbehavingServer, tmp_path: Path) -> None:
    plain = tar_of({f"{name}.mp4": data for name, data in NOISE.items()}, compress=False)
    server.serve("/t.tar.gz", plain)
    members = source_of(server).members(Archive(server.url + "/t.tar.gz", "train"), tmp_path)
    assert [name for name, _ in members] == NAMES
    second = plain.index(f"{NAMES[1]}.mp4".encode())
    for at in (second, second + 300, second + 512):
        server.serve("/t.tar.gz", plain[:at])
        assert whole_ones(server, tmp_path) == NAMES[:1]
    server.serve("/t.tar.gz", plain[:second] + b"\xff" * 512 + plain[second + 512 :])  # a header is damaged
    assert whole_ones(server, tmp_path) == NAMES[:1]


def test_damage_within_a_gzipped_tar_is_seen_at_its_end(server: MisbehavingServer, tmp_path: Path) -> None:
    data = bytearray(noisy_tar())
    data[len(data) // 2] ^= 0xFF
    server.serve("/t.tar.gz", bytes(data))
    with pytest.raises(Unreachable, match="CRC check failed"):
        list(source_of(server).members(Archive(server.url + "/t.tar.gz", "train"), tmp_path))
    server.serve("/t.tar.gz", b"<html>no tar at all</html>")
    assert whole_ones(server, tmp_path) == []


def special(name: str, kind: bytes, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def test_links_devices_and_names_that_climb_are_passed_over(server: MisbehavingServer, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)):
            tar.addfile(special(f"yoga/{clip(number)}.mp4", kind, "/etc/passwd"))
        for name in (
            f"../{clip(10)}.mp4",
            f"/tmp/{clip(11)}.mp4",
            "yoga/notes.txt",
            "yoga/readme.mp4",
            f"{clip(12)}.sh",
        ):
            tar.addfile(special(name, tarfile.REGTYPE, size=4), io.BytesIO(b"text"))
        tar.addfile(special(f"yoga/{clip(13)}.mp4", tarfile.REGTYPE))  # empty
        tar.addfile(special(f"yoga/{clip(14)}.MP4", tarfile.REGTYPE, size=4), io.BytesIO(b"clip"))
    server.serve("/t.tar.gz", buffer.getvalue())
    into = tmp_path / "into"
    into.mkdir()
    members = list(source_of(server).members(Archive(server.url + "/t.tar.gz", "train"), into))
    assert members == [(clip(14), into / f"{clip(14)}.mp4")]
    assert list(into.iterdir()) == [members[0][1]]


def header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "hostile",
    [
        special("x.mp4", tarfile.REGTYPE, size=1 << 50),
        special("x", tarfile.GNUTYPE_LONGNAME, size=1 << 40),
        special("x", tarfile.XHDTYPE, size=1 << 40),
        special("x", tarfile.XGLTYPE, size=1 << 40),
        special("x", b"Z", size=1 << 40),
        special("x.mp4", tarfile.GNUTYPE_SPARSE, size=1 << 40),
    ],
    ids=["file", "long name", "extended header", "global header", "unknown", "sparse"],
)
def test_an_archive_that_declares_absurdities_is_refused_for_good(
    server: MisbehavingServer, tmp_path: Path, hostile: tarfile.TarInfo
) -> None:
    name = NAMES[0]
    good = header(special(f"{name}.mp4", tarfile.REGTYPE, size=len(NOISE[name]))) + NOISE[name]
    padded = good + b"\0" * (-len(good) % 512)
    server.serve("/t.tar.gz", padded + header(hostile) + b"\0" * 4096)
    assert whole_ones(server, tmp_path, Gone) == [name]


def test_a_file_over_the_limit_refuses_the_archive(server: MisbehavingServer, tmp_path: Path) -> None:
    server.serve("/t.tar.gz", tar_of({f"{clip(1)}.mp4": b"x" * 1000}))
    source = CVDF(base=server.url, max_member_bytes=999)
    with pytest.raises(Gone, match=r"declares 1,000 bytes and max_member_bytes allows 999"):
        list(source.members(Archive(server.url + "/t.tar.gz", "train"), tmp_path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("yoga/-abcdefghi__000005_000015.mp4", "-abcdefghi__000005_000015"),
        ("a/b/c/abcdefghijk_000005_000015.mp4", "abcdefghijk_000005_000015"),
        ("abcdefghijk_000005_000015.mkv", "abcdefghijk_000005_000015"),
        ("./abcdefghijk_000005_000015.mp4", "abcdefghijk_000005_000015"),
        ("../abcdefghijk_000005_000015.mp4", None),
        ("/abcdefghijk_000005_000015.mp4", None),
        ("abcdefghijk.mp4", None),
        ("abcdefghijk_5_15.mp4", None),
        ("abcdefghijk_000005_000015.mp4.txt", None),
        ("abc\ndefghij_000005_000015.mp4", None),
        ("abcdefghijk_٠٠٠٠٠٥_٠٠٠٠١٥.mp4", None),
    ],
)
def test_a_member_is_a_clip_when_its_name_is_one(name: str, expected: str | None) -> None:
    assert clip_name(name) == expected


def test_a_host_that_blocks_is_not_asked_for_all_the_others(server: MisbehavingServer) -> None:
    tars = [f"many_{number:03d}.tar.gz" for number in range(300)]
    server.serve("/k/train/k700_2020_train_path.txt", "\n".join(tars).encode())
    for name in tars:
        server.serve(f"/k/train/{name}", Status(429, {"Retry-After": "9"}))
    with pytest.raises(Blocked) as failure:
        source_of(server).archives({"train": ["yoga"]})
    assert failure.value.retry_after == 9
    assert len(server.paths()) < 100


def test_a_head_that_fails_once_is_asked_for_again(server: MisbehavingServer, mirror: Path) -> None:
    path = "/k/train/k700_train_005.tar.gz"
    server.serve(path, [Reset(), mirror / "train" / "k700_train_005.tar.gz"])
    assert names_of(source_of(server).archives({"train": ["yoga"]})) == ["k700_train_005.tar.gz"]


def test_a_tar_whose_head_cannot_be_seen_is_taken_for_it_may_hold_anything(server: MisbehavingServer) -> None:
    server.serve("/k/train/k700_train_002.tar.gz", Reset())
    archives = source_of(server).archives({"train": ["yoga"]})
    assert names_of(archives) == ["k700_train_002.tar.gz", "k700_train_005.tar.gz"]


def test_a_list_is_read_whole_or_not_at_all(server: MisbehavingServer) -> None:
    lists = "/k/train/k700_2020_train_path.txt"
    server.serve(lists, Truncated(b"a.tar.gz\nb.tar.gz\n", after=9))
    with pytest.raises(Unreachable, match="cut short"):
        source_of(server).listed("train")
    server.serve(lists, Status(404))
    with pytest.raises(Gone):
        source_of(server).listed("train")
    for nonsense in (b"", b"<html>\nlog in\n</html>", b"\xff\xfe.tar.gz", b"a.tar.gz\n/etc/passwd"):
        server.serve(lists, nonsense)
        with pytest.raises(Unreachable):
            source_of(server).listed("train")


def test_a_list_names_files_beside_it_and_cannot_send_us_elsewhere(server: MisbehavingServer) -> None:
    lines = [f"{PUBLIC}/train/pull ups.tar.gz", "https://evil.example/x/..%2F..%2Fb.tar.gz"]
    server.serve("/k/train/k700_2020_train_path.txt", "\n".join(lines[:1] * 2).encode())
    assert source_of(server).listed("train") == [f"{server.url}/k/train/pull%20ups.tar.gz"]
    server.serve("/k/train/k700_2020_train_path.txt", lines[1].encode())
    with pytest.raises(Unreachable):
        source_of(server).listed("train")


@pytest.mark.parametrize(
    ("dataset", "base", "lists", "train"),
    [
        ("400", "400", "train/k400_train_path.txt", "400/annotations/train.csv"),
        ("600", "600", "train/k600_train_path.txt", "600/annotations/train.txt"),
        ("700_2020", "700_2020", "train/k700_2020_train_path.txt", "700_2020/annotations/train.csv"),
    ],
)
def test_each_dataset_has_its_own_addresses(
    server: MisbehavingServer, dataset: str, base: str, lists: str, train: str
) -> None:
    public = CVDF(dataset=dataset)  # type: ignore[arg-type]
    assert public.root == f"https://s3.amazonaws.com/kinetics/{base}"
    assert public.annotation_uris()["train"] == f"https://s3.amazonaws.com/kinetics/{train}"
    server.serve(f"/{lists}", b"part_0.tar.gz")
    listed = CVDF(dataset=dataset, base=server.url).listed("train")  # type: ignore[arg-type]
    assert listed[-1] == f"{server.url}/train/part_0.tar.gz"
    assert (listed[0] == f"{server.url}/replacement_for_corrupted_k400.tgz") is (dataset == "400")


def test_a_dataset_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="option 'dataset'"):
        parse_source({"kind": "cvdf", "dataset": "500"})
    with pytest.raises(ConfigError, match="would be seen by everybody"):
        parse_source({"kind": "cvdf", "base": "https://me:secret@host/k"})
