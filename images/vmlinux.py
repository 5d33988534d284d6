"""Take the uncompressed kernel out of Debian's compressed boot file; this module must never run what it reads."""

import bz2
import lzma
import zlib
from collections.abc import Callable

from images.errors import BuildError

ELF_MAGIC = b"\x7fELF"
_FORMATS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\xfd7zXZ\0", lambda data: lzma.LZMADecompressor().decompress(data)),
    (b"\x1f\x8b\x08", lambda data: zlib.decompressobj(31).decompress(data)),
    (b"BZh", lambda data: bz2.BZ2Decompressor().decompress(data)),
)


def extract(image: bytes) -> bytes:
    """Return the kernel's ELF file from the content of a `vmlinuz` file."""
    for magic, unpack in _FORMATS:
        start = image.find(magic)
        while start >= 0:
            try:
                kernel = unpack(image[start:])
            except (lzma.LZMAError, zlib.error, OSError, EOFError):
                kernel = b""
            if kernel.startswith(ELF_MAGIC):
                return kernel
            start = image.find(magic, start + 1)
    raise BuildError(
        "no kernel was found in the boot file of Debian's kernel package (its compression is none of xz, gzip, bzip2); "
        "nothing was kept; extend images/vmlinux.py for the new compression"
    )
