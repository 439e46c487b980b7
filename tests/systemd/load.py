"""Clients inside the container: one new connection and request after the other, each counted; a line of JSON at the
end. Arguments: seconds, CA file, server name, ports."""

import collections
import json
import socket
import ssl
import sys
import threading
import time

seconds, ca_file, name, *ports = sys.argv[1:]
context = ssl.create_default_context(cafile=ca_file)
counts: collections.Counter[str] = collections.Counter()
end = time.monotonic() + float(seconds)


def client(port: int) -> None:
    while time.monotonic() < end:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
                context.wrap_socket(plain, server_hostname=name) as tls,
            ):
                tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while piece := tls.recv(65536):
                    answer += piece
            outcome = "ok" if answer.startswith(b"HTTP/1.1 200 ") else f"answer {answer[:20]!r}"
        except OSError as error:
            outcome = f"{type(error).__name__}: {error}"
        counts[f"{port} {outcome}"] += 1
        time.sleep(0.01)


threads = [threading.Thread(target=client, args=(int(port),)) for port in ports for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(counts))
