"""Every kind of thing that can stand at a path, and what an operator reads about it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from terminator.errors import CertificateError
from terminator.tls.files import MAX_FILE_BYTES, read_file


def test_a_regular_file_comes_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"text")
    path.chmod(0o640)
    file = read_file(str(path), "the private key")
    assert (file.path, file.data, file.mode) == (str(path), b"text", 0o640)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"text")
    (tmp_path / "link").symlink_to("real")
    assert read_file(str(tmp_path / "link"), "the chain").data == b"text"


def _missing(path: Path) -> None:
    pass


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _directory(path: Path) -> None:
    path.mkdir()


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _blank(path: Path) -> None:
    path.write_bytes(b" \n\r\n")


def _huge(path: Path) -> None:
    path.write_bytes(b"x" * (MAX_FILE_BYTES + 1))


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_missing, "the chain does not exist; check the path"),
        (_dangling, "the chain does not exist; it is a symbolic link to nothing"),
        (_directory, "the chain is a directory"),
        (_fifo, "the chain is not a regular file"),
        (_empty, "the chain is empty"),
        (_blank, "the chain is empty"),
        (_huge, f"the chain is larger than {MAX_FILE_BYTES} bytes"),
        (_loop, "the chain cannot be opened: Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, make: object, said: str) -> None:
    path = tmp_path / "chain.pem"
    make(path)  # type: ignore[operator]
    with pytest.raises(CertificateError) as refusal:
        read_file(str(path), "the chain")
    assert str(refusal.value).startswith(f"{path}: {said}")


def test_a_path_with_a_zero_byte_is_refused() -> None:
    with pytest.raises(CertificateError, match="cannot be opened"):
        read_file("a\0b", "the chain")


def test_a_file_that_may_not_be_read_is_refused_with_the_user(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"text")
    path.chmod(0)
    if os.geteuid() != 0:
        with pytest.raises(CertificateError, match="not readable by user"):
            read_file(str(path), "the private key")
        return
    tmp_path.chmod(0o755)
    child = os.fork()  # root reads everything, so the test needs somebody else
    if not child:
        try:
            os.chdir(tmp_path)
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            read_file("key", "the private key")
        except CertificateError as error:
            os._exit(0 if "not readable by user 65534" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    (tmp_path / "file").write_bytes(b"text")
    read_file(str(tmp_path / "file"), "the chain")
    with pytest.raises(CertificateError):
        read_file(str(tmp_path), "the chain")
    assert set(os.listdir("/proc/self/fd")) == before
