"""A bounded table keeps what is frequent, and says by how much it may be short."""

from __future__ import annotations

import random

from terminator.report.leaders import Leaders


class Counted:
    def __init__(self) -> None:
        self.count = 0.0


def test_everything_is_exact_while_there_is_room() -> None:
    leaders: Leaders[str, Counted] = Leaders(3, Counted)
    for key in "abcabab":
        leaders.at(key).count += 1
    assert [(key, each.count) for key, each in leaders.items()] == [("a", 3), ("b", 3), ("c", 1)]
    assert leaders.undercount == 0


def test_frequent_keys_survive_a_flood_and_the_bound_holds() -> None:
    rng = random.Random(1)
    leaders: Leaders[str, Counted] = Leaders(100, Counted)
    true: dict[str, int] = {}
    for number in range(50_000):
        key = f"often {rng.randrange(5)}" if rng.random() < 0.3 else f"rare {number}"
        true[key] = true.get(key, 0) + 1
        leaders.at(key).count += 1
    assert len(leaders) <= 100
    found = dict(leaders.items())
    for key in (f"often {number}" for number in range(5)):
        assert true[key] - leaders.undercount <= found[key].count <= true[key]
    assert leaders.undercount < 2000
