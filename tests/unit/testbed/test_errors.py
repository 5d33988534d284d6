"""Proves that of errors that came together the one that began is found."""

from __future__ import annotations

from testbed.errors import HostError, TestbedError, first_error


def test_the_first_error_of_nested_groups_is_the_one_that_began() -> None:
    """Groups in groups are opened, and a group of one is that one."""
    began = HostError("no QEMU")
    group = BaseExceptionGroup("all", [BaseExceptionGroup("inner", [began]), TestbedError("later")])
    assert first_error(group) is began
