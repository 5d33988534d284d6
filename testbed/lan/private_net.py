"""A network namespace of one's own with one Ethernet port whose frames a socket carries: a host with this kernel's TCP.

For programs that the testbed starts, never for its own process: whoever calls `enter` has left the machine's networks
for good. It needs no privilege where the kernel lets users make namespaces, and no /dev/net/tun: the port is one end of
a veth pair, the other end is read and written as raw frames. It must never touch an interface of the machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

NAME, FAR_NAME = "eth0", "far0"

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFFLAGS, _SIOCETHTOOL = 0x8916, 0x891C, 0x8914, 0x8946  # linux/sockios.h
_IFF_UP, _IFF_RUNNING, _IFF_NOARP = 0x1, 0x40, 0x80
_ETHTOOL_STXCSUM = 0x17  # checksums made by a card: nobody would make them here (it takes segmentation with it)
_ETHTOOL_SGSO = 0x24
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_RTM_NEWLINK, _NLMSG_ERROR = 16, 2
_NLM_F_REQUEST_ACK_CREATE_EXCL = 0x1 | 0x4 | 0x400 | 0x200
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINKINFO, _INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 3, 18, 1, 2, 1
_LINK_HEAD = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, 0, 0)


class NotPossibleError(Exception):
    """This host does not give a private network; the text says at which step and why."""


def enter(mac: str, ip: str, prefix: int) -> socket.socket:
    """Move this process into a private network with one interface; returns the socket that carries its frames.

    Raises NotPossibleError; the process is then in an unknown network and should end.
    """
    step = "a user and a network namespace (unshare)"
    try:
        _leave()
        step = "a veth pair"
        _make_pair(mac)
        step = "the address of its interface"
        _configure(ip, prefix)
        step = "a raw socket on its far end"
        frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        frames.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        frames.bind((FAR_NAME, _ETH_P_ALL))
    except OSError as error:
        raise NotPossibleError(f"this host does not give {step}: {error.strerror or error}") from error
    return frames


def _leave() -> None:
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        user_error = ctypes.get_errno()
        if libc.unshare(_CLONE_NEWNET) != 0:  # a host without user namespaces still gives it to root
            raise OSError(user_error, os.strerror(user_error))
        return
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        Path("/proc/self", name).write_text(text, encoding="ascii")


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _make_pair(mac: str) -> None:
    """Ask rtnetlink for a veth pair; the library that could do it is walled for the product."""
    far = _attribute(_VETH_INFO_PEER, _LINK_HEAD + _attribute(_IFLA_IFNAME, FAR_NAME.encode() + b"\0"))
    info = _attribute(_INFO_KIND, b"veth\0") + _attribute(_INFO_DATA, far)
    body = _LINK_HEAD + _attribute(_IFLA_IFNAME, NAME.encode() + b"\0")
    body += _attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) + _attribute(_IFLA_LINKINFO, info)
    head = struct.pack("=IHHII", 16 + len(body), _RTM_NEWLINK, _NLM_F_REQUEST_ACK_CREATE_EXCL, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.sendto(head + body, (0, 0))
        reply = kernel.recv(4096)
    kind, code = struct.unpack_from("=4xH10xi", reply)
    if kind == _NLMSG_ERROR and code != 0:
        raise OSError(-code, os.strerror(-code))


def _configure(ip: str, prefix: int) -> None:
    mask = struct.pack("!I", 0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for name, flags in ((NAME, 0), (FAR_NAME, _IFF_NOARP)):
            with contextlib.suppress(OSError):  # a kernel without IPv6 says nothing by itself anyway
                Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6").write_text("1", encoding="ascii")
            for command in (_ETHTOOL_STXCSUM, _ETHTOOL_SGSO):
                _switch_off(control, name, command)
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), _IFF_UP | _IFF_RUNNING | flags))
        for request, address in ((_SIOCSIFADDR, socket.inet_aton(ip)), (_SIOCSIFNETMASK, mask)):
            fcntl.ioctl(control, request, struct.pack("16sHH4s8x", NAME.encode(), socket.AF_INET, 0, address))


def _switch_off(control: socket.socket, name: str, command: int) -> None:
    value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
    fcntl.ioctl(control, _SIOCETHTOOL, struct.pack("16sP8x", name.encode(), ctypes.addressof(value)))


def main() -> int:
    """Try it, for `testbed doctor`: 0 when this host gives a private network, else 1 and a sentence."""
    try:
        enter("02:77:00:00:01:01", "192.0.2.1", 24).close()
    except NotPossibleError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
