#!/usr/bin/env python3
"""The throughput of two workers beside one, where each worker has the same small part of a CPU.

    python bench/workers.py [--rounds 3] [--seconds 4] [--share 20] [--workers 2]
                            [--connections 400] [--scenarios keepalive,handshake]

Load and backend need CPU 1, and on two CPUs nothing is left for a second worker. So each worker process is confined to
`--share` percent of CPU 0, in a control group of its own: two then have twice the room of one, and CPU 1 more than
enough for both. What two workers lose, by sharing listeners or anything else, shows as a factor below two. Prints
requests per second (kept connections) and connections per second (a full handshake, one GET, close), rounds in turn,
the factor of their medians, and how evenly the kernel spread connections over the workers (SO_REUSEPORT).

Needs root, and control groups with a CPU controller (version 2, or 1); it exits with a word where it cannot run, and
asserts nothing.
"""

# ruff: noqa: T201 -- a command that prints its table

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import compare
from stage import Stage, stage

PERIOD_US = 10000
"""A short one: a worker that has used up its share stands still until the next."""

SMALLEST_SHARE = 10
"""The kernel gives no less than a millisecond of a period."""

SCENARIOS = {"keepalive": "requests/s", "handshake": "connections/s"}
CGROUPS = pathlib.Path("/sys/fs/cgroup")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--share", type=int, default=20, help="percent of CPU 0 for each worker")
    parser.add_argument("--workers", type=int, default=2, help="how many to set beside one")
    parser.add_argument("--connections", type=int, default=400, help="held to see how they are spread")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    arguments = parser.parse_args()
    if arguments.share < SMALLEST_SHARE or arguments.share * arguments.workers > 100:
        parser.error(f"each worker needs at least {SMALLEST_SHARE} percent, and all together at most 100")
    groups = cpu_groups()
    names = {"one": 1, "several": arguments.workers}
    scenarios = arguments.scenarios.split(",")
    rates: dict[str, dict[str, list[float]]] = {each: {name: [] for name in names} for each in scenarios}
    with contextlib.ExitStack() as ends:
        here = ends.enter_context(stage())
        for name, count in names.items():
            here.start_variant(name, with_workers(count))
            for pid in worker_pids(here, name):
                ends.enter_context(confined(groups, pid, arguments.share))
        for _ in range(arguments.rounds):
            for scenario, by_name in rates.items():
                for name, found in by_name.items():
                    found.append(here.measure(scenario, name, arguments.seconds)[1])
        spread = connections_by_worker(here, "several", arguments.connections)
    print(f"each worker confined to {arguments.share} % of a CPU")
    for scenario, by_name in rates.items():
        one, several = (statistics.median(by_name[name]) for name in names)
        print(
            f"{scenario:10} one worker {one:8.0f}  {arguments.workers} workers {several:8.0f} {SCENARIOS[scenario]}",
            end="",
        )
        print(f"  factor {several / one:.2f}")
        print(f"{'':10} by round", *(f"{b / a:.2f}" for a, b in zip(by_name["one"], by_name["several"], strict=True)))
    print(f"{arguments.connections} connections held, by worker:", *spread)


def with_workers(count: int) -> Callable[[str], str]:
    return lambda text: text.replace("workers: 1", f"workers: {count}")


def worker_pids(here: Stage, name: str) -> list[int]:
    return [each["pid"] for each in status(here, name)["workers"]]


def connections_by_worker(here: Stage, name: str, count: int) -> list[int]:
    """Of `count` connections, all held at once."""
    with contextlib.ExitStack() as held:
        for _ in range(count):
            plain = held.enter_context(socket.create_connection(("127.0.0.1", compare.PORTS[name]), 5))
            held.enter_context(compare.client_context().wrap_socket(plain, server_hostname="localhost"))
        return [each["connections"] for each in status(here, name)["workers"]]


def status(here: Stage, name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "terminator", "status", "--config", here.folder / f"{name}.yaml"]
    found: dict[str, Any] = json.loads(subprocess.check_output([*command, "--format", "json"]))
    return found


def cpu_groups() -> pathlib.Path:
    """The folder to make control groups in. Exits where there is none."""
    if os.geteuid() != 0:
        sys.exit("cannot measure here: control groups need root")
    version_2 = (CGROUPS / "cgroup.controllers").exists()
    groups = CGROUPS if version_2 else CGROUPS / "cpu"
    try:
        if version_2:
            (groups / "cgroup.subtree_control").write_text("+cpu")
        with new_group(groups, "probe") as probe:
            if (probe / "cpu.max").exists() or (probe / "cpu.cfs_quota_us").exists():
                return groups
    except OSError as error:
        sys.exit(f"cannot measure here: no control groups ({error})")
    sys.exit("cannot measure here: no CPU controller among the control groups")


@contextlib.contextmanager
def new_group(groups: pathlib.Path, name: str) -> Iterator[pathlib.Path]:
    group = groups / f"terminator-bench-{name}"
    group.mkdir()
    try:
        yield group
    finally:
        group.rmdir()


@contextlib.contextmanager
def confined(groups: pathlib.Path, pid: int, percent: int) -> Iterator[None]:
    """Gives the process `percent` of one CPU, until it is back in the group that all others are in."""
    quota_us = PERIOD_US * percent // 100
    with new_group(groups, str(pid)) as group:
        if (limit := group / "cpu.max").exists():
            limit.write_text(f"{quota_us} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        (group / "cgroup.procs").write_text(str(pid))
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # it has ended
                (groups / "cgroup.procs").write_text(str(pid))


if __name__ == "__main__":
    main()
