"""A way to the real control that fails as told, for the tests of tries."""

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Flaky:
    """Forwards to control, but first does what `faults` says: a status with headers, or "break"."""

    def __init__(self, url, faults):
        self.faults, self.asked = list(faults), 0
        target = urlsplit(url)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.asked += 1
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                fault = outer.faults.pop(0) if outer.faults else None
                if fault == "break":
                    self.connection.close()
                    return
                if fault:
                    status, headers = fault
                    self.answer(status, headers, b"<html>a load balancer's own page</html>")
                    return
                connection = http.client.HTTPConnection(target.hostname, target.port, timeout=30)
                headers = {name: self.headers[name] for name in ("authorization", "content-type") if name in self.headers}
                connection.request(self.command, self.path, body=body, headers=headers)
                reply = connection.getresponse()
                self.answer(reply.status, {"content-type": reply.headers["content-type"]}, reply.read())
                connection.close()

            do_GET = do_PUT = do_DELETE = do_POST

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
