"""`terminator selftest` finds a sound daemon sound, and each guard that is switched off by exactly its checks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from harness.backends import ok
from harness.commands import terminator

MUTANT = str(Path(__file__).parent / "harness" / "mutant.py")

HOSTS = {"open.test", "twin.test", "wall.test", "ask.test", "modern.test", "old.test"}
WALLED = {"wall.test"}
OPEN = HOSTS - WALLED
TLS12 = HOSTS - {"modern.test"}


def on(hosts, *checks):
    return {f"{host} {check}" for host in hosts for check in checks}


@pytest.fixture
def sections(site, certificates, answering):
    """A host of each kind. What reaches the backend is remembered as `sections.backend`."""

    def auth(mode):
        return {"client_auth": {"mode": mode, "ca": str(certificates.ca_file)}}

    class Sections(dict):
        backend = answering(ok())

    return Sections(
        hosts=[
            site.host("open.test"),
            site.host("twin.test"),
            site.host("wall.test", "*.wall.test", tls=auth("require")),
            site.host("ask.test", tls=auth("request")),
            site.host("modern.test", tls={"profile": "modern"}),
            site.host("old.test", tls={"profile": "old"}),
        ],
        backends={"b": {"servers": [Sections.backend.address]}},
    )


def selftest(daemon, *options):
    """Exit code and the verdicts by `HOST check`, or `LISTENER check`."""
    done = terminator("selftest", "--config", str(daemon.config_file), "--format", "json", *options)
    assert done.stdout, done.stderr
    body = json.loads(done.stdout)
    verdicts = {f"{one.get('host', one['listener'])} {one['check']}": one for one in body["verdicts"]}
    assert len(verdicts) == len(body["verdicts"]) == body["passed"] + body["failed"] + body["skipped"]
    assert body["warnings"] == []
    return done.returncode, verdicts


def with_outcome(verdicts, outcome):
    return {name for name, one in verdicts.items() if one["outcome"] == outcome}


def test_a_sound_daemon_passes(start, sections):
    daemon = start(**sections)
    code, verdicts = selftest(daemon)
    assert (code, with_outcome(verdicts, "fail")) == (0, set())
    certificate = {name.partition(" ")[2] for name in verdicts if "no-certificate" in name}
    assert with_outcome(verdicts, "skipped") == {
        "https missing-proxy-header",
        *on(OPEN, *certificate),
        *on(OPEN - {"ask.test"}, "unknown-authority"),
        *on(WALLED, "renegotiation", "other-host"),
        *on({"modern.test"}, "renegotiation", "foreign-ticket-1.2", "foreign-session-id"),
    }
    assert all(one["detail"] for one in verdicts.values())
    # Of everything that was tried, backends have seen heads of one path alone, all for hosts that anybody may ask.
    assert {(each.head.method, each.head.target) for each in sections.backend.requests} == {
        ("HEAD", "/.well-known/terminator-selftest")
    }
    assert {each.head["host"] for each in sections.backend.requests} <= OPEN


def test_the_daemon_serves_on_and_tells_of_it(start, sections, get):
    daemon = start(**sections)
    assert selftest(daemon)[0] == 0
    assert get(daemon, "https://open.test/").status == 200
    assert daemon.wait_for("tls.handshake", {"host": "wall.test", "error.type": "client_cert_missing"})
    assert len(daemon.workers()) == 1  # none was lost and replaced


def test_narrow_policies_are_met_as_they_are(start, site, certificates):
    """Whatever a host is narrowed to, the test offers it: nothing is taken for a guard that is a mere mismatch."""
    narrow = {"groups": ["X448"], "ciphers": ["ECDHE-ECDSA-AES128-CCM"], **walled(certificates)}
    hosts = [site.host("open.test", tls={"tickets": False}), site.host("*.wall.test", tls=narrow)]
    code, verdicts = selftest(start(hosts=hosts, tls={"unknown_sni": "*.wall.test"}))
    assert (code, with_outcome(verdicts, "fail")) == (0, set())
    passed = with_outcome(verdicts, "pass")
    assert on({"*.wall.test"}, "serves", "no-certificate-fresh", "no-certificate-unknown-sni", "other-groups") <= passed


@pytest.fixture
def identity(certificates, tmp_path):
    """Options for a client certificate that the hosts accept."""
    pair = certificates.issue(tmp_path / "me", "me.test")
    return "--cert", str(pair.chain), "--key", str(pair.key)


def test_with_a_certificate_more_is_tried(start, sections, site, certificates, identity):
    other = {"client_auth": {"mode": "require", "ca": str(certificates.pair("stranger.test").chain)}}
    shut = site.host("shut.test", tls=other)  # where this certificate is nobody's
    daemon = start(**{**sections, "hosts": [shut, *sections["hosts"], site.host("two.test", tls=walled(certificates))]})
    code, verdicts = selftest(daemon, *identity)
    assert (code, with_outcome(verdicts, "fail")) == (0, set())
    assert on({"wall.test", "two.test"}, "renegotiation", "other-host") <= with_outcome(verdicts, "pass")
    assert "wall.test" in verdicts["two.test foreign-ticket-1.3"]["detail"]
    assert verdicts["shut.test other-host"]["detail"] == "the host does not let the certificate in that was given"


def walled(certificates):
    return {"client_auth": {"mode": "require", "ca": str(certificates.ca_file)}}


def test_a_ticket_from_behind_one_wall_is_found_to_open_another(prepare, sections, site, certificates, identity):
    hosts = [site.host(name, tls=walled(certificates)) for name in ("wall.test", "two.test")]
    daemon = prepare(
        prefix=(sys.executable, "-W", "error", MUTANT, "ticket_keys_per_host"), **{**sections, "hosts": hosts}
    ).start()
    found = on(("wall.test", "two.test"), "foreign-ticket-1.2", "foreign-ticket-1.3")
    assert found & with_outcome(selftest(daemon)[1], "fail") == set()
    code, verdicts = selftest(daemon, *identity)
    assert (code, with_outcome(verdicts, "fail")) == (1, found)


PLAIN = {}
FALLBACK = {"tls": {"unknown_sni": "open.test"}}
FRONTED = {"proxy_protocol": {"trusted": ["127.0.0.0/8"]}}


@pytest.mark.parametrize("changes", [FALLBACK, FRONTED], ids=["a-host-for-strangers", "behind-a-proxy"])
def test_other_settings_pass_as_well(start, sections, site, changes):
    daemon = start(**with_changes(sections, site, changes))
    code, verdicts = selftest(daemon)
    assert (code, with_outcome(verdicts, "fail")) == (0, set())
    name = "https unknown-sni" if changes is FALLBACK else "https forged-proxy-header"
    assert verdicts[name]["outcome"] == "skipped"


def with_changes(sections, site, changes):
    if changes is FRONTED:
        return {**sections, "listeners": [site.listener(**FRONTED)]}
    return {**sections, **changes}


@pytest.mark.parametrize(
    ("guard", "changes", "found"),
    [
        (
            "client_certificate_required",
            PLAIN,
            on(WALLED, *(f"no-certificate-{path}" for path in ("fresh", "wildcard", "resumed"))),
        ),
        ("client_certificate_verified", PLAIN, on(("wall.test", "ask.test"), "unknown-authority")),
        ("wildcard_names_its_host", PLAIN, on(WALLED, "no-certificate-wildcard")),
        ("unknown_name_refused", PLAIN, {"https unknown-sni"}),
        (
            "host_must_match_sni",
            FALLBACK,
            on(OPEN, "other-host") | on(WALLED, "no-certificate-kept-alive", "no-certificate-unknown-sni"),
        ),
        ("ticket_keys_per_host", PLAIN, on(TLS12, "foreign-ticket-1.2") | on(HOSTS, "foreign-ticket-1.3")),
        (
            "ticket_keys_per_host_and_certificate_looked_at_again",
            PLAIN,
            on(TLS12, "foreign-ticket-1.2") | on(HOSTS, "foreign-ticket-1.3") | on(WALLED, "no-certificate-resumed"),
        ),
        (
            "context_per_host",
            PLAIN,
            on(("open.test", "twin.test"), "foreign-session-id", "foreign-ticket-1.2", "foreign-ticket-1.3"),
        ),
        ("lowest_version", PLAIN, {"modern.test old-protocols"}),
        ("cipher_list", PLAIN, on(TLS12, "other-ciphers")),
        ("group_list", PLAIN, on(HOSTS, "other-groups")),
        ("protocol_list", PLAIN, on(HOSTS, "other-alpn")),
        ("no_renegotiation", PLAIN, on(TLS12 - WALLED, "renegotiation")),
        ("garbage_refused", PLAIN, {"https garbage"}),
        ("hello_bounded", PLAIN, {"https malformed-hello"}),
        ("plain_http_refused", PLAIN, {"https plain-http"}),
        ("proxy_header_from_trusted_peers_only", PLAIN, {"https forged-proxy-header"}),
        ("proxy_header_required", FRONTED, {"https missing-proxy-header"}),
    ],
)
def test_a_guard_that_is_off_is_found(prepare, sections, site, guard, changes, found):
    """Exactly these checks fail, so no other one stands in for them."""
    daemon = prepare(prefix=(sys.executable, "-W", "error", MUTANT, guard), **with_changes(sections, site, changes))
    code, verdicts = selftest(daemon.start())
    assert with_outcome(verdicts, "fail") == found
    assert code == 1
