"""The contents of the definitions: those that count, those that are proposed, and those that were just given or heard.

The core agrees on them by number, hash and id (core/agreement.py); here is what belongs to a hash. What is durable is
kept with its contents in the configuration. It decides nothing; whether contents are sound for this node is a check.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

from avance.apply import why_not
from avance.changes import Contents
from avance.config import Config, parse
from avance.configuration import Configuration
from avance.core.agreement import HISTORY_MAX
from avance.core.events import ChangeAsked, DocumentHeard
from avance.core.model import Outcome, Proposal, Stand, Version, VmId
from avance.core.results import Done
from avance.errors import ConfigError
from avance.late import in_time
from avance.parsed import Json
from avance.wire.configuration import stand_of
from avance.wire.document import BYTES_MAX, NONCE_BYTES, Document, seal

_LOOK_S = 5.0  # in which a disk finds some files, times the dilation
_SAVE_S = 10.0  # in which a disk takes two small files, times the dilation
_BESIDE_MIB = 8  # what Xen takes for a domain beside its memory, roughly
_LOOSE_MAX = 8  # contents that are not durable: one question and one document at a time need two
# The longest history that a document can have one day. What fits with it can be sent to a node that was away for long.
_LONGEST = tuple(
    Version(10**9 + place, hashlib.sha256(bytes([place])).hexdigest()[:16]) for place in range(HISTORY_MAX)
)


class Documents:
    """All contents that this node knows, by their hash.

    `in_use` is what the daemon works with. `unfinished`: removed VMs of which something is left here. `room_mib`: the
    memory that this node has for VMs, None while nobody can say.
    """

    def __init__(
        self,
        config: Config,
        raw: dict[str, Json],
        kept: Configuration,
        unfinished: Callable[[], tuple[VmId, ...]],
        room_mib: Callable[[], int | None],
    ) -> None:
        self.in_use, self._kept, self._unfinished, self._room_mib = config, kept, unfinished, room_mib
        self.stand = stand_of(raw, config.config_hash)
        self._contents = {config.config_hash: Contents(raw["site"], raw["vms"])}
        if self.stand.proposal is not None:
            proposed = Contents(raw["proposal"]["site"], raw["proposal"]["vms"])
            self._contents[self.stand.proposal.version.hash] = proposed
        self._saving = asyncio.Lock()
        self._late: asyncio.Future[None] | None = None

    @property
    def contents(self) -> Contents:
        """What counts here."""
        return self._contents[self.stand.version.hash]

    def parsed(self, contents_hash: str) -> Config:
        """Return contents that this node knows as values."""
        contents = self._contents[contents_hash]
        return parse(self.in_use.node, contents.site, contents.vms)

    # ------------------------------------------------------------ what is given, and what is heard

    def asked(self, text: str, contents: Contents, *, alone: bool) -> ChangeAsked:
        """Return the question whether these contents may count, without its number.

        Raises:
            ConfigError: they are refused, or too large to be sent.
        """
        config = parse(self.in_use.node, contents.site, contents.vms)
        why = self._why_not(config)
        if why:
            raise ConfigError(f"{why}; nothing was changed")
        self._keep(config.config_hash, contents)
        question = ChangeAsked(text, self.stand.version, config.config_hash, uuid.uuid4().hex, alone, 0)
        if self._sealed(question.id, Version(_LONGEST[-1].number, config.config_hash), _LONGEST) is None:
            raise ConfigError(
                f"site and VMs would have more than {BYTES_MAX >> 10} KiB when they are packed, which no node can send;"
                " nothing was changed"
            )
        return question

    def heard(self, document: Document, *, taken: bool = False) -> DocumentHeard:
        """Return what the core must know of a document of the peer; `taken`: a person gives ours up for it."""
        try:
            config = parse(self.in_use.node, document.site, document.vms)
            why = self._why_not(config, taken=taken)
        except ConfigError as error:
            return DocumentHeard(document.key, Version(document.number), document.history, str(error))
        self._keep(config.config_hash, Contents(document.site, document.vms))
        version = Version(document.number, config.config_hash)
        return DocumentHeard(document.key, version, document.history, why)

    async def lacks(self, contents_hash: str) -> str:
        """Say which file a VM of these contents starts from and this node lacks, or that it lacks memory, or "".

        The disk with the files may hang.

        It is for what does not count yet: what counts has to be taken, whatever a node lacks.
        """
        before, after = self.in_use, self.parsed(contents_hash)
        try:
            missing = await in_time(lambda: missing_file(before, after), _LOOK_S * before.dilation)
            return missing or missing_room(before, after, self._room_mib)
        except OSError as error:  # also a TimeoutError
            return f"node {before.node} cannot look for the files that its VMs start from ({str(error) or 'no answer'})"

    def _why_not(self, config: Config, *, taken: bool = False) -> str:
        return missing_device(config) or why_not(self.in_use, config, self._unfinished(), taken=taken)

    def _keep(self, contents_hash: str, contents: Contents) -> None:
        """Keep contents that are not durable yet; of those that nobody has asked for since, the oldest is forgotten."""
        proposal = self.stand.proposal
        durable = {self.stand.version.hash, "" if proposal is None else proposal.version.hash}
        if contents_hash in durable:
            return
        self._contents.pop(contents_hash, None)
        self._contents[contents_hash] = contents
        loose = [known for known in self._contents if known not in durable]
        for known in loose[:-_LOOSE_MAX]:
            del self._contents[known]

    def datagram(self, key: str) -> bytes | None:
        """Return the sealed document with this key, None when this node does not have it any more."""
        stand = self.stand
        if key == stand.version.key:
            return self._sealed(key, stand.version, stand.history)
        if stand.proposal is not None and key == stand.proposal.id:
            return self._sealed(key, stand.proposal.version, stand.history)
        return None

    def _sealed(self, key: str, version: Version, history: tuple[Version, ...]) -> bytes | None:
        contents = self._contents[version.hash]
        document = Document(key, version.number, history, contents.site, contents.vms)
        return seal(self.in_use.secret, document, secrets.token_bytes(NONCE_BYTES))

    # ------------------------------------------------------------ what is durable

    async def save(self, stand: Stand) -> Done:
        """Make a stand durable, with the contents that belong to it."""
        deadline_s = _SAVE_S * self.in_use.dilation
        async with self._saving:
            if self._late is not None:
                await asyncio.wait({self._late}, timeout=deadline_s)
                if not self._late.done():
                    return Done(Outcome.UNKNOWN, "an earlier write still hangs, this one was not begun")
                self._late.exception()  # its outcome was reported as unknown already
                self._late = None
            raw = self._raw(stand)
            if raw is None:
                return Done(Outcome.FAILED, "this node does not know the contents any more; ask again")
            write = asyncio.get_running_loop().run_in_executor(None, self._kept.save, raw)
            await asyncio.wait({write}, timeout=deadline_s)
            if not write.done():
                self._late = write
                return Done(Outcome.UNKNOWN, f"the disk did not answer within {deadline_s:g} s")
            error = write.exception()
            if isinstance(error, ConfigError):
                return Done(Outcome.UNKNOWN, str(error))
            write.result()
            self.stand = stand
            return Done(Outcome.OK)

    def _raw(self, stand: Stand) -> dict[str, Json] | None:
        contents, proposal = self._contents.get(stand.version.hash), stand.proposal
        proposed = None if proposal is None else self._contents.get(proposal.version.hash)
        if contents is None or (proposal is not None and proposed is None):
            return None
        return {
            "node": self.in_use.node,
            "site": contents.site,
            "vms": contents.vms,
            "number": stand.version.number,
            "history": [[version.number, version.hash] for version in stand.history],
            "proposal": None if proposal is None or proposed is None else _raw_proposal(proposal, proposed),
        }


def _raw_proposal(proposal: Proposal, contents: Contents) -> dict[str, Json]:
    version = proposal.version
    said = {"id": proposal.id, "number": version.number, "hash": version.hash, "by": proposal.by}
    return {**said, "site": contents.site, "vms": contents.vms}


def missing_device(config: Config) -> str:
    """Say which device of a link this node lacks, or ""."""
    present = {name for _, name in socket.if_nameindex()}
    for link in config.links:
        if link.device not in present:
            return f"link {link.name} names the device {link.device}, but node {config.node} has {sorted(present)}"
    return ""


def missing_file(before: Config, after: Config) -> str:
    """Say which file a VM that is new or changed starts from and this node lacks, or "". It may block."""
    had = {spec.name: (spec.kernel, spec.ramdisk) for spec in before.vms}
    for spec in after.vms:
        for path in (spec.kernel, spec.ramdisk):
            if path and path not in had.get(spec.name, ()) and not Path(path).is_file():
                return f"VM {spec.name} starts from the file {path}, and node {after.node} has none of that name"
    return ""


def missing_room(before: Config, after: Config, room_mib: Callable[[], int | None]) -> str:
    """Say how much memory this node lacks for the VMs that are to run, if they need more than before; or ""."""
    need = _needed_mib(after)
    if need <= _needed_mib(before):
        return ""
    room, node = room_mib(), after.node
    if room is None:
        return f"node {node} cannot say how much memory it has for VMs: Xen does not answer"
    return "" if need <= room else f"the VMs that are to run need {need} MiB, and node {node} has {room} MiB for VMs"


def _needed_mib(config: Config) -> int:
    return sum(spec.memory_mib + _BESIDE_MIB for spec in config.vms if spec.runs)


__all__ = ["Documents", "missing_device", "missing_file", "missing_room"]
