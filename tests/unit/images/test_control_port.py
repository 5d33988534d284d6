"""The node's end of the control port, run as the node runs it: a question always has an answer, whoever is dead."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import socket
import sys
import threading
import tty
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from images import product
from images.manifest import QUESTIONS
from tests.unit.peers import Talk, peer, says, waits_after

SCRIPT = product.NODE_FILES / "usr/lib/node/control-port"


@pytest.fixture
def node(tmp_path: Path) -> ModuleType:
    """The service's code, with its sockets in a directory of the test."""
    loader = SourceFileLoader("control_port_of_the_node", str(SCRIPT))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    module.__dict__.update(
        PRODUCT=str(tmp_path / "product"), XENSTORE=str(tmp_path / "xenstore"), DRBD=str(tmp_path / "drbd")
    )
    return module


def asked(node: ModuleType, question: str, seconds: float = 0.2) -> dict[str, Any]:
    """Put one question; its number has to come back."""
    answer = node.answer(f"7 {seconds} {question}".encode())
    number, _, text = answer.partition(b" ")
    assert number == b"7"
    assert text.endswith(b"\n")
    document: dict[str, Any] = json.loads(text)
    return document


def listens(path: str, talk: Callable[[socket.socket], None]) -> threading.Thread:
    """Serve one connection."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()

    def serve() -> None:
        with server, server.accept()[0] as connection:
            talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_request_is_put_to_the_product(node: ModuleType) -> None:
    """The published question reaches the control socket as one line, and its answer comes back as it is."""
    came = []

    def talk(connection: socket.socket) -> None:
        came.append(connection.recv(100))
        connection.sendall(b'{"role": ')
        connection.sendall(b'"primary"}\n')

    thread = listens(node.PRODUCT, talk)
    assert asked(node, QUESTIONS["status"]) == {"role": "primary"}
    thread.join()
    assert json.loads(came[0]) == {"op": "status"}


@pytest.mark.parametrize(
    ("state", "words"),
    [("dead", "does not listen"), ("hung", "listens, but did not answer within 0.2 s"), ("dying", "closed the conn")],
)
def test_a_product_that_cannot_say_is_told_apart(node: ModuleType, state: str, words: str) -> None:
    """A dead daemon, a hung one and one that dies over the question each have their own reason, in time."""
    done = threading.Event()

    def talk(connection: socket.socket) -> None:
        connection.recv(100)
        if state == "hung":
            done.wait(10)

    thread = None if state == "dead" else listens(node.PRODUCT, talk)
    answer = asked(node, QUESTIONS["status"])
    done.set()
    if thread is not None:
        thread.join()
    assert words in answer["error"]


@pytest.mark.parametrize(
    ("talk", "seconds", "answer"),
    [
        (says(*(bytes([byte]) for byte in b'{"role": "backup"}\n')), 60.0, {"role": "backup"}),
        (says(b'{"role": "backup"}\n{"role": "primary"}\n'), 60.0, {"role": "backup"}),
        (says(b'{"role": '), 60.0, {"error": "the daemon closed the connection without an answer"}),
        (waits_after(b"x" * 10_000_000), 60.0, {"error": "the daemon answers with more than 4194204 bytes"}),
        (waits_after(b"x", forever=True), 0.2, {"error": "the daemon listens, but did not answer within 0.2 s"}),
    ],
    ids=["byte by byte", "two lines", "cut", "endless", "always one more byte"],
)
def test_an_answer_is_one_whole_line_in_time(
    node: ModuleType, talk: Talk, seconds: float, answer: dict[str, Any]
) -> None:
    """Whatever the daemon writes, the bed gets one line, and none of what is no answer."""
    with peer(Path(node.PRODUCT), talk):
        assert asked(node, QUESTIONS["status"], seconds) == answer


def test_what_never_ends_is_no_question(node: ModuleType) -> None:
    """Junk without a line end takes no memory, and the question behind it is answered."""
    bed, port = socket.socketpair()
    threading.Thread(target=node.serve, args=(port.detach(),), daemon=True).start()
    bed.settimeout(100.0)
    bed.sendall(b"x" * 10_000_000)
    bed.sendall(b"\n9 0.1 {}\n")
    answer = bed.recv(1000)
    bed.detach()  # stays open: the thread waits there until the tests end
    assert answer.startswith(b'9 {"error": ')


@pytest.fixture
def xen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Xen with dom0, a domain with a blank in its name, a crashed one and a dying one."""
    flags = ("running", "blocked", "paused", "shutdown", "crashed", "dying", "shutdown_reason")
    no: dict[str, Any] = dict.fromkeys(flags, 0)
    rows = [
        no | {"domid": 0, "running": 1, "cpu_time": 36_600_000_000},
        no | {"domid": 3, "blocked": 1, "cpu_time": 1},
        no | {"domid": 4, "shutdown": 1, "crashed": 1, "shutdown_reason": 3, "cpu_time": 0},
        no | {"domid": 5, "paused": 1, "dying": 1, "shutdown_reason": 255, "cpu_time": 0},
    ]
    rows = [{"handle": [one["domid"]] * 16} | one for one in rows]
    handle = SimpleNamespace(domain_getinfo=lambda: rows)
    monkeypatch.setitem(sys.modules, "xen", ModuleType("xen"))
    monkeypatch.setitem(sys.modules, "xen.lowlevel", ModuleType("xen.lowlevel"))
    module = ModuleType("xen.lowlevel.xc")
    module.__dict__["xc"] = lambda: handle
    monkeypatch.setitem(sys.modules, "xen.lowlevel.xc", module)
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_domains_are_listed_as_xl_lists_them(node: ModuleType, xen: None) -> None:
    """Names come from xenstore, blanks and quotes included; what has none any more is nameless."""
    names = {b"/local/domain/0/name\0": b"Domain-0", b"/local/domain/3/name\0": b't w "o'}
    names[b"/local/domain/4/name\0"] = b"web"

    def talk(connection: socket.socket) -> None:
        for _ in range(4):
            kind, number, _, length = node.HEADER.unpack(connection.recv(16))
            value = names.get(connection.recv(length))
            kind, value = (kind, value) if value is not None else (16, b"ENOENT\0")
            connection.sendall(node.HEADER.pack(kind, number, 0, len(value)) + value)

    thread = listens(node.XENSTORE, talk)
    found = asked(node, QUESTIONS["domains"])["domains"]
    thread.join()
    assert [(one["name"], one["id"], one["flags"], one["reason"]) for one in found] == [
        ("Domain-0", 0, "r-----", None),
        ('t w "o', 3, "-b----", None),
        ("web", 4, "---sc-", 3),
        ("(null)", 5, "--p--d", None),
    ]
    assert found[0]["cpu_s"] == 36.6


def test_known_names_need_no_xenstored(node: ModuleType, xen: None) -> None:
    """A domain keeps the name that it had when it was seen first, also while xenstored hangs or it dies."""
    for number in (0, 3, 4, 5):
        node.NAMES[number, bytes([number] * 16)] = f"name {number}"
    found = asked(node, QUESTIONS["domains"])["domains"]
    assert [one["name"] for one in found] == ["name 0", "name 3", "name 4", "name 5"]


def test_a_domain_on_its_way_gets_its_own_name_later(node: ModuleType, xen: None) -> None:
    """Its name is asked for again each time; while xenstored is silent the last one stays."""
    names = iter([b"web--incoming", b"web"])
    for number in (0, 4, 5):
        node.NAMES[number, bytes([number] * 16)] = f"name {number}"

    def talk(connection: socket.socket) -> None:
        kind, number, _, length = node.HEADER.unpack(connection.recv(16))
        connection.recv(length)
        value = next(names)
        connection.sendall(node.HEADER.pack(kind, number, 0, len(value)) + value)

    for expected in ("web--incoming", "web"):
        thread = listens(node.XENSTORE, talk)
        assert asked(node, QUESTIONS["domains"])["domains"][1]["name"] == expected
        thread.join()
        Path(node.XENSTORE).unlink()
        assert asked(node, QUESTIONS["domains"])["domains"][1]["name"] == expected  # nobody listens


def test_who_writes_is_told_beside_the_domains(node: ModuleType, xen: None) -> None:
    """As the kernel's module says it; a node without it says nothing."""
    for number in (0, 3, 4, 5):
        node.NAMES[number, bytes([number] * 16)] = f"name {number}"
    assert asked(node, QUESTIONS["domains"])["roles"] == {}
    Path(node.DRBD).write_text(
        "version: 8.4.11 (api:1/proto:86-101)\n"
        " 0: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate C r-----\n    ns:0 nr:0 dw:0 dr:140 al:8\n"
        "12: cs:Connected ro:Primary/Primary ds:UpToDate/UpToDate C r-----\n    ns:0 nr:0\n"
    )
    assert asked(node, QUESTIONS["domains"])["roles"] == {"0": "Primary/Secondary", "12": "Primary/Primary"}


def test_a_silent_xenstored_is_an_error(node: ModuleType, xen: None) -> None:
    """Domains without names are not told as a list."""
    done = threading.Event()

    def talk(_: socket.socket) -> None:
        done.wait(10)

    thread = listens(node.XENSTORE, talk)
    assert "xenstored did not answer within 0.2 s" in asked(node, QUESTIONS["domains"])["error"]
    done.set()
    thread.join()


@pytest.mark.parametrize("line", [b"", b"\0\0", b"nonsense", b"7 x {}", b"7 1", b"x 1 {}", b"\xff\xfe"])
def test_a_line_that_is_no_question_has_no_answer(node: ModuleType, line: bytes) -> None:
    """What a restored or broken connection left in the port is passed over."""
    assert node.answer(line) == b""


def test_only_the_newest_question_is_answered(node: ModuleType) -> None:
    """Questions that waited behind a hung daemon were given up by whoever asked; half a line waits for its rest."""
    bed, port = pty.openpty()
    for end in (bed, port):
        tty.setraw(end)
    threading.Thread(target=node.serve, args=(port,), daemon=True).start()
    os.write(bed, b'\n1 0.1 {"op": "status"}\n\n2 0.1 {"op": "status"}\n\n3 0.1 {"op"')
    os.write(bed, b': "status"}\n')
    got = b""
    while b"3 " not in got or not got.endswith(b"\n"):
        got += os.read(bed, 1000)
    numbers = [line.split(b" ")[0] for line in got.splitlines()]
    assert numbers in ([b"2", b"3"], [b"3"])
