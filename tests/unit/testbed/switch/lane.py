"""A lane of the rule engine with the test's own clock: what the tests of rules, kinds and injections share."""

from __future__ import annotations

from testbed.lan import packets
from testbed.switch.rule_kinds import make_rule
from testbed.switch.rules import Lane, Rule, RuleEngine

MS = 1_000_000


def rule(kind: str, *, seed: int = 1, match: dict[str, object] | None = None, **settings: object) -> Rule:
    """A rule as a request would make it."""
    return make_rule(kind, settings, match or {}, seed)


def udp_frame(port: int, payload: bytes = b"hello") -> bytes:
    """A sound UDP frame."""
    datagram = packets.Udp("", "10.9.0.1", "10.9.0.2", port, port + 10_000, payload)
    return packets.udp("52:54:00:09:00:01", "52:54:00:09:00:02", datagram)


class World:
    """One lane, what came out of it, and why something did not."""

    def __init__(self) -> None:
        self.out: list[bytes] = []
        self.lost: list[str] = []
        self.now_ns = 0
        self.engine = RuleEngine()
        self.lane = Lane("a.priv0", "in", self.out.append, lambda _frame, why: self.lost.append(why))

    def add(self, item: Rule) -> int:
        """Add a rule."""
        return self.engine.add(self.lane, item)

    def send(self, *frames: bytes) -> None:
        """Send frames into the lane now."""
        for frame in frames:
            self.engine.run(self.lane, frame, self.now_ns)

    def fire(self, now_ns: int) -> None:
        """Let the time come."""
        self.now_ns = now_ns
        self.engine.fire(now_ns)
