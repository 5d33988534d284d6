"""DRBD's handler says exactly what the daemon said, and `denied` when it said nothing."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from avance import fence_peer
from avance.adapters.control import serve
from avance.adapters.process import run
from tests.unit.avance.adapters.tools import beside, until

SCRIPT = "import sys; sys.path.append(sys.argv[1]); from avance.fence_peer import main; print(*sys.modules)"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _named_by_drbd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRBD_RESOURCE", "web")


def code_after(path: Path, reply: bytes) -> int:
    """Return the handler's exit code when somebody on the socket says just these bytes and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def say() -> None:
            asker, _ = listener.accept()
            with asker:
                asker.recv(4096)
                asker.sendall(reply)

        thread = threading.Thread(target=say)
        thread.start()
        try:
            return fence_peer.main(str(path))
        finally:
            thread.join()


@pytest.mark.parametrize("code", [3, 4, 5, 6, 7])
def test_answer_of_the_daemon_is_the_exit_code(tmp_path: Path, code: int) -> None:
    """What the control socket really writes goes to DRBD unchanged, for the resource that DRBD named."""
    path, asked, found = tmp_path / "sock", [], []

    async def daemon(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"code": code}

    async def story() -> None:
        await until(path.is_socket)
        found.append(await asyncio.to_thread(fence_peer.main, str(path)))

    beside(serve(path, daemon), story)
    assert found == [code]
    assert asked == [{"op": "fence-peer", "resource": "web"}]


@pytest.mark.parametrize(
    "reply",
    [b"", b"{}\n", b'{"error": "no right"}\n', b'{"code": "5"}\n', b'{"code": null}\n', b'{"code": 5}',
     b'{"code": 0}\n', b'{"code": 1}\n', b'{"code": 55}\n', b"x" * 5000],
)  # fmt: skip
def test_anything_else_is_denied(tmp_path: Path, reply: bytes) -> None:
    """Without a clear and whole code the handler ends with 1, so that I/O stays frozen."""
    assert code_after(tmp_path / "control.sock", reply) == 1


def test_no_daemon_is_denied(tmp_path: Path) -> None:
    """Nobody listens."""
    assert fence_peer.main(str(tmp_path / "nobody.sock")) == 1


def test_it_imports_next_to_nothing() -> None:
    """I/O is frozen while it starts: what takes long to import under emulation stays out."""
    done = asyncio.run(run([sys.executable, "-IS", "-c", SCRIPT, str(ROOT)], timeout_s=60.0))
    loaded = done.stdout.split()
    assert "avance.fence_peer" in loaded
    assert not {"json", "socket", "re", "enum", "typing", "asyncio", "pathlib"} & {*loaded}
