"""Key derivation: the same for the same, different for everything else, and pinned so that machines agree for ever."""

from __future__ import annotations

import hashlib
import hmac
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.tls.tickets import KEY_BYTES, Tickets, TicketSecret, _expand, secret_of_file

SECRET = bytes(range(32))
HOURS_12 = 43200.0
PINNED = (
    "154d4858f51fc439b796b59ebabf7e5162cc6648149af1e7c78ddc4f199de3b53f700ceafccd7023"
    "ca19479402157fa49ae5bad26598c19bbdc8ffef7073a511ccb4d8b8dd1cab7aa72db928b14089e6"
)
texts = st.text(max_size=20)


def test_a_key_is_what_openssl_wants() -> None:
    assert len(TicketSecret(SECRET, HOURS_12).tickets(0).key("a.example", "")) == KEY_BYTES


def test_the_derivation_is_pinned() -> None:
    """A release that changed it would cut machines of different releases that share a secret off from each other."""
    key = TicketSecret(SECRET, HOURS_12).tickets(1_800_000_000.0).key("a.example", "rule")
    assert key.hex() == PINNED


def test_expansion_is_hkdf() -> None:
    """RFC 5869 appendix A.1, with our info in the place of its own: compared with the construction by hand."""
    info = b"terminator x" + b"\x00\x00\x00\x01y"
    first = hmac.new(SECRET, info + b"\x01", hashlib.sha256).digest()
    second = hmac.new(SECRET, first + info + b"\x02", hashlib.sha256).digest()
    assert _expand(SECRET, b"x", b"y", length=48) == (first + second)[:48]


@given(texts, texts, texts, texts)
def test_host_and_rule_are_kept_apart(host: str, rule: str, other_host: str, other_rule: str) -> None:
    tickets = Tickets(1, SECRET)
    same = (host, rule) == (other_host, other_rule)
    assert (tickets.key(host, rule) == tickets.key(other_host, other_rule)) is same


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_keys_change_with_the_period_and_only_then(now: float, later: float) -> None:
    secret = TicketSecret(SECRET, HOURS_12)
    same = now // HOURS_12 == later // HOURS_12
    assert (secret.tickets(now) == secret.tickets(later)) is same


@given(st.floats(0, 4e9), st.floats(60, 1e6))
def test_the_next_rotation_is_ahead_and_turns_the_period(now: float, rotation: float) -> None:
    secret = TicketSecret(SECRET, rotation)
    turn = secret.next_rotation(now)
    assert now < turn <= now + rotation * (1 + 1e-9)
    assert secret.tickets(turn + rotation / 2).period == secret.tickets(now).period + 1


def test_secret_and_length_of_the_period_matter() -> None:
    keys = {
        TicketSecret(secret, rotation).tickets(0).key("a", "")
        for secret in (SECRET, SECRET + b"\0", SECRET[::-1])
        for rotation in (60.0, 120.0)
    }
    assert len(keys) == 6


def test_a_worker_gets_no_way_back_to_the_secret() -> None:
    tickets = TicketSecret(SECRET, HOURS_12).tickets(0)
    assert SECRET not in pickle.dumps(tickets)
    assert pickle.loads(pickle.dumps(tickets)) == tickets
    assert tickets.secret.hex() not in repr(tickets)
    assert repr(tickets) == "Tickets(period=0)"
    assert repr(TicketSecret(SECRET, 60.0)) == "TicketSecret(rotation_seconds=60.0)"


@pytest.mark.parametrize(("secret", "rotation"), [(b"short", 60.0), (SECRET[:31], 60.0), (SECRET, 0.0)])
def test_a_weak_secret_is_refused(secret: bytes, rotation: float) -> None:
    with pytest.raises(ValueError):
        TicketSecret(secret, rotation)


@pytest.mark.parametrize(
    ("data", "secret"), [(b"abc", b"abc"), (b"abc\n", b"abc"), (b"abc\r\n", b"abc"), (b"abc\n\n", b"abc\n")]
)
def test_one_line_end_is_no_part_of_a_secret(data: bytes, secret: bytes) -> None:
    assert secret_of_file(data) == secret
