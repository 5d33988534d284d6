"""The list of nasty things: what programs, files, sockets and devices of a node can do to who depends on them.

Each is the real thing in a temporary directory: a program on PATH, a file, a socket. It must never know an adapter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

MUCH = 10_000_000

# What a program does, as a script of the shell; None: there is no such program.
PROGRAMS: dict[str, str | None] = {
    "absent": None,
    "no program": "",
    "says nothing": "exit 0",
    "fails": "echo no such device >&2; exit 3",
    "is killed": "kill -9 $$",
    "hangs": "exec sleep 600",
    "no line end": f"head -c {MUCH} /dev/zero",
    "much to say": f"yes exists resource name:avance-web role:Primary | head -c {MUCH // 5}",
    "complains without an end": f"head -c {MUCH} /dev/zero >&2; exit 1",
    "cut in a line": "printf 'exists resource name:avance-web\\nexists -\\nchange device name:avance-web disk:UpTo'",
    "no text": "printf '\\377\\376\\000\\033[2J\\n'",
    "unknown words": "echo 'exists device name:avance-web disk:Fine x:y'; echo 'exists -'; echo Fine/Fine",
    "blanks in names": "echo 'exists resource name:my vm role:Primary'; echo 'exists -'",
    "deep": "head -c 100000 /dev/zero | tr '\\0' '['",
    "child holds the pipe": 'sleep 600 & echo $! >> "$NASTY_CHILDREN"; exit 0',
}
TOOLS = (
    "lvs", "lvchange", "lvremove", "lvcreate", "lvrename", "dd", "drbdmeta", "drbdadm", "drbdsetup", "mdadm",
    "vgchange", "vgcreate", "wipefs", "blkid", "xl", "ipmitool", "stdbuf",
)  # fmt: skip

# What stands in the place of a file.
FILES = (
    "absent",
    "directory",
    "pipe",
    "no end",
    "cannot be read",
    "takes nothing",
    "empty",
    "no text",
    "10 MB",
    "loop",
)

# What somebody says who answers on a socket, before he closes it; None: he says nothing and keeps it open.
ANSWERS: dict[str, bytes | None] = {
    "closes": b"",
    "silent": None,
    "no text": b"\xff" * 64,
    "much": b"x" * MUCH,
    "cut": struct.pack("=IIII", 2, 1, 0, 100) + b"Domain",
    "too long": struct.pack("=IIII", 2, 1, 0, 1 << 30),
    "another question": struct.pack("=IIII", 2, 99, 0, 0),
    "an error that is none": struct.pack("=IIII", 16, 1, 0, 3) + b"\xff\0\xff",
    "another kind": struct.pack("=IIII", 77, 1, 0, 0),
    "events without an end": (struct.pack("=IIII", 15, 0, 0, 4) + b"a\0b\0") * 50_000,
}

# Datagrams of strangers, and of a version that nobody knows.
DATAGRAMS = (b"", b"\0", b"x" * 9000, b"{}", b"[" * 8000, b"\xff" * 512)


def programs(directory: Path, how: str) -> Path:
    """Let every tool of a node do this; returns the directory for PATH, which has nothing else of them."""
    place = directory / "bin"
    place.mkdir()
    text = PROGRAMS[how]
    for name in TOOLS if text is not None else ():
        path = place / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755 if text else 0o644)
    for name in ("sh", "head", "yes", "sleep", "tr"):
        found = next(Path(folder, name) for folder in ("/usr/bin", "/bin") if Path(folder, name).exists())
        (place / name).symlink_to(found)
    return place


def file(path: Path, how: str) -> None:
    """Put this in the place of a file."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    match how:
        case "absent":
            pass
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "no end":
            path.symlink_to("/dev/zero")
        case "cannot be read":
            path.symlink_to("/proc/self/mem")  # its first page gives EIO
        case "takes nothing":
            path.symlink_to("/dev/full")
        case "loop":
            path.symlink_to(path)
        case _:
            path.write_bytes({"empty": b"", "no text": b"\xff\xfe\0" * 100, "10 MB": b"1" * MUCH}[how])


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(listen: Callable[[Serve], Awaitable[asyncio.Server]], how: str) -> AsyncIterator[asyncio.Server]:
    """Let somebody listen on a socket who answers so."""
    said, end = ANSWERS[how], asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if said is None:
                await end.wait()
            else:
                await reader.read(16)
                writer.write(said)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    server = await listen(serve)
    try:
        yield server
    finally:
        end.set()
        server.close()
        for _ in range(3):
            await asyncio.sleep(0)  # those who serve still come to their end


@contextmanager
def no_descriptor() -> Iterator[None]:
    """Let this process have no free descriptor."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
