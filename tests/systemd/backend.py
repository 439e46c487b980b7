"""The application behind the proxy, inside the container: `/slow` takes five seconds, everything else no time."""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        pieces = [b"x" * 100] * (10 if self.path == "/slow" else 1)
        self.send_response(200)
        self.send_header("Content-Length", str(sum(map(len, pieces))))
        self.end_headers()
        for piece in pieces:
            if self.path == "/slow":
                time.sleep(0.5)
            self.wfile.write(piece)

    def log_message(self, *args: object) -> None:
        return


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
