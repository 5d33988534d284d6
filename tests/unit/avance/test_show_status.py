"""`avance status` prints what the daemon said, whole and unchanged, and says in words and code why it cannot."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from avance.adapters.control import serve
from avance.show_status import main
from avance.status import unpaired
from avance.status_text import status_text
from tests.unit.avance.adapters.tools import beside, until

LONG = unpaired(0.0) | {"links": {f"link-{number}": "UP" for number in range(20_000)}, "node": 'n\u00f6de "a"\n'}


def shown(directory: Path, answer: dict[str, Any], *, for_programs: bool) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and the requests, with a real control socket."""
    requests: list[dict[str, Any]] = []
    codes: list[int] = []

    async def daemon(request: dict[str, Any]) -> dict[str, Any]:
        requests.append(request)
        return answer

    async def story() -> None:
        path = directory / "sock"
        await until(path.is_socket)
        codes.append(await asyncio.to_thread(main, for_programs=for_programs, path=str(path)))

    beside(serve(directory / "sock", daemon), story)
    return codes[0], requests


@pytest.mark.parametrize("status", [unpaired(0.0), LONG])
def test_programs_get_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str], status: dict[str, Any]) -> None:
    """The document comes out whole, however long it is."""
    assert shown(tmp_path, status, for_programs=True) == (0, [{"op": "status"}])
    assert json.loads(capsys.readouterr().out) == status


def test_people_get_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The daemon's words are printed as they are, with every line end and quote."""
    text = status_text(unpaired(0.0)) + '\n"\u00f6"\\'
    assert shown(tmp_path, {"ok": text}, for_programs=False) == (0, [{"op": "status", "words": True}])
    assert capsys.readouterr().out == f"{text}\n"


def test_refusal_is_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the daemon refuses ends with 2 and its reason."""
    assert shown(tmp_path, {"error": 'not "now"'}, for_programs=True)[0] == 2
    assert capsys.readouterr() == ("", 'avance: not "now"\n')


def test_no_daemon_is_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody on the socket is said with the name of the service."""
    assert main(for_programs=True, path=str(tmp_path / "none")) == 1
    assert "is the service `avance` running?" in capsys.readouterr().err


def test_daemon_that_dies_over_it_is_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that is cut off is never printed as a status."""
    path = tmp_path / "sock"

    async def cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"schema": ')
        writer.close()

    async def story() -> int:
        async with await asyncio.start_unix_server(cut, path):
            return await asyncio.to_thread(main, for_programs=True, path=str(path))

    assert asyncio.run(story()) == 1
    assert capsys.readouterr().out == ""
