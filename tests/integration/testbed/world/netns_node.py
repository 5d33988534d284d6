"""A stand-in for a node: a private network namespace whose one interface is joined to a pair of datagram sockets.

Run as a program by test_outside.py: `netns_node.py OWN PEER AUTHORITY ONE_BY_ONE AT_ONCE`. It pings the gateway, posts
alerts to the service centre, and prints its figures as one JSON line. Exit code 77 and a sentence on stderr: the host
lacks a capability. It must never touch the host's own network: it leaves it before it does anything.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
SIOCSIFADDR, SIOCSIFNETMASK, SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8916, 0x891C, 0x8913, 0x8914, 1
NAME = b"eth1"
LIMIT_S = 100.0


def make_interface() -> int:
    """Enter a new namespace and make its interface; the file descriptor that carries the frames."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise PermissionError(ctypes.get_errno(), "a new network namespace (unshare) needs CAP_SYS_ADMIN")
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH", NAME, IFF_TAP | IFF_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, address in ((SIOCSIFADDR, "10.77.0.11"), (SIOCSIFNETMASK, "255.255.255.0")):
            fcntl.ioctl(control, request, struct.pack("16sHH4s8x", NAME, socket.AF_INET, 0, socket.inet_aton(address)))
        flags = struct.unpack("16sH", fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH", NAME, 0))[:18])[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH", NAME, flags | IFF_UP))
    return tap


def join(tap: int, own: str, peer: str) -> None:
    """Carry frames between the interface and the datagram sockets, as the bed's switch would."""
    port = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    port.bind(own)

    def inwards() -> None:
        while True:
            os.write(tap, port.recv(65536))

    def outwards() -> None:
        while True:
            port.sendto(os.read(tap, 65536), peer)

    for way in (inwards, outwards):
        threading.Thread(target=way, daemon=True).start()


def ping(address: str) -> bool:
    """Send one echo request and wait for its reply."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        raw.settimeout(LIMIT_S)
        body = struct.pack("!BBHHH", 8, 0, 0, 0x4242, 1)
        total = sum(struct.unpack("!4H", body))
        raw.sendto(body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:], (address, 0))
        while True:
            packet = raw.recv(2048)
            if packet[20] == 0 and packet[24:26] == b"\x42\x42":
                return True


def post(tls: ssl.SSLContext, number: int) -> tuple[int, float, float, float]:
    """Post one alert; the status, and the seconds until TCP was connected, TLS was up, and the answer was whole."""
    alert = {
        "schema": "avance.alert/1", "id": f"n-{number}", "node": "a", "seq": number, "kind": "fault",
        "code": "peer_lost", "severity": "critical", "text": "x" * 2000, "epoch": 1, "wall": "",
    }  # fmt: skip
    body = json.dumps(alert).encode()
    head = f"POST /v1/alerts HTTP/1.1\r\nAuthorization: Bearer t\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    begun = time.monotonic()
    with socket.create_connection(("10.77.0.4", 443), timeout=LIMIT_S) as plain:
        connected = time.monotonic()
        with tls.wrap_socket(plain, server_hostname="10.77.0.4") as secure:
            secured = time.monotonic()
            secure.sendall(head + body)
            answer = b""
            while data := secure.recv(4096):
                answer += data
    return int(answer.split()[1]), connected - begun, secured - begun, time.monotonic() - begun


def main(own: str, peer: str, authority: str, one_by_one: str, at_once: str) -> int:
    """Do it all and print the figures."""
    Path(own).unlink(missing_ok=True)
    try:
        tap = make_interface()
    except OSError as error:
        sys.stderr.write(f"this host cannot give a network namespace with a tap device: {error}\n")
        return 77
    join(tap, own, peer)
    tls = ssl.create_default_context(cafile=authority)
    pinged = ping("10.77.0.2")
    serial = [post(tls, number) for number in range(int(one_by_one))]
    with ThreadPoolExecutor(int(at_once)) as pool:
        parallel = list(pool.map(lambda number: post(tls, number), range(1000, 1000 + int(at_once))))
    refused = False
    try:
        socket.create_connection(("10.77.0.2", 80), timeout=1).close()
    except OSError:
        refused = True
    sys.stdout.write(
        json.dumps({"ping": pinged, "serial": serial, "parallel": parallel, "other_refused": refused}) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
