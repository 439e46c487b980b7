"""Names that must exist or stand once, and keys that mean something only beside others."""

# ruff: noqa: E501 (one case a line)

from __future__ import annotations

from collections.abc import Callable

import pytest

Texts = Callable[..., list[str]]

HTTPS = '  - {name: https, bind: "[::]:443"}\n'
NETWORK = "not a network; write for example 10.0.0.0/8, 2001:db8::/32 or a single address"


def listeners(minimal: str, *lines: str) -> str:
    return minimal.replace(HTTPS, "".join(f"  - {line}\n" for line in lines))


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['{name: a, bind: ":443"}', '{name: b, bind: ":8443"}'], []),
        (['{name: a, bind: ":443"}', '{name: a, bind: ":8443"}'], ["4:12: listeners[1].name: this name already stands at 3:12"]),
        (['{name: a, bind: "127.0.0.1:443"}', '{name: b, bind: "127.0.0.1:443"}'], ["4:21: listeners[1].bind: this address is already taken at 3:21"]),
        (['{name: a, bind: "[::]:443"}', '{name: b, bind: "0.0.0.0:443"}'], ["4:21: listeners[1].bind: this address is already taken at 3:21"]),
        (['{name: a, bind: "*:443"}', '{name: b, bind: "[::]:443"}'], ["4:21: listeners[1].bind: this address is already taken at 3:21"]),
        (['{name: a, bind: "[::]:443"}', '{name: b, bind: "127.0.0.1:443"}'], []),
        (['{name: a, bind: "unix:s"}', '{name: b, bind: "unix:./s"}'], ["4:21: listeners[1].bind: this address is already taken at 3:21"]),
        (['{name: a, bind: "systemd:s"}', '{name: b, bind: "systemd:s"}'], ["4:21: listeners[1].bind: this address is already taken at 3:21"]),
        (['{name: a, bind: ":1", acme_webroot: x}'], ["3:41: listeners[0].acme_webroot: only a plain listener (`tls: false`) has it"]),
        (['{name: a, bind: ":1", redirect_port: 443}'], ["3:42: listeners[0].redirect_port: only a plain listener (`tls: false`) has it"]),
        (['{name: h, bind: ":1"}', '{name: a, bind: ":80", tls: false, acme_webroot: x, redirect_port: 444}'], []),
        (["{name: a, bind: ':1', proxy_protocol: {trusted: [10.0.0.0/8, '::1', 10.1.1.1]}}"], []),
        (["{name: a, bind: ':1', proxy_protocol: {trusted: [10.0.0.1/8]}}"], ["3:54: listeners[0].proxy_protocol.trusted[0]: the address has bits beyond the prefix; did you mean 10.0.0.0/8?"]),
        (["{name: a, bind: ':1', proxy_protocol: {trusted: [localhost]}}"], [f"3:54: listeners[0].proxy_protocol.trusted[0]: {NETWORK}"]),
        (["{name: a, bind: ':1', proxy_protocol: {trusted: ['${NET}']}}"], ["3:54: listeners[0].proxy_protocol.trusted[0]: the address has bits beyond the prefix"]),
    ],
)  # fmt: skip
def test_listeners(faults: Texts, minimal: str, lines: list[str], told: list[str]) -> None:
    assert faults(listeners(minimal, *lines), NET="10.9.9.9/8") == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('admin: {bind: "127.0.0.1:9145", socket: a.sock}', []),
        ('admin: {bind: "unix:a"}', ["11:15: admin.bind: takes host:port; for a unix socket there is `admin.socket`"]),
        ('admin: {bind: "systemd:a"}', ["11:15: admin.bind: takes host:port; for a unix socket there is `admin.socket`"]),
        ('admin: {bind: "*:443"}', ["11:15: admin.bind: this address is already taken at 3:25"]),
        ("request_id: {trusted: [10.0.0.0/8, xx]}", [f"11:36: request_id.trusted[1]: {NETWORK}"]),
        ("request_id: {header: Host}", ["11:22: request_id.header: a request has exactly one Host; use `set` to change it"]),
        ("request_id: {header: transfer-encoding}", ["11:22: request_id.header: Transfer-Encoding frames the message; terminator writes it itself"]),
        ("ja4_header: X-JA4", []),
        ("request_id: {header: x-id}\nja4_header: X-ID", ["12:13: ja4_header: this field is already in use at 11:22"]),
        ("tls: {unknown_sni: www.example}", []),
        ("tls: {unknown_sni: WWW.example.}", []),
        ("tls: {unknown_sni: wwww.example}", ["11:20: tls.unknown_sni: expected `reject` or the name of a host, found `wwww.example`; did you mean `www.example`?"]),
        ("tls: {unknown_sni: rejct}", ["11:20: tls.unknown_sni: expected `reject` or the name of a host, found `rejct`; did you mean `reject`?"]),
        ("tls: {unknown_sni: '*'}", ["11:20: tls.unknown_sni: expected `reject` or the name of a host, found `*`; a host is meant by the first of its names"]),
        ("tls: {unknown_sni: '${X}'}", ["11:20: tls.unknown_sni: expected `reject` or the name of a host, found `${X}`; a host is meant by the first of its names"]),
        ("tls: {ciphers: []}", ["11:7: tls.ciphers: needs at least one entry; remove the key for the default"]),
        ("tls: {alpn: []}", ["11:7: tls.alpn: needs at least one entry; remove the key for the default"]),
        ("tls: {client_auth: {mode: require}}", ["11:7: tls.client_auth: `mode: require` needs `ca`"]),
        ("tls: {client_auth: {mode: none, ca: x}}", []),
        ("tls: {client_auth: {ca: x}}", ["11:7: tls.client_auth: names `ca` and no `mode`, so nobody would be asked for a certificate; add `mode`"]),
        ("tls: {client_auth: {depth: 4}}", ["11:28: tls.client_auth.depth: has no effect without a `mode` of request or require"]),
        ("tls: {client_auth: {crl: x, allow: []}}", [
            "11:29: tls.client_auth.allow: has no effect without a `mode` of request or require",
            "11:26: tls.client_auth.crl: has no effect without a `mode` of request or require"]),
        ("tls: {client_auth: {mode: request, ca: x, allow: ['CN=a', 'dns:*.x', 'URI:spiffe://a/*', 'email:*@x']}}", []),
        ("tls: {client_auth: {mode: request, ca: x, allow: [alice]}}", ["11:51: tls.client_auth.allow[0]: not a pattern; write for example CN=alice, O=ops* or DNS:*.example"]),
    ],
)  # fmt: skip
def test_top_level(faults: Texts, minimal: str, line: str, told: list[str]) -> None:
    assert sorted(faults(f"{minimal}{line}\n", X="secret.example")) == sorted(told)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("[a.example, '*.a.example', A.B.example., 192.0.2.1, '::1', localhost]", []),
        ("[a.example, A.EXAMPLE]", ["hosts[0].names[1]: this name already stands at 5:13"]),
        ("[a.example, a.example.]", ["hosts[0].names[1]: this name already stands at 5:13"]),
        ("['*']", ["hosts[0].names[0]: '*': a wildcard stands for the whole first label only"]),
        ("['a*.example']", ["hosts[0].names[0]: 'a*.example': a wildcard stands for the whole first label only"]),
        (
            "[bücher.example]",
            ["hosts[0].names[0]: 'bücher.example' is not ASCII; write the A-label xn--bcher-kva.example"],
        ),
        ("['a b']", ["hosts[0].names[0]: 'a b' is not a host name"]),
        ("['${NAME}']", ["hosts[0].names[0]: `${NAME}` became a value that is not allowed here"]),
    ],
)
def test_host_names(faults: Texts, minimal: str, names: str, told: list[str]) -> None:
    found = faults(minimal.replace("[www.example]", names), NAME="se cret")
    assert len(found) == len(told)
    for fault, expected in zip(found, told, strict=True):
        assert fault.partition(": ")[2].startswith(expected)


def test_a_name_belongs_to_one_host_and_the_fallback_is_called_by_its_first_name(faults: Texts, minimal: str) -> None:
    second = "  - names: [b.example, www.example, c.example]\n" + "\n".join(minimal.splitlines()[5:8]) + "\n"
    text = minimal.replace("backends:\n", second + "backends:\n") + "tls: {unknown_sni: c.example}\n"
    assert faults(text) == [
        "9:24: hosts[1].names[1]: this name already stands at 5:13",
        "15:20: tls.unknown_sni: a host is meant by the first of its names: write `b.example`",
    ]


def test_client_authentication_of_a_host_inherits_nothing(faults: Texts, minimal: str) -> None:
    text = minimal.replace("    routes:", "    tls: {client_auth: {mode: require}}\n    routes:")
    assert faults(text + "tls: {client_auth: {mode: request, ca: x}}\n") == [
        "7:11: hosts[0].tls.client_auth: `mode: require` needs `ca` (a host's client_auth inherits nothing)"
    ]


@pytest.mark.parametrize("own", ["profile: modern", 'min_version: "1.3"'])
def test_suites_of_a_host_that_has_none_to_choose(faults: Texts, minimal: str, own: str) -> None:
    text = minimal.replace("    routes:", f"    tls: {{{own}, ciphers: [A]}}\n    routes:")
    [fault] = faults(text)
    assert "hosts[0].tls.ciphers: has no effect: this host speaks TLS 1.3 alone" in fault
    inherited = minimal.replace("    routes:", f"    tls: {{{own}}}\n    routes:") + "tls: {ciphers: [A]}\n"
    assert faults(inherited) == []


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("health_check: {path: /x?a=b, host: h.example, status: '200', timeout: 2s, interval: 2s}", []),
        ("health_check: {path: x}", "health_check.path: begins with `/` and holds visible ASCII only; encode the rest as %XX"),
        ("health_check: {path: /ä}", "health_check.path: begins with `/` and holds visible ASCII only; encode the rest as %XX"),
        ("health_check: {host: 'a b'}", "health_check.host: not a value for the Host field"),
        ("health_check: {status: 399-200}", "health_check.status: the range ends before it begins"),
    ],
)  # fmt: skip
def test_backends(faults: Texts, minimal: str, keys: str, told: str) -> None:
    found = faults(minimal.replace("8000]}", f"8000], {keys}}}").replace('8000"]}', f'8000"], {keys}}}'))
    assert [fault.partition(": backends.web.")[2] for fault in found] == ([told] if told else [])


def test_a_server_stands_once(faults: Texts, minimal: str) -> None:
    text = minimal.replace('"127.0.0.1:8000"', '"[::1]:80", {address: "[0::1]:80"}')
    assert faults(text) == ["10:31: backends.web.servers[1]: this server already stands at 10:19; give it a `weight`"]


KEY_LOG = (
    "DEBUGGING ONLY: the secrets of every connection are written there, and whoever reads the file reads the traffic "
    "of all hosts, passwords included. Remove the key, restart, and delete the file"
)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("]}\n", "]}\n", []),
        ("]}\n", "]}\n  unused: {servers: ['a:1']}\n", ["11:3: backends.unused: no route uses this backend"]),
        ('["127', '[{address: "a:1", backup: true}]}\n#', ["10:9: backends.web.servers: every server is a `backup`, so none is"]),
        ('"]}', '"], hash_key: cookie:a}', ["10:48: backends.web.hash_key: has no effect without `balance: consistent_hash`"]),
        ('"]}', '"], hash_key: client_address}', []),
        ('"]}', '"], hash_key: cookie:a, balance: consistent_hash}', []),
        ('"]}', '"], health_check: {timeout: 6s}}', ["10:62: backends.web.health_check.timeout: longer than `interval`; checks will follow one another less often"]),
        ("version: 1", "version: 1\ngroup: g", ["2:8: group: has no effect without `user`"]),
        ("    routes:", "    hsts: 0\n    routes:", ["7:11: hosts[0].hsts: 0 makes clients forget Strict-Transport-Security"]),
        (':443"}', ':443", tls: false}', ["2:1: listeners: no listener speaks TLS"]),
        ("version: 1", "version: 1\ntls: {profile: modern, ciphers: [A]}", [
            "2:24: tls.ciphers: has no effect on hosts that speak TLS 1.3 alone, whose suites are always on (profile or min_version)"]),
        ("version: 1", "version: 1\ntls: {profile: modern, min_version: '1.2', ciphers: [A]}", []),
        ("version: 1", "version: 1\ntls: {key_log_file: /tmp/k}", [
            f"2:21: tls.key_log_file: {KEY_LOG}"]),
    ],
)  # fmt: skip
def test_warnings(findings: Texts, minimal: str, before: str, after: str, told: list[str]) -> None:
    assert before in minimal
    text = after.join(minimal.rsplit(before, 1))
    assert findings(text) == told


@pytest.mark.parametrize(
    ("names", "more", "places"),
    [
        ("www.example, 192.0.2.7", "", ["names[1]"]),
        ('"[2001:db8::1]", 192.0.2.7', "", ["names[0]", "names[1]"]),
        ("www.example, 192.0.2.7", "tls: {unknown_sni: www.example}\n", []),
        ("192.0.2.7.example", "", []),
    ],
)
def test_an_address_is_no_server_name(findings: Texts, minimal: str, names: str, more: str, places: list[str]) -> None:
    assert "www.example" in minimal
    found = findings(minimal.replace("www.example", names) + more)
    assert [text.partition(": clients send no server name")[0].rpartition(".")[2] for text in found] == places
