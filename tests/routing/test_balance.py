from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.routing.balance import (
    BOUND,
    BOUND_FROM,
    ConsistentHash,
    LeastConnections,
    Policy,
    RandomTwo,
    Refusal,
    RoundRobin,
    draw,
    pick,
    policy_named,
)

POLICIES = ["round_robin", "least_connections", "random_two", "consistent_hash"]


@dataclass
class Server:
    key: str
    weight: float = 1.0
    backup: bool = False
    max_connections: int = 0
    in_flight: int = 0
    available: bool = True
    commanded: bool = False
    elsewhere: int = 0

    @property
    def load(self) -> int:
        return self.in_flight + self.elsewhere


def servers(**weights: float) -> list[Server]:
    return [Server(key, weight) for key, weight in weights.items()]


def story(policy: Policy, among: Sequence[Server], steps: int, hash_key: bytes = b"") -> str:
    return "".join(policy.choose(among, hash_key).key for _ in range(steps))


# ------------------------------------------------------------------------------------------------------ who may


A, B, BACKUP = Server("a"), Server("b"), Server("x", backup=True)
DOWN_A, DOWN_B = replace(A, available=False), replace(B, available=False)
FULL_A, FULL_B = (replace(one, max_connections=2, in_flight=2) for one in (A, B))


@pytest.mark.parametrize(
    ("among", "tried", "fail_open", "expected"),
    [
        ([A, B, BACKUP], (), False, "a"),
        ([DOWN_A, B, BACKUP], (), False, "b"),
        ([A, B, BACKUP], ("a",), False, "b"),
        ([A, B, BACKUP], ("a", "b"), False, "x"),
        ([A, B, BACKUP], ("a", "b", "x"), False, Refusal.DOWN),
        ([DOWN_A, DOWN_B, BACKUP], (), False, "x"),
        ([DOWN_A, DOWN_B, BACKUP], (), True, "x"),
        ([DOWN_A, DOWN_B], (), False, Refusal.DOWN),
        ([DOWN_A, DOWN_B], (), True, "a"),
        ([DOWN_A, DOWN_B], ("a",), True, "b"),
        ([DOWN_A, DOWN_B], ("a", "b"), True, Refusal.DOWN),
        ([replace(DOWN_A, commanded=True), DOWN_B], (), True, "b"),
        ([replace(DOWN_A, commanded=True)], (), True, Refusal.DOWN),
        ([DOWN_A, B], ("b",), True, "a"),  # none that is available is left
        ([FULL_A, B], (), False, "b"),
        ([FULL_A, FULL_B], (), False, Refusal.FULL),
        ([FULL_A, FULL_B, BACKUP], (), False, Refusal.FULL),  # full is not down: the request waits
        ([FULL_A, B], ("b",), False, Refusal.FULL),
        ([replace(FULL_A, in_flight=1)], (), False, "a"),
        ([DOWN_A, replace(BACKUP, max_connections=1, in_flight=1)], (), False, Refusal.FULL),
        ([], (), True, Refusal.DOWN),
    ],
)
def test_who_may(among: list[Server], tried: tuple[str, ...], fail_open: bool, expected: str | Refusal) -> None:
    found = pick(RoundRobin(), among, tried=tried, fail_open=fail_open, hash_key=b"")
    assert (found.key if isinstance(found, Server) else found) == expected


candidates = st.lists(
    st.builds(
        Server,
        key=st.just(""),
        weight=st.floats(0.05, 256),
        backup=st.booleans(),
        max_connections=st.integers(0, 3),
        in_flight=st.integers(0, 4),
        available=st.booleans(),
        commanded=st.just(False),
    ),
    max_size=5,
).map(lambda some: [replace(one, key=str(number)) for number, one in enumerate(some)])


@given(candidates, st.sets(st.sampled_from("01234")), st.booleans(), st.sampled_from(POLICIES), st.binary(max_size=4))
def test_whoever_is_picked_may_have_the_request(
    among: list[Server], tried: set[str], fail_open: bool, policy: str, hash_key: bytes
) -> None:
    chosen = pick(policy_named(policy, Random(1).random), among, tried=tried, fail_open=fail_open, hash_key=hash_key)
    untried = [one for one in among if one.key not in tried]
    open_ = [one for one in untried if one.available] or (untried if fail_open else [])
    rank = [one for one in open_ if not one.backup] or open_
    free = [one for one in rank if one.max_connections == 0 or one.in_flight < one.max_connections]
    if isinstance(chosen, Server):
        assert chosen in free
    else:
        assert not free
        assert (chosen is Refusal.FULL) == bool(rank)


def test_policies_by_name() -> None:
    for name in POLICIES:
        assert policy_named(name, Random(1).random).choose(servers(a=1.0), b"k").key == "a"
    with pytest.raises(ValueError, match="'sticky' is no policy"):
        policy_named("sticky", Random(1).random)


# --------------------------------------------------------------------------------------------------- round robin


@pytest.mark.parametrize(
    ("weights", "turns"),
    [
        ({"a": 1, "b": 1, "c": 1}, "abcabc"),
        ({"a": 5, "b": 1, "c": 1}, "aabacaaaabacaa"),
        ({"a": 2, "b": 1}, "abaaba"),
        ({"a": 0.5, "b": 1.0}, "babbab"),
        ({"a": 1}, "aaa"),
    ],
)
def test_round_robin_step_by_step(weights: dict[str, float], turns: str) -> None:
    assert story(RoundRobin(), servers(**weights), len(turns)) == turns


def test_round_robin_goes_on_when_a_server_leaves_and_comes_back() -> None:
    policy, (a, b, c) = RoundRobin(), servers(a=1, b=1, c=1)
    assert story(policy, [a, b, c], 2) == "ab"
    assert story(policy, [a, c], 6) == "ccacac"  # c was next, and owed the turn that b's absence left
    assert Counter(story(policy, [a, b, c], 30)) == {"a": 10, "b": 10, "c": 10}


def test_round_robin_forgets_servers_that_left_for_good() -> None:
    policy = RoundRobin()
    for number in range(1000):
        policy.choose([Server(f"a{number}"), Server(f"b{number}")])
    assert len(policy._credit) <= 30


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6))
def test_round_robin_gives_each_exactly_its_weight_in_each_cycle(weights: list[int]) -> None:
    among = [Server(str(number), weight) for number, weight in enumerate(weights)]
    policy = RoundRobin()
    for _ in range(2):
        turns = Counter(policy.choose(among).key for _ in range(sum(weights)))
        assert turns == {one.key: one.weight for one in among}


# --------------------------------------------------------------------------------------------- least connections


@pytest.mark.parametrize(
    ("loads", "weights", "expected"),
    [
        ((3, 1, 2), (1, 1, 1), "b"),
        ((3, 2, 2), (2, 1, 1), "a"),
        ((0, 0, 1), (1, 1, 9), "a"),
        ((4, 2, 9), (2, 1, 1), "a"),  # equal for their weights: they take turns
    ],
)
def test_least_connections(loads: tuple[int, ...], weights: tuple[float, ...], expected: str) -> None:
    among = [Server(key, weight, in_flight=load) for key, weight, load in zip("abc", weights, loads, strict=True)]
    assert LeastConnections().choose(among).key == expected


def test_idle_servers_take_turns_by_weight() -> None:
    assert story(LeastConnections(), servers(a=2, b=1), 6) == "abaaba"


def test_a_slow_server_gets_less() -> None:
    policy, among, now, ends, turns = LeastConnections(), servers(a=1, b=1), 0, [], Counter[str]()
    for now in range(2000):
        for end, one in [item for item in ends if item[0] <= now]:
            one.in_flight -= 1
            ends.remove((end, one))
        chosen = policy.choose(among)
        chosen.in_flight += 1
        turns[chosen.key] += 1
        ends.append((now + (30 if chosen.key == "a" else 10), chosen))
    assert turns["b"] / turns["a"] == pytest.approx(3, rel=0.15)


# ---------------------------------------------------------------------------------------------------- random two


def test_of_two_the_less_loaded_wins() -> None:
    rolls = iter([0.0, 0.9])
    among = [Server("a", in_flight=5), Server("b", in_flight=9), Server("c", in_flight=1)]
    assert RandomTwo(lambda: next(rolls)).choose(among).key == "c"
    rolls = iter([0.5, 0.0])
    assert RandomTwo(lambda: next(rolls)).choose(among).key == "a"


def test_the_draw_stays_in_bounds_whatever_is_rolled() -> None:
    for roll in (0.0, 0.999999999999, 1.0 - 2**-53):
        assert RandomTwo(lambda roll=roll: roll).choose(servers(a=0.1, b=0.2, c=0.7)).key in "abc"  # type: ignore[misc]
    assert RandomTwo(lambda: 0.5).choose(servers(a=1)).key == "a"


def test_random_two_spreads_by_weight_and_never_to_the_most_loaded() -> None:
    policy, among = RandomTwo(Random(7).random), servers(a=1, b=1, c=2)
    turns = Counter(policy.choose(among).key for _ in range(20_000))
    assert {key: count / 20_000 for key, count in turns.items()} == pytest.approx(
        {"a": 0.25, "b": 0.25, "c": 0.5}, rel=0.05
    )
    among[2].in_flight = 1000
    assert Counter(policy.choose(among).key for _ in range(1000))["c"] == 0


@pytest.mark.parametrize("name", ["least_connections", "random_two"])
def test_requests_that_stay_are_spread_evenly(name: str) -> None:
    policy, among = policy_named(name, Random(3).random), servers(a=1, b=1, c=1, d=1)
    for _ in range(4000):
        policy.choose(among, b"").in_flight += 1
    loads = [one.in_flight for one in among]
    assert max(loads) - min(loads) <= (1 if name == "least_connections" else 12)


# ----------------------------------------------------------------------------------------------- consistent hash

KEYS = [f"192.0.2.{number % 256}/{number}".encode() for number in range(20_000)]


DRAWN = 0.22612915783816037


def test_draws_are_the_same_everywhere() -> None:
    """Two workers, two machines and two versions must agree; a change of this number moves every client."""
    assert draw(b"192.0.2.1", "127.0.0.1:8000", 1.0) == pytest.approx(DRAWN, rel=1e-12)
    assert draw(b"192.0.2.1", "127.0.0.1:8000", 4.0) == pytest.approx(DRAWN / 4, rel=1e-12)


def test_the_share_of_keys_is_the_share_of_weights() -> None:
    policy, among = ConsistentHash(), servers(a=1, b=2, c=1, d=4)
    turns = Counter(policy.choose(among, key).key for key in KEYS)
    shares = {key: count / len(KEYS) for key, count in turns.items()}
    assert shares == pytest.approx({"a": 0.125, "b": 0.25, "c": 0.125, "d": 0.5}, rel=0.05)


def test_a_server_that_leaves_moves_only_its_own_keys() -> None:
    policy, among = ConsistentHash(), servers(a=1, b=1, c=1, d=1)
    before = {key: policy.choose(among, key).key for key in KEYS}
    after = {key: policy.choose(among[:-1], key).key for key in KEYS}
    moved = {key for key in KEYS if before[key] != after[key]}
    assert moved == {key for key in KEYS if before[key] == "d"}
    inherited = Counter(after[key] for key in moved)
    assert max(inherited.values()) < 1.15 * min(inherited.values())


def test_a_change_of_weight_moves_keys_to_or_from_that_server_alone() -> None:
    policy = ConsistentHash()
    for key in KEYS[:5000]:
        before = policy.choose(servers(a=1, b=1, c=1), key).key
        after = policy.choose(servers(a=1, b=1, c=0.3), key).key
        assert before == after or before == "c"


def test_requests_without_a_key_take_turns() -> None:
    assert story(ConsistentHash(), servers(a=1, b=1), 4) == "abab"


def test_one_busy_key_overflows_in_its_own_order() -> None:
    policy, among, key = ConsistentHash(), servers(a=1, b=1, c=1, d=1), b"busy"
    for _ in range(400):
        policy.choose(among, key).in_flight += 1
    order = sorted(among, key=lambda one: draw(key, one.key, one.weight))
    loads = [one.in_flight for one in order]
    assert loads == sorted(loads, reverse=True)
    assert loads[0] == ceil(BOUND * 400 / 4)


def test_a_few_requests_at_once_stay_together() -> None:
    policy, among = ConsistentHash(), servers(a=1, b=1, c=1, d=1)
    for _ in range(BOUND_FROM):
        policy.choose(among, b"browser").in_flight += 1
    assert sorted(one.in_flight for one in among) == [0, 0, 0, BOUND_FROM]


@given(
    st.lists(st.tuples(st.floats(0.05, 20), st.integers(0, 40)), min_size=1, max_size=6),
    st.binary(min_size=1, max_size=8),
    st.integers(0, 5),
)
def test_consistent_hash_is_bounded_and_stable(loads: list[tuple[float, int]], hash_key: bytes, leaving: int) -> None:
    among = [Server(str(number), weight, in_flight=load) for number, (weight, load) in enumerate(loads)]
    policy = ConsistentHash()
    chosen = policy.choose(among, hash_key)
    total, weights = 1 + sum(load for _, load in loads), sum(weight for weight, _ in loads)
    assert chosen.in_flight + 1 <= max(BOUND_FROM, ceil(BOUND * total * chosen.weight / weights))
    idle = [replace(one, in_flight=0) for one in among]
    at_rest = policy.choose(idle, hash_key)
    rest = [one for one in idle if one.key != str(leaving)]
    if rest and at_rest.key != str(leaving):
        assert policy.choose(rest, hash_key) is at_rest
