"""Heartbeats: one UDP socket per link, bound to the link's device; only authentic and new datagrams are taken.

It waits for nothing by itself: `sockets` says what is to be read, and by whom, when something has come.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from types import TracebackType
from typing import Self

from avance.clock import now_s
from avance.config import Config, LinkConfig
from avance.core.events import DatagramsRefused, Event, HeartbeatSeen, HeartbeatUnproven
from avance.core.model import LinkName, PeerView
from avance.ports import Sink
from avance.wire import derived
from avance.wire.document import BYTES_MAX, Document, is_document, unseal
from avance.wire.heartbeat import NOT_ECHOED_YET, Heartbeat, Receiver, Unproven, body, seal
from avance.wire.rejected import Rejected

PORT = 7780
_DATAGRAM_BYTES_MAX = BYTES_MAX + 1
_REFUSED_S = 60.0  # between two times that refused datagrams are told of
_SENDERS_MAX = 4  # of the addresses that refused datagrams came from
_PRIORITY = 6  # above bulk replication in the queueing discipline (socket(7), SO_PRIORITY)


@dataclass(slots=True)
class _LinkSocket:
    link: LinkConfig
    socket: socket.socket
    target: tuple[str, int]
    device: int = 0  # the number of the device that it is bound to; 0: to none
    echo: tuple[str, float] | None = None


class HeartbeatChannel:
    """The port `PeerChannel`; a context manager, because it owns sockets.

    `documents` gets each authentic document, in the thread that reads the sockets.

    It must never echo what the core has not heard of: an echo renews the peer's lease, and the core counts
    its wait from what it heard. Events reach the core in order, so `_unheard` is a queue.
    """

    def __init__(self, config: Config, boot: str, sink: Sink, documents: Callable[[Document], None]) -> None:
        self._sink, self._documents = sink, documents
        self._secret = config.secret
        self._boot = boot
        self._key = derived.of_heartbeats(config.secret)
        self._receiver = Receiver(self._key, config.node, config.peer, boot)
        self._ports = {
            link.name: _LinkSocket(link, _unbound(), (str(link.peer_address), PORT)) for link in config.links
        }
        for port in self._ports.values():
            with contextlib.suppress(OSError):  # a device that comes later is bound to then
                _bind(port)
        self._seq = 0
        self._said: tuple[PeerView, bytes] | None = None  # the last view, and its body
        self._echoing = True
        self._unheard: deque[tuple[Event, _LinkSocket, tuple[str, float]]] = deque()
        self._refused: dict[tuple[LinkName, str], tuple[int, tuple[str, ...]]] = {}
        self._refused_told_at = -inf
        self.unsent: dict[LinkName, int] = dict.fromkeys(self._ports, 0)

    @property
    def rejected(self) -> dict[str, int]:
        """How many datagrams were refused, by reason."""
        return self._receiver.rejected

    def __enter__(self) -> Self:
        """The sockets are open since it was made."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the sockets."""
        for port in self._ports.values():
            port.socket.close()

    @property
    def sockets(self) -> Mapping[int, Callable[[], None]]:
        """What is to be called when something has come, by the descriptor of each socket."""
        return {port.socket.fileno(): partial(self._readable, port) for port in self._ports.values()}

    def send(self, view: PeerView, *, echoing: bool) -> None:
        """Send one heartbeat on every link; a link that cannot carry it is simply silent."""
        self._seq, self._echoing = self._seq + 1, echoing
        if self._said is None or self._said[0] is not view:
            self._said = (view, body(view))
        # All are made before the first one leaves, so that they arrive together and wake the peer once.
        for port, datagram in [(port, self._datagram(port, self._said[1])) for port in self._ports.values()]:
            self._send(port, datagram)

    def _datagram(self, port: _LinkSocket, said: bytes) -> bytes:
        return seal(self._key, port.link.name, self._seq, now_s(), port.echo if self._echoing else None, said)

    def _send(self, port: _LinkSocket, datagram: bytes) -> None:
        try:
            if not port.device:
                _bind(port)
            port.socket.sendto(datagram, port.target)
        except OSError:
            self.unsent[port.link.name] += 1  # no address yet, no carrier, full queue: the peer notices the silence
            if port.device != _number(port.link.device):  # it is gone, or another one is there
                port.device = 0

    def _readable(self, port: _LinkSocket) -> None:
        """Take one datagram; if there are more, the socket stays readable, and others have their turn first."""
        try:
            datagram, (sender, _) = port.socket.recvfrom(_DATAGRAM_BYTES_MAX)
        except OSError:
            return  # an asynchronous network error that the next send meets again
        if is_document(datagram):
            self._take_document(port, datagram, sender)
            return
        beat = self._receiver.accept(port.link.name, datagram)
        if isinstance(beat, Rejected):
            self._refuse(port.link.name, beat.reason, sender)
        elif isinstance(beat, Unproven):
            self._tell(HeartbeatUnproven(port.link.name), port, beat.beat)
        else:
            echoed = beat.echo[1] if beat.echo is not None and beat.echo[0] == self._boot else None
            self._tell(HeartbeatSeen(port.link.name, beat.view, echoed), port, beat)

    def _take_document(self, port: _LinkSocket, datagram: bytes, sender: str) -> None:
        document = unseal(self._secret, datagram)
        if isinstance(document, Rejected):
            self.rejected[document.reason] = self.rejected.get(document.reason, 0) + 1
            self._refuse(port.link.name, document.reason, sender)
        else:
            self._documents(document)

    def send_document(self, datagram: bytes) -> None:
        """Send a document on every link, from any thread; one that cannot carry it is left out."""
        for port in self._ports.values():
            with contextlib.suppress(OSError):
                port.socket.sendto(datagram, port.target)

    def _tell(self, event: Event, port: _LinkSocket, beat: Heartbeat) -> None:
        self._unheard.append((event, port, (beat.view.boot, beat.sent_s)))
        self._sink(event)

    def heard(self, event: Event) -> None:
        """The core has taken this event in; if it told of a heartbeat, that one is echoed from now on.

        The first one of a boot that is not proven yet is echoed at once, for the peer waits for nothing else.
        """
        if not self._unheard or self._unheard[0][0] is not event:
            return
        _, port, echo = self._unheard.popleft()
        before, port.echo = port.echo, echo
        new = before is None or before[0] != echo[0]
        if new and isinstance(event, HeartbeatUnproven) and self._said is not None and self._echoing:
            self._seq += 1
            self._send(port, self._datagram(port, self._said[1]))

    def _refuse(self, link: LinkName, reason: str, sender: str) -> None:
        """Count a refused datagram, and tell of all that gathered, once a minute however many there are."""
        if reason == NOT_ECHOED_YET:
            return
        count, senders = self._refused.get((link, reason), (0, ()))
        if sender not in senders and len(senders) < _SENDERS_MAX:
            senders = (*senders, sender)
        self._refused[link, reason] = (count + 1, senders)
        now = now_s()
        if now < self._refused_told_at + _REFUSED_S:
            return
        self._refused_told_at = now
        for (where, why), (gathered, named) in self._refused.items():
            self._sink(DatagramsRefused(where, why, gathered, named))
        self._refused.clear()


def _unbound() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


def _bind(port: _LinkSocket) -> None:
    """Bind to the device, not to the address, which may come later. The descriptor stays the same: others wait for it.

    Raises:
        OSError: there is no such device.
    """
    device = _number(port.link.device)
    with _unbound() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, port.link.device.encode())
        sock.bind(("", PORT))
        os.dup2(sock.fileno(), port.socket.fileno(), inheritable=False)
    port.device = device


def _number(device: str) -> int:
    """Return the number that the kernel gave to a device, 0 when there is none."""
    try:
        return socket.if_nametoindex(device)
    except OSError:
        return 0
