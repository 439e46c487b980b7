#!/usr/bin/env python3
"""What metrics and logs cost: CPU per request and per handshake with both on, less the same with both off.

    python bench/telemetry_cost.py [--rounds 5] [--seconds 4]

Done as compare.py does it, with its backend, certificates and load: one worker on CPU 0, backend and wrk on CPU 1, CPU
time of the whole process tree per unit of work, rounds of both in turn in the same run, the median of the differences.
"On" logs handshakes and requests to a file; "off" logs nothing, and the methods that count do nothing.
The promise is at most 25 µs a request and 60 µs a handshake (a connection with one request costs the sum).
"""

# ruff: noqa: T201 -- a command that prints its table

import argparse
import pathlib
import shlex
import shutil
import statistics
import sys
import tempfile

import compare

PORTS = {"on": 19446, "off": 19447}
PROMISED_US = {"keepalive": 25.0, "handshake": 60.0 + 25.0}
WITHOUT_COUNTING = """
import sys
from terminator.proxy.meters import Meters
from terminator.proxy.traffic import Traffic
def nothing(*_, **__): pass
for name in ("accepted", "bytes_moved", "handshake", "request", "attempt", "retried", "connections"):
    getattr(Meters, name)  # it must be there
    setattr(Meters, name, nothing)
Traffic.note_gauges = nothing
from terminator.cli import main
sys.exit(main(sys.argv[1:]))
"""


def write_config(d, name):
    sink = f"{d}/{name}.events" if name == "on" else "off"
    text = (d / "terminator.yaml").read_text()
    text = text.replace(str(compare.PORTS["terminator"]), str(PORTS[name]))
    text = text.replace('handshakes: "off", requests: "off"', f'handshakes: "{sink}", requests: "{sink}"')
    text = text.replace("admin.sock", f"{name}.sock")
    (d / f"{name}.yaml").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    arguments = parser.parse_args()
    d = pathlib.Path(tempfile.mkdtemp(prefix="telemetry-cost-"))
    compare.PORTS.update(PORTS)
    commands = {
        "on": f"{sys.executable} -m terminator run --config {d}/on.yaml",
        "off": f"{sys.executable} -c {shlex.quote(WITHOUT_COUNTING)} run --config {d}/off.yaml",
    }
    known = compare.command
    compare.command = lambda name, folder, terminator: commands.get(name) or known(name, folder, terminator)
    running = {}
    figures = {scenario: {"on": [], "off": []} for scenario in PROMISED_US}
    try:
        compare.make_files(d)
        running["backend"] = compare.start("backend", d, "", 1)
        for name in PORTS:
            write_config(d, name)
            running[name] = compare.start(name, d, "", 0)
        for round_number in range(arguments.rounds + 1):
            for scenario, by_name in figures.items():
                for name in ("on", "off") if round_number % 2 else ("off", "on"):
                    figure, _ = compare.measure(scenario, name, running[name].pid, d, arguments.seconds)
                    if round_number:  # the first one warms up
                        by_name[name].append(figure)
    finally:
        for process in running.values():
            compare.stop(process)
        lines = sum(1 for _ in (d / "on.events").open()) if (d / "on.events").exists() else 0
        shutil.rmtree(d, ignore_errors=True)
    print(f"{lines:,} lines were logged")
    for scenario, by_name in figures.items():
        print(
            scenario, "by round:", *(f"{on - off:.0f}" for on, off in zip(by_name["on"], by_name["off"], strict=True))
        )
    kept = True
    for scenario, by_name in figures.items():
        cost = statistics.median(on - off for on, off in zip(by_name["on"], by_name["off"], strict=True))
        on, off = (statistics.median(by_name[name]) for name in ("on", "off"))
        kept &= cost <= PROMISED_US[scenario]
        print(f"{scenario:10} on {on:7.1f}  off {off:7.1f}  cost {cost:6.1f} µs  promised {PROMISED_US[scenario]:.0f}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
