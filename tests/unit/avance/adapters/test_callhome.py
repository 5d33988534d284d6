"""Alerts are kept until the service centre has acknowledged them, over real TLS, and never stop the daemon."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avance.adapters import callhome
from avance.adapters.callhome import AlertQueue, deliver, oldest
from avance.config import CallHome
from avance.core import alerts
from avance.parsed import Json
from testbed.world.tls import Credentials, ensure_credentials
from tests.playbook import PRIV, WEB, A
from tests.schema_check import complaints
from tests.unit.avance.adapters.tools import beside, until

Answer = Callable[[Json], tuple[int, bytes]]


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """A certificate for the local host."""
    cache = tmp_path_factory.mktemp("tls")
    return ensure_credentials(cache, address="127.0.0.1", say=lambda _: None)


@contextmanager
def centre(credentials: Credentials, answer: Answer, seen: list[Json]) -> Iterator[CallHome]:
    """Run a service centre that answers each alert as told; yields how a node reaches it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append({"path": self.path, "token": self.headers["Authorization"], "body": body})
            code, text = answer(body)
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given by the base class
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = credentials.server_context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"https://127.0.0.1:{server.server_port}/v1/alerts"
            yield CallHome(url, credentials.authority.read_text(), "t0ken")
        finally:
            server.shutdown()
            thread.join()


def acknowledge(body: Json) -> tuple[int, bytes]:
    """Answer as the published contract says."""
    return 200, json.dumps({"ack": body["id"]}).encode()


def filled(directory: Path) -> AlertQueue:
    """Return a queue with two alerts on disk."""
    queue = AlertQueue(directory, A)

    async def story() -> None:
        queue.put(alerts.link_down(PRIV), 3)
        queue.put(alerts.vm_crashed(WEB), 3)
        assert queue.queued == 2
        await until(lambda: sum(1 for _ in directory.glob("*.json")) == 2)

    beside(queue.write(), story)
    return queue


def test_alerts_are_delivered_in_order_and_removed(tmp_path: Path, credentials: Credentials) -> None:
    """Each alert goes out once, oldest first, with the token, and is removed after its acknowledgement."""
    filled(tmp_path)
    seen: list[Json] = []
    with centre(credentials, acknowledge, seen) as target:
        while (path := oldest(tmp_path)) is not None:
            assert deliver(target, path) is None
    assert [entry["body"]["code"] for entry in seen] == ["link_down", "vm_crashed"]
    assert {(entry["path"], entry["token"]) for entry in seen} == {("/v1/alerts", "Bearer t0ken")}
    assert [complaints("alert", entry["body"]) for entry in seen] == [[], []]


@pytest.mark.parametrize(
    "answer",
    [
        (500, b"{}"), (200, b"{}"), (200, b""), (200, b"not json"), (200, b"[]"), (200, b'"x"'),
        (200, b'{"ack": "another"}'), (403, b'{"error": "token"}'),
    ],
)  # fmt: skip
def test_alert_without_acknowledgement_is_kept(
    tmp_path: Path, credentials: Credentials, answer: tuple[int, bytes]
) -> None:
    """Whatever else the service centre answers, the alert stays and the reason is told."""
    filled(tmp_path)
    path = oldest(tmp_path)
    assert path is not None
    with centre(credentials, lambda _: answer, []) as target:
        assert deliver(target, path)
    assert path.exists()


def test_retry_carries_the_same_id(tmp_path: Path, credentials: Credentials) -> None:
    """A second try of one alert can be recognised by the service centre."""
    filled(tmp_path)
    seen: list[Json] = []
    path = oldest(tmp_path)
    assert path is not None
    with centre(credentials, lambda _: (503, b""), seen) as target:
        deliver(target, path)
        deliver(target, path)
    assert seen[0]["body"] == seen[1]["body"]


def test_dead_service_centre_is_a_reason(tmp_path: Path, credentials: Credentials) -> None:
    """Nobody listening is an ordinary failure."""
    filled(tmp_path)
    path = oldest(tmp_path)
    assert path is not None
    target = CallHome("https://127.0.0.1:1/v1/alerts", credentials.authority.read_text(), "t")
    assert "refused" in str(deliver(target, path))
    assert path.exists()


def test_foreign_certificate_is_refused(
    tmp_path: Path, credentials: Credentials, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An alert is never told to a server that another authority vouches for."""
    other = ensure_credentials(tmp_path_factory.mktemp("other"), address="127.0.0.1", say=lambda _: None)
    filled(tmp_path)
    seen: list[Json] = []
    path = oldest(tmp_path)
    assert path is not None
    with centre(other, acknowledge, seen) as target:
        answer = deliver(CallHome(target.url, credentials.authority.read_text(), "t0ken"), path)
    assert "CERTIFICATE_VERIFY_FAILED" in str(answer)
    assert seen == []


def test_restarted_queue_goes_on_counting(tmp_path: Path) -> None:
    """A restarted daemon never overwrites an alert that still waits."""
    filled(tmp_path)
    (tmp_path / "note.json").write_text("not an alert")
    queue = AlertQueue(tmp_path, A)
    queue.put(alerts.protected(), 3)

    async def story() -> None:
        await until(lambda: sum(1 for _ in tmp_path.glob("0*.json")) == 3)

    beside(queue.write(), story)


def test_full_queue_counts_what_it_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the service centre away for long, new alerts are counted and dropped, and the daemon goes on."""
    filled(tmp_path)
    monkeypatch.setattr(callhome, "QUEUE_MAX", 2)
    queue = AlertQueue(tmp_path, A)
    queue.put(alerts.protected(), 3)

    async def story() -> None:
        await until(lambda: queue.dropped == 1)

    beside(queue.write(), story)
    queue.put(alerts.protected(), 3)
    queue.put(alerts.protected(), 3)
    queue.put(alerts.protected(), 3)
    assert queue.dropped == 2


def test_refusing_disk_does_not_stop_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert that the disk refuses is counted; the daemon's writer goes on."""

    def refuse(path: Path, raw: bytes) -> None:
        raise OSError("no space left")

    queue = AlertQueue(tmp_path, A)
    monkeypatch.setattr(callhome, "write_durably", refuse)
    queue.put(alerts.protected(), 3)
    queue.put(alerts.protected(), 3)

    async def story() -> None:
        await until(lambda: queue.dropped == 2)

    beside(queue.write(), story)
