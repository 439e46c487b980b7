#!/usr/bin/env python3
"""What metrics and logs cost: CPU per request and per handshake with both on, less the same with both off.

    python bench/telemetry_cost.py [--rounds 5] [--seconds 4] [--scenarios keepalive,handshake]

Done as compare.py does it, with its backend, certificates and load: one worker on CPU 0, backend and wrk on CPU 1, CPU
time of the whole process tree per unit of work, rounds of all in turn in the same run, the median of the differences.
"On" logs handshakes and requests to a file; "quiet" logs neither and counts, which is what compare.py measures; "off"
logs nothing, and the methods that count do nothing. Printed are on less off, in µs, and on to quiet, in percent.
The promise is at most 25 µs a request and 60 µs a handshake (a connection with one request costs the sum), and at most
25 % for the logs; whether it is kept is the reader's to judge.
"""

# ruff: noqa: T201 -- a command that prints its table

import argparse
import shlex
import statistics
import sys

from stage import TERMINATOR, stage

PROMISED_US = {"keepalive": 25.0, "handshake": 60.0 + 25.0}
PROMISED_PERCENT = 25.0
WITHOUT_COUNTING = """
import sys
from terminator.proxy.meters import Meters, PlainExchange
from terminator.proxy.traffic import Traffic
from terminator.telemetry.board import Counter
def nothing(*_, **__): pass
for owner, names in (
    (Meters, ("bytes_moved", "handshake", "request", "attempt", "retried", "connections")),
    (PlainExchange, ("count",)),
    (Counter, ("inc",)),
    (Traffic, ("note_gauges",)),
):
    for name in names:
        getattr(owner, name)  # it must be there
        setattr(owner, name, nothing)
from terminator.cli import main
sys.exit(main(sys.argv[1:]))
"""
VARIANTS = {
    "on": TERMINATOR,
    "quiet": TERMINATOR,
    "off": f"{sys.executable} -c {shlex.quote(WITHOUT_COUNTING)} run --config {{config}}",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--scenarios", default=",".join(PROMISED_US))
    arguments = parser.parse_args()
    figures = {scenario: {name: [] for name in VARIANTS} for scenario in arguments.scenarios.split(",")}
    with stage() as here:
        log = here.folder / "events"
        for name, program in VARIANTS.items():
            here.start_variant(name, logging_to(log) if name == "on" else str, program)
        for round_number in range(arguments.rounds + 1):
            for scenario, by_name in figures.items():
                for name in VARIANTS if round_number % 2 else reversed(VARIANTS):
                    figure, _ = here.measure(scenario, name, arguments.seconds)
                    if round_number:  # the first one warms up
                        by_name[name].append(figure)
        with log.open("rb") as written:
            lines = sum(1 for _ in written)
    print(f"{lines:,} lines were logged")
    for scenario, by_name in figures.items():
        show(scenario, by_name)


def logging_to(log):
    return lambda text: text.replace('handshakes: "off", requests: "off"', f"handshakes: {log}, requests: {log}")


def show(scenario, by_name):
    costs = [on - off for on, off in zip(by_name["on"], by_name["off"], strict=True)]
    shares = [100 * (on / quiet - 1) for on, quiet in zip(by_name["on"], by_name["quiet"], strict=True)]
    cost, share = statistics.median(costs), statistics.median(shares)
    on, quiet, off = (statistics.median(by_name[name]) for name in VARIANTS)
    print(f"{scenario:10} on {on:7.1f}  quiet {quiet:7.1f}  off {off:7.1f} µs")
    for told, found, rounds, promised, unit in (
        ("metrics and logs", cost, costs, PROMISED_US[scenario], "µs"),
        ("logs alone", share, shares, PROMISED_PERCENT, "%"),
    ):
        by_round = " ".join(f"{each:.0f}" for each in rounds)
        print(f"{'':10} {told:16} {found:6.1f} {unit:2}  promised {promised:.0f}  by round {by_round}")


if __name__ == "__main__":
    main()
