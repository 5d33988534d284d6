"""The lease in the path of every frame: VMs and the service address send only while this node's right lasts.

A machine that stood still sends what its peer's clients asked meanwhile before any process of it runs again: no daemon
can be fast enough (docs/decisions/0016-lease-in-the-path.md). So the kernel itself compares the time with the end of
the lease at each frame, in a program of some twenty instructions on the way out (tc-bpf(8), "direct-action" on clsact).
The node's own traffic, heartbeats above all, passes at any time.

The program and its clock are the kernel's (`bpf_ktime_get_ns` is CLOCK_MONOTONIC, the clock of all decisions). It must
never hold anything back while its number says "no end". It outlives the daemon, and then ends with the last lease.
"""

from __future__ import annotations

import asyncio
import ctypes
import ipaddress
import os
import struct
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from avance.errors import AvanceError
from avance.files import read_text
from avance.network_devices import DEVICES, uplinks_of

LOOK_S, LOOK_SOON_S = 60.0, 1.0  # between two looks at the gate when the network has not changed
NO_END = 2**64 - 1  # later than every clock: the right has no end of its own
_NS = 1_000_000_000

# From linux/bpf.h, for the system call bpf.
_SYSCALL = 321  # on x86-64, which is the only architecture of the platform
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD = 0, 2, 5
_MAP_ARRAY, _SCHED_CLS = 2, 3
_LOG_BYTES = 65536
_ATTRIBUTES_BYTES = 144
_LOOKUP, _KTIME = 1, 5  # helpers: map_lookup_elem, ktime_get_ns
_PASS, _DROP = 0, 2  # linux/pkt_cls.h: TC_ACT_OK, TC_ACT_SHOT
_ARP, _IPV4 = 0x0806, 0x0800

_Line = tuple[int, int, int | str, int]


class GateFailed(AvanceError):
    """The kernel did not take the gate; the text says what it answered."""


class LeaseGate:
    """The port `Gate`, for all ways by which this node's VMs and its service address reach the public networks.

    `put` hangs a loaded program into the way out of a device, `holds` says whether it is there. Both raise OSError when
    the kernel refuses.
    """

    def __init__(
        self,
        devices: Iterable[str],
        service: ipaddress.IPv4Address,
        put: Callable[[str, int], None],
        holds: Callable[[str], bool],
        root: Path = DEVICES,
    ) -> None:
        self._devices = tuple(devices)
        self._put, self._holds = put, holds
        self._service = service
        self._root = root
        self._map: int | None = None
        self.guarded: tuple[str, ...] = ()
        self.problem: str | None = "not in place yet"

    def open_until(self, until_s: float | None) -> None:
        """Let frames pass until this monotonic second, or without an end; what went wrong stands in `problem`."""
        try:
            if self._map is None:
                self._map = _bpf(_MAP_CREATE, struct.pack("=IIII", _MAP_ARRAY, 4, 8, 1))
            end = NO_END if until_s is None else max(0, int(until_s * _NS))
            key, value = ctypes.c_uint32(0), ctypes.c_uint64(end)
            _bpf(_MAP_UPDATE, struct.pack("=I4xQQQ", self._map, ctypes.addressof(key), ctypes.addressof(value), 0))
        except OSError as error:
            self.problem = f"the kernel keeps no end of the lease: {error}"

    @property
    def pause_s(self) -> float:
        """Seconds to the next look; it comes soon until the gate is in place."""
        return LOOK_S if self.problem is None else LOOK_SOON_S

    async def keep(self) -> None:
        """Put the program on every uplink of the networks where it is not; `problem` says what is missing."""
        try:
            if self.problem is not None or not await asyncio.to_thread(self._is_whole):
                self.guarded = await asyncio.to_thread(self._attach)
        except (OSError, ValueError, AvanceError) as error:
            self.problem = str(error)
        else:
            self.problem = None

    def _is_whole(self) -> bool:
        """Say whether each way out has the program; a device that was made anew has lost it."""
        uplinks = [uplink for device in self._devices for uplink in uplinks_of(device, self._root)]
        return tuple(uplinks) == self.guarded and all(self._holds(uplink) for uplink in uplinks)

    def _attach(self) -> tuple[str, ...]:
        """Put it everywhere where it can be put; raises the first error when that was not everywhere."""
        if self._map is None:
            raise GateFailed("the lease has no end to compare with yet")
        guarded, wrong = [], []
        for device in self._devices:
            for uplink in uplinks_of(device, self._root):
                try:
                    self._put_on(uplink, device)
                    guarded.append(uplink)
                except (OSError, ValueError, AvanceError) as error:
                    wrong.append(error)
        if wrong:
            raise wrong[0]
        if not guarded:
            raise GateFailed(f"no network device is behind {', '.join(self._devices)}")
        return tuple(guarded)

    def _put_on(self, uplink: str, device: str) -> None:
        assert self._map is not None
        own = dict.fromkeys(self._mac(name) for name in (uplink, device))
        program = load(instructions(self._map, own, self._service))
        try:
            self._put(uplink, program)
        finally:
            os.close(program)  # the filter holds it now

    def _mac(self, device: str) -> bytes:
        return bytes.fromhex(read_text(self._root / device / "address").replace(":", ""))


def instructions(numbers: int, own: Iterable[bytes], service: ipaddress.IPv4Address) -> bytes:
    """Return the program: pass while the clock is below the number in the map, else only this node's own traffic.

    Frames from other addresses than `own` (each 6 bytes) are the VMs'; an ARP or IPv4 frame from `service` is the
    service address's. A line is: code, registers (source and destination as two hexadecimal digits), offset or label,
    constant (kernel, Documentation/bpf/instruction-set).
    """
    lines: list[_Line | str] = [
        (0xBF, 0x16, 0, 0),  # r6 = r1: the frame, where the loads below look for it
        (0x18, 0x11, 0, numbers),  # r1 = the map; two instructions long
        (0x00, 0x00, 0, 0),
        (0x62, 0x0A, -4, 0),  # key 0 on the stack
        (0xBF, 0xA2, 0, 0),
        (0x07, 0x02, 0, -4),  # r2 = its address
        (0x85, 0x00, 0, _LOOKUP),
        (0x15, 0x00, "judge", 0),  # no number
        (0x79, 0x07, 0, 0),  # r7 = the end of the right
        (0x85, 0x00, 0, _KTIME),
        (0xAD, 0x70, "pass", 0),  # before the end
        "judge",
    ]
    for index, mac in enumerate(own):
        lines += [
            (0x20, 0x00, 0, 6),  # sender, first four bytes
            (0x56, 0x00, f"other {index}", _signed(int.from_bytes(mac[:4]))),
            (0x28, 0x00, 0, 10),  # ... last two
            (0x15, 0x00, "own", int.from_bytes(mac[4:])),
            f"other {index}",
        ]
    lines += [
        (0x05, 0x00, "drop", 0),  # a VM's
        "own",
        (0x28, 0x00, 0, 12),  # what kind
        (0x15, 0x00, "arp", _ARP),
        (0x55, 0x00, "pass", _IPV4),  # neither
        (0x20, 0x00, 0, 26),  # IPv4: source
        (0x05, 0x00, "whose", 0),
        "arp",
        (0x20, 0x00, 0, 28),  # sender's address
        "whose",
        (0x16, 0x00, "drop", _signed(int(service))),
        "pass",
        (0xB7, 0x00, 0, _PASS),
        (0x95, 0x00, 0, 0),
        "drop",
        (0xB7, 0x00, 0, _DROP),
        (0x95, 0x00, 0, 0),
    ]
    return _assembled(lines)


def _assembled(lines: list[_Line | str]) -> bytes:
    """Jumps count from the instruction that follows them."""
    labels: dict[str, int] = {}
    code: list[_Line] = []
    for line in lines:
        if isinstance(line, str):
            labels[line] = len(code)
        else:
            code.append(line)
    program = b""
    for at, (operation, registers, offset, constant) in enumerate(code):
        jump = labels[offset] - at - 1 if isinstance(offset, str) else offset
        source, destination = registers >> 4, registers & 0xF
        program += struct.pack("<BBhi", operation, source << 4 | destination, jump, constant)
    return program


def load(program: bytes) -> int:
    """Give a program to the kernel and return its descriptor.

    Raises:
        GateFailed: the kernel refuses it, with the end of its own explanation.
    """
    text, log = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(_LOG_BYTES)
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII16s", _SCHED_CLS, len(program) // 8, ctypes.addressof(text), ctypes.addressof(licence),
        1, _LOG_BYTES, ctypes.addressof(log), 0, 0, b"avance_lease",
    )  # fmt: skip
    try:
        return _bpf(_PROG_LOAD, attributes)
    except OSError as error:
        said = log.value.decode(errors="replace").strip()[-300:]
        raise GateFailed(f"the kernel refuses the program of the gate: {error}; {said}") from error


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attributes: bytes) -> int:
    given = ctypes.create_string_buffer(attributes, _ATTRIBUTES_BYTES)
    answer: int = _libc().syscall(_SYSCALL, command, given, _ATTRIBUTES_BYTES)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
