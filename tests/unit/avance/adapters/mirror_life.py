"""One run of the mirror adapter beside a stand-in for md, and what a node has lived through before a test begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from avance.adapters.mirror import DataMirror
from avance.core.events import Event, MirrorChanged
from avance.core.halves import Note
from avance.core.model import MirrorState, MirrorView, Outcome
from avance.wire import md
from tests.unit.avance.adapters.fake_md import FakeMd
from tests.unit.avance.adapters.tools import beside, until


class Life:
    """One run of the daemon: the adapter and all that it reported."""

    def __init__(self, fake: FakeMd) -> None:
        self.fake = fake
        self.said: list[MirrorView] = []
        self.mirror = DataMirror(fake.directory, disks=fake.disks, sysfs=fake.sysfs)
        self.mirror.attach(self._hear)

    def _hear(self, event: Event) -> None:
        assert isinstance(event, MirrorChanged)
        self.said.append(event.view)

    def lives(self, body: Callable[[], Awaitable[None]]) -> None:
        """Run it beside a story, and end it as a power cut would, but not while it starts a program (white box)."""

        async def then_end() -> None:
            await body()
            await self.mirror._busy.acquire()

        beside(self.mirror.run(), then_end, limit_s=20.0)

    async def becomes(self, state: MirrorState, count: int) -> None:
        """Wait until it reports this."""
        await until(lambda: (self.mirror.view.state, self.mirror.view.halves) == (state, count))

    @property
    def note(self) -> Note:
        """What is durable."""
        note = md.parse_note(md.read_note((self.fake.directory / "mirror").read_bytes()))
        assert note is not None
        return note


_LEFT: dict[Callable[[FakeMd], Note], tuple[dict[str, bytes], Note]] = {}  # by the story that left it


def after(fake: FakeMd, story: Callable[[FakeMd], Note]) -> Note:
    """Let a node have lived through a story: it is told once, and its files are put down again for other tests."""
    if story not in _LEFT:
        note = story(fake)
        _LEFT[story] = ({path.name: path.read_bytes() for path in fake.directory.iterdir() if path.is_file()}, note)
        assert {path.name for path in fake.directory.iterdir() if path.is_dir()} == {"bin"}
    files_left, note = _LEFT[story]
    for name, raw in files_left.items():
        (fake.directory / name).write_bytes(raw)
    return note


def whole(fake: FakeMd) -> Note:
    """Let a node have its mirror; returns the note of it."""
    return after(fake, makes_its_mirror)


def degraded(fake: FakeMd) -> Note:
    """Let a node have lost its first half for good; returns the note of it."""
    return after(fake, loses_its_first_half)


def makes_its_mirror(fake: FakeMd) -> Note:
    """Let a node make its mirror; returns the note of it."""
    life = Life(fake)

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 2)
        assert (await life.mirror.ready()).outcome is Outcome.OK

    life.lives(story)
    fake.stops()
    return life.note


def loses_its_first_half(fake: FakeMd) -> Note:
    """Let a node lose its first half for good; returns the note of it."""
    whole(fake)
    life, (first, _) = Life(fake), fake.disks

    async def story() -> None:
        await life.becomes(MirrorState.CURRENT, 2)
        fake.take(first)
        fake.fails(first, count=8)
        await life.becomes(MirrorState.CURRENT, 1)
        await until(lambda: life.note.events >= fake.label(fake.disks[1])[2] - 1)

    life.lives(story)
    fake.stops()
    return life.note
