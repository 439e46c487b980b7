"""The last failures of each class are at hand, few of them, and no text of a client makes them large."""

from __future__ import annotations

from terminator.telemetry.events import TlsHandshake
from terminator.telemetry.examples import PER_CLASS, FailureExamples


def failure(kind: str, number: int, **other: str) -> TlsHandshake:
    return TlsHandshake(conn_id=f"c{number}", listener="https", established=False, error_type=kind, **other)


def test_the_last_of_each_class_are_kept() -> None:
    examples = FailureExamples()
    for number in range(10):
        examples.note(failure("timeout", number))
    examples.note(failure("not_tls", 99, error_openssl="X"))
    rows = examples.rows()
    assert [row["conn_id"] for row in rows] == [f"c{number}" for number in range(10 - PER_CLASS, 10)] + ["c99"]
    assert rows[-1]["class"] == "not_tls"
    assert rows[-1]["openssl"] == "X"
    assert "host" not in rows[-1]
    assert rows[-1]["at"] > 1.7e9


def test_the_number_of_classes_and_the_length_of_texts_are_bounded() -> None:
    examples = FailureExamples()
    for number in range(1000):
        examples.note(failure(f"class {number}", number, server_name="n" * 5000))
    rows = examples.rows()
    assert len(rows) == 64
    assert all(len(row["server_name"]) == 200 for row in rows)
