"""Tests of testbed.switch.control: requests, refusals, events, and the state that a snapshot keeps."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.socket_line import LINE_BYTES_MAX
from testbed.switch import control
from tests.unit.testbed.wire import EVERYBODY, MAC_A, MAC_B, MAC_VM, Bench, ether


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A fresh switch."""
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        made = Bench(Path(name))
        yield made
        made.close()


@pytest.mark.parametrize(
    ("operation", "fields", "sentence"),
    [
        ("explode", {}, "possible are ports, cut, pass"),
        ("cut", {"port": "c.priv0", "direction": "in"}, "possible are a.priv0"),
        ("cut", {"port": "a.priv0", "direction": "up"}, "possible are in"),
        ("watch", {"macs": ["no"]}, "not a MAC address"),
        ("watch", {"ips": ["10.77"]}, "not an IPv4 address"),
        ("watch", {"ips": "10.77.0.20"}, "must be a list"),
        ("capture_start", {"path": "relative"}, "absolute path"),
        ("capture_stop", {}, "no capture is running"),
        ("load", {"path": "/dev/null"}, "not a saved state"),
        ("save", {"path": "/nowhere/state"}, "No such file"),
        ("rule_add", {"port": "c", "direction": "in", "kind": "jam"}, "possible are a.priv0"),
        ("rule_add", {"port": "a.priv0", "direction": "both", "kind": "jam"}, "possible are in"),
        ("rule_add", {"port": "a.priv0", "direction": "in", "kind": "x"}, "possible are loss"),
        ("rule_remove", {"rule": 9}, "there are none"),
        ("observe", {"taps": 1}, "list of rule numbers"),
        ("observe", {"taps": [1]}, "no tap"),
        ("observe", {"taps": [[]]}, "list of rule numbers"),
        ("observe", {"taps": [{}]}, "list of rule numbers"),
        ("cut", {"port": "a.priv0", "direction": []}, "possible are in"),
        ("cut", {"port": [], "direction": {}}, "possible are a.priv0"),
        ("rule_add", {"port": "a.priv0", "direction": {}, "kind": "jam"}, "possible are in"),
        ("rule_add", {"port": "a.priv0", "direction": "in", "kind": [], "settings": []}, "possible are loss"),
        ("rule_add", {"port": "a.priv0", "direction": "in", "kind": "loss", "match": {"port": []}}, ""),
        ("rule_remove", {"rule": []}, "there are none"),
        ("rule_remove", {"rule": {}}, "there are none"),
        ("inject", {"port": "a.priv0", "direction": "in", "frames": [[]]}, ""),
        ("inject", {"port": "a.priv0", "direction": "in", "frames": ["00" * 60], "interval_s": 1e400}, ""),
        ("inject", {"port": "a.priv0", "direction": "in", "frames": ["00" * 60], "interval_s": 10**400}, ""),
        ("inject_stop", {"injection": {}}, "number that inject returned"),
        ("capture_start", {"path": []}, "absolute path"),
        ("capture_start", {"path": "/proc/nope"}, "No such file"),
        ("load", {"path": "/dev/zero/x"}, ""),
        ("watch", {"macs": [[]]}, "not a MAC address"),
        ("inject", {"port": "a.priv0", "direction": "in", "frames": ["xyz"]}, "hexadecimal"),
        ("inject", {"port": "a.priv0", "direction": "in", "frames": [], "count": "x"}, "are numbers"),
        ("inject_stop", {"injection": 3}, "may be over"),
        ("inject_stop", {}, "number that inject returned"),
    ],
)
def test_a_bad_request_is_refused_with_what_is_possible(
    bench: Bench, operation: str, fields: dict[str, object], sentence: str
) -> None:
    """The reply names the way out, and the switch still forwards everything."""
    reply = bench.ask(operation, **fields)
    assert (reply["id"], reply["ok"]) == (7, False)
    assert sentence in reply["error"]
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    assert len(bench.got("b.priv0")) == 1


@pytest.mark.parametrize("line", [b"[]", b"not json", b'"cut"', b"\xff\xfe", b"", b'{"a":' * 5_000])
def test_a_line_that_is_no_request_gets_an_error(bench: Bench, line: bytes) -> None:
    """Garbage is answered, not punished."""
    bench.control.sendall(line + b"\n")
    (reply,) = bench.messages()
    assert reply["ok"] is False


def test_a_second_capture_is_refused(bench: Bench) -> None:
    """One capture at a time, and the first goes on."""
    bench.ask("capture_start", path=str(bench.directory / "one"))
    assert "is running" in bench.ask("capture_start", path=str(bench.directory / "two"))["error"]
    assert bench.ask("capture_stop")["path"].endswith("one")


def test_requests_of_one_write_are_all_answered(bench: Bench) -> None:
    """Two lines in one packet are two requests."""
    bench.control.sendall(b'{"id": 1, "op": "hold"}\n{"id": 2, "op": "release"}\n')
    assert [message["id"] for message in bench.messages()] == [1, 2]


def test_a_request_byte_by_byte_is_one_request(bench: Bench) -> None:
    """However it comes, it is done once, at its line end."""
    for byte in b'{"id": 1, "op": "hold"}\n':
        assert bench.messages() == []
        bench.control.sendall(bytes([byte]))
    assert [message["id"] for message in bench.messages()] == [1]


def test_a_client_whose_line_does_not_end_is_forgotten(bench: Bench) -> None:
    """It takes no memory for ever; as the owner, it ends the switch."""
    with contextlib.suppress(ConnectionError, BlockingIOError):
        for _ in range(200):
            bench.control.sendall(b"x" * 65_536)
            bench.run()
    assert bench.core.stopping


def test_a_reply_that_the_client_would_not_take_is_an_error(bench: Bench) -> None:
    """White-box: the client is told, and keeps its connection."""
    bench.run()
    bench.listener._connections[0].send({"id": 7, "ok": True, "rules": "x" * LINE_BYTES_MAX})
    (reply,) = bench.messages()
    assert (reply["id"], reply["ok"]) == (7, False)
    assert "too long for the other side" in reply["error"]
    assert bench.ask("ports")["ok"]


def test_the_switch_ends_when_its_owner_leaves(bench: Bench) -> None:
    """No switch outlives the bed that started it."""
    assert not bench.core.stopping
    bench.control.close()
    bench.run()
    assert bench.core.stopping


def test_quit_ends_the_switch(bench: Bench) -> None:
    """The owner can end it in an orderly way."""
    assert bench.ask("quit")["ok"]
    assert bench.core.stopping


def test_a_saved_state_comes_back_with_its_held_and_queued_frames(bench: Bench) -> None:
    """A new switch that loads the state knows addresses, rules, queues and what was held; nothing is lost."""
    bench.send("b.biz0", ether(EVERYBODY, MAC_B))
    bench.ask("cut", port="client.biz0", direction="in")
    for number in range(16):
        bench.send("a.priv0", ether(EVERYBODY, MAC_A, bytes([number])))
    bench.ask("hold")
    held = ether(MAC_B, MAC_A, b"held")
    bench.devices["a.biz0"].send(held)  # still in the kernel's queue when the state is saved
    path = bench.directory / "state"
    assert bench.ask("save", path=str(path)) == {"id": 7, "ok": True, "held": 1, "queued": 5}
    with tempfile.TemporaryDirectory(prefix="tb-") as name:
        other = Bench(Path(name))
        try:
            assert other.ask("load", path=str(path))["holding"]
            assert other.got("b.biz0") == []
            assert other.ask("release")["released"] == 1
            assert other.got("b.biz0") == [held]
            assert other.got("client.biz0") == []  # the address of b is known: nothing is flooded
            assert [frame[-1] for frame in other.got("b.priv0")] == [11, 12, 13, 14, 15]
            assert other.counters("client.biz0", "in")["pass"] is False
        finally:
            other.close()


def test_a_state_of_another_switch_is_refused_whole(bench: Bench) -> None:
    """A state with one unknown port changes nothing."""
    path = bench.directory / "state"
    bench.ask("cut", port="a.priv0", direction="in")
    bench.ask("save", path=str(path))
    bench.ask("pass", port="a.priv0", direction="in")
    state = json.loads(path.read_text())
    state["held"] = [["elsewhere", ""]]
    path.write_text(json.dumps(state))
    assert "nothing was changed" in bench.ask("load", path=str(path))["error"]
    assert bench.counters("a.priv0", "in")["pass"] is True


def test_a_switch_with_rules_is_neither_saved_nor_overwritten(bench: Bench) -> None:
    """A snapshot holds no rule, so it is refused with the way out."""
    path = str(bench.directory / "state")
    assert bench.ask("save", path=path)["ok"]
    number = bench.ask("rule_add", port="a.priv0", direction="in", kind="jam")["rule"]
    for operation in ("save", "load"):
        assert "remove them first" in bench.ask(operation, path=path)["error"]
    bench.ask("rule_remove", rule=number)
    assert bench.ask("save", path=path)["ok"]


def test_rules_taps_and_injections_are_told(bench: Bench) -> None:
    """Counters, lateness, what a tap saw with the counters of the same instant, and what is still to be injected."""
    tap = bench.ask("rule_add", port="b.priv0", direction="out", kind="tap")["rule"]
    late = bench.ask("rule_add", port="a.priv0", direction="in", kind="delay", settings={"delay_s": 0})["rule"]
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    bench.core.turn(0.01)
    frames = ["00" * 60]
    made = bench.ask("inject", port="a.biz0", direction="out", frames=frames, interval_s=3600, count=5)["injection"]
    told = bench.ask("rules")
    assert {rule["rule"]: rule["matched"] for rule in told["rules"]} == {tap: 1, late: 1}
    assert told["lateness"]["count"] == bench.ask("ports")["lateness"]["count"] == 1
    assert [(item["injection"], item["sent"] + item["left"]) for item in told["injections"]] == [(made, 5)]
    seen = bench.ask("observe", taps=[tap], reset=True)
    assert seen["taps"][str(tap)]["matched"] == seen["ports"]["b.priv0"]["out"]["frames"] == 1
    assert bench.ask("observe", taps=[tap])["taps"][str(tap)]["records"] == []
    assert bench.ask("inject_stop", injection=made)["sent"] == 1


def test_a_watched_address_is_reported_when_it_moves(bench: Bench) -> None:
    """The claim names the new and the previous port, once for each move."""
    bench.ask("watch", macs=[MAC_VM])
    for port in ("a.biz0", "a.biz0", "b.biz0", "b.biz0"):
        bench.send(port, ether(EVERYBODY, MAC_VM))
    claims = [event for event in bench.messages() if event["event"] == "claim"]
    assert [(claim["port"], claim.get("previous")) for claim in claims] == [("a.biz0", None), ("b.biz0", "a.biz0")]


def test_a_new_watch_replaces_the_old_one(bench: Bench) -> None:
    """Addresses that are no longer asked for are no longer reported."""
    bench.ask("watch", macs=[MAC_VM])
    bench.ask("watch", macs=[MAC_B])
    bench.send("a.biz0", ether(EVERYBODY, MAC_VM))
    assert bench.messages() == []


def test_a_flooded_frame_is_no_claim_of_the_port_it_leaves_by(bench: Bench) -> None:
    """Only the port at which a frame enters uses its source address."""
    bench.ask("watch", macs=[MAC_VM])
    bench.send("a.biz0", ether(EVERYBODY, MAC_VM))
    assert len(bench.got("b.biz0")) == 1
    bench.core.tick()
    assert {event["port"] for event in bench.messages()} == {"a.biz0"}


def test_an_answer_is_given_to_what_nobody_thought_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in one operation is told to who asked; the wire stays."""
    for error in (TypeError("unhashable"), KeyError("x"), OverflowError("too large"), RecursionError("deep")):

        def raises(*_: object, error: Exception = error) -> dict[str, object]:
            raise error

        monkeypatch.setitem(control._OPERATIONS, "ports", raises)
        reply = bench.ask("ports")
        assert reply["ok"] is False
        assert "cannot be understood" in reply["error"]
    bench.send("a.priv0", ether(EVERYBODY, MAC_A))
    assert len(bench.got("b.priv0")) == 1


def test_a_full_disk_ends_a_capture_and_not_the_wire(bench: Bench) -> None:
    """Frames go on; who stops the capture hears that it is not whole, and how many are missing."""
    assert bench.ask("capture_start", path="/dev/full")["ok"]
    for _ in range(50):
        bench.send("a.priv0", ether(EVERYBODY, MAC_A) + bytes(1000))
        assert len(bench.got("b.priv0")) == 1
    bench.core.tick()
    reply = bench.ask("capture_stop")
    assert reply["ok"] is False
    assert "is not whole" in reply["error"]
    assert "No space left on device" in reply["error"]
    assert bench.ask("capture_stop")["error"].startswith("no capture is running")
