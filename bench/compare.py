#!/usr/bin/env python3
"""Side by side: CPU that each TLS reverse proxy spends on the same work, on this machine, in one run.

    python compare.py [--proxies nginx,nginx-tuned,haproxy,caddy,terminator]
                      [--scenarios keepalive,post,chunked,handshake,bulk,idle] [--rounds 3] [--seconds 4]
                      [--terminator "python -m terminator run --config {config}"] [--json FILE]

One process or thread per proxy, pinned to CPU 0; the backend (nginx) and the load (wrk) share CPU 1. The figure is CPU
time of the proxy's whole process tree per unit of work, because it stays meaningful on a shared machine; every figure
is also given as a ratio to nginx *of the same round*, and the median of the rounds is printed. Needs Debian's nginx,
haproxy, caddy, wrk and openssl; a proxy that is not installed is skipped and said so. Traffic stays on 127.0.0.1.

    keepalive   GET of 100 bytes on 32 kept connections                     µs of CPU per request
    post        POST of 2 KiB, 100-byte answer, 32 kept connections         µs of CPU per request
    chunked     GET of a chunked 10 KiB answer, 32 kept connections         µs of CPU per request
    handshake   a full TLS 1.3 ECDSA P-256 handshake, one GET, close        µs of CPU per connection
    bulk        GET of 100 MiB on 4 connections                             ms of CPU per 100 MiB
    idle        600 idle TLS connections                                    KiB of memory (PSS) per connection
"""

# ruff: noqa: T201 -- a command that prints its table

import argparse
import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
PORTS = {"backend": 19000, "nginx": 19441, "nginx-tuned": 19442, "haproxy": 19443, "caddy": 19444, "terminator": 19445}
SCENARIOS = {
    "keepalive": "us/request",
    "post": "us/request",
    "chunked": "us/request",
    "handshake": "us/connection",
    "bulk": "ms/100MiB",
    "idle": "KiB/connection",
}


def write(path, text):
    path.write_text(text)
    return path


def make_files(d):
    def run(*a):
        subprocess.run(a, check=True, capture_output=True)

    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", d / "ec.key")
    run(
        "openssl",
        "req",
        "-x509",
        "-new",
        "-key",
        d / "ec.key",
        "-sha256",
        "-days",
        "30",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-out",
        d / "ec.crt",
    )
    (d / "ec.pem").write_bytes((d / "ec.crt").read_bytes() + (d / "ec.key").read_bytes())
    (d / "www").mkdir()
    (d / "www/10k").write_bytes(os.urandom(5120).hex().encode())
    with open(d / "www/100m", "wb") as f:
        for _ in range(100):
            f.write(os.urandom(1 << 20))
    for p in [d, *d.rglob("*")]:
        p.chmod(0o755 if p.is_dir() else 0o644)
    write(d / "post.lua", 'wrk.method = "POST"; wrk.body = string.rep("x", 2048)\n')
    body = "x" * 99 + "\\n"
    write(
        d / "backend.conf",
        f"""worker_processes 1; daemon off; pid {d}/backend.pid; error_log /dev/null;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; tcp_nodelay on; sendfile on;
 client_body_buffer_size 64k;
 client_body_temp_path {d}; proxy_temp_path {d}; fastcgi_temp_path {d}; uwsgi_temp_path {d}; scgi_temp_path {d};
 server {{ listen 127.0.0.1:{PORTS["backend"]} backlog=4096; root {d}/www; default_type text/plain;
  location = /hello {{ return 200 "{body}"; }}
  location = /chunked {{ ssi on; ssi_types *; alias {d}/www/10k; }} }} }}""",
    )
    for name, extra in (
        ("nginx", ""),
        (
            "nginx-tuned",
            "proxy_buffer_size 256k; proxy_buffers 16 256k; proxy_busy_buffers_size 512k; ssl_buffer_size 16k;",
        ),
    ):
        write(
            d / f"{name}.conf",
            f"""worker_processes 1; daemon off; pid {d}/{name}.pid; error_log /dev/null;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; {extra}
 client_body_temp_path {d}; proxy_temp_path {d}; fastcgi_temp_path {d}; uwsgi_temp_path {d}; scgi_temp_path {d};
 upstream b {{ server 127.0.0.1:{PORTS["backend"]}; keepalive 256; keepalive_requests 100000000; }}
 server {{ listen 127.0.0.1:{PORTS[name]} ssl backlog=4096;
  ssl_certificate {d}/ec.crt; ssl_certificate_key {d}/ec.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  location / {{ proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection "";
   proxy_set_header Host $host;
   proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https; }} }} }}""",
        )
    write(
        d / "haproxy.cfg",
        f"""global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout client 3600s
  timeout server 3600s
  timeout connect 5s
  option forwardfor
  http-reuse always
frontend f
  bind 127.0.0.1:{PORTS["haproxy"]} ssl crt {d}/ec.pem alpn http/1.1
  http-request set-header X-Forwarded-Proto https
  default_backend b
backend b
  server s1 127.0.0.1:{PORTS["backend"]}
""",
    )
    write(
        d / "Caddyfile",
        f"""{{
  auto_https off
  admin off
  servers {{
    protocols h1
  }}
}}
https://localhost:{PORTS["caddy"]} {{
  bind 127.0.0.1
  tls {d}/ec.crt {d}/ec.key
  reverse_proxy 127.0.0.1:{PORTS["backend"]}
}}
""",
    )
    write(
        d / "terminator.yaml",
        f"""version: 1
workers: 1
listeners: [{{name: https, bind: "127.0.0.1:{PORTS["terminator"]}"}}]
tls: {{unknown_sni: localhost}}
hosts:
  - names: [localhost]
    certificates: [{{chain: {d}/ec.crt, key: {d}/ec.key}}]
    routes: [{{path: /, backend: b}}]
backends: {{b: {{servers: ["127.0.0.1:{PORTS["backend"]}"]}}}}
timeouts: {{client_idle: 1h}}
log: {{handshakes: "off", requests: "off", lifecycle: stderr}}
admin: {{socket: {d}/admin.sock}}
""",
    )


def command(name, d, terminator):
    return {
        "backend": f"nginx -c {d}/backend.conf",
        "nginx": f"nginx -c {d}/nginx.conf",
        "nginx-tuned": f"nginx -c {d}/nginx-tuned.conf",
        "haproxy": f"haproxy -f {d}/haproxy.cfg",
        "caddy": f"caddy run --config {d}/Caddyfile --adapter caddyfile",
        "terminator": terminator.format(config=d / "terminator.yaml"),
    }[name]


def tree(pid):
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        with contextlib.suppress(OSError):
            for t in os.listdir(f"/proc/{p}/task"):
                todo += map(int, pathlib.Path(f"/proc/{p}/task/{t}/children").read_text().split())
    return out


def cpu_seconds(pid):
    total = 0
    for p in tree(pid):
        with contextlib.suppress(OSError):
            f = pathlib.Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(f[11]) + int(f[12])
    return total / TICK


def pss_kib(pid):
    total = 0
    for p in tree(pid):
        with contextlib.suppress(OSError):
            lines = pathlib.Path(f"/proc/{p}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def client_context():
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    return c


def start(name, d, terminator, cpu):
    with open(d / f"{name}.log", "wb") as log:
        p = subprocess.Popen(
            ["taskset", "-c", str(cpu), *shlex.split(command(name, d, terminator))],
            stdout=log,
            stderr=log,
            env={**os.environ, "GOMAXPROCS": "1", "XDG_CONFIG_HOME": str(d), "XDG_DATA_HOME": str(d)},
            start_new_session=True,
        )
    for _ in range(100):
        time.sleep(0.1)
        if p.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", PORTS[name]), 1) as s:
            if name == "backend":
                return p
            with client_context().wrap_socket(s, server_hostname="localhost"):
                return p
    sys.exit(f"{name} did not start; its last words:\n{(d / f'{name}.log').read_text()[-2000:]}")


def stop(p):
    p.send_signal(signal.SIGTERM)
    try:
        p.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)


def wrk(pid, port, path, conns, seconds, *extra):
    a = cpu_seconds(pid)
    out = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{conns}", f"-d{seconds}s", *extra, f"https://localhost:{port}{path}"],
        capture_output=True,
        text=True,
    ).stdout
    b = cpu_seconds(pid)
    n = int(re.search(r"(\d+) requests in", out)[1])
    bad = re.search(r"Non-2xx.*?(\d+)", out)
    if bad or not n:
        raise RuntimeError(f"port {port} {path}: {n} requests, wrk said: {out}")
    return (b - a) / n, n / seconds


def measure(scenario, name, pid, d, seconds):
    """Returns (figure in the scenario's unit, work per second where that means something)."""
    port = PORTS[name]
    if scenario == "keepalive":
        c, r = wrk(pid, port, "/hello", 32, seconds)
        return c * 1e6, r
    if scenario == "post":
        c, r = wrk(pid, port, "/hello", 32, seconds, "-s", str(d / "post.lua"))
        return c * 1e6, r
    if scenario == "chunked":
        c, r = wrk(pid, port, "/chunked", 32, seconds)
        return c * 1e6, r
    if scenario == "handshake":
        c, r = wrk(pid, port, "/hello", 32, seconds, "-H", "Connection: close")
        return c * 1e6, r
    if scenario == "bulk":
        c, r = wrk(pid, port, "/100m", 4, seconds)
        return c * 1e3, r * 100
    if scenario == "idle":
        before, held, ctx = pss_kib(pid), [], client_context()
        try:
            for _ in range(600):
                held.append(
                    ctx.wrap_socket(socket.create_connection(("127.0.0.1", port), 5), server_hostname="localhost")
                )
            for s in held:
                s.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
                s.recv(4096)
            time.sleep(0.5)
            return (pss_kib(pid) - before) / len(held), 0
        finally:
            for s in held:
                s.close()
    raise ValueError(scenario)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--proxies", default="nginx,nginx-tuned,haproxy,caddy,terminator")
    ap.add_argument("--scenarios", default=",".join(SCENARIOS))
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--seconds", type=int, default=4)
    ap.add_argument("--terminator", default=f"{sys.executable} -m terminator run --config {{config}}")
    ap.add_argument("--json")
    a = ap.parse_args()
    names = [
        n
        for n in a.proxies.split(",")
        if n == "terminator" or shutil.which(n.split("-")[0]) or print(f"skipped, not installed: {n}")
    ]
    scenarios = a.scenarios.split(",")
    d = pathlib.Path(tempfile.mkdtemp(prefix="compare-"))
    running, figures = {}, {s: {n: [] for n in names} for s in scenarios}
    rates = {s: {n: [] for n in names} for s in scenarios}
    try:
        make_files(d)
        running["backend"] = start("backend", d, a.terminator, 1)
        for n in names:
            running[n] = start(n, d, a.terminator, 0)
        for s in scenarios:
            for _ in range(1 if s == "idle" else a.rounds):
                for n in names:
                    f, r = measure(s, n, running[n].pid, d, a.seconds)
                    figures[s][n].append(f)
                    rates[s][n].append(r)
    finally:
        for p in running.values():
            stop(p)
        shutil.rmtree(d, ignore_errors=True)
    result = {}
    print(f"{'scenario':10} {'unit':14}" + "".join(f"{n:>22}" for n in names))
    for s in scenarios:
        row = f"{s:10} {SCENARIOS[s]:14}"
        for n in names:
            m = statistics.median(figures[s][n])
            ratio = (
                statistics.median(x / y for x, y in zip(figures[s][n], figures[s]["nginx"], strict=True))
                if "nginx" in names
                else float("nan")
            )
            result.setdefault(s, {})[n] = {"median": m, "ratio_to_nginx": ratio, "rate": statistics.median(rates[s][n])}
            row += f"{m:12.1f} ({ratio:5.2f}x)"
        print(row)
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
