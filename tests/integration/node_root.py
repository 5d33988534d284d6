"""How a test gets into the root of a node's image under the node's own kernel, without booting all of the node."""

from __future__ import annotations

_INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
exec < /dev/console > /dev/console 2>&1
for try in 1 2 3; do
    for module in /modules/*.ko; do $b insmod $module 2> /dev/null; done
done
$b mount -t ext4 -o ro,noload /dev/vda /root
for place in run tmp; do $b mount -t tmpfs $place /root/$place; done
$b mount -t proc proc /root/proc
$b mount -t sysfs sys /root/sys
$b cp -r @BROUGHT@ /root/run/
$b mount --move /dev /root/dev
exec $b switch_root /root /bin/sh -c "@STORY@; /usr/bin/busybox poweroff -f"
"""


def first_program(brought: str, story: str) -> bytes:
    """Return it: the modules of the root disk, whose order is found by trying, then the story in the node's root.

    Args:
        brought: what the initial file system brings along; it stands below /run then.
        story: a command of the shell, without double quotation marks.
    """
    return _INIT.replace("@BROUGHT@", brought).replace("@STORY@", story).encode()
