"""One memory for all processes' counts: sums over rows, over a killed worker and its successor, within bounds."""

from __future__ import annotations

import os
import random
import signal
import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.telemetry.board import MASTER_ROW, Board, Distribution, Writer, worker_row

REQUESTS = "terminator_http_requests_total"
SHOP = {"host": "shop.example", "route": "/", "method": "GET", "status": "200"}
KEY = ("shop.example", "/", "GET", "200")


def test_rows_are_summed() -> None:
    board = Board(worker_row(2))
    for worker in range(2):
        counter = board.writer(worker_row(worker)).counter(REQUESTS, **SHOP)
        counter.inc()
        counter.inc(2)
    board.writer(MASTER_ROW).counter("terminator_config_reloads_total", outcome="ok").inc()
    assert board.snapshot() == {REQUESTS: {KEY: 6.0}, "terminator_config_reloads_total": {("ok",): 1.0}}


def test_the_same_labels_are_the_same_slot() -> None:
    board = Board(3)
    writer = board.writer(2)
    writer.counter(REQUESTS, **SHOP).inc()
    writer.counter(REQUESTS, **dict(reversed(SHOP.items()))).inc()
    assert board.snapshot()[REQUESTS] == {KEY: 2.0}


@pytest.mark.parametrize(
    ("name", "merged"),
    [
        ("terminator_backend_up", 0.0),
        ("terminator_backend_requests_in_flight", 3.0),
    ],
)
def test_gauges_merge_as_declared(name: str, merged: float) -> None:
    board = Board(worker_row(2))
    for worker, value in ((0, 0.0), (1, 3.0)):
        board.writer(worker_row(worker)).gauge(name, backend="web", server="127.0.0.1:80").set(value)
    assert board.snapshot()[name] == {("web", "127.0.0.1:80"): merged}


def test_lag_is_the_worst() -> None:
    board = Board(worker_row(2))
    for worker, value in ((0, 0.5), (1, 0.1)):
        board.writer(worker_row(worker)).gauge("terminator_event_loop_lag_seconds", worker="0").set(value)
    assert board.snapshot()["terminator_event_loop_lag_seconds"] == {("0",): 0.5}


def test_a_killed_worker_stays_in_the_sum_and_its_successor_goes_on() -> None:
    board = Board(worker_row(1))
    ready, tell = os.pipe()

    def count_and_hang() -> None:
        writer = board.writer(worker_row(0))
        counter = writer.counter(REQUESTS, **SHOP)
        for _ in range(1000):
            counter.inc()
        writer.gauge("terminator_connections", state="active").set(17)
        writer.histogram("terminator_http_request_duration_seconds", host="shop.example", route="/").observe(0.02)
        os.write(tell, b"x")
        signal.pause()

    for _ in range(2):
        child = os.fork()
        if child == 0:
            try:
                count_and_hang()
            finally:
                os._exit(1)
        assert os.read(ready, 1) == b"x"
        assert board.snapshot()["terminator_connections"] == {("active",): 17.0}
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    board.retire(worker_row(0))
    snapshot = board.snapshot()
    assert snapshot[REQUESTS] == {KEY: 2000.0}
    assert "terminator_connections" not in snapshot
    duration = snapshot["terminator_http_request_duration_seconds"]["shop.example", "/"]
    assert isinstance(duration, Distribution)
    assert duration.count == 2
    os.close(ready)
    os.close(tell)


def test_a_gauge_can_be_forgotten_and_set_again() -> None:
    board = Board(3)
    writer = board.writer(2)
    name = "terminator_certificate_not_after_timestamp_seconds"
    writer.gauge(name, host="a", serial="01").set(5)
    writer.gauge(name, host="b", serial="02").set(6)
    writer.forget(name)
    writer.gauge(name, host="b", serial="02").set(7)
    assert board.snapshot()[name] == {("b", "02"): 7.0}


def test_a_full_row_counts_under_other_and_says_so_once() -> None:
    board = Board(3, slots=2100, directory_bytes=1 << 20)
    writer = board.writer(2)
    said: list[str] = []
    writer.on_overflow = said.append
    for number in range(500):
        writer.counter(REQUESTS, host=f"h{number}", route="/", method="GET", status="200").inc()
        writer.histogram("terminator_http_request_duration_seconds", host=f"h{number}", route="/").observe(1)
    snapshot = board.snapshot()
    requests = snapshot[REQUESTS]
    assert sum(value for value in requests.values() if isinstance(value, float)) == 500
    assert requests[("other",) * 4] > 400
    durations = snapshot["terminator_http_request_duration_seconds"].values()
    assert sum(value.count for value in durations if isinstance(value, Distribution)) == 500
    assert len(said) == 1


def test_a_full_directory_is_no_crash() -> None:
    board = Board(3, directory_bytes=20000)
    writer = board.writer(2)
    for number in range(500):
        writer.counter("terminator_http_request_errors_total", reason=f"reason{number}").inc()
    errors = board.snapshot()["terminator_http_request_errors_total"]
    assert sum(value for value in errors.values() if isinstance(value, float)) == 500


@pytest.mark.parametrize(
    ("ask", "labels"),
    [
        ("counter", {}),
        ("counter", {"host": "x"}),
        ("counter", SHOP | {"more": "x"}),
        ("gauge", SHOP),
        ("histogram", SHOP),
    ],
)
def test_a_series_is_asked_for_as_declared(ask: str, labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is a counter with labels host, route, method, status"):
        getattr(Board(1).writer(0), ask)(REQUESTS, **labels)


def test_an_unknown_name_or_row_is_an_error() -> None:
    with pytest.raises(KeyError):
        Board(1).writer(0).counter("nonsense")
    with pytest.raises(IndexError):
        Board(1).writer(1)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_quantiles_lie_in_the_bucket_of_the_true_one(seconds: list[float]) -> None:
    board = Board(1, slots=4096, directory_bytes=32768)
    histogram = board.writer(0).histogram("terminator_backend_connect_duration_seconds", backend="b")
    for value in seconds:
        histogram.observe(value)
    found = board.snapshot()["terminator_backend_connect_duration_seconds"]["b",]
    assert isinstance(found, Distribution)
    assert found.count == len(seconds)
    assert found.sum == pytest.approx(sum(seconds))
    for share in (0.5, 0.9, 1.0):
        true = sorted(seconds)[max(0, -int(-share * len(seconds) // 1) - 1)]
        bucket = next((bound for bound in found.bounds if true <= bound), found.bounds[-1])
        below = max((bound for bound in found.bounds if bound < bucket), default=0.0)
        quantile = found.quantile(share)
        assert quantile is not None
        assert below <= quantile <= bucket


def test_since_is_what_came_after() -> None:
    board = Board(1)
    histogram = board.writer(0).histogram("terminator_backend_connect_duration_seconds", backend="b")
    histogram.observe(0.1)
    before = board.snapshot()["terminator_backend_connect_duration_seconds"]["b",]
    histogram.observe(0.2)
    after = board.snapshot()["terminator_backend_connect_duration_seconds"]["b",]
    assert isinstance(before, Distribution)
    assert isinstance(after, Distribution)
    assert after.since(before).count == 1
    assert after.since(before).sum == pytest.approx(0.2)
    assert after.since(after).quantile(0.5) is None


def test_a_count_is_cheap() -> None:
    """Far from the measured 0.1 µs, so that a busy machine does not fail it."""
    writer = Board(1).writer(0)
    counter = writer.counter(REQUESTS, **SHOP)
    assert min(timeit.repeat(counter.inc, number=1000, repeat=5)) / 1000 < 3e-6


EXPIRY = "terminator_certificate_not_after_timestamp_seconds"


def note(writer: Writer, serials: dict[str, str]) -> None:
    """As the master does it after each reload."""
    writer.forget(EXPIRY)
    for number, (host, serial) in enumerate(serials.items()):
        writer.gauge(EXPIRY, host=host, serial=serial).set(1000.0 + number)


def test_years_of_renewals_do_not_fill_the_row() -> None:
    board = Board(1, slots=4096, directory_bytes=1 << 16)
    writer = board.writer(0)
    writer.on_overflow = pytest.fail
    counter = writer.counter("terminator_config_reloads_total", outcome="ok")
    serials = {f"h{number}": f"{number:040x}" for number in range(20)}
    note(writer, serials)
    rng = random.Random(1)
    for renewal in range(1000):
        for host in rng.sample(sorted(serials), 3):
            serials[host] = f"{rng.getrandbits(160):040x}"
        note(writer, serials)
        counter.inc()
        if renewal % 100 == 0:
            found = board.snapshot()  # by a reader that keeps what it has read
            assert found[EXPIRY] == {item: 1000.0 + place for place, item in enumerate(serials.items())}
            assert found["terminator_config_reloads_total"] == {("ok",): renewal + 1.0}
    assert len(list(board.readers[0].series())) < 20 * 3, "a place for each that is, and for some that were"


def test_a_host_that_went_and_one_that_came() -> None:
    board = Board(1)
    writer = board.writer(0)
    note(writer, {"one": "aa", "two": "bb"})
    assert set(board.snapshot()[EXPIRY]) == {("one", "aa"), ("two", "bb")}
    note(writer, {"two": "bb"})
    assert set(board.snapshot()[EXPIRY]) == {("two", "bb")}
    note(writer, {"two": "bb", "six": "cc", "longer": "dd"})
    assert board.snapshot()[EXPIRY] == {("two", "bb"): 1000.0, ("six", "cc"): 1001.0, ("longer", "dd"): 1002.0}
    note(writer, {"one": "aa", "two": "bb"})
    assert board.snapshot()[EXPIRY] == {("one", "aa"): 1000.0, ("two", "bb"): 1001.0}


def test_a_reader_that_looks_for_what_is_new_misses_nothing() -> None:
    board = Board(1)
    writer = board.writer(0)
    row = board.readers[0]
    note(writer, {"one": "aa"})
    assert len(list(row.series())) == 1
    note(writer, {"one": "bb"})
    assert list(row.series(1)) == []
    writer.counter("terminator_config_reloads_total", outcome="ok")
    assert [labels for _, labels, _ in row.series(1)] == [("ok",)]
    assert [labels for _, labels, _ in row.series()] == [("one", "bb"), ("ok",)]


def test_the_place_of_other_is_never_given_away() -> None:
    board = Board(1, slots=2048 + 4)
    writer = board.writer(0)
    note(writer, dict.fromkeys(("one", "two", "six", "ten", "abc"), "s" * 5))
    assert board.snapshot()[EXPIRY][("other", "other")] >= 1003.0
    note(writer, {"ther": "otherx"})  # its key is as long as that of `other`
    assert {labels for _, labels, _ in board.readers[0].series()} >= {("other", "other"), ("one", "sssss")}
    assert set(board.snapshot()[EXPIRY]) == {("other", "other")}, "nothing of its length was free"
