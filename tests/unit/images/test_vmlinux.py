"""Tests of taking the kernel out of its boot file; they must never need a real kernel."""

import gzip
import lzma

import pytest

from images.errors import BuildError
from images.vmlinux import extract

KERNEL = b"\x7fELF" + bytes(range(256)) * 40


@pytest.mark.parametrize("packed", [lzma.compress(KERNEL), gzip.compress(KERNEL)])
def test_the_kernel_is_found_behind_other_bytes(packed: bytes) -> None:
    """The compressed kernel stands somewhere in the file, followed by more."""
    assert extract(b"MZ setup code" * 9 + packed + b"trailer") == KERNEL


def test_a_false_start_is_passed_over() -> None:
    """Bytes that only look like the start of a compressed file do not stop the search."""
    assert extract(b"\x1f\x8b\x08 no" + gzip.compress(b"not a kernel") + gzip.compress(KERNEL)) == KERNEL


def test_a_file_without_kernel_is_an_error() -> None:
    """An unknown compression is reported with what to do."""
    with pytest.raises(BuildError, match="compression"):
        extract(b"MZ" * 100)
