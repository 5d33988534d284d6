"""The error tree of the testbed: every error says what happened, what is now true and what to do.

TestbedError
├── HostError            the host lacks something (QEMU, npm, memory, disk): exit code 2
│   └── SlowHostError        it is too slow for every dilation
├── UsageError           the caller asked for something impossible: exit code 2
├── ImageError           the node image is missing, damaged or could not be built
├── MachineError         a QEMU process died, refused to start or does not answer
│   └── GuestCommandError    a command inside a node failed or its outcome is unknown
├── WaitTimeout          a deadline passed; says what was awaited and the last thing seen
├── SwitchError          the user-space switch died or refused a request
├── DiskServerError      a disk server died, does not answer, or refused a command
└── SnapshotError        a snapshot could not be saved or restored
"""

from __future__ import annotations


class TestbedError(Exception):
    """Base of all errors that a person is meant to read; never raised itself."""

    __test__ = False  # pytest must not take the name for a test class


class HostError(TestbedError):
    """The host lacks something that the testbed needs; the text names the way out."""


class SlowHostError(HostError):
    """The host is too slow for every dilation; the text says what to do."""


class UsageError(TestbedError):
    """The caller asked for something that does not exist or is not possible."""


class ImageError(TestbedError):
    """The node image is missing, damaged or could not be built."""


class MachineError(TestbedError):
    """A QEMU process died, refused to start or does not answer."""


class GuestCommandError(MachineError):
    """A command inside a node failed, or its outcome is unknown."""


class WaitTimeout(TestbedError):
    """A deadline passed; the text names what was awaited, for how long, and the last thing seen."""


class SwitchError(TestbedError):
    """The user-space Ethernet switch died or refused a request."""


class DiskServerError(TestbedError):
    """A disk server died, does not answer, or refused a command."""


class SnapshotError(TestbedError):
    """A snapshot could not be saved or restored."""


def first_error(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a group of tasks, for callers to whom the rest only follows from it."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
