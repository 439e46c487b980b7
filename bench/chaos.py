#!/usr/bin/env python3
"""Backends killed, hung, slowed and restored in random order under load: what do clients see, behind which proxy?

    python chaos.py [--seconds 120] [--proxies terminator,haproxy] [--seed 1] [--rate 100] [--json FILE]

Three backend servers stand behind every proxy of the run at the same time, so that all meet the same failures. Of the
three at least one has been well for two seconds at any moment. GETs may not fail then: checks, passive health and
retries together have to hide every failure. A POST may fail, as nobody can know whether it was processed; but it may
never be sent twice, which the backends tell, since they write down the id of each POST before they answer.

The proxies are configured alike: the same timeouts, checks and number of retries; HAProxy with the retry-on conditions
that it has for GET, switched off for POST. Exit code 1 when a GET failed or a POST came twice behind terminator.
"""

# ruff: noqa: T201 -- a command that prints its table, and dice that need not be secret

import argparse
import asyncio
import collections
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from stage import free_port

SERVERS = 3
SLOW_SECONDS = 0.2
SETTLE_SECONDS = 2.0
CLIENTS = 12


# ------------------------------------------------------------------------------------------------------- the backends


async def serve(port, folder):
    """One backend server: notes POSTs, and is slow while the file `slow` is there."""
    posts = os.open(folder / "posts", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    slow = folder / f"slow-{port}"

    async def converse(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                await reader.readexactly(int(fields.get("content-length", 0)))
                if head.startswith("POST"):
                    os.write(posts, f"{fields['x-id']}\n".encode())
                if slow.exists():
                    await asyncio.sleep(SLOW_SECONDS)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
                await writer.drain()
                if fields.get("connection") == "close":
                    break
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


class Backend:
    def __init__(self, port, folder):
        self.port, self.folder = port, folder
        self.trouble = None
        self.well_since = time.monotonic()
        self.process = None
        self.start()

    def start(self):
        command = [sys.executable, __file__, "--serve", str(self.port), str(self.folder)]
        self.process = subprocess.Popen(command)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.02)
        raise SystemExit(f"the backend on port {self.port} does not start")

    def trouble_it(self, kind):
        self.trouble = kind
        if kind == "killed":
            self.process.kill()
            self.process.wait()
        elif kind == "hung":
            self.process.send_signal(signal.SIGSTOP)
        else:
            (self.folder / f"slow-{self.port}").touch()

    async def restore(self):
        if self.trouble == "killed":
            await asyncio.to_thread(self.start)
        elif self.trouble == "hung":
            self.process.send_signal(signal.SIGCONT)
        else:
            (self.folder / f"slow-{self.port}").unlink()
        self.trouble, self.well_since = None, time.monotonic()

    def is_settled(self):
        return self.trouble is None and time.monotonic() - self.well_since > SETTLE_SECONDS

    def stop(self):
        self.process.kill()
        self.process.wait()


async def disturb(backends, dice, counts):
    """Forever: trouble for one server, or the end of it, such that one that is settled always remains."""
    while True:
        await asyncio.sleep(dice.uniform(0.2, 1.5))
        backend = dice.choice(backends)
        if backend.trouble is not None:
            await backend.restore()
            counts["restored"] += 1
        elif any(other.is_settled() for other in backends if other is not backend):
            kind = dice.choice(["killed", "hung", "slowed"])
            backend.trouble_it(kind)
            counts[kind] += 1


# --------------------------------------------------------------------------------------------------------- the proxies


def make_certificate(folder):
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem", "-out", folder / "crt.pem"]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    (folder / "both.pem").write_bytes((folder / "crt.pem").read_bytes() + (folder / "key.pem").read_bytes())


def terminator(folder, port, servers):
    (folder / "terminator.yaml").write_text(
        f"""version: 1
workers: 2
listeners: [{{name: https, bind: "127.0.0.1:{port}"}}]
hosts: [{{names: [localhost], certificates: [{{chain: crt.pem, key: key.pem}}], routes: [{{path: /, backend: b}}]}}]
backends:
  b:
    servers: [{", ".join(f'"127.0.0.1:{each}"' for each in servers)}]
    health_check: {{path: /healthz, interval: 500ms, timeout: 300ms, rise: 2, fall: 2}}
    retries: {{attempts: 2}}
timeouts: {{backend_connect: 500ms, backend_response: 1s}}
log: {{handshakes: "off", requests: {folder}/requests.log, lifecycle: {folder}/lifecycle.log}}
"""
    )
    return [sys.executable, "-m", "terminator", "run", "--config", str(folder / "terminator.yaml")]


def haproxy(folder, port, servers):
    lines = "\n".join(f"  server s{each} 127.0.0.1:{each} check inter 500ms rise 2 fall 2" for each in servers)
    (folder / "haproxy.cfg").write_text(
        f"""global
  nbthread 2
defaults
  mode http
  timeout client 30s
  timeout connect 500ms
  timeout server 1s
  timeout check 300ms
  timeout queue 5s
  retries 2
  option redispatch 1
  retry-on conn-failure empty-response response-timeout junk-response
frontend f
  bind 127.0.0.1:{port} ssl crt {folder}/both.pem
  default_backend b
backend b
  balance roundrobin
  option httpchk GET /healthz
  http-request disable-l7-retry if METH_POST
{lines}
"""
    )
    return [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-q", "-f", str(folder / "haproxy.cfg")]


PROXIES = {"terminator": terminator, "haproxy": haproxy}


# ------------------------------------------------------------------------------------------------------------ the load


class Load:
    """Paced clients on kept connections to one proxy; counts what they see. Clients themselves never try again."""

    def __init__(self, name, port, context, rate, dice):
        self.name, self.port, self.context, self.dice = name, port, context, dice
        self.pause = CLIENTS / rate
        self.seen = collections.Counter()
        self.failures = collections.Counter()
        self.sent = set()
        self.slowest = 0.0

    async def client(self, number):
        streams, count = None, 0
        while True:
            await asyncio.sleep(self.dice.uniform(0, 2 * self.pause))
            post = self.dice.random() < 0.2
            kind = "POST" if post else "GET"
            count += 1
            ident = f"{self.name}-{number}-{count}"
            if post:
                self.sent.add(ident)
            began = time.monotonic()
            try:
                if streams is None:
                    streams = await asyncio.open_connection(
                        "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost"
                    )
                async with asyncio.timeout(20):  # wait_for loses a cancellation that meets an answer (Python 3.11)
                    status, keep = await self.exchange(*streams, kind, ident)
            except (TimeoutError, OSError, asyncio.IncompleteReadError, ssl.SSLError) as error:
                status, keep = type(error).__name__, False
            if not keep and streams is not None:
                streams[1].close()
                streams = None
            self.seen[kind] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            if status != 200:
                self.failures[kind, status] += 1

    async def exchange(self, reader, writer, kind, ident):
        body = "Content-Length: 5\r\n\r\nhello" if kind == "POST" else "\r\n"
        writer.write(f"{kind} /work HTTP/1.1\r\nHost: localhost\r\nX-Id: {ident}\r\n{body}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(":", 1) for line in head.split("\r\n")[1:-2])
        await reader.readexactly(int(fields.get("content-length", "0")))
        return int(head.split()[1]), "close" not in fields.get("connection", "")

    def failed(self, kind):
        return sum(count for (each, _), count in self.failures.items() if each == kind)


async def run(args, folder):
    dice = random.Random(args.seed)
    ports = [free_port() for _ in range(SERVERS)]
    backends = [Backend(port, folder) for port in ports]
    context = ssl.create_default_context(cafile=str(folder / "crt.pem"))
    processes, loads, troubles = [], [], collections.Counter()
    try:
        for name in args.proxies.split(","):
            port = free_port()
            processes.append(start(PROXIES[name](folder, port, ports)))
            await until_serving(port, context)
            loads.append(Load(name, port, context, args.rate, dice))
        await asyncio.sleep(SETTLE_SECONDS)
        tasks = [asyncio.create_task(load.client(number)) for load in loads for number in range(CLIENTS)]
        trouble = asyncio.create_task(disturb(backends, dice, troubles))
        await asyncio.wait([*tasks, trouble], timeout=args.seconds, return_when=asyncio.FIRST_EXCEPTION)
        broken = [task for task in (*tasks, trouble) if task.done()]
        for task in (*tasks, trouble):
            task.cancel()
        await asyncio.gather(*tasks, trouble, return_exceptions=True)
        for task in broken:
            task.result()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)
        for backend in backends:
            backend.stop()
    return loads, troubles


def start(command):
    return subprocess.Popen(command)


async def until_serving(port, context):
    for _ in range(500):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise SystemExit("a proxy does not start")


def result(load, posts):
    """What is told of one proxy."""
    twice = sum(1 for ident in load.sent if posts[ident] > 1)
    return {
        "proxy": load.name,
        "gets": load.seen["GET"],
        "gets_failed": load.failed("GET"),
        "posts": load.seen["POST"],
        "posts_failed": load.failed("POST"),
        "posts_twice": twice,
        "slowest_s": round(load.slowest, 2),
        "failures": {f"{kind} {status}": count for (kind, status), count in sorted(load.failures.items(), key=str)},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--proxies", default="terminator,haproxy")
    parser.add_argument("--rate", type=float, default=100, help="requests a second and proxy")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--serve", nargs=2, metavar=("PORT", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(int(args.serve[0]), pathlib.Path(args.serve[1])))
        return 0
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = pathlib.Path(name)
        make_certificate(folder)
        loads, troubles = asyncio.run(run(args, folder))
        posts = collections.Counter((folder / "posts").read_text().split())
        told = folder / "requests.log"
        errors = [line for line in told.read_text().splitlines() if '"error.type"' in line] if told.exists() else []
    results = [result(load, posts) for load in loads]
    print(f"{args.seconds:g} s, seed {args.seed}: " + ", ".join(f"{n} {kind}" for kind, n in sorted(troubles.items())))
    print(f"{'':12}{'GETs':>8}{'failed':>8}{'POSTs':>8}{'failed':>8}{'twice':>8}{'slowest':>10}")
    for each in results:
        figures = (each[key] for key in ("gets", "gets_failed", "posts", "posts_failed", "posts_twice"))
        print(f"{each['proxy']:12}" + "".join(f"{figure:>8}" for figure in figures) + f"{each['slowest_s']:>8} s")
        if each["failures"]:
            print(f"{'':12}" + ", ".join(f"{count} x {what}" for what, count in each["failures"].items()))
    for line in errors:
        if '"GET"' in line:
            print(line)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"troubles": troubles, "results": results}, indent=2))
    ours = [each for each in results if each["proxy"] == "terminator"]
    return int(any(each["gets_failed"] or each["posts_twice"] for each in ours))


if __name__ == "__main__":
    sys.exit(main())
