from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.errors import (
    BackendClosed,
    BackendError,
    BackendInvalid,
    BackendTimeout,
    BackendTruncated,
    ConnectFailed,
    ConnectTimeout,
    NoServer,
    QueueFull,
    QueueTimeout,
)
from terminator.routing.retries import FLOOR, IDEMPOTENT, MEMORY_SECONDS, Budget, is_safe, may_retry

SAFETY = [
    # error, GET may be repeated, POST may be repeated
    (ConnectFailed(), True, True),  # nothing was sent
    (ConnectTimeout(), True, True),
    (BackendClosed(), True, False),  # it may have been read: RFC 9110 §9.2.2
    (BackendTimeout(), True, False),
    (BackendTruncated(), True, False),
    (BackendInvalid(), False, False),
    (BackendError(), False, False),
]


@pytest.mark.parametrize(("error", "get", "post"), SAFETY)
@pytest.mark.parametrize("reused", [False, True])
def test_what_may_be_repeated(error: BackendError, get: bool, post: bool, reused: bool) -> None:
    for method, expected in (("GET", get), ("PUT", get), ("POST", post), ("PATCH", post), ("BREW", post)):
        assert is_safe(method, error) is expected
        assert (
            may_retry(
                method=method,
                error=error,
                request_body_sent=False,
                reused=reused,
                attempts_left=1,
                budget=Budget(0.2),
                now=0.0,
            )
            is expected
        )


@pytest.mark.parametrize("error", [NoServer(), QueueFull(), QueueTimeout()])
def test_without_a_server_there_is_nothing_to_repeat(error: BackendError) -> None:
    assert not may_retry(
        method="GET", error=error, request_body_sent=False, reused=False, attempts_left=9, budget=Budget(1.0), now=0.0
    )


@pytest.mark.parametrize(
    ("request_body_sent", "attempts_left", "share", "allowed"),
    [(False, 1, 0.2, True), (True, 1, 0.2, False), (False, 0, 0.2, False), (False, 1, 0.0, False)],
)
def test_each_limit_alone_forbids(request_body_sent: bool, attempts_left: int, share: float, allowed: bool) -> None:
    assert allowed is may_retry(
        method="GET",
        error=ConnectFailed(),
        request_body_sent=request_body_sent,
        reused=False,
        attempts_left=attempts_left,
        budget=Budget(share),
        now=0.0,
    )


def test_the_race_on_a_kept_connection_costs_no_budget() -> None:
    budget = Budget(0.2)
    for _ in range(100):
        assert may_retry(
            method="GET",
            error=BackendClosed(),
            request_body_sent=False,
            reused=True,
            attempts_left=1,
            budget=budget,
            now=0.0,
        )


def test_a_quiet_backend_has_the_floor_and_gets_it_back() -> None:
    budget = Budget(0.2)
    assert [budget.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(MEMORY_SECONDS / FLOOR - 0.1)
    assert budget.take(MEMORY_SECONDS / FLOOR + 0.1)
    assert [budget.take(1000.0) for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_in_a_total_outage_the_load_grows_by_the_share_alone(share: float) -> None:
    budget, retried = Budget(share), 0
    for number in range(20_000):  # 100 requests a second, each fails and asks twice
        now = number / 100
        budget.request(now)
        retried += budget.take(now) + budget.take(now)
    assert retried / 20_000 == pytest.approx(share, rel=0.1, abs=FLOOR / MEMORY_SECONDS / 100 * 2)


def test_what_busy_times_saved_is_gone_after_a_pause() -> None:
    budget = Budget(0.5)
    for number in range(1000):
        budget.request(number / 100)
    assert budget.tokens > 100
    assert sum(budget.take(60.0) for _ in range(1000)) == FLOOR


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 5)), max_size=200), st.floats(0.01, 1))
def test_the_bucket_never_holds_more_than_recent_requests_brought(
    steps: list[tuple[bool, float]], share: float
) -> None:
    budget, now, requests, taken = Budget(share), 0.0, 0, 0
    for is_request, pause in steps:
        now += pause
        if is_request:
            budget.request(now)
            requests += 1
        else:
            taken += budget.take(now)
        assert -1e-9 <= budget.tokens <= max(FLOOR, share * requests) + 1e-9
    assert taken <= FLOOR + share * requests + FLOOR / MEMORY_SECONDS * now + 1e-6


def test_a_clock_that_steps_back_does_no_harm() -> None:
    budget = Budget(0.2)
    budget.request(100.0)
    budget.request(50.0)
    assert budget.at == 100.0


def test_post_is_not_idempotent() -> None:
    assert not IDEMPOTENT & {"POST", "PATCH", "CONNECT", "LOCK"}
