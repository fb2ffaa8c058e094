"""A door to the S3 stand-in of this process, which fails when it is told to, or is shut for a while."""

import random
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any


class FlakyBucket:
    """A bucket at an address of its own, which can be told to fail; open until it is closed.

    Attributes:
        uri: the bucket, as `s3://<name>`.
        endpoint: the address.
        asked: requests that came so far, without those that found the door shut.
        failed: those of them that failed.
    """

    def __init__(self, uri: str, seed: int) -> None:
        # The storage that `s3` serves lives in this process; this is a second door to it.
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self.uri = uri
        self.asked = self.failed = 0
        self._answers: tuple[str, ...] = ()
        self._requests_left, self._share = 0, 0.0
        self._until_away, self._away_until, self._away_seconds, self._shut = -1, 0.0, 0.0, False
        self._random, self._lock = random.Random(seed), threading.Lock()
        self._storage = DomainDispatcherApplication(create_backend_app)
        self._open(0)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def _open(self, port: int) -> None:
        from werkzeug.serving import make_server

        self._server = make_server("127.0.0.1", port, self, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more: who comes now is refused."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def fail(
        self,
        requests: int,
        share: float = 0.5,
        answers: tuple[str, ...] = ("500 InternalError", "503 SlowDown", "503", "dropped"),
    ) -> None:
        """Of the next `requests` that come, let each fail with probability `share`."""
        self._requests_left, self._share, self._answers = requests, share, answers

    def go_away(self, seconds: float, *, after: int, shut: bool) -> None:
        """From the request behind the next `after` on, serve nobody for so long.

        Args:
            seconds: for which it is away, counted from that request.
            after: requests that are served before.
            shut: refuse connections; False: answer each with an error.
        """
        self._until_away, self._away_seconds, self._shut = after, seconds, shut

    def _answer(self) -> str | None:
        with self._lock:
            self.asked += 1
            if self._until_away == 0:
                self._away_until = time.monotonic() + self._away_seconds
                if self._shut:
                    threading.Thread(target=self._stay_shut, daemon=True).start()
            self._until_away -= 1
            if time.monotonic() < self._away_until:
                self.failed += 1
                return "dropped" if self._shut else "503 SlowDown"
            self._requests_left -= 1
            if self._requests_left < 0 or self._random.random() >= self._share:
                return None
            self.failed += 1
            return self._random.choice(self._answers)

    def _stay_shut(self) -> None:
        port = self._server.server_port
        self.close()
        time.sleep(max(0.0, self._away_until - time.monotonic()))
        self._open(port)

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answer a request (WSGI)."""
        answer = self._answer()
        if answer is None:
            found: Iterable[bytes] = self._storage(environ, start)
            return found
        if answer == "dropped":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            start("200 OK", [])  # which arrives nowhere
            return [b""]
        status, _, code = answer.partition(" ")
        body = f"<Error><Code>{code}</Code><Message>not now</Message></Error>" if code else ""
        start(f"{status} {code or 'Trouble'}", [("Content-Type", "application/xml")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body.encode()]
