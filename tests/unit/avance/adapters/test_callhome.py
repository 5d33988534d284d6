"""Alerts are kept until the service centre has acknowledged them, over real TLS, and never stop the daemon."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from avance.adapters import callhome
from avance.adapters.callhome import DEAD_LETTERS, AlertQueue, Delivery, Reception, bury, deliver, waiting
from avance.config import CallHome
from avance.core import alerts
from avance.core.model import Alert
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


def first(directory: Path) -> Path:
    """Return the alert that has waited longest."""
    return directory / waiting(directory)[0]


def test_alerts_are_delivered_in_order_and_removed(tmp_path: Path, credentials: Credentials) -> None:
    """Each alert goes out once, oldest first, with the token, and is removed after its acknowledgement."""
    filled(tmp_path)
    seen: list[Json] = []
    with centre(credentials, acknowledge, seen) as target:
        while waiting(tmp_path):
            assert deliver(target, first(tmp_path)) == Delivery(Reception.TAKEN)
    assert [entry["body"]["code"] for entry in seen] == ["link_down", "vm_crashed"]
    assert {(entry["path"], entry["token"]) for entry in seen} == {("/v1/alerts", "Bearer t0ken")}
    assert [complaints("alert", entry["body"]) for entry in seen] == [[], []]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, b"{}"), Reception.UNCLEAR), ((200, b"{}"), Reception.UNCLEAR), ((200, b""), Reception.UNCLEAR),
        ((200, b"not json"), Reception.UNCLEAR), ((200, b"[]"), Reception.UNCLEAR), ((200, b'"x"'), Reception.UNCLEAR),
        ((200, b'{"ack": "another"}'), Reception.UNCLEAR), ((403, b'{"error": "token"}'), Reception.UNCLEAR),
        ((404, b""), Reception.UNCLEAR), ((429, b""), Reception.UNCLEAR),
        ((400, b'{"error": "no code"}'), Reception.REFUSED),
        ((413, b""), Reception.REFUSED), ((422, b""), Reception.REFUSED),
    ],
)  # fmt: skip
def test_alert_without_acknowledgement_is_kept(
    tmp_path: Path, credentials: Credentials, answer: tuple[int, bytes], said: Reception
) -> None:
    """Whatever else the service centre answers, the alert stays and the reason is told; some answers are for good."""
    filled(tmp_path)
    path = first(tmp_path)
    with centre(credentials, lambda _: answer, []) as target:
        delivery = deliver(target, path)
    assert (delivery.said, path.exists()) == (said, True)
    assert str(answer[0]) in delivery.why


def test_retry_carries_the_same_id(tmp_path: Path, credentials: Credentials) -> None:
    """A second try of one alert can be recognised by the service centre."""
    filled(tmp_path)
    seen: list[Json] = []
    with centre(credentials, lambda _: (503, b""), seen) as target:
        deliver(target, first(tmp_path))
        deliver(target, first(tmp_path))
    assert seen[0]["body"] == seen[1]["body"]


def test_dead_service_centre_is_a_reason(tmp_path: Path, credentials: Credentials) -> None:
    """Nobody listening is an ordinary failure."""
    filled(tmp_path)
    path = first(tmp_path)
    delivery = deliver(CallHome("https://127.0.0.1:1/v1/alerts", credentials.authority.read_text(), "t"), path)
    assert (delivery.said, path.exists()) == (Reception.AWAY, True)
    assert "refused" in delivery.why


def test_foreign_certificate_is_refused(
    tmp_path: Path, credentials: Credentials, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An alert is never told to a server that another authority vouches for."""
    other = ensure_credentials(tmp_path_factory.mktemp("other"), address="127.0.0.1", say=lambda _: None)
    filled(tmp_path)
    seen: list[Json] = []
    with centre(other, acknowledge, seen) as target:
        answer = deliver(CallHome(target.url, credentials.authority.read_text(), "t0ken"), first(tmp_path))
    assert (answer.said, "CERTIFICATE_VERIFY_FAILED" in answer.why) == (Reception.AWAY, True)
    assert seen == []


@pytest.mark.parametrize(
    ("url", "ca_pem", "token"),
    [
        ("https://127.0.0.1:99999/", "", "SECRET"), ("https://[::1", "", "SECRET"),
        ("https://127.0.0.1:1/", "garbage", "SECRET"),
        ("https://127.0.0.1:1/", "", "SECRET\n"), ("https://127.0.0.1:1/a b", "", "SECRET"),
        ("https://" + "x" * 300, "", "SECRET"), ("https://\u20ac.example:1/", "", "SECRET"),
    ],
)  # fmt: skip
def test_a_site_that_cannot_work_is_a_reason_without_its_token(
    tmp_path: Path, url: str, ca_pem: str, token: str
) -> None:
    """Whatever stands in the configuration, the process goes on, the alert stays, and the token is not told."""
    filled(tmp_path)
    path = first(tmp_path)
    delivery = deliver(CallHome(url, ca_pem, token), path)
    assert (delivery.said, path.exists()) == (Reception.AWAY, True)
    assert "SECRET" not in delivery.why


def test_an_answer_that_repeats_the_token_is_told_without_it(tmp_path: Path, credentials: Credentials) -> None:
    """What a service centre says goes into logs and files of this node; the token does not."""
    filled(tmp_path)
    with centre(credentials, lambda _: (403, b"who is t0ken?"), []) as target:
        delivery = deliver(target, first(tmp_path))
    assert "who is (secret)?" in delivery.why


@pytest.mark.parametrize("raw", [b"", b"\x00" * 40, b"{}", b"[]", b'{"id": 7}', b"[" * 100_000])
def test_a_damaged_file_is_a_dead_letter(tmp_path: Path, raw: bytes) -> None:
    """It is never sent; it goes to the file of dead letters with the reason, and waits no more."""
    path = tmp_path / "000000000001.json"
    path.write_bytes(raw)
    delivery = deliver(CallHome("https://127.0.0.1:1/", "", "t"), path)
    assert delivery.said is Reception.REFUSED
    bury(tmp_path, path.name, delivery.why)
    assert waiting(tmp_path) == []
    letter = json.loads((tmp_path / DEAD_LETTERS).read_text())
    assert (letter["name"], "damaged" in letter["why"]) == (path.name, True)


def test_an_alert_that_has_gone_is_no_failure(tmp_path: Path) -> None:
    """The daemon may replace an alert by a newer one of the same story at any moment."""
    assert deliver(CallHome("https://127.0.0.1:1/", "", "t"), tmp_path / "000000000001.json").said is Reception.TAKEN


def test_dead_letters_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file of dead letters becomes the earlier one; the newest are kept."""
    monkeypatch.setattr(callhome, "DEAD_BYTES_MAX", 1000)
    for number in range(50):
        (tmp_path / f"{number:012}.json").write_text("x" * 100)
        bury(tmp_path, f"{number:012}.json", "refused")
    size_bytes = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size_bytes < 3000
    assert "000000000049" in (tmp_path / DEAD_LETTERS).read_text()


def tell(directory: Path, *told: Alert) -> AlertQueue:
    """Return a queue that has made these alerts durable."""
    queue = AlertQueue(directory, A)

    async def story() -> None:
        for one in told:
            await queue.keep(one, 3)

    asyncio.run(story())
    return queue


def test_a_story_that_waits_is_one_alert_with_a_count(tmp_path: Path) -> None:
    """While nobody takes it, a repeat takes the place of the one before and counts up; other stories are untouched."""
    tell(
        tmp_path,
        alerts.alone(3, "consent"),
        alerts.vm_crashed(WEB),
        alerts.alone(4, "consent"),
        alerts.alone(5, "consent"),
    )
    bodies = [json.loads((tmp_path / name).read_text()) for name in waiting(tmp_path)]
    assert {(one["code"], one["count"]) for one in bodies} == {("vm_crashed", 1), ("alone", 3)}
    assert "epoch 5" in bodies[-1]["text"]


def test_a_daemon_that_was_started_anew_counts_on(tmp_path: Path) -> None:
    """What waits from an earlier run is the same story; a damaged file is left to who delivers."""
    tell(tmp_path, alerts.vm_crashed(WEB), alerts.vm_crashed(WEB))
    (tmp_path / "000000000000.json").write_text("{")
    queue = AlertQueue(tmp_path, A)
    queue.put(alerts.vm_crashed(WEB), 3)

    async def story() -> None:
        await until(lambda: "000000000003.json" in waiting(tmp_path) and len(waiting(tmp_path)) == 2)

    beside(queue.write(), story)
    assert json.loads((tmp_path / "000000000003.json").read_text())["count"] == 3


def test_a_story_that_is_taken_each_time_is_held_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three are told at once; what comes then waits together, and is told when the hour has passed."""
    clock = [0.0]
    monkeypatch.setattr(callhome, "now_s", lambda: clock[0])
    queue = AlertQueue(tmp_path, A)

    async def story() -> None:
        for number in range(1, 4):
            queue.put(alerts.vm_crashed(WEB), 3)
            path = tmp_path / f"{number:012}.json"
            await until(path.exists)
            path.unlink()  # taken
        queue.put(alerts.vm_crashed(WEB), 3)
        queue.put(alerts.vm_crashed(WEB), 3)
        await until(lambda: [path.name for path in tmp_path.iterdir()] == ["000000000005.later"])
        await queue.count()
        assert (waiting(tmp_path), queue.queued) == ([], 1)
        clock[0] = 3600.0
        queue.put(alerts.protected(), 3)
        await until(lambda: waiting(tmp_path) == ["000000000005.json", "000000000006.json"])

    beside(queue.write(), story)
    assert json.loads((tmp_path / "000000000005.json").read_text())["count"] == 2


def test_what_an_earlier_run_held_is_told_at_the_start(tmp_path: Path) -> None:
    """A held alert outlives the daemon, and the node."""
    tell(tmp_path, alerts.vm_crashed(WEB))
    (tmp_path / "000000000001.json").rename(tmp_path / "000000000001.later")
    queue = AlertQueue(tmp_path, A)

    async def story() -> None:
        await until(lambda: waiting(tmp_path) == ["000000000001.json"])

    beside(queue.write(), story)


def test_critical_alerts_have_room_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fills the queue, on the disk or before it, a critical alert still finds a place."""
    monkeypatch.setattr(callhome, "QUEUE_MAX", 5)
    monkeypatch.setattr(callhome, "RESERVED", 2)
    for number in range(1, 4):
        (tmp_path / f"{number:012}.json").write_text("junk")
    queue = tell(tmp_path, alerts.protected(), alerts.split("both nodes claim epoch 3"))
    assert queue.dropped == 1
    assert [json.loads((tmp_path / name).read_text())["code"] for name in waiting(tmp_path)[3:]] == ["split"]
    full = AlertQueue(tmp_path / "other", A)
    for _ in range(10):
        full.put(alerts.protected(), 3)
    full.put(alerts.split("both nodes claim epoch 3"), 3)
    assert (full.dropped, full.queued) == (7, 4)


def test_one_alert_can_be_made_durable_out_of_turn(tmp_path: Path) -> None:
    """What must be on the disk before something else happens is written at once, whatever else waits."""
    queue = AlertQueue(tmp_path, A)
    queue.put(alerts.protected(), 3)
    assert asyncio.run(queue.keep(alerts.split("both nodes claim epoch 3"), 3))
    assert json.loads(first(tmp_path).read_text())["code"] == "split"


def test_restarted_queue_goes_on_counting(tmp_path: Path) -> None:
    """A restarted daemon never overwrites an alert that still waits."""
    filled(tmp_path)
    (tmp_path / "note.json").write_text("not an alert")
    queue = AlertQueue(tmp_path, A)
    queue.put(alerts.protected(), 3)

    async def story() -> None:
        await until(lambda: sum(1 for _ in tmp_path.glob("0*.json")) == 3)

    beside(queue.write(), story)


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
