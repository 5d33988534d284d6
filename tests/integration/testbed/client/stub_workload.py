"""A stand-in for the workload guest: its protocol behind an endpoint on a switch port (test equipment only)."""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.lan.endpoint import Endpoint
from testbed.lan.packets import Udp

PORT = 7000
MAC, IP = "00:16:3e:77:00:20", "10.77.0.20"


@dataclass
class StubWorkload:
    """Answers PUT, GET and PING; its defects are planted by the tests."""

    host: Endpoint
    log: list[str] = field(default_factory=list)
    boot: str = "b00t"
    forgets: set[int] = field(default_factory=set)  # acknowledged but not kept, by count of PUTs
    refuses: bool = False
    mute: int = 0  # so many requests are not answered

    def __post_init__(self) -> None:
        self.puts = 0
        self.host.listen(PORT, self.request)

    def request(self, datagram: Udp, _t_s: float) -> None:
        """Answer one request."""
        if self.mute:
            self.mute -= 1
            return
        reply = self.reply(datagram.payload.decode().split())
        self.host.udp_send(datagram.source_ip, datagram.source_port, PORT, reply.encode())

    def reply(self, words: list[str]) -> str:
        """The text of the answer."""
        match words:
            case _ if self.refuses:
                return "ERR disk is gone"
            case ["PUT", write_id]:
                index = len(self.log)
                if self.puts not in self.forgets:
                    self.log.append(write_id)
                self.puts += 1
                return f"OK {write_id} {index}"
            case ["GET", first, count]:
                page = self.log[int(first) : int(first) + min(24, int(count))]
                return " ".join(["IDS", str(len(self.log)), first, *page])
            case ["PING", token]:
                return f"PONG {token} {self.boot} {len(self.log)}"
            case _:
                return "ERR what?"
