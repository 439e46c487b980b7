#!/usr/bin/env python3
"""Mixed abuse of a running terminator, with a well-behaved client beside it: its errors, and its p99 against quiet.

    python bench/abuse.py [--quiet SECONDS] [--seconds 600] [--workers 2] [--idle COUNT] [--ratio 5] [--port 19450]

Starts the daemon, a backend and the well-behaved client (each a process of its own); measures the client alone for
`--quiet` seconds, then for `--seconds` beside all attacks of ATTACKS at once, which come from other addresses of
127.0.0.0/8. With `--idle` it only opens so many idle TLS connections and measures the daemon's memory for each.
Exit code 1 when the client had an error, its p99 rose more than five times, or something was left behind.
Needs trustme. Traffic stays on this machine.
"""

# ruff: noqa: T201 -- a command that prints its table

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import resource
import runpy
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import trustme

ROOT = Path(__file__).parents[1]
PORT = GOOD_PORT = BAD_PORT = 0  # see --port
HOST = "a.test"
ALLOWED_RATIO = 5.0
FORK = multiprocessing.get_context("fork")
CASES = runpy.run_path(str(ROOT / "tests" / "wire" / "request_cases.py"))["CASES"]
GET = b"GET /%b HTTP/1.1\r\nHost: a.test\r\n\r\n"


# ------------------------------------------------------------------------------------------------------ the attacks


class Attacker:
    """What each attack uses: connections from an address of its own."""

    def __init__(self, ca_file: str, number: int, stop: threading.Event) -> None:
        self.context = ssl.create_default_context(cafile=ca_file)
        self.address = f"127.0.1.{number + 1}"
        self.stop = stop

    def plain(self) -> socket.socket:
        sock = socket.socket()
        sock.settimeout(5)
        sock.bind((self.address, 0))
        sock.connect(("127.0.0.1", PORT))
        return sock

    def tls(self) -> ssl.SSLSocket:
        return self.context.wrap_socket(self.plain(), server_hostname=HOST)

    def drip(self, held: list[socket.socket], piece: bytes, seconds: float) -> None:
        """A piece on each of many connections now and then, for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.stop.is_set():
            for sock in held:
                with contextlib.suppress(OSError):
                    sock.sendall(piece)
            self.stop.wait(0.5)
        for sock in held:
            sock.close()


def slow_heads(a: Attacker) -> None:
    held = [a.tls() for _ in range(10)]
    for sock in held:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Slow: ")
    a.drip(held, b"x", 8)


def slow_bodies(a: Attacker) -> None:
    held = [a.tls() for _ in range(10)]
    for sock in held:
        sock.sendall(b"POST /bad/slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n")
    a.drip(held, b"x", 8)


def slow_reads(a: Attacker) -> None:
    held = [a.tls() for _ in range(5)]
    for sock in held:
        sock.sendall(GET % b"bad/big")
    a.drip(held, b"", 8)


def half_open_handshakes(a: Attacker) -> None:
    held = [a.plain() for _ in range(50)]
    for sock in held[::2]:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    a.drip(held, b"", 6)


def handshake_flood(a: Attacker) -> None:
    for _ in range(50):
        with contextlib.suppress(OSError):
            a.tls().close()
    a.stop.wait(0.2)


def hostile_heads(a: Attacker) -> None:
    for case in random.sample(CASES, 5):
        with a.tls() as sock:
            sock.sendall(case.raw)
            sock.recv(65536)
    a.stop.wait(0.1)


def garbage(a: Attacker) -> None:
    with a.plain() as sock:
        sock.sendall(random.randbytes(random.randrange(1, 2000)))
        sock.recv(65536)
    with a.tls() as sock:
        sock.sendall(random.randbytes(random.randrange(1, 2000)) + b"\r\n\r\n")
        sock.recv(65536)
    a.stop.wait(0.1)


def head_bombs(a: Attacker) -> None:
    with a.tls() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"a:\r\n" * 20000 + b"\r\n")
        sock.recv(65536)
    a.stop.wait(0.2)


def tiny_chunks(a: Attacker) -> None:
    with a.tls() as sock:
        sock.sendall(b"POST /bad/chunks HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.sendall(b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n")
        sock.recv(65536)
    a.stop.wait(0.2)


def unread_pipeline(a: Attacker) -> None:
    with a.tls() as sock:
        sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            for _ in range(3000):
                sock.sendall(GET % b"bad/kilobytes")
                if a.stop.is_set():
                    return
        a.stop.wait(2)


def resets(a: Attacker) -> None:
    for sent in (
        b"",
        b"GET / HTT",
        GET % b"bad/hang",
        b"POST /bad/slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nx",
    ):
        sock = a.tls()
        sock.sendall(sent)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    a.stop.wait(0.2)


def backend_faults(a: Attacker) -> None:
    for path in (b"reset", b"close", b"garbage", b"interim", b"truncated", b"early"):
        with a.tls() as sock, contextlib.suppress(OSError):
            sock.sendall(GET % (b"bad/" + path))
            sock.recv(65536)
    a.stop.wait(0.1)


ATTACKS: list[Callable[[Attacker], None]] = [
    slow_heads, slow_bodies, slow_reads, half_open_handshakes, handshake_flood, hostile_heads, garbage, head_bombs,
    tiny_chunks, unread_pipeline, resets, backend_faults,
]  # fmt: skip


def attack(ca_file: str, seconds: float, results: multiprocessing.Queue[dict[str, int]]) -> None:
    """A process: one thread per attack, again and again until the time is up."""
    stop, rounds = threading.Event(), Counter[str]()

    def again(number: int, kind: Callable[[Attacker], None]) -> None:
        attacker = Attacker(ca_file, number, stop)
        while not stop.is_set():
            try:
                kind(attacker)
            except OSError:
                stop.wait(0.05)  # being cut off is what attacks are for
            rounds[kind.__name__] += 1

    threads = [threading.Thread(target=again, args=each, daemon=True) for each in enumerate(ATTACKS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join(20)
    results.put(dict(rounds))


# ----------------------------------------------------------------------------------------------- the good neighbours


def behave(ca_file: str, seconds: float, results: multiprocessing.Queue[tuple[list[float], list[str]]]) -> None:
    """A process: about 100 requests a second on four kept connections, and a new connection every second."""
    context = ssl.create_default_context(cafile=ca_file)
    latencies: list[float] = []
    errors: list[str] = []

    def connect() -> ssl.SSLSocket:
        return context.wrap_socket(socket.create_connection(("127.0.0.1", PORT), 10), server_hostname=HOST)

    held: list[ssl.SSLSocket] = []
    until, number = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            if number % 100 == 0 and len(held) == 4:
                held.pop(0).close()
            while len(held) < 4:
                held.append(connect())
                began = time.monotonic()
            sock = held[number % 4]
            sock.sendall(GET % b"good")
            answer = sock.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(b"good"):
                errors.append(repr(answer[:80]))
            latencies.append(time.monotonic() - began)
        except OSError as error:
            errors.append(repr(error))
            held.clear()
        number += 1
        time.sleep(max(0.0, 0.01 - (time.monotonic() - began)))
    for sock in held:
        sock.close()
    results.put((latencies, errors))


def answer_requests(port: int) -> None:
    """A process: the backend; what it does is in the path."""
    listener = socket.create_server(("127.0.0.1", port), backlog=512)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock,), daemon=True).start()


def _serve(sock: socket.socket) -> None:
    plain = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
    with sock, contextlib.suppress(OSError):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = sock.recv(65536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            path = head.split(b" ")[1].rpartition(b"/")[2]
            if path in (b"slow", b"chunks"):
                while sock.recv(65536):  # the body, until it ends or its sender does
                    if path == b"chunks":
                        break
                sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                return
            if path == b"reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            if path == b"close":
                return
            if path == b"hang":
                time.sleep(1)
                return
            if path == b"big":
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                for _ in range(100):
                    sock.sendall(bytes(1_000_000))
                continue
            sock.sendall(
                {
                    b"garbage": b"\x16\x03\x01\r\n\r\n",
                    b"interim": b"HTTP/1.1 102 Processing\r\n\r\n" * 500,
                    b"truncated": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
                    b"early": plain + plain,
                    b"kilobytes": b"HTTP/1.1 200 OK\r\nContent-Length: 8192\r\n\r\n" + bytes(8192),
                }.get(path, plain)
            )
            if path in (b"garbage", b"truncated", b"interim"):
                return


# ----------------------------------------------------------------------------------------------------------- the run


class Daemon:
    def __init__(self, folder: Path, workers: int) -> None:
        authority = trustme.CA()
        leaf = authority.issue_cert(HOST)
        self.ca_file = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        (folder / "chain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        (folder / "key.pem").touch(mode=0o600)
        (folder / "key.pem").write_bytes(leaf.private_key_pem.bytes())
        routes = [{"path": "/", "backend": "good"}, {"path": "/bad/", "backend": "bad"}]
        config = {
            "version": 1,
            "workers": workers,
            "listeners": [{"name": "https", "bind": f"127.0.0.1:{PORT}"}],
            "hosts": [
                {
                    "names": [HOST],
                    "certificates": [{"chain": str(folder / "chain.pem"), "key": str(folder / "key.pem")}],
                    "routes": routes,
                }
            ],
            "backends": {
                "good": {"servers": [f"127.0.0.1:{GOOD_PORT}"]},
                "bad": {"servers": [f"127.0.0.1:{BAD_PORT}"], "passive_check": {"fail_count": 0}},
            },
            "timeouts": {"handshake": "5s", "request_head": "5s", "body_idle": "5s", "drain": "5s"},
            "limits": {"connections": 20000, "connections_per_ip": 0, "handshakes_per_ip": 50},
            "log": {"handshakes": str(folder / "handshakes.log"), "requests": str(folder / "requests.log")},
            "admin": {"socket": str(folder / "admin.sock")},
        }
        file = folder / "terminator.yaml"
        file.write_text(json.dumps(config))
        command = [sys.executable, "-m", "terminator", "run", "--config", str(file)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stderr is not None
        self.troubles: list[str] = []
        for line in self.process.stderr:
            if '"server.ready"' in line:
                break
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if '"server.crash"' in line or "Traceback" in line:
                self.troubles.append(line)

    def processes(self) -> list[int]:
        found, todo = [], [self.process.pid]
        while todo:
            found.append(pid := todo.pop())
            with contextlib.suppress(OSError):
                todo += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def memory_kib(self) -> int:
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
        return total

    def descriptors(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes())

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000 if values else float("nan")


def measure_client(daemon: Daemon, seconds: float) -> tuple[list[float], list[str]]:
    results: multiprocessing.Queue[tuple[list[float], list[str]]] = FORK.Queue()
    client = FORK.Process(target=behave, args=(daemon.ca_file, seconds, results))
    client.start()
    found = results.get()
    client.join()
    return found


def measure_idle(daemon: Daemon, count: int) -> float:
    context = ssl.create_default_context(cafile=daemon.ca_file)
    before, held = daemon.memory_kib(), []
    for number in range(count):
        sock = socket.socket()
        sock.bind((f"127.0.2.{number % 250 + 1}", 0))
        sock.connect(("127.0.0.1", PORT))
        tls = context.wrap_socket(sock, server_hostname=HOST)
        tls.sendall(GET % b"good")
        tls.recv(65536)
        held.append(tls.detach())  # only the descriptor is kept: this side shall be cheap
        if number % 40 == 39:
            time.sleep(0.02)
    each = (daemon.memory_kib() - before) / count
    for descriptor in held:
        os.close(descriptor)
    return each


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--quiet", type=float, default=30)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--ratio", type=float, default=ALLOWED_RATIO, help="how far p99 may rise; 0: however far")
    parser.add_argument("--port", type=int, default=19450, help="the first of three")
    options = parser.parse_args()
    global PORT, GOOD_PORT, BAD_PORT  # set before the other processes are forked
    PORT, GOOD_PORT, BAD_PORT = range(options.port, options.port + 3)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    backends = [FORK.Process(target=answer_requests, args=(port,), daemon=True) for port in (GOOD_PORT, BAD_PORT)]
    for backend in backends:
        backend.start()
    with tempfile.TemporaryDirectory(prefix="terminator-abuse-") as folder:
        daemon = Daemon(Path(folder), options.workers)
        measure_client(daemon, 3)  # warms all up
        if options.idle:
            print(f"{options.idle} idle connections: {measure_idle(daemon, options.idle):.1f} KiB each")
            return daemon.stop()
        quiet, early_errors = measure_client(daemon, options.quiet)
        memory, descriptors = daemon.memory_kib(), daemon.descriptors()
        results: multiprocessing.Queue[dict[str, int]] = FORK.Queue()
        attacker = FORK.Process(target=attack, args=(daemon.ca_file, options.seconds + 2, results))
        attacker.start()
        time.sleep(1)
        loud, errors = measure_client(daemon, options.seconds)
        peak = daemon.memory_kib()
        rounds = results.get()
        attacker.join()
        time.sleep(12)  # longer than every timeout of the configuration, and than idle backend connections need
        after, left = daemon.memory_kib(), daemon.descriptors() - descriptors
        ratio = percentile(loud, 0.99) / percentile(quiet, 0.99)
        failures = Counter(
            json.loads(line).get("error.type")
            for name in ("handshakes", "requests")
            for line in (Path(folder) / f"{name}.log").read_text().splitlines()
        )
        print(f"attacks, rounds of each: {json.dumps(rounds, sort_keys=True)}")
        print(f"what the log says of them: {json.dumps({str(k): v for k, v in failures.most_common()})}")
        for name, values, wrong in (("quiet", quiet, early_errors), ("abused", loud, errors)):
            p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
            print(f"{name:8}{len(values):8} requests  {len(wrong)} errors  p50 {p50:.2f} ms  p99 {p99:.2f} ms")
        print(f"p99 ratio {ratio:.2f}; memory {memory} KiB, at the end of the abuse {peak}, after it {after}")
        print(f"descriptors left behind: {left}; crashes: {len(daemon.troubles)}")
        for wrong in (early_errors + errors)[:5]:
            print("error:", wrong)
        code = daemon.stop()
    for backend in backends:
        backend.kill()
    well = not errors and ratio <= (options.ratio or ratio) and left <= 16 and not daemon.troubles and code == 0
    print("well" if well else f"NOT well (exit code of the daemon: {code})")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
