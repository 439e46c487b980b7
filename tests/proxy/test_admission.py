"""What one client address may take; an IPv6 /64 is one address."""

from __future__ import annotations

import pytest

from terminator.proxy.admission import Admission, address_key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", ""),
    ],
)
def test_addresses_are_counted_as_one_by_their_key(address: str, key: str) -> None:
    assert address_key(address) == key


def test_open_connections_are_counted_up_and_down() -> None:
    admission = Admission()
    assert [admission.enter("192.0.2.1", 2) for _ in range(3)] == [True, True, False]
    assert admission.enter("192.0.2.2", 2)
    admission.leave("192.0.2.1")
    assert admission.enter("192.0.2.1", 2)


def test_no_limit_is_no_limit_and_nothing_stays_behind() -> None:
    admission = Admission()
    for _ in range(100):
        assert admission.enter("192.0.2.1", 0)
    for _ in range(100):
        admission.leave("192.0.2.1")
    assert not admission._open


def test_handshakes_are_counted_by_the_second() -> None:
    admission = Admission()
    assert [admission.may_shake_hands("192.0.2.1", 10.1, 2) for _ in range(3)] == [True, True, False]
    assert admission.may_shake_hands("192.0.2.2", 10.9, 2)
    assert admission.may_shake_hands("192.0.2.1", 11.0, 2)
