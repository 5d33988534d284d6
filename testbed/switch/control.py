"""The control socket of the switch: requests and replies as JSON lines, and events of watched addresses.

The first connection is the owner: when it closes, the switch ends, so that no switch outlives its bed. A bad request
gets one clear sentence and changes nothing. This file must never touch frames on their way; it only reads and sets the
state of the core.
"""

from __future__ import annotations

import base64
import json
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from testbed.socket_line import LineError, Splitter, packed, parsed
from testbed.switch.core import Counters, Port, SwitchCore
from testbed.switch.groups import Groups
from testbed.switch.pcapng import PcapngWriter
from testbed.switch.rule_kinds import Tap, make_rule
from testbed.switch.watch import AddressWatch, format_mac, parse_mac

UNREAD_BYTES_MAX = 4 << 20  # a listener that does not read loses events, and is told how many
STATE_SCHEMA = "testbed.switch/1"
_READ_BYTES = 65_536

Request = dict[str, object]
Reply = dict[str, object]


class BadRequest(ValueError):
    """The request cannot be done; the text says what is possible, and nothing has changed."""


class Connection:
    """One client of the control socket."""

    def __init__(self, core: SwitchCore, control: SwitchControl, sock: socket.socket, *, owner: bool) -> None:
        self.owner = owner
        self.watch: AddressWatch | None = None
        self.groups: Groups | None = None
        self.lost_events = 0
        self._core = core
        self._control = control
        self._socket = sock
        self._lines = Splitter()
        self._unsent = bytearray()
        core.add(sock.fileno(), select.EPOLLIN, self._ready)

    def event(self, fields: dict[str, object]) -> None:
        """Send an event, or count it as lost when the client does not read."""
        if len(self._unsent) > UNREAD_BYTES_MAX:
            self.lost_events += 1
            return
        if self.lost_events:
            lost, self.lost_events = self.lost_events, 0
            self.send({"event": "lost", "count": lost, "t_s": time.monotonic()})
        self.send(fields)

    def send(self, message: dict[str, object]) -> None:
        """Queue one line and send what the socket takes now."""
        try:
            line = packed(message)
        except LineError as error:
            line = packed({"id": message.get("id"), "ok": False, "error": str(error)})
        waiting = bool(self._unsent)
        self._unsent += line + b"\n"
        if not waiting:
            self._flush()

    def close(self) -> None:
        """Forget the client; the owner's leaving ends the switch."""
        if self.watch is not None:
            self._core.watches.remove(self.watch)
            self.watch = None
        if self.groups is not None:
            self._core.groups.remove(self.groups)
            self.groups = None
        self._core.remove(self._socket.fileno())
        self._socket.close()
        if self.owner:
            self._core.stopping = True

    def _ready(self, mask: int) -> None:
        if mask & select.EPOLLOUT:
            self._flush()
        if not mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            return
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        lines = self._lines.feed(data)
        if not data or self._lines.endless:
            self._control.forget(self)
            return
        for line in lines:
            self.send(answer(self._core, self, line))

    def _flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            self._core.modify(self._socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
        except OSError:
            self._unsent.clear()  # the client is gone; the reading side notices and forgets it
        else:
            self._core.modify(self._socket.fileno(), select.EPOLLIN)


class SwitchControl:
    """The listening socket and its clients."""

    def __init__(self, core: SwitchCore, path: Path) -> None:
        self._core = core
        self._path = path
        self._connections: list[Connection] = []
        self._owned = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        path.unlink(missing_ok=True)
        self._socket.bind(str(path))
        self._socket.listen()
        core.add(self._socket.fileno(), select.EPOLLIN, self._accept)

    def forget(self, connection: Connection) -> None:
        """Close one client."""
        self._connections.remove(connection)
        connection.close()

    def close(self) -> None:
        """Close all clients and remove the socket."""
        for connection in tuple(self._connections):
            self.forget(connection)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self, _mask: int) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        sock.setblocking(False)
        self._connections.append(Connection(self._core, self, sock, owner=not self._owned))
        self._owned = True


def answer(core: SwitchCore, connection: Connection, line: bytes) -> Reply:
    """Do one request and say how it went."""
    number: object = None
    try:
        request = parsed(line)
        number = request.get("id")
        operation = _OPERATIONS.get(str(request.get("op")))
        if operation is None:
            raise BadRequest(f"there is no op {request.get('op')!r}; possible are {', '.join(_OPERATIONS)}")
        return {"id": number, "ok": True, **operation(core, connection, request)}
    except (ValueError, OSError) as error:
        return {"id": number, "ok": False, "error": str(error)}
    except (TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        # A value of a kind that nobody thought of: the wire of a bed must not end with it.
        return {"id": number, "ok": False, "error": f"this request cannot be understood ({error!r})"}


def _ports(core: SwitchCore, _connection: Connection, _request: Request) -> Reply:
    return {
        "t_s": time.monotonic(),
        "holding": core.holding,
        "held": len(core.held),
        "capturing": core.capture is not None,
        "lateness": core.engine.lateness.as_json(),
        "ports": {
            port.name: {
                "segment": port.segment,
                "in": _counters(port.counted_in, is_open=port.in_open),
                "out": _counters(port.counted_out, is_open=port.out_open) | {"queued": len(port.queue)},
            }
            for port in core.ports.values()
        },
    }


def _counters(counters: Counters, *, is_open: bool) -> Reply:
    return {
        "pass": is_open,
        "frames": counters.frames,
        "bytes": counters.bytes,
        "dropped_rule": counters.dropped_rule,
        "dropped_queue": counters.dropped_queue,
        "dropped_absent": counters.dropped_absent,
        "last_s": counters.last_ns / 1e9 if counters.last_ns else None,
    }


def _set_rule(core: SwitchCore, request: Request, *, is_open: bool) -> Reply:
    port = _port(core, request)
    direction = request.get("direction")
    if direction not in ("in", "out", "both"):
        raise BadRequest(f"there is no direction {direction!r}; possible are in (from the device), out and both")
    if direction in ("in", "both"):
        port.in_open = is_open
    if direction in ("out", "both"):
        port.out_open = is_open
        core.drain(port)
    return {"t_s": time.monotonic()}


def _port(core: SwitchCore, request: Request) -> Port:
    port = core.ports.get(str(request.get("port")))
    if port is None:
        raise BadRequest(f"there is no port {request.get('port')!r}; possible are {', '.join(core.ports)}")
    return port


def _one_direction(request: Request) -> str:
    direction = request.get("direction")
    if direction not in ("in", "out"):
        raise BadRequest(f"there is no direction {direction!r} for this; possible are in (from the device) and out")
    return str(direction)


def _rule_add(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    port, direction = _port(core, request), _one_direction(request)
    rule = make_rule(request.get("kind"), request.get("settings", {}), request.get("match", {}), request.get("seed", 0))
    return {"rule": core.engine.add(core.lane(port, direction), rule), "t_s": time.monotonic()}


def _rule_remove(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    number = request.get("rule")
    if not isinstance(number, int) or number not in core.engine.rules:
        raise BadRequest(f"there is no rule {number!r}; there are {sorted(core.engine.rules) or 'none'}")
    _, rule = core.engine.rules[number]
    waiting = core.engine.remove(number, time.monotonic_ns())
    core.forget_lanes()
    return rule.as_json() | {"released": waiting, "t_s": time.monotonic()}


def _rules(core: SwitchCore, _connection: Connection, _request: Request) -> Reply:
    core.forget_lanes()
    listed = [
        rule.as_json() | {"port": lane.port, "direction": lane.direction} for lane, rule in core.engine.rules.values()
    ]
    running = [
        {"injection": made.number, "port": made.port, "direction": made.direction, "sent": made.sent, "left": made.left}
        for made in core.injections.running.values()
    ]
    lateness = core.engine.lateness.as_json()
    return {"rules": listed, "injections": running, "lateness": lateness, "t_s": time.monotonic()}


def _observe(core: SwitchCore, connection: Connection, request: Request) -> Reply:
    """What taps have seen, with the counters of all ports at the same instant; `reset` begins a new window."""
    numbers = request.get("taps")
    if not isinstance(numbers, list) or not all(isinstance(number, int) for number in numbers):
        raise BadRequest("taps must be a list of rule numbers")
    taps = {}
    for number in numbers:
        _, rule = core.engine.rules.get(number, (None, None))
        if not isinstance(rule, Tap):
            raise BadRequest(f"rule {number!r} is no tap")
        taps[str(number)] = rule
    seen = {number: tap.observed() for number, tap in taps.items()}
    if request.get("reset"):
        for tap in taps.values():
            tap.reset()
    return _ports(core, connection, request) | {"taps": seen}


def _inject(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    port, direction = _port(core, request), _one_direction(request)
    interval_s, count = request.get("interval_s", 0.001), request.get("count", 1)
    if not isinstance(interval_s, (int, float)) or not isinstance(count, int):
        raise BadRequest("interval_s and count are numbers")
    frames = [bytes.fromhex(text) for text in _texts(request, "frames")]
    now_ns = time.monotonic_ns()
    number = core.injections.start(port.name, direction, frames, interval_s=interval_s, count=count, now_ns=now_ns)
    return {"injection": number, "t_s": now_ns / 1e9}


def _inject_stop(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    number = request.get("injection")
    if not isinstance(number, int):
        raise BadRequest(f"injection is {number!r}; the number that inject returned is needed")
    return {"sent": core.injections.stop(number), "t_s": time.monotonic()}


def _cut(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    return _set_rule(core, request, is_open=False)


def _pass(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    return _set_rule(core, request, is_open=True)


def _hold(core: SwitchCore, _connection: Connection, _request: Request) -> Reply:
    core.holding = True
    return {"t_s": time.monotonic()}


def _release(core: SwitchCore, _connection: Connection, _request: Request) -> Reply:
    return {"released": core.release(), "t_s": time.monotonic()}


def _capture_start(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    if core.capture is not None:
        raise BadRequest(f"a capture to {core.capture.path} is running; stop it first")
    core.capture = PcapngWriter(_path(request), list(core.ports))
    return {"t_s": time.monotonic()}


def _capture_stop(core: SwitchCore, _connection: Connection, _request: Request) -> Reply:
    capture = core.capture
    if capture is None:
        raise BadRequest("no capture is running; capture_start begins one")
    core.capture = None
    capture.close()
    if capture.problem:
        raise BadRequest(
            f"the capture {capture.path} is not whole, {capture.refused} frames are missing: {capture.problem}"
        )
    return {"path": str(capture.path), "frames": capture.frames, "refused": capture.refused}


def _watch(core: SwitchCore, connection: Connection, request: Request) -> Reply:
    watch = AddressWatch(_texts(request, "macs"), _texts(request, "ips"), connection.event)
    if connection.watch is not None:
        core.watches.remove(connection.watch)
    connection.watch = watch
    core.watches.append(watch)
    return {"t_s": time.monotonic()}


def _multicasts(core: SwitchCore, connection: Connection, _request: Request) -> Reply:
    """Begin to report counts of multicasts; from the second time on, report at once what is counted."""
    if connection.groups is None:
        connection.groups = Groups(connection.event)
        core.groups.append(connection.groups)
    else:
        connection.groups.finish()
    return {"t_s": time.monotonic()}


def _save(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    if core.engine.rules or core.injections.running:
        raise BadRequest("rules or injections are at work and cannot be saved; remove them first")
    core.read_all()  # what machines sent before they stopped may still be in the kernel
    state = {
        "schema": STATE_SCHEMA,
        "holding": core.holding,
        "tables": {
            segment: {format_mac(mac): port.name for mac, port in table.items()}
            for segment, table in core.tables.items()
        },
        "rules": {port.name: {"in": port.in_open, "out": port.out_open} for port in core.ports.values()},
        "queues": {port.name: [_as_text(frame) for frame in port.queue] for port in core.ports.values()},
        "held": [[port.name, _as_text(frame)] for port, frame in core.held],
    }
    _path(request).write_text(json.dumps(state), encoding="utf-8")
    return {"held": len(core.held), "queued": sum(len(port.queue) for port in core.ports.values())}


def _load(core: SwitchCore, _connection: Connection, request: Request) -> Reply:
    if core.engine.rules or core.injections.running:
        raise BadRequest("rules or injections are at work, and a saved state knows none; remove them first")
    path = _path(request)
    try:
        apply = _parse_state(core, json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadRequest(f"{path} is not a saved state of this switch ({error!r}); nothing was changed") from error
    apply()
    return {"held": len(core.held), "holding": core.holding}


def _parse_state(core: SwitchCore, state: dict[str, Any]) -> Callable[[], None]:
    """Read everything first, so that a damaged file changes nothing; the result applies it."""
    if state["schema"] != STATE_SCHEMA:
        raise ValueError(f"its schema is {state['schema']!r}")
    if set(state["rules"]) != set(core.ports) or set(state["tables"]) != set(core.tables):
        raise ValueError(f"its ports are {', '.join(state['rules'])}")
    tables: dict[str, dict[bytes, Port]] = {
        segment: {parse_mac(mac): core.ports[name] for mac, name in table.items()}
        for segment, table in state["tables"].items()
    }
    rules = {name: (bool(rule["in"]), bool(rule["out"])) for name, rule in state["rules"].items()}
    queues = {name: [base64.b64decode(text) for text in state["queues"][name]] for name in core.ports}
    held = [(core.ports[name], base64.b64decode(text)) for name, text in state["held"]]
    holding = bool(state["holding"])

    def apply() -> None:
        for segment, table in tables.items():
            core.tables[segment].clear()
            core.tables[segment].update(table)
        core.held.clear()
        core.held.extend(held)
        core.holding = holding
        for name, port in core.ports.items():
            port.in_open, port.out_open = rules[name]
            port.queue.clear()
            port.queue.extend(queues[name])
            core.drain(port)

    return apply


def _quit(core: SwitchCore, _connection: Connection, _request: Request) -> Reply:
    core.stopping = True
    return {}


def _path(request: Request) -> Path:
    path = request.get("path")
    if not isinstance(path, str) or not path.startswith("/"):
        raise BadRequest(f"path is {path!r}; an absolute path of a file is needed")
    return Path(path)


def _texts(request: Request, name: str) -> list[str]:
    values = request.get(name, [])
    if not isinstance(values, list):
        raise BadRequest(f"{name} must be a list of addresses")
    return [str(value) for value in values]


def _as_text(frame: bytes) -> str:
    return base64.b64encode(frame).decode()


_OPERATIONS: dict[str, Callable[[SwitchCore, Connection, Request], Reply]] = {
    "ports": _ports,
    "cut": _cut,
    "pass": _pass,
    "rule_add": _rule_add,
    "rule_remove": _rule_remove,
    "rules": _rules,
    "observe": _observe,
    "inject": _inject,
    "inject_stop": _inject_stop,
    "hold": _hold,
    "release": _release,
    "capture_start": _capture_start,
    "capture_stop": _capture_stop,
    "watch": _watch,
    "multicasts": _multicasts,
    "save": _save,
    "load": _load,
    "quit": _quit,
}
