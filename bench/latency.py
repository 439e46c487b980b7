#!/usr/bin/env python3
"""How long a request takes beside nginx, where each is half as busy as it can be, and at the same rate.

    python bench/latency.py [--rounds 7] [--seconds 3] [--connections 64] [--saturation-seconds 4] [--most 12000]
                            [--first]

GETs of 100 bytes over kept TLS connections, one worker on CPU 0; the backend (nginx) and the load share CPU 1. First
wrk finds how many requests per second each can take. Then bench/open_loop.py, a process of its own, asks each at half
of that, and nginx at half of terminator's too: at a constant rate, timed from when each request was due. Rounds of all
in turn; medians of the rounds, in µs. `late` is how late the generator itself was, which is part of the figures.

The generator keeps its time up to some 12,000 requests per second (--most); nginx, where half of what it can take is
more, is asked for that many: it is then less than half as busy as it can be, and terminator's ratio to it the worse.
The same where wrk and the backend fill CPU 1 before the proxy fills CPU 0. The tool says so, and asserts nothing.

On a machine that does other work too, whatever keeps a process from its CPU shows in every p99. With --first (as root)
proxies, backend and load go before all that, which then stands still while the rates are found.
"""

# ruff: noqa: T201 -- a command that prints its table

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
from typing import Any

import compare
from stage import Stage, stage

PERCENTILES = ("p50", "p99", "p99.9")
FULL_CPU = 0.9
"""A proxy that used less of its CPU while wrk pressed was not what limited the rate."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--saturation-seconds", type=int, default=4)
    parser.add_argument("--most", type=float, default=12000, help="requests per second that the generator can do")
    parser.add_argument("--first", action="store_true", help="go before all other work on the machine; as root")
    arguments = parser.parse_args()
    if arguments.first and os.geteuid() != 0:
        parser.error("--first needs root")
    with stage() as here:
        for name in ("nginx", "terminator"):
            here.start(name)
        if arguments.first:
            here.put_first()
        rates = {name: saturation(here, name, arguments.saturation_seconds) for name in ("nginx", "terminator")}
        halves = {name: min(rate / 2, arguments.most) for name, rate in rates.items()}
        cases = {
            "terminator, half of its own": ("terminator", halves["terminator"]),
            f"nginx, {halves['nginx'] / rates['nginx']:.0%} of its own": ("nginx", halves["nginx"]),
            "nginx, same as terminator": ("nginx", halves["terminator"]),
        }
        runs: dict[str, list[dict[str, Any]]] = {case: [] for case in cases}
        for _ in range(arguments.rounds):
            for case, (name, rate) in cases.items():
                runs[case].append(load(name, rate, arguments))
    show(cases, runs)


def saturation(here: Stage, name: str, seconds: int) -> float:
    """Requests per second under wrk."""
    cpu_us, rate = here.measure("keepalive", name, seconds)
    used = cpu_us * rate / 1e6
    limited = "" if used > FULL_CPU else "; the load was the limit, it could take more"
    print(f"{name} at saturation: {rate:,.0f} requests/s, {used:.0%} of its CPU{limited}")
    return rate


def load(name: str, rate: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """What the generator found."""
    generator = pathlib.Path(__file__).with_name("open_loop.py")
    command = ["taskset", "-c", "1", sys.executable, generator, f"--port={compare.PORTS[name]}", f"--rate={rate}"]
    command += [f"--seconds={arguments.seconds}", f"--connections={arguments.connections}"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def show(cases: dict[str, tuple[str, float]], runs: dict[str, list[dict[str, Any]]]) -> None:
    head = (*PERCENTILES, "late p50", "late p99", "queued", "unanswered")
    print(f"\n{'':28}{'rate/s':>8}" + "".join(f"{each:>11}" for each in head))
    for case, (_, rate) in cases.items():
        figures = [median(runs[case], "latency", each) for each in PERCENTILES]
        figures += [median(runs[case], "late", each) for each in ("p50", "p99")]
        figures += [sum(run[each] for run in runs[case]) for each in ("queued", "unanswered")]
        print(f"{case:28}{rate:8.0f}" + "".join(f"{figure:11.0f}" for figure in figures))
    for case in cases:
        print(f"p99 of {case}, by round:", *(f"{run['latency']['p99']:.0f}" for run in runs[case]))
    ours, *theirs = cases
    for other in theirs:
        ratios = [median(runs[ours], "latency", each) / median(runs[other], "latency", each) for each in PERCENTILES]
        told = "  ".join(f"{each} {ratio:.2f}" for each, ratio in zip(PERCENTILES, ratios, strict=True))
        print(f"terminator's to {other}: {told}")


def median(runs: list[dict[str, Any]], kind: str, percentile: str) -> float:
    return statistics.median(run[kind][percentile] for run in runs)


if __name__ == "__main__":
    main()
