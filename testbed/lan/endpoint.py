"""A host in user space on one port of the switch: the client from which the service is measured.

It owns its ARP cache, so that a takeover is seen as a real client sees it: by gratuitous ARP at once, else after the
re-probe that a kernel does too. It must never use the networks of the machine it runs on, and never block: what the
switch does not take is lost and counted, as on a wire. Frames are built and decoded by `testbed.lan.packets`; the cost
of that is stated there.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path
from types import TracebackType
from typing import Self

from testbed import pace
from testbed.errors import WaitTimeout
from testbed.history import History
from testbed.lan import packets
from testbed.wait import OwnedTask

RESOLVE_PERIOD_S = 0.2  # between broadcasts while packets wait for an address
WAITING_PACKETS_MAX = 16  # for one neighbour; the oldest goes first, as in a kernel
WAITING_AGE_S_MAX = 1.0  # a request that old is of no use to an open-loop client
SILENCE_S = 1.0  # without an answer the known address is doubted and asked for again
_TICK_S = 0.1
_BATCH_FRAMES = 64
_FRAME_BYTES_MAX = 16_384
_EPHEMERAL_PORTS = range(40_000, 60_000)
_ECHO_NUMBER = 0x7462

UdpHandler = Callable[[packets.Udp, float], None]
ArpHandler = Callable[[packets.Arp, float], None]
EchoHandler = Callable[[int, float], None]


@dataclass(slots=True)
class _Neighbour:
    mac: str | None = None
    unanswered_since_s: float | None = None
    asked_at_s: float | None = None
    waiting: deque[tuple[float, packets.Udp | packets.Echo]] = field(default_factory=deque)


class ArpCache:
    """The ARP cache; pure, the time is an argument."""

    def __init__(self) -> None:
        self._known: dict[str, _Neighbour] = {}

    def mac(self, ip: str) -> str | None:
        """The address that is used for this neighbour now."""
        neighbour = self._known.get(ip)
        return None if neighbour is None else neighbour.mac

    def send(self, ip: str, packet: packets.Udp | packets.Echo, now_s: float) -> str | None:
        """The address to send the packet to, or None: then it is kept until the neighbour has answered."""
        neighbour = self._known.setdefault(ip, _Neighbour())
        if neighbour.mac is None:
            neighbour.waiting.append((now_s, packet))
            if len(neighbour.waiting) > WAITING_PACKETS_MAX:
                neighbour.waiting.popleft()
        elif neighbour.unanswered_since_s is None:
            neighbour.unanswered_since_s = now_s
        return neighbour.mac

    def learn(self, ip: str, mac: str, now_s: float, *, create: bool) -> tuple[bool, list[packets.Udp | packets.Echo]]:
        """Take an address from an ARP packet; says whether it is new, and gives back what waited and is still fresh."""
        neighbour = self._known.get(ip)
        if neighbour is None:
            if not create:  # a kernel does not let strangers fill its cache either
                return False, []
            neighbour = self._known[ip] = _Neighbour()
        is_new = neighbour.mac != mac
        neighbour.mac = mac
        neighbour.unanswered_since_s = None
        fresh = [packet for at_s, packet in neighbour.waiting if now_s - at_s <= WAITING_AGE_S_MAX]
        neighbour.waiting.clear()
        if fresh:
            neighbour.unanswered_since_s = now_s
        return is_new, fresh

    def confirm(self, ip: str, mac: str) -> None:
        """Traffic came from the neighbour with this address, so the entry is right."""
        neighbour = self._known.get(ip)
        if neighbour is not None and neighbour.mac == mac:
            neighbour.unanswered_since_s = None

    def due(self, now_s: float) -> list[str]:
        """The neighbours to ask for by broadcast now; asking is noted."""
        return [ip for ip, neighbour in self._known.items() if self._is_due(neighbour, now_s)]

    def _is_due(self, neighbour: _Neighbour, now_s: float) -> bool:
        waiting = neighbour.waiting
        while waiting and now_s - waiting[0][0] > WAITING_AGE_S_MAX:
            waiting.popleft()
        since_s = neighbour.unanswered_since_s
        is_silent = since_s is not None and now_s - since_s >= SILENCE_S
        if not waiting and not is_silent:
            return False
        period_s = RESOLVE_PERIOD_S if waiting else SILENCE_S
        if neighbour.asked_at_s is not None and now_s - neighbour.asked_at_s < period_s:
            return False
        neighbour.asked_at_s = now_s
        return True


@dataclass
class EndpointCounters:
    """What the endpoint did and what it could not use."""

    sent: int = 0
    received: int = 0
    not_sent: int = 0  # no switch, or no room
    unusable: int = 0  # damaged, fragmented or of another protocol
    unclaimed: int = 0  # UDP to a port that nobody listens on


class Endpoint:
    """One host with one IPv4 address, as an async context manager."""

    def __init__(
        self,
        directory: Path,
        port: str,
        mac: str,
        ip: str,
        prefix: int,
        gateway: str | None,
        *,
        history: History | None = None,
    ) -> None:
        self.port = port
        self.mac = mac
        self.ip = ip
        self.gateway = gateway
        self.counters = EndpointCounters()
        self._network: IPv4Network = IPv4Interface(f"{ip}/{prefix}").network
        self._own_path = directory / f"q-{port}"
        self._switch_path = str(directory / f"s-{port}")
        self._history = history
        self._neighbours = ArpCache()
        self._handlers: dict[int, UdpHandler] = {}
        self._echoes: dict[int, asyncio.Future[float]] = {}
        self._observers: dict[str, ArpHandler] = {}
        self._questions: dict[tuple[str, str], bytes] = {}
        self._echo_handlers: dict[int, EchoHandler] = {}
        self._sequences = itertools.count(1)
        self._ephemeral = itertools.cycle(_EPHEMERAL_PORTS)

    async def __aenter__(self) -> Self:
        packets.warm_up()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._own_path.unlink(missing_ok=True)
        self._socket.bind(str(self._own_path))
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._receive)
        self._task = OwnedTask(self._tick(), name=f"endpoint-{self.port}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._task.cancel()
        finally:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._own_path.unlink(missing_ok=True)

    def neighbour(self, ip: str) -> str | None:
        """The MAC address that the endpoint uses for this address now."""
        return self._neighbours.mac(ip)

    def free_port(self) -> int:
        """A UDP port of this endpoint that nobody listens on."""
        return next(port for port in self._ephemeral if port not in self._handlers)

    def listen(self, port: int, handler: UdpHandler) -> None:
        """Call the handler with each datagram to this port and the monotonic time of its arrival."""
        assert port not in self._handlers, f"UDP port {port} of the endpoint is in use"
        self._handlers[port] = handler

    def stop_listening(self, port: int) -> None:
        """Free the port."""
        self._handlers.pop(port, None)

    def udp_send(self, dst_ip: str, dst_port: int, src_port: int, payload: bytes) -> None:
        """Send one datagram, after the address was resolved; nothing says whether it arrived."""
        self._send_ip(packets.Udp(self.mac, self.ip, dst_ip, src_port, dst_port, payload))

    def observe(self, address: str, handler: ArpHandler) -> None:
        """Call the handler with each ARP answer to this address; it is nobody's, and `arp_ask` asks under it."""
        assert address not in self._observers, f"{address} is in use by another observer"
        self._observers[address] = handler

    def stop_observing(self, address: str) -> None:
        """Free the address."""
        self._observers.pop(address, None)

    def arp_ask(self, ip: str, observer: str) -> None:
        """Broadcast who-has under an observer's address: the answer never reaches the ARP cache that UDP depends on."""
        frame = self._questions.get((ip, observer))
        if frame is None:  # one question never differs from the next, so it is built once
            frame = self._questions[ip, observer] = packets.arp_request(self.mac, observer, ip)
        self._transmit(frame)

    def echo_listen(self, number: int, handler: EchoHandler) -> None:
        """Call the handler with the sequence number of each echo reply of this identifier."""
        assert number not in self._echo_handlers, f"the ICMP identifier {number} is in use"
        assert number != _ECHO_NUMBER, "this identifier is that of ping()"
        self._echo_handlers[number] = handler

    def stop_echo(self, number: int) -> None:
        """Free the identifier."""
        self._echo_handlers.pop(number, None)

    def echo_send(self, ip: str, number: int, sequence: int) -> None:
        """Send one ICMP echo; nothing says whether it arrived."""
        self._send_ip(packets.Echo(True, self.mac, self.ip, ip, number, sequence, b"testbed"))

    def announce(self) -> None:
        """Send a gratuitous ARP for the own address."""
        self._transmit(packets.arp_request(self.mac, self.ip, self.ip))

    async def ping(self, ip: str, *, timeout_s: float) -> float:
        """Send an ICMP echo each 0.2 s until one is answered; returns the time of the answer, or raises WaitTimeout."""
        sequence = next(self._sequences) & 0xFFFF
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._echoes[sequence] = answer
        sent = 0
        try:
            async with pace.timeout(timeout_s):
                while not answer.done():
                    self._send_ip(packets.Echo(True, self.mac, self.ip, ip, _ECHO_NUMBER, sequence, b"testbed"))
                    sent += 1
                    await asyncio.wait({answer}, timeout=RESOLVE_PERIOD_S)
                return answer.result()
        except TimeoutError as error:
            known = self.neighbour(ip) or "unknown: no ARP answer"
            raise WaitTimeout(
                f"Waited {pace.scaled(timeout_s):g} s for an ICMP echo from {ip}; {sent} were sent, none was answered. "
                f"Its MAC address is {known}."
            ) from error
        finally:
            del self._echoes[sequence]

    def _send_ip(self, packet: packets.Udp | packets.Echo) -> None:
        hop = self._next_hop(packet.target_ip)
        if hop is None:
            self.counters.not_sent += 1
            return
        mac = self._neighbours.send(hop, packet, time.monotonic())
        if mac is None:
            self._ask()
        else:
            self._transmit(self._build(mac, packet))

    def _next_hop(self, ip: str) -> str | None:
        return ip if IPv4Interface(ip).ip in self._network else self.gateway

    def _build(self, mac: str, packet: packets.Udp | packets.Echo) -> bytes:
        if isinstance(packet, packets.Udp):
            return packets.udp(self.mac, mac, packet)
        return packets.echo(self.mac, mac, packet)

    def _transmit(self, frame: bytes) -> None:
        try:
            self._socket.sendto(frame, self._switch_path)
        except OSError:  # the switch is not there or has no room: a wire loses the frame
            self.counters.not_sent += 1
        else:
            self.counters.sent += 1

    def _ask(self) -> None:
        for ip in self._neighbours.due(time.monotonic()):
            self._transmit(packets.arp_request(self.mac, self.ip, ip))

    async def _tick(self) -> None:
        while True:
            self._ask()
            await asyncio.sleep(_TICK_S)

    def _receive(self) -> None:
        for _ in range(_BATCH_FRAMES):
            try:
                frame = self._socket.recv(_FRAME_BYTES_MAX)
            except OSError:  # nothing more to read
                return
            self._frame(frame, time.monotonic())

    def _frame(self, frame: bytes, now_s: float) -> None:
        self.counters.received += 1
        match packets.decode(frame):
            case packets.Arp() as arp:
                self._arp(arp, now_s)
            case packets.Udp() as datagram if datagram.target_ip == self.ip:
                self._confirm(datagram.source_ip, datagram.source_mac)
                handler = self._handlers.get(datagram.target_port)
                if handler is None:
                    self.counters.unclaimed += 1
                else:
                    handler(datagram, now_s)
            case packets.Echo() as echo if echo.target_ip == self.ip:
                self._confirm(echo.source_ip, echo.source_mac)
                self._echo(echo, now_s)
            case None:
                self.counters.unusable += 1
            case _:
                pass  # flooded, for somebody else

    def _arp(self, arp: packets.Arp, now_s: float) -> None:
        if arp.sender_mac == self.mac or arp.sender_ip == "0.0.0.0":  # noqa: S104 - an ARP probe, not a bind
            return
        observer = self._observers.get(arp.target_ip)
        if observer is not None:
            if not arp.is_request:
                observer(arp, now_s)
            return
        for_us = arp.target_ip == self.ip
        is_new, packets_waiting = self._neighbours.learn(arp.sender_ip, arp.sender_mac, now_s, create=for_us)
        if is_new and self._history is not None:
            gratuitous = arp.sender_ip == arp.target_ip
            self._history.record("endpoint", "neighbour", ip=arp.sender_ip, mac=arp.sender_mac, gratuitous=gratuitous)
        for packet in packets_waiting:
            self._transmit(self._build(arp.sender_mac, packet))
        if for_us and arp.is_request:
            self._transmit(packets.arp_reply(self.mac, self.ip, arp.sender_mac, arp.sender_ip))

    def _confirm(self, ip: str, mac: str) -> None:
        hop = self._next_hop(ip)
        if hop is not None:
            self._neighbours.confirm(hop, mac)

    def _echo(self, echo: packets.Echo, now_s: float) -> None:
        if echo.is_request:
            answer = packets.Echo(False, self.mac, self.ip, echo.source_ip, echo.number, echo.sequence, echo.payload)
            self._send_ip(answer)
            return
        handler = self._echo_handlers.get(echo.number)
        if handler is not None:
            handler(echo.sequence, now_s)
            return
        waiting = self._echoes.get(echo.sequence)
        if waiting is not None and not waiting.done() and echo.number == _ECHO_NUMBER:
            waiting.set_result(now_s)
