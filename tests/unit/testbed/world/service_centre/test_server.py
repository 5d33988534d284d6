"""Tests of testbed.world.service_centre.server over a real unix socket with real TLS. They use no network."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.world.service_centre.server import Mode, ServiceCentre
from testbed.world.tls import CENTRE_ADDRESS, Credentials, ensure_credentials

TOKEN = "invented"
ALERT: dict[str, object] = {
    "schema": "avance.alert/1", "id": "b-5", "node": "b", "seq": 5, "kind": "fault", "code": "peer_lost",
    "severity": "critical", "text": "Node a is silent.", "epoch": 2, "wall": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture(scope="module")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """One set of credentials for all tests of this file."""
    return ensure_credentials(tmp_path_factory.mktemp("cache"), say=lambda _: None)


class Bench:
    """A service centre, its files, and a client that trusts it."""

    def __init__(self, credentials: Credentials, directory: Path, sockets: Path) -> None:
        self.credentials = credentials
        self.file = directory / "alerts.jsonl"
        self.socket = sockets / "c"
        self.history = History()

    @asynccontextmanager
    async def centre(self, mode: Mode = Mode.UP) -> AsyncIterator[ServiceCentre]:
        """Run the service centre."""
        tls = self.credentials.server_context()
        async with ServiceCentre(
            socket=self.socket, tls=tls, store=self.file, token=TOKEN, history=self.history, mode=mode
        ) as centre:
            yield centre

    async def send(self, text: bytes) -> bytes:
        """Send bytes over TLS and read the answer to its end."""
        reader, writer = await asyncio.open_unix_connection(
            self.socket, ssl=self.credentials.client_context(), server_hostname=CENTRE_ADDRESS
        )
        try:
            writer.write(text)
            return await reader.read()
        finally:
            writer.transport.abort()

    async def post(
        self, token: str = TOKEN, path: str = "/v1/alerts", **changes: object
    ) -> tuple[int, dict[str, object]]:
        """Send an alert; the status and the JSON answer."""
        body = json.dumps(ALERT | changes).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        answer = await self.send(head.encode() + body)
        top, _, rest = answer.partition(b"\r\n\r\n")
        document = json.loads(rest)
        assert isinstance(document, dict)
        return int(top.split()[1]), document

    def stored(self) -> list[str]:
        """The ids in the file now."""
        return [json.loads(line)["id"] for line in self.file.read_text().splitlines()]

    def seen(self, kind: str) -> list[dict[str, object]]:
        """The fields of the records of this kind."""
        return [dict(item.fields) for item in self.history if item.kind == kind]


@pytest.fixture
def bench(credentials: Credentials, tmp_path: Path) -> Iterator[Bench]:
    """A bench with a short socket path."""
    with tempfile.TemporaryDirectory(prefix="tb-") as sockets:
        yield Bench(credentials, tmp_path, Path(sockets))


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run one scene with a limit that only a hang can reach."""

    async def limited() -> None:
        async with asyncio.timeout(100):
            await scene()

    asyncio.run(limited())


def test_an_alert_is_on_disk_before_it_is_acknowledged(bench: Bench) -> None:
    """When the acknowledgement arrives, the file holds the alert, and history and `received` know it."""

    async def scene() -> None:
        async with bench.centre() as centre:
            assert await bench.post() == (200, {"ack": "b-5"})
            assert bench.stored() == ["b-5"]
            assert [item.alert.code for item in centre.received] == ["peer_lost"]

    play(scene)
    assert bench.seen("received") == [
        {"code": "peer_lost", "node": "b", "id": "b-5", "severity": "critical", "repeat": False}
    ]


def test_a_repeat_is_acknowledged_but_kept_once(bench: Bench) -> None:
    """The same id again gets the same answer and is counted, not stored, also when both come at once."""

    async def scene() -> None:
        async with bench.centre() as centre:
            answers = await asyncio.gather(*(bench.post() for _ in range(5)))
            assert answers == [(200, {"ack": "b-5"})] * 5
            assert (len(centre.received), centre.repeats) == (1, 4)
            assert bench.stored() == ["b-5"]

    play(scene)
    assert sorted(str(item["repeat"]) for item in bench.seen("received")) == ["False"] + ["True"] * 4


def test_bad_requests_get_a_status_and_a_sentence(bench: Bench) -> None:
    """Bad body 400, wrong token 401, wrong path 404, other method 405; nothing is stored."""

    async def scene() -> None:
        async with bench.centre() as centre:
            status, answer = await bench.post(kind="surprise")
            assert (status, "'kind'" in str(answer["error"])) == (400, True)
            assert (await bench.post(token="wrong"))[0] == 401
            assert (await bench.post(path="/"))[0] == 404
            assert b" 405 " in await bench.send(b"GET /v1/alerts HTTP/1.1\r\n\r\n")
            assert centre.received == []
            assert bench.stored() == []

    play(scene)
    assert [item["status"] for item in bench.seen("refused")] == [400, 401, 404, 405]


def test_the_modes(bench: Bench) -> None:
    """Refuse answers 503 and keeps nothing; down does not listen; up takes the retry."""

    async def scene() -> None:
        async with bench.centre(Mode.REFUSE) as centre:
            assert (await bench.post())[0] == 503
            await centre.set_mode(Mode.DOWN)
            with pytest.raises(OSError, match=r"No such file|refused"):
                await bench.post()
            assert bench.stored() == []
            await centre.set_mode(Mode.UP)
            assert (await bench.post())[0] == 200

    play(scene)
    assert [item["mode"] for item in bench.seen("mode")] == ["refuse", "down", "up"]


def test_slow_means_stored_but_not_yet_acknowledged(bench: Bench) -> None:
    """The alert is there although no answer came; going down then cuts the open connection."""

    async def scene() -> None:
        async with bench.centre() as centre, asyncio.TaskGroup() as group:
            await centre.set_mode(Mode.SLOW, delay_s=3600)

            async def cut() -> None:
                with pytest.raises((OSError, ValueError, IndexError)):
                    await bench.post()

            waiting = group.create_task(cut())
            await centre.wait_for("peer_lost", 10)
            assert bench.stored() == ["b-5"]
            assert not waiting.done()
            await centre.set_mode(Mode.DOWN)

    play(scene)


def test_waiting_for_an_alert(bench: Bench) -> None:
    """An alert ends the wait also when it came before; an old one or another node's does not count."""

    async def scene() -> None:
        async with bench.centre() as centre:
            async with asyncio.TaskGroup() as group:
                first = group.create_task(centre.wait_for("peer_lost", 10, node="b"))
                await bench.post()
            assert first.result().alert.id == "b-5"
            assert (await centre.wait_for("peer_lost", 0.01)).alert.id == "b-5"
            with pytest.raises(WaitTimeout, match=r"'peer_lost' from a .* the last is 'peer_lost' of node b"):
                await centre.wait_for("peer_lost", 0.01, node="a")
            with pytest.raises(WaitTimeout):
                await centre.wait_for("peer_lost", 0.01, since_s=first.result().t_s + 1)

    play(scene)


def test_clients_that_misbehave_do_no_harm(bench: Bench) -> None:
    """No TLS, half a request and silence leave the service working, and it ends in spite of an open connection."""

    async def scene() -> None:
        async with bench.centre() as centre:
            _, plain = await asyncio.open_unix_connection(bench.socket)
            plain.write(b"GET / HTTP/1.1\r\n\r\n")
            tls = bench.credentials.client_context()
            _, half = await asyncio.open_unix_connection(bench.socket, ssl=tls, server_hostname=CENTRE_ADDRESS)
            half.write(b"POST /v1/alerts HTTP/1.1\r\nContent-Le")
            assert (await bench.post())[0] == 200
            assert len(centre.received) == 1
        plain.transport.abort()
        half.transport.abort()

    play(scene)
