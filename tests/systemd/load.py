"""Clients inside the container: one new connection and request after the other, until told to stop.

Arguments: FILE, CA file, server name, ports. Each outcome is one line of FILE, `PORT OUTCOME`; FILE.stop ends it.
"""

import socket
import ssl
import sys
import threading
import time
from pathlib import Path

file, ca_file, name, *ports = sys.argv[1:]
context = ssl.create_default_context(cafile=ca_file)
stop = Path(f"{file}.stop")
latest = time.monotonic() + 120


def client(port: int) -> None:
    with Path(file).open("a", buffering=1) as outcomes:
        while not stop.exists() and time.monotonic() < latest:
            try:
                with (
                    socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
                    context.wrap_socket(plain, server_hostname=name) as tls,
                ):
                    tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                    answer = b""
                    while piece := tls.recv(65536):
                        answer += piece
                outcome = "ok" if answer.startswith(b"HTTP/1.1 200 ") else f"answer {answer[:20]!r}"
            except OSError as error:
                outcome = f"{type(error).__name__}: {error}"
            outcomes.write(f"{port} {outcome}\n")
            time.sleep(0.01)


threads = [threading.Thread(target=client, args=(int(port),)) for port in ports for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
