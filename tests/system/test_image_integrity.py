"""The image's corruption self-test: an unlucky choice of emulated CPU features makes Xen corrupt dom0's processes as
soon as a guest runs beside them (seen with XSAVE and AVX under TCG). It is looked for where it showed: hashing in dom0
while a guest works and data crosses the private link.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from testbed.bed import Bed, Session
from testbed.client.ledger import Ledger
from testbed.node.node import Node
from testbed.site import SiteOptions
from testbed.topology import PRIVATE

pytestmark = pytest.mark.timeout(3600)

SIZE_BYTES = 4 << 20
HASHES = 60  # of 4 MiB each on each node; with the bad CPU the first wrong one came within a minute or two
TRANSFERS = 20
PORT = 5999
ROUND_S = 300.0

# Python programs for the nodes: deterministic data, so that every hash has one right answer.
DATA = f"import hashlib,sys; d=hashlib.shake_256(b'avance').digest({SIZE_BYTES})"
HASH = f"{DATA}\nfor _ in range({HASHES}): print(hashlib.sha256(d).hexdigest())"
SEND = f"""{DATA}
import socket, time
def dial():
    for _ in range(100):
        try: return socket.create_connection((sys.argv[1], {PORT}))
        except ConnectionRefusedError: time.sleep(0.2)  # the listener's interpreter is still starting
    sys.exit("nobody listens")
for _ in range({TRANSFERS}):
    with dial() as s: s.sendall(d)
"""
RECEIVE = f"""import hashlib,socket
listener = socket.create_server(('0.0.0.0', {PORT}))
for _ in range({TRANSFERS}):
    s, _peer = listener.accept(); h = hashlib.sha256()
    while part := s.recv(65536): h.update(part)
    print(h.hexdigest())
"""


async def _python(node: Node, program: str, *arguments: str) -> list[str]:
    out = await node.machine.guest.must_succeed(["python3", "-c", program, *arguments], timeout_s=ROUND_S)
    return out.split()


async def _hash_file(node: Node) -> list[str]:
    """Hash one file again and again by another program than Python."""
    loop = f"for i in $(seq {HASHES // 4}); do sha256sum /usr/lib/workload/vmlinux; done"
    out = await node.machine.guest.must_succeed(["sh", "-c", loop], timeout_s=ROUND_S)
    return out.split()[::2]


async def _under_load(bed: Bed, out: Path) -> tuple[list[list[str]], list[list[str]], int]:
    a, b = bed.nodes["a"], bed.nodes["b"]
    address = bed.topology.node_addresses["b"][PRIVATE].partition("/")[0]
    with Ledger(out / "ledger.jsonl") as ledger:
        async with bed.probe("integrity", ledger=ledger) as probe:
            async with asyncio.TaskGroup() as tasks:
                known = [
                    tasks.create_task(_python(b, RECEIVE)),
                    tasks.create_task(_python(a, HASH)),
                    tasks.create_task(_python(b, HASH)),
                ]
                files = [tasks.create_task(_hash_file(node)) for node in (a, b)]
                tasks.create_task(_python(a, SEND, address))
            await probe.stop()
    good = sum(attempt.done_at_s is not None for attempt in probe.attempts)
    return [task.result() for task in known], [task.result() for task in files], good


def test_nothing_is_corrupted_while_a_guest_runs_and_data_crosses_the_link(tmp_path: Path) -> None:
    """Every hash of the same data is the same and right, on both nodes, while the VM writes and data crosses."""

    async def run() -> tuple[list[list[str]], list[list[str]], int]:
        async with Session(tmp_path / "run", SiteOptions()) as session:
            await session.protect()
            found = await _under_load(session.bed, tmp_path)
            for node in session.bed.nodes.values():
                assert (await node.status())["protected"] is True
            return found

    known, files, good = asyncio.run(run())
    right = hashlib.sha256(hashlib.shake_256(b"avance").digest(SIZE_BYTES)).hexdigest()
    assert [len(hashes) for hashes in known] == [TRANSFERS, HASHES, HASHES]
    assert {value for hashes in known for value in hashes} == {right}
    assert len({value for hashes in files for value in hashes}) == 1
    assert good > 0, "the VM did not work during the test, so it proves nothing"
