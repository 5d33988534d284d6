"""Relay of one TCP connection: slirp runs this file once per connection and it copies bytes to and from a unix socket.

Run by path with `python3 -I -S`, so it imports nothing but four modules of the standard library: it starts in some
15 ms. It must never outlive its connection: it ends when the service centre closes, or a while after the node does.
"""

import os
import select
import socket
import sys

CHUNK = 65536
LINGER_S = 120.0  # how long the service centre may still answer after the node has closed its direction


def relay(path: str, source: int = 0, sink: int = 1) -> int:
    """Copy both ways until the unix socket ends; 1 when nobody listens there (the node sees its connection closed)."""
    with socket.socket(socket.AF_UNIX) as far:
        try:
            far.connect(path)
        except OSError:
            return 1
        readers = [far.fileno(), source]
        while True:
            ready, _, _ = select.select(readers, [], [], None if source in readers else LINGER_S)
            if not ready:
                return 1
            try:
                if source in ready and not _copy_in(source, far):
                    readers.remove(source)
                    far.shutdown(socket.SHUT_WR)
                if far.fileno() in ready and not _copy_out(far, sink):
                    return 0
            except OSError:  # one side is gone: end, which closes the other
                return 1


def _copy_in(source: int, far: socket.socket) -> bool:
    data = os.read(source, CHUNK)
    far.sendall(data)
    return bool(data)


def _copy_out(far: socket.socket, sink: int) -> bool:
    data = far.recv(CHUNK)
    left = data
    while left:
        left = left[os.write(sink, left) :]
    return bool(data)


if __name__ == "__main__":
    sys.exit(relay(sys.argv[1]))
