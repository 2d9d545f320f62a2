"""Files that are there whole or not at all, on a disk that fills up; secrets read one way."""

import os
import threading
from pathlib import Path

import pytest

from curiosity.host.files import MAX_SECRET_BYTES, append_durably, open_locked, read_secret, write_new, write_whole
from tests.material.file import full_disk


@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_leaves_no_file_and_the_name_stays_free(tmp_path: Path, room: int) -> None:
    path = tmp_path / "key"
    with full_disk(room), pytest.raises(OSError, match="too large"):
        path.write_bytes(b"a" * 64)
    assert path.stat().st_size == room  # the other arm: what writing in place leaves
    path.unlink()
    for write in (write_new, write_whole):
        with full_disk(room), pytest.raises(OSError, match="too large"):
            write(path, b"a" * 64)
        assert list(tmp_path.iterdir()) == []
    write_new(path, b"a" * 64, mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"a" * 64, 0o600)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_whole(path, b"before")
    with full_disk(), pytest.raises(OSError, match="too large"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_no_half_of_what_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    append_durably(path, b"one\n")
    with full_disk(6), pytest.raises(OSError, match="too large"):
        append_durably(path, b"another\n")
    assert path.read_bytes() == b"one\n"
    append_durably(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_locked_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open_locked(path) as file:
        file.write(b"holder")
        with pytest.raises(BlockingIOError):
            open_locked(path)
        assert path.read_bytes() == b"holder"
    with open_locked(path) as file:
        assert file.read() == b"holder"


def test_a_new_file_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        write_new(path, b"mine")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_of_many_who_make_one_file_one_does_and_all_read_it_whole(tmp_path: Path) -> None:
    path, made, seen = tmp_path / "key", [], []
    ready = threading.Barrier(8)

    def make(number: int) -> None:
        ready.wait()
        try:
            write_new(path, str(number).encode() * 64)
            made.append(number)
        except FileExistsError:
            pass
        seen.append(path.read_bytes())

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert set(seen) == {str(made[0]).encode() * 64}


def test_without_hard_links_a_new_file_is_made_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)  # as FAT answers
    path = tmp_path / "key"
    write_new(path, b"a" * 64)
    with pytest.raises(FileExistsError):
        write_new(path, b"b" * 64)
    assert path.read_bytes() == b"a" * 64
    with full_disk(), pytest.raises(OSError, match="too large"):
        write_new(tmp_path / "other", b"c" * 64)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "file")
    write_whole(link, b"content")
    assert link.is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"content"
    write_whole(Path(os.devnull), b"content")
    reader, writer = os.pipe()
    write_whole(Path(f"/dev/fd/{writer}"), b"content")
    assert os.read(reader, 100) == b"content"
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"secret\r\n", "secret"),
        (b"\xef\xbb\xbfsecret\n", "secret"),
        (b" a secret ", " a secret "),
        ("gehe\u00edm".encode(), "gehe\u00edm"),
        (b"", ""),
    ],
)
def test_a_secret_is_read_without_mark_and_line_ends(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "file").write_bytes(data)
    assert read_secret(tmp_path / "file") == text


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("secret".encode("utf-16"), "UTF-16"),
        (b"\xff\xfes\0", "UTF-16"),
        (b"secret\xff", "not UTF-8 text"),
        (b"s" * (MAX_SECRET_BYTES + 1), "longer than"),
    ],
)
def test_a_secret_that_is_not_text_is_refused_without_showing_it(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(ValueError, match=why) as caught:
        read_secret(tmp_path / "file")
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="longer than"):
        read_secret(Path("/dev/zero"))
