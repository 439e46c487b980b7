"""The deploy hooks as the ACME clients call them, in a folder of certificates; `test_service.py` has the real service.

certbot and lego run for real in `test_acme.py`. acme.sh is in no package registry, so that its hook is called here in
the environment that acme.sh exports.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

HOOKS = Path(__file__).parent.parent.parent / "systemd/hooks"


class Shelf:
    """A folder of certificates, a client's pair beside it, and what stands in for the reload."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certs = folder / "certs"
        self.certs.mkdir()
        self.reload = "true"

    def pair(self, text: str) -> tuple[Path, Path]:
        chain, key = self.folder / f"{text}.crt", self.folder / f"{text}.key"
        chain.write_text(f"chain {text}")
        key.write_text(f"key {text}")
        return chain, key

    def run(self, hook: str, *arguments: object, **environment: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HOOKS / hook, *map(str, arguments)],
            env={
                "PATH": os.environ["PATH"],
                "CERTS": str(self.certs),
                "GROUP": str(os.getgid()),
                "RELOAD": self.reload,
                **{name: str(value) for name, value in environment.items()},
            },
            capture_output=True,
            text=True,
            timeout=30,
        )

    def install(self, name: str, text: str) -> subprocess.CompletedProcess[str]:
        return self.run("install-pair", name, *self.pair(text))

    def served(self, name: str) -> str:
        """What stands behind the link; chain and key must be of one pair."""
        chain = (self.certs / name / "fullchain.pem").read_text().removeprefix("chain ")
        key = (self.certs / name / "privkey.pem").read_text().removeprefix("key ")
        assert chain == key
        return chain

    def entries(self) -> list[str]:
        """Everything below the folder, with the stamps of time taken out."""
        names = (path.name for path in self.certs.iterdir() if path.name != ".lock")
        return sorted(re.sub(r"\d{8}T\d{6}\.\w{4}", "STAMP", name) for name in names)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_the_last_pair_and_the_one_before_are_kept(shelf: Shelf) -> None:
    for text in ("first", "second", "third"):
        assert shelf.install("www.example.com", text).returncode == 0
        assert shelf.served("www.example.com") == text
    assert shelf.entries() == [".www.example.com.STAMP", ".www.example.com.STAMP", "www.example.com"]
    mode = {path.name: oct(path.stat().st_mode & 0o777) for path in (shelf.certs / "www.example.com").iterdir()}
    assert mode == {"fullchain.pem": "0o640", "privkey.pem": "0o640"}


def test_a_refusal_is_passed_on_and_the_pair_before_stays(shelf: Shelf) -> None:
    shelf.install("www.example.com", "good")
    (shelf.folder / "refuse").write_text("#!/bin/sh\nexit 7\n")
    (shelf.folder / "refuse").chmod(0o755)
    shelf.reload = str(shelf.folder / "refuse")
    for attempt in ("bad", "worse"):
        done = shelf.install("www.example.com", attempt)
        assert (done.returncode, shelf.served("www.example.com")) == (7, "good")
        assert ".www.example.com.refused." in done.stderr
    assert shelf.entries() == [".www.example.com.STAMP", ".www.example.com.refused.STAMP", "www.example.com"]
    (refused,) = shelf.certs.glob(".*refused*")
    assert (refused / "fullchain.pem").read_text() == "chain worse"


def test_a_first_pair_that_is_refused_leaves_no_dangling_link(shelf: Shelf) -> None:
    shelf.reload = "false"
    assert shelf.install("www.example.com", "bad").returncode == 1
    assert shelf.entries() == [".www.example.com.refused.STAMP"]


def test_a_key_that_is_missing_leaves_nothing_behind(shelf: Shelf) -> None:
    shelf.install("www.example.com", "good")
    before = shelf.entries()
    chain, _ = shelf.pair("new")
    assert shelf.run("install-pair", "www.example.com", chain, shelf.folder / "nowhere").returncode != 0
    assert shelf.entries() == before
    assert shelf.served("www.example.com") == "good"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "*", "*.example.com", "a b", "a\nb", "[a-z]", "-rf", "ä"])
def test_a_name_that_means_more_than_itself_is_refused(shelf: Shelf, name: str) -> None:
    shelf.install("www.example.com", "good")
    before = shelf.entries()
    assert shelf.install(name, "evil").returncode == 2
    assert shelf.entries() == before


def test_one_names_old_pairs_are_not_anothers(shelf: Shelf) -> None:
    """`.shop.4You.….STAMP` begins as the folders of `shop` do."""
    for name in ("shop.4Tea.shop", "shop.4Tea"):
        shelf.install(name, "theirs")
    for text in ("1", "2", "3"):
        shelf.install("shop", text)
    assert (shelf.served("shop.4Tea.shop"), shelf.served("shop.4Tea")) == ("theirs", "theirs")


def test_a_folder_in_the_links_place_is_not_touched(shelf: Shelf) -> None:
    (shelf.certs / "www.example.com").mkdir()
    done = shelf.install("www.example.com", "new")
    assert (done.returncode, shelf.entries()) == (1, ["www.example.com"])
    assert "no symlink" in done.stderr


def test_two_renewals_at_once_wait_for_each_other(shelf: Shelf) -> None:
    """A refused pair makes every reload fail while the link shows it: the good one must not be judged with it."""
    shelf.install("good.example", "old")
    shelf.install("bad.example", "old")
    judge = shelf.folder / "judge"
    judge.write_text(
        f"#!/bin/sh\n# refuses while a bad pair is linked; waits so that another could come in between\n"
        f"cat {shelf.certs}/*/fullchain.pem | grep -q bad && code=1 || code=0\n"
        f"[ $code = 0 ] || {{ touch {shelf.folder}/judging; sleep 0.5; }}\nexit $code\n"
    )
    judge.chmod(0o755)
    shelf.reload = str(judge)
    pairs = {name: shelf.pair(text) for name, text in (("bad.example", "bad"), ("good.example", "new"))}
    environment = {"PATH": os.environ["PATH"], "CERTS": str(shelf.certs), "GROUP": str(os.getgid())}
    command = [HOOKS / "install-pair", "bad.example", *pairs["bad.example"]]
    with subprocess.Popen(command, env={**environment, "RELOAD": shelf.reload}, stderr=subprocess.DEVNULL) as bad:
        while not (shelf.folder / "judging").exists():
            assert bad.poll() is None
        good = shelf.run("install-pair", "good.example", *pairs["good.example"])
        assert bad.wait(30) == 1
    assert good.returncode == 0, good.stderr
    assert (shelf.served("good.example"), shelf.served("bad.example")) == ("new", "old")


def test_certbots_hook_installs_only_known_names_unless_told(shelf: Shelf) -> None:
    lineage = shelf.folder / "live/www.example.com"
    lineage.mkdir(parents=True)
    (lineage / "fullchain.pem").write_text("chain one")
    (lineage / "privkey.pem").write_text("key one")
    assert shelf.run("certbot", RENEWED_LINEAGE=lineage).returncode == 0
    assert shelf.entries() == []
    assert shelf.run("certbot", RENEWED_LINEAGE=lineage, TERMINATOR_ALL=1).returncode == 0
    assert shelf.served("www.example.com") == "one"
    assert shelf.run("certbot").returncode != 0, "without its environment"


def test_legos_hook_takes_its_environment(shelf: Shelf) -> None:
    chain, key = shelf.pair("one")
    given = {"LEGO_CERT_DOMAIN": "*.example.com", "LEGO_CERT_PATH": chain, "LEGO_CERT_KEY_PATH": key}
    assert shelf.run("lego", **given).returncode == 0
    assert shelf.served("_.example.com") == "one"
    shelf.reload = "false"
    assert shelf.run("lego", **given).returncode == 1
    assert shelf.run("lego", LEGO_CERT_DOMAIN="a.example").returncode != 0


def test_acme_shs_hook_takes_its_environment_or_a_folder(shelf: Shelf) -> None:
    chain, key = shelf.pair("one")
    given = {"Le_Domain": "*.example.com", "CERT_FULLCHAIN_PATH": chain, "CERT_KEY_PATH": key}
    assert shelf.run("acme.sh", **given).returncode == 0
    assert shelf.served("_.example.com") == "one"
    shelf.reload = "false"
    assert shelf.run("acme.sh", **given).returncode == 1
    shelf.reload = "true"
    (shelf.folder / "fullchain.pem").write_text("chain two")
    (shelf.folder / "privkey.pem").write_text("key two")
    assert shelf.run("acme.sh", "www.example.com", shelf.folder).returncode == 0
    assert shelf.served("www.example.com") == "two"
    assert shelf.run("acme.sh", "www.example.com").returncode == 2
    assert shelf.run("acme.sh", Le_Domain="a.example").returncode != 0
