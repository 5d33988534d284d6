"""Proves one node with a real QEMU: its hardware, its disks, and its processes one after another."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from testbed.disk.server import NbdClient
from testbed.errors import MachineError
from testbed.history import History
from testbed.node.node import Node
from testbed.node.spec import qemu_argv
from testbed.wait import wait_for_record
from tests.unit.testbed.node.test_node import with_node
from tests.unit.testbed.small_image import all_gone


def test_the_hardware_is_that_of_the_contract(tmp_path: Path) -> None:
    """Three disks in their order, both NICs with the MACs of the node, the image's memory and boot files."""

    async def scenario(node: Node, _history: History) -> None:
        await node.make_disks()
        spec = node.spec()
        assert [(disk.name, disk.path.name, disk.format) for disk in spec.disks] == [
            (name, f"n-a-{name}", "raw") for name in ("vda", "vdb", "vdc")
        ]
        assert [(nic.name, nic.mac) for nic in spec.nics] == [
            ("priv0", "52:54:00:09:00:01"),
            ("biz0", "52:54:00:77:00:01"),
        ]
        assert [(nic.local.name, nic.remote.name) for nic in spec.nics] == [
            ("q-a.priv0", "s-a.priv0"),
            ("q-a.biz0", "s-a.biz0"),
        ]
        assert (spec.memory_mib, spec.boot, spec.accel, spec.incoming) == (32, node.image.boot, "tcg", None)
        # The command line of a restore differs in the incoming memory alone, so that the state meets the same hardware.
        assert qemu_argv(node.spec(tmp_path / "memory")) == [*qemu_argv(spec), "-incoming", "defer"]

    with_node(tmp_path, scenario)


def test_disks_are_blank_or_loaded_and_leave_their_sources_alone(tmp_path: Path) -> None:
    """The root shows the image's until it is written; a restore brings back image and volatile cache of each disk."""

    async def scenario(node: Node, _history: History) -> None:
        root = node.image.root.read_bytes()
        await node.make_disks()
        async with NbdClient(node.storage["vda"].socket) as disk, NbdClient(node.storage["vdb"].socket) as data:
            assert (disk.size, data.size) == (len(root), 512 << 20)
            assert bytes(await disk.read(0, len(root))) == root
            assert await data.read(0, 4096) == bytes(4096)
            await disk.write(1024, b"mine" * 128, fua=True)
            await data.write(8192, b"held" * 128)
        saved = {name: tmp_path / f"saved-{name}" for name in node.storage}
        for name, path in saved.items():
            await node.storage[name].save(path)
        await node.make_disks(saved)
        async with NbdClient(node.storage["vda"].socket) as disk, NbdClient(node.storage["vdb"].socket) as data:
            assert await disk.read(0, 2048) == root[:1024] + b"mine" * 128 + root[1536:2048]
            assert await data.read(8192, 512) == b"held" * 128
        assert (await node.storage["vdb"].state())["dirty"] == 1  # it was not flushed before, so it is not now
        assert node.image.root.read_bytes() == root

    with_node(tmp_path, scenario)


def test_a_node_goes_on_with_its_disks_after_a_kill(tmp_path: Path) -> None:
    """It runs, is killed, is switched on again in a new process, and is closed without a process left."""

    async def scenario(node: Node, history: History) -> None:
        await node.make_disks()
        await node.power_on()
        was_on = node.is_on
        await wait_for_record(
            history,
            lambda entry: entry.source == "console.a" and entry.fields["text"] == "A",
            what="the letter",
            timeout_s=100,
        )
        first = node.machine.pid
        await node.machine.kill()
        assert (was_on, node.is_on) == (True, False)
        await node.power_on()
        second = node.machine.pid
        assert (node.is_on, await node.machine.status()) == (True, "running")
        await node.start()  # a running node is switched off first: there is never a second process on the same disks
        assert await node.machine.status() == "prelaunch"
        pids = [first, second, node.machine.pid]
        await node.close()
        await node.close()
        assert not node.is_on
        assert len(set(pids)) == 3
        await all_gone(pids)

    with_node(tmp_path, scenario)


def test_a_node_that_dies_while_it_boots_is_not_waited_for(tmp_path: Path) -> None:
    """The wait of minutes ends with the death, and the error holds QEMU's last words."""

    async def scenario(node: Node, history: History) -> None:
        await node.make_disks()
        await node.start()
        os.kill(node.machine.pid, signal.SIGKILL)
        await wait_for_record(history, lambda entry: entry.kind == "died", what="the death", timeout_s=100)
        node.machine.spec.qemu_log.write_text("out of breath\n", encoding="ascii")
        with pytest.raises(MachineError, match=r"(?s)Node a cannot boot: its QEMU has ended.*out of breath"):
            await node.wait_booted(100)

    with_node(tmp_path, scenario)
