"""Proves with the node's own mount of /proc that nobody but root reads the arguments of a program there."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from images import process, product

CANARY = "--shared-secret=canary"
MOUNT = "mount -t proc -o hidepid=2 proc /proc"
READ = "cat /proc/[0-9]*/cmdline 2>&1 | tr '\\000' ' '"
STORY = f"""{{mount}}
sh -c 'sleep 1000; true' {CANARY} &
printf 'nobody: '; setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "{READ}"
printf '\\nroot: '; sh -c "{READ}"
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="only root can become somebody else")
@pytest.mark.parametrize("hidden", [True, False])
def test_arguments_are_for_root_only(hidden: bool) -> None:
    """A canary on a command line is seen by root and by nobody else; without the option everybody sees it."""
    script = (product.NODE_FILES / "etc" / "runit" / "1").read_text(encoding="utf-8")
    assert re.findall(r"^mount -t proc .*$", script, re.MULTILINE) == [MOUNT]
    mount = MOUNT if hidden else MOUNT.replace("-o hidepid=2 ", "")
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", STORY.format(mount=mount)]
    nobody, _, root = process.output_of(argv).partition("\nroot: ")
    assert nobody.startswith("nobody: ")
    assert (CANARY in nobody, CANARY in root) == (not hidden, True)
