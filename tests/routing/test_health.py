from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.routing.health import LEAST_SHARE, Health, HealthRules, Transition, is_last_up

RULES = HealthRules(fail_count=3, fail_window=10.0, down_for=20.0, rise=2, fall=3, slow_start=0.0)


def test_a_new_server_is_up_with_its_full_share() -> None:
    health = Health()
    assert (health.state, health.available(0.0), health.share(0.0)) == ("up", True, 1.0)


# ------------------------------------------------------------------------------------------------------- passive


def test_failures_within_the_window_take_it_out_and_a_trial_brings_it_back() -> None:
    health = Health(RULES)
    steps: list[tuple[float, Callable[[float], Transition | None], Transition | None, bool]] = [
        # at, what happens, what is to be logged, whether it is available afterwards
        (100.0, lambda now: health.record_failure(now, "connect"), None, True),
        (101.0, health.record_success, None, True),
        (111.0, lambda now: health.record_failure(now, "timeout"), None, True),  # the first is out of the window
        (112.0, lambda now: health.record_failure(now, "closed"), None, True),
        (
            113.0,
            lambda now: health.record_failure(now, "connect"),
            Transition("down", "up", "3 failed requests within 10 s, the last: no connection"),
            False,
        ),
        (114.0, lambda now: health.record_failure(now, "connect"), None, False),  # sent before it was taken out
        (115.0, health.record_success, None, False),
        (132.9, lambda now: None, None, False),
        (133.0, lambda now: None, None, True),  # half open
        (133.5, lambda now: health.chosen(now), None, False),  # the trial is under way, and there is only one
        (134.0, lambda now: health.record_failure(now, "timeout"), None, False),
        (153.9, lambda now: None, None, False),
        (154.0, lambda now: None, None, True),
        (154.0, lambda now: health.chosen(now), None, False),
        (154.1, health.record_success, Transition("up", "down", "a trial request succeeded"), True),
        (154.2, lambda now: health.record_failure(now, "connect"), None, True),  # it begins from none
        (154.3, lambda now: health.record_failure(now, "connect"), None, True),
    ]
    for at, happens, transition, available in steps:
        assert (at, happens(at)) == (at, transition)
        assert (at, health.available(at)) == (at, available)


def test_a_trial_that_says_nothing_gives_way_to_another() -> None:
    health = Health(RULES, out_until=50.0)
    health.chosen(49.0)  # not half open yet: no trial
    assert health.available(50.0)
    health.chosen(50.0)
    assert not health.available(51.0)
    health.abandoned()  # the client went away
    assert health.available(51.0)
    health.chosen(51.0)
    assert not health.available(70.9)
    assert health.available(71.0)  # nobody ever said how it ended


@pytest.mark.parametrize(
    ("rules", "kind", "state"),
    [
        (HealthRules(fail_count=1), "connect", "down"),
        (HealthRules(fail_count=1), "timeout", "down"),
        (HealthRules(fail_count=1), "status", "up"),
        (HealthRules(fail_count=1, count_5xx=True), "status", "down"),
        (HealthRules(fail_count=2), "connect", "up"),
        (HealthRules(fail_count=0), "connect", "up"),
        (HealthRules(fail_count=0, count_5xx=True), "status", "up"),
    ],
)
def test_what_counts(rules: HealthRules, kind: str, state: str) -> None:
    health = Health(rules)
    transition = health.record_failure(0.0, kind)  # type: ignore[arg-type]
    assert health.state == state
    assert (transition is not None) == (state == "down")


def test_one_failure_reads_as_one() -> None:
    transition = Health(HealthRules(fail_count=1)).record_failure(0.0, "status")
    assert transition is None
    transition = Health(HealthRules(fail_count=1, count_5xx=True)).record_failure(0.0, "status")
    assert transition == Transition("down", "up", "a failed request: a server error")


def test_a_server_error_that_does_not_count_ends_a_trial_well() -> None:
    health = Health(RULES, out_until=50.0)
    assert health.record_failure(51.0, "status") == Transition("up", "down", "a trial request succeeded")


def test_the_last_server_stays_whatever_its_requests_say() -> None:
    servers = [Health(HealthRules(fail_count=1)) for _ in range(3)]
    for now, one in enumerate(servers):
        one.record_failure(float(now), "connect", last=is_last_up(one, servers))
    assert [one.state for one in servers] == ["down", "down", "up"]
    servers[0].record_success(100.0)
    servers[2].record_failure(101.0, "connect", last=is_last_up(servers[2], servers))
    assert [one.state for one in servers] == ["up", "down", "down"]


def test_is_last_up() -> None:
    up, down, drained = Health(), Health(checked=False), Health(command="drain")
    assert is_last_up(up, [up])
    assert is_last_up(up, [up, down, drained])
    assert is_last_up(up, [up, Health(out_until=5.0)])
    assert not is_last_up(up, [up, down, Health()])


@given(
    st.lists(
        st.tuples(st.floats(0, 5), st.integers(0, 2), st.sampled_from(["connect", "success", "abandon"])), max_size=100
    )
)
def test_passive_checks_alone_never_leave_a_backend_without_a_server(steps: list[tuple[float, int, str]]) -> None:
    servers, now = [Health(HealthRules(fail_count=1)) for _ in range(3)], 0.0
    for pause, number, happens in steps:
        now += pause
        one = servers[number]
        one.chosen(now)
        if happens == "connect":
            one.record_failure(now, "connect", last=is_last_up(one, servers))
        elif happens == "success":
            one.record_success(now)
        else:
            one.abandoned()
        assert any(other.state == "up" for other in servers)
        assert any(other.available(now) for other in servers)
        assert all(len(other.failures) <= 1 for other in servers)


# -------------------------------------------------------------------------------------------------------- active


def test_rise_and_fall() -> None:
    health = Health(RULES)
    story = [
        (True, None),
        (False, None),
        (False, None),
        (True, None),  # one success begins the count anew
        (False, None),
        (False, None),
        (False, Transition("down", "up", "status 500")),
        (False, None),
        (True, None),
        (False, None),
        (True, None),
        (True, Transition("up", "down", "status 200")),
    ]
    for now, (ok, transition) in enumerate(story):
        assert (now, health.probe(float(now), ok, "status 200" if ok else "status 500")) == (now, transition)
        assert health.available(float(now)) is (health.state == "up")


def test_the_first_probe_decides_at_once() -> None:
    health = Health(RULES)
    assert health.probe(0.0, False, "refused") == Transition("down", "up", "refused")
    health = Health(RULES)
    assert health.probe(0.0, True, "status 200") is None
    assert health.probe(1.0, False, "refused") is None


def test_probes_bring_back_what_failed_requests_took_out_only_after_they_took_it_out_too() -> None:
    health = Health(RULES, checked=True, out_until=100.0)
    for now in range(5):
        assert health.probe(float(now), True, "status 200") is None
    assert health.state == "down"
    for now in range(3):
        health.probe(float(now), False, "refused")
    assert health.record_success(200.0) is None  # its probes still say no
    assert not health.available(200.0)
    health.probe(201.0, True, "status 200")
    assert health.probe(202.0, True, "status 200") == Transition("up", "down", "status 200")


def test_a_verdict_from_elsewhere_is_adopted_whole() -> None:
    health = Health(RULES)
    assert health.adopt(1.0, False, "refused") == Transition("down", "up", "refused")
    assert health.adopt(2.0, False, "refused") is None
    assert health.adopt(3.0, True, "status 200") == Transition("up", "down", "status 200")
    health.adopt(4.0, False, "refused")
    assert health.adopt(5.0, None, "no health_check any more") == Transition("up", "down", "no health_check any more")


# ------------------------------------------------------------------------------------------------------ commands


def test_maintenance() -> None:
    health = Health(RULES)
    assert health.obey(1.0, "drain") == Transition("drain", "up", "command drain")
    assert (health.available(1.0), health.commanded) == (False, True)
    assert health.obey(2.0, "drain") is None
    assert health.obey(3.0, "down") == Transition("maintenance", "drain", "command down")
    assert health.probe(4.0, False, "refused") is None  # known, and told when the command ends
    assert health.obey(5.0, "up") == Transition("down", "maintenance", "command up")
    assert health.obey(6.0, "up") is None
    health.adopt(7.0, True, "status 200")
    assert health.obey(8.0, "up") is None
    assert health.state == "up"


def test_up_forgives_failed_requests() -> None:
    health = Health(RULES, out_until=1000.0)
    assert health.obey(1.0, "up") == Transition("up", "down", "command up")
    assert health.available(1.0)


# ---------------------------------------------------------------------------------------------------- slow start


@pytest.mark.parametrize(
    ("at", "share"),
    [(100.0, LEAST_SHARE), (100.1, LEAST_SHARE), (105.0, 0.5), (109.0, 0.9), (110.0, 1.0), (999.0, 1.0)],
)
def test_a_recovered_server_grows_to_its_share(at: float, share: float) -> None:
    health = Health(HealthRules(slow_start=10.0), out_until=50.0)
    health.record_success(100.0)
    assert health.share(at) == pytest.approx(share)


def test_a_server_that_never_was_out_and_one_without_slow_start_have_it_at_once() -> None:
    assert Health(HealthRules(slow_start=10.0)).share(0.0) == 1.0
    health = Health(HealthRules(slow_start=0.0), out_until=50.0)
    health.record_success(100.0)
    assert health.share(100.0) == 1.0


def test_probes_and_commands_begin_a_slow_start_too() -> None:
    health = Health(HealthRules(slow_start=10.0, rise=1), checked=False)
    health.probe(100.0, True, "status 200")
    assert health.share(105.0) == 0.5
    health.obey(200.0, "down")
    health.obey(300.0, "up")
    assert health.share(305.0) == 0.5


# -------------------------------------------------------------------------------------------------------- always

happenings = st.sampled_from(
    ["connect", "status", "success", "chosen", "abandoned", "ok", "bad", "drain", "down", "up", "adopt", "none"]
)


@given(st.lists(st.tuples(st.floats(0, 8), happenings), max_size=60), st.booleans())
def test_every_change_of_state_is_told_once_and_the_value_travels(
    steps: list[tuple[float, str]], count_5xx: bool
) -> None:
    health, now = Health(HealthRules(fail_count=2, down_for=5.0, count_5xx=count_5xx, slow_start=3.0)), 0.0
    for pause, happens in steps:
        now += pause
        before = health.state
        transition: Transition | None = None
        match happens:
            case "connect" | "status":
                transition = health.record_failure(now, happens)
            case "success":
                transition = health.record_success(now)
            case "chosen":
                health.chosen(now)
            case "abandoned":
                health.abandoned()
            case "ok" | "bad":
                transition = health.probe(now, happens == "ok", happens)
            case "drain" | "down" | "up":
                transition = health.obey(now, happens)
            case _:
                transition = health.adopt(now, True if happens == "adopt" else None, happens)
        after = health.state
        assert (transition is None) == (before == after)
        if transition is not None:
            assert (transition.previous, transition.state) == (before, after)
        assert LEAST_SHARE <= health.share(now) <= 1.0
        assert health.available(now) or after != "up"
        assert not health.available(now) or after in ("up", "down")
        assert pickle.loads(pickle.dumps(health)) == health
