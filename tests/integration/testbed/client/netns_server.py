"""A stand-in for the VM with a real kernel: a private network on a switch port, and the service as another process.

Run as a program: `python -m tests.integration.testbed.client.netns_server OWN SWITCH DELAY_FILE`. It prints the process
id of the service, which a test may stop while the kernel goes on answering; each answer waits for the seconds in the
file. A first line that begins with `impossible` means that the host gives no private network.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import cast

from testbed.client.tcp_host import Pump
from testbed.lan import private_net

MAC, IP, PORT = "00:16:3e:77:00:20", "10.77.0.20", 7000


def answer(request: bytes) -> bytes:
    """What the workload would say; it keeps nothing."""
    verb, _, word = request.decode().strip().partition(" ")
    return (f"PONG {word} b00t 0" if verb == "PING" else f"OK {word} 0").encode()


class Datagrams(asyncio.DatagramProtocol):
    """The UDP side."""

    def __init__(self, delay: Path) -> None:
        self.delay = delay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop gives the socket."""
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer after the delay."""
        delay_s = float(self.delay.read_text())
        asyncio.get_running_loop().call_later(delay_s, self.transport.sendto, answer(data), addr)


async def serve(delay: Path) -> None:
    """The service."""
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Datagrams(delay), local_addr=(IP, PORT))

    async def lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            loop.call_later(float(delay.read_text()), writer.write, answer(line) + b"\n")
        writer.close()

    async with await asyncio.start_server(lines, IP, PORT) as server:
        sys.stdout.write(f"service {os.getpid()}\n")
        sys.stdout.flush()
        await server.serve_forever()


async def carry(pump: Pump) -> None:
    """The network, as long as the process lives."""
    with pump:
        await asyncio.Event().wait()


def main(own: str, switch: str, delay: str) -> None:
    """Enter the network, split the service off, carry frames."""
    try:
        frames = private_net.enter(MAC, IP, 24)
    except private_net.NotPossibleError as error:
        sys.stdout.write(f"impossible: {error}\n")
        return
    if os.fork() == 0:
        asyncio.run(serve(Path(delay)))
    else:
        asyncio.run(carry(Pump(frames, own, switch)))


if __name__ == "__main__":
    main(*sys.argv[1:])
