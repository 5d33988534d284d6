"""Proves the guest agent client against a small server that speaks the agent's protocol on a unix socket."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from testbed.errors import GuestCommandError, WaitTimeout
from testbed.node import agent as guest
from testbed.node.agent import GuestAgent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


T = TypeVar("T")
LINE_BYTES_MAX = 2**20


def encode(text: str) -> str:
    """Base64, as the agent sends output."""
    return base64.b64encode(text.encode()).decode()


class AgentServer:
    """Speaks qemu-ga: sync, exec with a result after some polls, and files in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.results: dict[str, dict[str, object]] = {}
        self.polls_before_exit = 1
        self.seen: list[str] = []
        self.inputs: list[str] = []
        self.silent_for: set[str] = set()  # commands whose answer comes only with the next request, as after a stall
        self.hang_up_on: set[str] = set()
        self.stale: list[bytes] = []
        self._running: dict[int, tuple[str, int]] = {}
        self._handles: dict[int, tuple[str, int]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it ends."""
        while line := await reader.readline():
            request = json.loads(line.lstrip(b"\xff"))
            command = request["execute"]
            self.seen.append(command)
            if command in self.hang_up_on:
                self.hang_up_on.clear()
                break
            answer = json.dumps(self.answer(command, request.get("arguments", {}))).encode() + b"\n"
            if command == "guest-sync-delimited":
                answer = b"\xff" + answer
            if command in self.silent_for:
                self.silent_for.clear()
                self.stale.append(answer)
                continue
            writer.write(b"".join(self.stale) + answer)
            self.stale.clear()
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    def answer(self, command: str, arguments: dict[str, Any]) -> dict[str, object]:
        """The answer to one request."""
        match command:
            case "guest-sync-delimited":
                return {"return": arguments["id"]}
            case "guest-exec":
                if arguments["path"] == "missing":
                    return {
                        "error": {"class": "GenericError", "desc": "Failed to execute child process (No such file)"}
                    }
                pid = 100 + len(self._running)
                self._running[pid] = (arguments["path"], self.polls_before_exit)
                self.inputs.append(arguments.get("input-data", ""))
                return {"return": {"pid": pid}}
            case "guest-exec-status":
                path, polls = self._running[arguments["pid"]]
                self._running[arguments["pid"]] = (path, polls - 1)
                return {"return": {"exited": False} if polls > 0 else {"exited": True, **self.results.get(path, {})}}
            case "guest-get-time":
                return {"return": 1_500_000_000}
            case "guest-file-open":
                if arguments["mode"] == "r" and arguments["path"] not in self.files:
                    return {"error": {"class": "GenericError", "desc": "No such file or directory"}}
                if arguments["mode"] == "w":
                    self.files[arguments["path"]] = b""
                handle = len(self._handles)
                self._handles[handle] = (arguments["path"], 0)
                return {"return": handle}
            case "guest-file-write":
                self.files[self._handles[arguments["handle"]][0]] += base64.b64decode(arguments["buf-b64"])
                return {"return": {"count": 1, "eof": False}}
            case "guest-file-read":
                path, offset = self._handles[arguments["handle"]]
                part = self.files[path][offset : offset + arguments["count"]]
                self._handles[arguments["handle"]] = (path, offset + len(part))
                eof = len(part) < arguments["count"]
                return {"return": {"count": len(part), "buf-b64": base64.b64encode(part).decode(), "eof": eof}}
            case _:
                return {"return": {}}


def with_agent(tmp_path: Path, server: AgentServer, talk: Callable[[GuestAgent], Awaitable[T]]) -> T:
    """Run the conversation against the server."""

    async def scenario() -> T:
        path = tmp_path / "agent"
        async with (
            await asyncio.start_unix_server(server.serve, path, limit=LINE_BYTES_MAX),
            GuestAgent(path, node="a") as agent,
        ):
            return await talk(agent)

    return asyncio.run(scenario())


def test_the_wall_clock_of_the_node_is_told_in_seconds(tmp_path: Path) -> None:
    """The agent counts in nanoseconds."""

    async def talk(agent: GuestAgent) -> float:
        return await agent.wall_clock_s()

    assert with_agent(tmp_path, AgentServer(), talk) == 1.5


def test_a_command_returns_code_and_both_outputs(tmp_path: Path) -> None:
    """The result is complete, also when the command needs several polls."""
    server = AgentServer()
    server.polls_before_exit = 2
    server.results["xl"] = {"exitcode": 2, "out-data": encode("Name ID\n"), "err-data": encode("libxl: error\n")}
    done = with_agent(tmp_path, server, lambda agent: agent.run(["xl", "list"], timeout_s=100))
    assert done == (2, "Name ID\n", "libxl: error\n")
    assert server.seen.count("guest-exec-status") == 3


def test_standard_input_is_passed_on(tmp_path: Path) -> None:
    """Bytes given as input reach the command."""
    server = AgentServer()
    with_agent(tmp_path, server, lambda agent: agent.run(["cat"], timeout_s=100, stdin=b"hello"))
    assert server.inputs == [encode("hello")]


def test_a_signal_is_a_negative_code(tmp_path: Path) -> None:
    """Death by signal is not confused with success."""
    server = AgentServer()
    server.results["crash"] = {"signal": 11}
    assert with_agent(tmp_path, server, lambda agent: agent.run(["crash"], timeout_s=100)).returncode == -11


def test_a_command_that_must_succeed_says_how_it_failed(tmp_path: Path) -> None:
    """Node, command, code and last words stand in the error."""
    server = AgentServer()
    server.results["drbdadm"] = {"exitcode": 10, "err-data": encode("no metadata\n")}
    with pytest.raises(GuestCommandError, match=r"(?s)`drbdadm up r0` on node a failed with code 10.*no metadata"):
        with_agent(tmp_path, server, lambda agent: agent.must_succeed(["drbdadm", "up", "r0"], timeout_s=100))


def test_a_command_that_does_not_exist_was_not_started(tmp_path: Path) -> None:
    """A refusal is told apart from an unknown outcome."""
    with pytest.raises(GuestCommandError, match=r"Node a did not start `missing`: .*No such file"):
        with_agent(tmp_path, AgentServer(), lambda agent: agent.run(["missing"], timeout_s=100))


def test_a_command_over_its_limit_has_an_unknown_outcome(tmp_path: Path) -> None:
    """The time-out names the pid in the node and does not call the command failed."""
    server = AgentServer()
    server.polls_before_exit = 10**9
    with pytest.raises(GuestCommandError, match=r"(?s)did not end in 0\.1 s\. Its outcome is unknown.*pid 100"):
        with_agent(tmp_path, server, lambda agent: agent.run(["sleep"], timeout_s=0.1))


def test_an_answer_that_comes_too_late_does_not_meet_the_next_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an abandoned request the connection is synchronised before it is used again."""
    monkeypatch.setattr(guest, "REQUEST_TIMEOUT_S", 0.2)
    server = AgentServer()
    server.results["second"] = {"exitcode": 0, "out-data": encode("right")}
    server.silent_for.add("guest-exec")

    async def talk(agent: GuestAgent) -> str:
        with pytest.raises(GuestCommandError, match=r"did not answer guest-exec .*the outcome is unknown"):
            await agent.run(["first"], timeout_s=100)
        return await agent.must_succeed(["second"], timeout_s=100)

    assert with_agent(tmp_path, server, talk) == "right"
    assert server.seen.count("guest-sync-delimited") == 2


def test_a_lost_connection_is_unknown_and_made_anew(tmp_path: Path) -> None:
    """A fresh QEMU process behind the same path serves the next request."""
    server = AgentServer()
    server.results["uptime"] = {"exitcode": 0, "out-data": encode("up")}
    server.hang_up_on.add("guest-exec")

    async def talk(agent: GuestAgent) -> str:
        with pytest.raises(GuestCommandError, match=r"ended during guest-exec .*outcome is unknown"):
            await agent.run(["uptime"], timeout_s=100)
        return await agent.must_succeed(["uptime"], timeout_s=100)

    assert with_agent(tmp_path, server, talk) == "up"


def test_an_answer_without_end_is_unknown_and_the_connection_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no more memory than an answer may, and the next request is served."""
    monkeypatch.setattr(guest, "LINE_BYTES_MAX", 10_000)
    server = AgentServer()
    server.results["yes"] = {"exitcode": 0, "out-data": encode("y" * 100_000)}
    server.results["uptime"] = {"exitcode": 0, "out-data": encode("up")}

    async def talk(agent: GuestAgent) -> str:
        with pytest.raises(GuestCommandError, match=r"during guest-exec-status .*10000 bytes.*outcome is unknown"):
            await agent.run(["yes"], timeout_s=100)
        return await agent.must_succeed(["uptime"], timeout_s=100)

    assert with_agent(tmp_path, server, talk) == "up"


def test_an_agent_that_starts_later_is_waited_for(tmp_path: Path) -> None:
    """Connecting succeeds when the socket appears after the wait began."""

    async def scenario() -> list[str]:
        server = AgentServer()
        path = tmp_path / "agent"
        async with GuestAgent(path, node="a") as agent, asyncio.TaskGroup() as group:
            group.create_task(agent.connect(timeout_s=100))
            await asyncio.sleep(0)
            listener = await asyncio.start_unix_server(server.serve, path)
            group.create_task(listener.start_serving())
        listener.close()
        return server.seen

    assert asyncio.run(scenario()) == ["guest-sync-delimited"]


def test_an_agent_that_never_answers_is_a_time_out_with_the_reason(tmp_path: Path) -> None:
    """The text tells a missing socket from a silent agent."""

    async def scenario() -> None:
        async with GuestAgent(tmp_path / "nothing", node="b") as agent:
            await agent.connect(timeout_s=0.2)

    with pytest.raises(
        WaitTimeout, match=r"guest agent of node b; it did not come. Last thing seen: FileNotFoundError"
    ):
        asyncio.run(scenario())


def test_requests_of_two_tasks_do_not_mix(tmp_path: Path) -> None:
    """Two commands at once each get their own output."""
    server = AgentServer()
    for name in ("one", "two"):
        server.results[name] = {"exitcode": 0, "out-data": encode(name)}

    async def talk(agent: GuestAgent) -> list[str]:
        jobs = (agent.must_succeed([name], timeout_s=100) for name in ("one", "two"))
        return await asyncio.gather(*jobs)

    assert with_agent(tmp_path, server, talk) == ["one", "two"]


def test_a_file_is_written_and_read_in_pieces(tmp_path: Path) -> None:
    """Content longer than one request comes back unchanged."""
    content = bytes(range(256)) * 600
    assert len(content) > 3 * guest.CHUNK_BYTES

    async def talk(agent: GuestAgent) -> bytes:
        await agent.write_file("/etc/avance/site.json", content)
        return await agent.read_file("/etc/avance/site.json")

    server = AgentServer()
    assert with_agent(tmp_path, server, talk) == content
    assert server.seen.count("guest-file-close") == 2


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The refusal says which file on which node."""
    with pytest.raises(GuestCommandError, match=r"Node a refused guest-file-open \(/nothing\): No such file"):
        with_agent(tmp_path, AgentServer(), lambda agent: agent.read_file("/nothing"))
