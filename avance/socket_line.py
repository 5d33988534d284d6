"""One line to the daemon's control socket and one back, with next to no imports: for what has to start fast.

`_socket` is the part of `socket` that is compiled; the rest of `socket` takes long to import under emulation.
"""

from _socket import AF_UNIX, SOCK_STREAM, socket

_PART_BYTES = 1 << 16


def exchange(path: str, request: bytes, *, answer_s: float, bytes_max: int) -> bytes:
    """Return what is answered, up to its line end, the end of the connection or `bytes_max`.

    Raises:
        OSError: nobody listens, or no answer came in time; whether the daemon acted is unknown.
    """
    sock = socket(AF_UNIX, SOCK_STREAM)
    try:
        sock.settimeout(answer_s)
        sock.connect(path)
        sock.sendall(request + b"\n")
        data = b""
        while not data.endswith(b"\n") and len(data) < bytes_max:
            part = sock.recv(min(_PART_BYTES, bytes_max - len(data)))
            if not part:
                break
            data += part
        return data
    finally:
        sock.close()
