"""One disk that can be broken: an image, a volatile write cache before it, and every way in which it may fail.

It runs inside nbdkit in the system's Python (see `nbd_plugin`), so it uses the standard library only. "Durable" means:
in the image file; the host itself does not lose power here, so the file is never synced. It must never apply a write
of a client from before a power cut, and never let an older write win over a newer one that covers it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from testbed.disk.image import DiskImage

SECTOR = 512
GRANULE = 16 * 1024  # of the index of cached writes
CACHE_BYTES = 32 * 2**20  # what a large disk may hold in its volatile cache
EVERYWHERE = 2**62
OPERATIONS = ("read", "write", "flush")
WRITE_FAULTS = ("lost", "torn", "misdirected")


class DiskFailure(Exception):
    """A request that the disk refuses, with the error number that its client gets."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(why)
        self.number = number


class BadCommand(Exception):
    """A command on the control socket that makes no sense; the text goes back to its sender."""


@dataclass(eq=False)
class Write:
    """One write in the volatile cache; `kept` ones (FUA) survive a power cut and stand here only for their order."""

    offset: int
    data: bytes
    kept: bool = False

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + len(self.data)


@dataclass
class DiskRule:
    """What happens to requests of one kind in one range: an error, or a write that is acknowledged and goes wrong."""

    operation: str
    effect: str  # "error" or one of WRITE_FAULTS
    first: int = 0
    length: int = EVERYWHERE
    number: int = errno.EIO
    left: int | None = None  # None: until it is taken away
    shift: int = SECTOR

    def takes(self, operation: str, offset: int, count: int) -> bool:
        """Say whether a request falls under this rule; a flush has no range."""
        if operation != self.operation or self.left == 0:
            return False
        return operation == "flush" or (offset < self.first + self.length and offset + count > self.first)


@dataclass
class Latency:
    """How long each request waits: `fixed_s`, or with `alpha` a heavy tail above it (Pareto), never over `limit_s`."""

    fixed_s: float
    alpha: float | None
    limit_s: float
    random: Random

    def draw_s(self) -> float:
        """The wait of one request."""
        return min(self.limit_s, self.fixed_s * (1.0 if self.alpha is None else self.random.paretovariate(self.alpha)))


@dataclass
class DiskCounters:
    """What the disk has seen and done since it started."""

    reads: int = 0
    writes: int = 0
    flushes: int = 0
    fua: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    failed_reads: int = 0
    failed_writes: int = 0
    failed_flushes: int = 0
    delayed: int = 0
    delay_s: float = 0.0
    held: int = 0
    written_back: int = 0
    acknowledged_lost: int = 0
    acknowledged_torn: int = 0
    misdirected: int = 0
    cuts: int = 0
    cut_lost: int = 0
    cut_kept: int = 0
    cut_torn: int = 0
    refused_dead: int = 0
    swaps: int = 0
    cut_seeds: list[int] = field(default_factory=list)


class DiskCore:
    """One disk: requests of clients, and the commands that break and mend it; safe to call from any thread."""

    def __init__(self, image: Path, size: int, *, backing: Path | None = None, cache_bytes: int = CACHE_BYTES) -> None:
        self.size = size
        self._cache_bytes = cache_bytes
        self._image = DiskImage(image, size, backing)
        self._own = (image, backing)
        self._log: deque[Write] = deque()
        self._index: dict[int, list[Write]] = {}
        self._dirty_bytes = 0
        self._changed = threading.Condition()
        self._is_held = self._is_gone = False
        self._waiting = 0
        self._generation = 0
        self._rules: list[DiskRule] = []
        self._delay: Latency | None = None
        self._rotten: list[tuple[int, int, int]] = []  # offset, sound, rotten
        self.counters = DiskCounters()

    # ---------------------------------------------------------------- requests

    def connect(self) -> int:
        """A client connects; what it gets is its handle, which a power cut makes void."""
        with self._changed:
            return self._generation

    def read(self, handle: int, count: int, offset: int) -> bytearray:
        """Return what a client reads: the image, with all that is cached over it."""
        with self._request(handle, "read", offset, count):
            self.counters.reads += 1
            self.counters.bytes_read += count
            return self._content(count, offset)

    def write(self, handle: int, data: bytes, offset: int, *, fua: bool = False) -> None:
        """Take a write into the volatile cache; with `fua` it is durable when this returns."""
        with self._request(handle, "write", offset, len(data)):
            self.counters.writes += 1
            self.counters.bytes_written += len(data)
            placed = self._misplaced(data, offset)
            if placed is not None:
                self._store(Write(placed[1], placed[0]), fua=fua)

    def flush(self, handle: int) -> None:
        """Make everything durable that was written before."""
        with self._request(handle, "flush", 0, 0):
            self.counters.flushes += 1
            self._write_all_back()

    @contextlib.contextmanager
    def _request(self, handle: int, operation: str, offset: int, count: int) -> Iterator[None]:
        """Wait while the disk hangs or is slow, fail when it is to fail, and hold the lock while the work is done."""
        with self._changed:
            self._await_turn()
            if self._delay is not None:
                wait_s = self._delay.draw_s()
                self.counters.delayed += 1
                self.counters.delay_s += wait_s
                slow = self._delay
                self._changed.wait_for(lambda: self._delay is not slow, wait_s)
                self._await_turn()  # it may have begun to hang meanwhile
            if handle != self._generation:
                self.counters.refused_dead += 1
                raise DiskFailure(errno.ESHUTDOWN, "this client was connected before the power cut")
            if self._is_gone:
                self._fail(operation, errno.ESHUTDOWN, "the disk is gone")
            if offset < 0 or offset + count > self.size:
                raise DiskFailure(errno.EINVAL, f"{count} bytes at {offset} are not on a disk of {self.size} bytes")
            rule = self._rule("error", operation, offset, count)
            if rule is not None:
                self._fail(operation, rule.number, "as ordered")
            yield

    def _await_turn(self) -> None:
        if self._is_held:
            self.counters.held += 1
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: not self._is_held)
            finally:
                self._waiting -= 1

    def _fail(self, operation: str, number: int, why: str) -> None:
        name = {"read": "failed_reads", "write": "failed_writes", "flush": "failed_flushes"}[operation]
        setattr(self.counters, name, getattr(self.counters, name) + 1)
        raise DiskFailure(number, f"{operation}: {why}")

    def _rule(self, effect: str, operation: str, offset: int, count: int) -> DiskRule | None:
        for rule in self._rules:
            if rule.effect == effect and rule.takes(operation, offset, count):
                if rule.left is not None:
                    rule.left -= 1
                return rule
        return None

    def _misplaced(self, data: bytes, offset: int) -> tuple[bytes, int] | None:
        """What of a write is stored, and where: all of it in its place unless a rule says otherwise."""
        if self._rule("lost", "write", offset, len(data)) is not None:
            self.counters.acknowledged_lost += 1
            return None
        if len(data) > SECTOR and self._rule("torn", "write", offset, len(data)) is not None:
            self.counters.acknowledged_torn += 1
            return data[: len(data) // SECTOR // 2 * SECTOR or SECTOR], offset
        rule = self._rule("misdirected", "write", offset, len(data))
        if rule is not None:
            self.counters.misdirected += 1
            return data, max(0, min(offset + rule.shift, self.size - len(data)))
        return data, offset

    # ---------------------------------------------------------------- the cache and the image

    def _store(self, write: Write, *, fua: bool) -> None:
        if fua:
            self.counters.fua += 1
            self._image.write(write.data, write.offset)
            if not self._over(len(write.data), write.offset):
                return
            write.kept = True  # stays in the list behind the older writes it covers, so that they do not come back
        self._log.append(write)
        for number in range(write.offset // GRANULE, -(-write.end // GRANULE)):
            self._index.setdefault(number, []).append(write)
        self._dirty_bytes += len(write.data)
        while self._dirty_bytes > self._cache_bytes:
            self._write_oldest_back()

    def _over(self, count: int, offset: int) -> list[Write]:
        """The cached writes that overlap a range, oldest first."""
        seen: dict[int, Write] = {}
        for number in range(offset // GRANULE, -(-(offset + count) // GRANULE)):
            for write in self._index.get(number, ()):
                if write.offset < offset + count and write.end > offset:
                    seen[id(write)] = write
        if len(seen) < 2:
            return list(seen.values())
        return [write for write in self._log if id(write) in seen]

    def _content(self, count: int, offset: int) -> bytearray:
        content = self._image.read(count, offset)
        for write in self._over(count, offset):
            first, end = max(offset, write.offset), min(offset + count, write.end)
            content[first - offset : end - offset] = write.data[first - write.offset : end - write.offset]
        return content

    def _write_oldest_back(self) -> None:
        write = self._log.popleft()
        self._dirty_bytes -= len(write.data)
        for number in range(write.offset // GRANULE, -(-write.end // GRANULE)):
            self._index[number].remove(write)
            if not self._index[number]:
                del self._index[number]
        self._image.write(write.data, write.offset)
        self.counters.written_back += 1

    def _write_all_back(self) -> None:
        for write in self._log:
            self._image.write(write.data, write.offset)
        self._forget()

    def _forget(self) -> None:
        self._log.clear()
        self._index.clear()
        self._dirty_bytes = 0

    # ---------------------------------------------------------------- commands

    def command(self, name: str, arguments: dict[str, Any]) -> object:
        """Run one command of the control socket by its name."""
        method = getattr(self, f"do_{name}", None)
        if method is None:
            known = ", ".join(sorted(word.removeprefix("do_") for word in dir(self) if word.startswith("do_")))
            raise BadCommand(f"there is no command {name!r}; there are: {known}")
        try:
            with self._changed:
                answer: object = method(**arguments)
                self._changed.notify_all()
                return answer
        except TypeError as error:
            raise BadCommand(f"{name}: {error}") from error

    def do_state(self) -> dict[str, object]:
        """What is counted, armed and cached now."""
        return {
            **asdict(self.counters),
            "is_held": self._is_held, "is_gone": self._is_gone, "is_slow": self._delay is not None,
            "waiting": self._waiting, "rules": len(self._rules), "rotten": len(self._rotten),
            "dirty": len(self._log), "dirty_bytes": self._dirty_bytes, "generation": self._generation,
            "image": str(self._image.path), "size": self.size,
        }  # fmt: skip

    def do_hold(self) -> None:
        """Hang: when this is answered no request is at work, and every later one waits."""
        self._is_held = True

    def do_release(self) -> None:
        """End the hang; what waited goes on, unless the power was cut meanwhile."""
        self._is_held = False

    def do_cut(self, seed: int, keep: float = 0.5, tear: bool = True, ends_clients: bool = True) -> dict[str, int]:  # noqa: FBT001, FBT002 - by name, from JSON
        """Lose the power: of what was not flushed a seeded subset is kept, one more may be torn, the rest is lost."""
        if not 0.0 <= keep <= 1.0:
            raise BadCommand(f"keep is a probability from 0 to 1, not {keep}")
        chance = Random(seed)
        survives = [write.kept or chance.random() < keep for write in self._log]
        victims = [n for n, write in enumerate(self._log) if not survives[n] and len(write.data) > SECTOR]
        torn = chance.choice(victims) if tear and victims and chance.random() < 0.5 else None
        for number, write in enumerate(self._log):
            if survives[number]:
                self._image.write(write.data, write.offset)
            elif number == torn:
                sectors = chance.randrange(1, -(-len(write.data) // SECTOR))
                self._image.write(write.data[: sectors * SECTOR], write.offset)
        kept = sum(survive and not write.kept for survive, write in zip(survives, self._log, strict=True))
        lost = len(survives) - sum(survives)  # a torn write counts as lost too
        self._forget()
        if ends_clients:
            self._generation += 1
        self.counters.cuts += 1
        self.counters.cut_lost += lost
        self.counters.cut_kept += kept
        self.counters.cut_torn += torn is not None
        self.counters.cut_seeds.append(seed)
        return {"lost": lost, "kept": kept, "torn": int(torn is not None), "cut": self.counters.cuts}

    def do_gone(self) -> None:
        """Be gone: every request fails at once."""
        self._is_gone = True

    def do_back(self) -> None:
        """Be there again."""
        self._is_gone = False

    def do_rule(self, **fields: Any) -> None:  # noqa: ANN401 - the fields of a DiskRule, from JSON
        """Arm an error or a write fault; see `DiskRule`."""
        rule = DiskRule(**fields)
        if rule.operation not in OPERATIONS or rule.effect not in ("error", *WRITE_FAULTS):
            raise BadCommand(f"unknown operation {rule.operation!r} or effect {rule.effect!r}")
        self._rules.append(rule)

    def do_clear_rules(self) -> None:
        """Take every rule away."""
        self._rules.clear()

    def do_slow(self, fixed_s: float, seed: int, alpha: float | None = None, limit_s: float = 30.0) -> None:
        """Delay each request; see `Latency`."""
        if fixed_s <= 0 or (alpha is not None and alpha <= 0):
            raise BadCommand("a delay and the exponent of its tail are more than 0")
        self._delay = Latency(fixed_s, alpha, limit_s, Random(seed))

    def do_fast(self) -> None:
        """End the delay, also of those who wait now."""
        self._delay = None

    def do_rot(self, offset: int, length: int, seed: int) -> dict[str, int]:
        """Flip one seeded bit in each sector of a range, in the image and in what is cached over it."""
        if offset < 0 or length < 1 or offset + length > self.size:
            raise BadCommand(f"{length} bytes at {offset} are not on a disk of {self.size} bytes")
        self._write_all_back()
        chance = Random(seed)
        for start in range(offset, offset + length, SECTOR):
            at = start + chance.randrange(min(SECTOR, offset + length - start))
            sound = self._content(1, at)[0]
            rotten = sound ^ (1 << chance.randrange(8))
            self._image.write(bytes([rotten]), at)
            self._rotten.append((at, sound, rotten))
        return {"bits": len(self._rotten)}

    def do_unrot(self) -> dict[str, int]:
        """Flip back what still has its rotten value; what was written since is sound."""
        self._write_all_back()
        mended = 0
        for at, sound, rotten in self._rotten:
            if self._content(1, at)[0] == rotten:
                self._image.write(bytes([sound]), at)
                mended += 1
        self._rotten.clear()
        return {"mended": mended}

    def do_sync(self) -> None:
        """Write the cache back, as an orderly end of the disk does."""
        self._write_all_back()

    def do_swap(self, image: str) -> None:
        """Put another disk in: its content, and an empty cache; the disk that was pulled keeps what it had flushed."""
        if not Path(image).is_file():
            raise BadCommand(f"there is no disk image {image}")
        path, backing = self._own
        other = DiskImage(Path(image), None, backing if Path(image) == path else None)
        self._image.close()
        self._image = other
        self._forget()
        self.counters.swaps += 1

    def do_save(self, directory: str) -> None:
        """Save the image and the list of cached writes; nothing of the disk changes."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        self._image.save(folder / "image")
        (folder / "cache.bin").write_bytes(b"".join(write.data for write in self._log))
        table = [[write.offset, len(write.data), write.kept] for write in self._log]
        (folder / "cache.json").write_text(json.dumps({"size": self.size, "writes": table}), encoding="ascii")

    def do_load(self, directory: str) -> None:
        """Load what `save` saved into this disk's own image and cache; connected clients stay."""
        folder = Path(directory)
        try:
            document = json.loads((folder / "cache.json").read_text(encoding="ascii"))
            data = (folder / "cache.bin").read_bytes()
            if document["size"] != self.size:
                raise BadCommand(f"the saved disk has {document['size']} bytes, this one {self.size}")
            self._image.load(folder / "image")
        except (OSError, ValueError) as error:
            raise BadCommand(f"{directory} holds no saved disk: {error}") from error
        self._forget()
        at = 0
        for offset, length, kept in document["writes"]:
            self._store(Write(offset, data[at : at + length], kept), fua=False)
            at += length
