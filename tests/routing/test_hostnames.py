from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.routing.hostnames import HostPattern, HostTable, normalise, parse_pattern


@pytest.mark.parametrize(
    ("written", "compared"),
    [
        ("shop.example", "shop.example"),
        ("Shop.EXAMPLE", "shop.example"),
        ("shop.example.", "shop.example"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_acme.internal_net.example", "_acme.internal_net.example"),
        ("1st.example", "1st.example"),
        ("4.example", "4.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_names_are_compared_in_one_form(written: str, compared: str) -> None:
    assert normalise(written) == compared
    assert normalise(normalise(written)) == normalise(written)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a host name"),
        (".", "not a host name"),
        ("a..b", "not a host name"),
        ("shop.example..", "not a host name"),
        ("-a.example", "not a host name"),
        ("a-.example", "not a host name"),
        ("a b.example", "not a host name"),
        ("a/b", "not a host name"),
        ("a\n", "not a host name"),
        ("shop.example:443", "without its port"),
        ("[::1", "not an IPv6 address"),
        ("[::1]:443", "without its port"),
        ("fe80::1%eth0", "not an IPv6 address"),
        ("192.0.2.256", "not an IPv4 address"),
        ("192.0.2", "no host name ends in a number"),
        ("shop.example.1", "not a host name"),
        ("a" * 64 + ".example", "not a host name"),
        ("a." * 126 + "example", "at most 253"),
        ("bücher.example", "write the A-label xn--bcher-kva.example"),
        ("ü" * 80, "write the A-label"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        normalise(text)


def test_a_pattern_is_a_name_or_a_wildcard_for_the_first_label() -> None:
    assert parse_pattern("Shop.example.") == HostPattern("shop.example")
    assert parse_pattern("*.Shop.example") == HostPattern("shop.example", wildcard=True)
    assert str(parse_pattern("*.shop.example")) == "*.shop.example"
    assert str(parse_pattern("[::1]")) == "::1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*", "tls.unknown_sni"),
        ("*.*.example", "whole first label"),
        ("a*.example", "whole first label"),
        ("a.*.example", "whole first label"),
        ("**.example", "whole first label"),
        ("*.", "not a host name"),
        ("*.192.0.2.1", "no labels"),
        ("*.2.3.4", "no host name ends in a number"),
        ("*.::1", "no labels"),
        ("*.bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_other_patterns_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_pattern(text)


TABLE = HostTable(
    [
        ("shop.example", "shop"),
        ("*.shop.example", "any shop"),
        ("pay.shop.example", "pay"),
        ("*.localhost", "local"),
        ("192.0.2.1", "v4"),
        ("2001:db8::1", "v6"),
    ]
)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("shop.example", "shop"),
        ("SHOP.example.", "shop"),
        ("pay.shop.example", "pay"),
        ("Pay.shop.example", "pay"),
        ("www.shop.example", "any shop"),
        ("WWW.shop.example.", "any shop"),
        ("xn--bcher-kva.shop.example", "any shop"),
        ("a.b.shop.example", None),
        (".shop.example", None),
        ("*.shop.example", None),
        ("a b.shop.example", None),
        ("example", None),
        ("", None),
        ("a.localhost", "local"),
        ("localhost", None),
        ("192.0.2.1", "v4"),
        ("192.0.2.2", None),
        ("2001:db8::1", "v6"),
        ("[2001:db8::1]", "v6"),
        ("[2001:DB8:0::1]", "v6"),
        ("2001:db8::2", None),
        ("bücher.shop.example", None),
    ],
)
def test_lookup(name: str, host: str | None) -> None:
    assert TABLE.lookup(name) == host
    found = TABLE.find(name)
    assert (found[1] if found else None) == host


def test_find_names_the_pattern() -> None:
    found = TABLE.find("www.shop.example")
    assert found is not None
    assert str(found[0]) == "*.shop.example"
    assert len(TABLE) == len(list(TABLE)) == 6


@pytest.mark.parametrize("twice", [("a.example", "A.example."), ("*.a.example", "*.A.example"), ("::1", "[0::1]")])
def test_a_name_may_stand_only_once(twice: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="twice"):
        HostTable([(twice[0], 1), (twice[1], 2)])
    HostTable([("a.example", 1), ("*.a.example", 2)])  # a wildcard and its own parent are different names


labels = st.sampled_from(["a", "b", "c", "example"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
patterns = st.one_of(names, names.map(lambda name: f"*.{name}"))


@given(st.lists(patterns, unique=True), names, st.booleans(), st.booleans())
def test_lookup_agrees_with_trying_every_pattern(written: list[str], name: str, upper: bool, dot: bool) -> None:
    def answers(pattern: str) -> bool:
        if pattern.startswith("*."):
            return name.count(".") == pattern.count(".") and name.endswith(pattern[1:])
        return name == pattern

    best = sorted((p for p in written if answers(p)), key=lambda p: p.startswith("*"))
    sent = (name.upper() if upper else name) + ("." if dot else "")
    assert HostTable((p, p) for p in written).lookup(sent) == (best[0] if best else None)


@given(st.text(max_size=20))
def test_any_text_is_normalised_or_refused(text: str) -> None:
    try:
        normal = normalise(text)
    except ValueError:
        assert HostTable([("*.example", 1)]).lookup(text) is None
    else:
        assert normalise(normal) == normal
