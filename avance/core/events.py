"""What the world can tell the core, in the past tense. Their counterpart is `core/commands.py`: each command that has
an outcome comes back as a CommandDone event that carries it."""

from __future__ import annotations

from dataclasses import dataclass

from avance.core import commands as c
from avance.core.model import (
    DiskView,
    DomainEnd,
    LinkName,
    MirrorView,
    NodeId,
    NodePart,
    PeerView,
    Version,
    VmId,
    VmSpec,
)
from avance.core.results import Result, answer_of


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; silence is noticed by ticks only. `rtc_s` is the hardware clock, which runs on while the machine
    is paused; None when it could not be read."""

    rtc_s: float | None = None


@dataclass(frozen=True, slots=True)
class HeartbeatSeen:
    """An authentic, new heartbeat of the peer arrived on a link; `echoed` is the send time that it echoes, if any."""

    link: LinkName
    view: PeerView
    echoed_sent_s: float | None


@dataclass(frozen=True, slots=True)
class HeartbeatUnproven:
    """An authentic heartbeat of a boot of the peer that has not shown yet that it hears this node.

    Nothing that it says is believed, but it is echoed, and so it can renew the peer's lease.
    """

    link: LinkName


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """The carrier of a local network device went up or down."""

    link: LinkName
    carrier: bool


@dataclass(frozen=True, slots=True)
class DiskChanged:
    """DRBD reported the state of one VM's resource; None means that the resource does not exist on this node."""

    vm: VmId
    view: DiskView | None


@dataclass(frozen=True, slots=True)
class DiskStreamReset:
    """The DRBD event stream broke, `why` says it for people; what it said before is no longer known."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class DomainChanged:
    """Xen reported whether the domain of a VM exists on this node; `paused`: its processors stand still.

    `never_ran`: it is paused and has had no processor time since it was created, as one whose creation was killed.
    `ended`: why it ended by itself, for as long as Xen still lists what is left of it.
    """

    vm: VmId
    running: bool
    paused: bool = False
    never_ran: bool = False
    ended: DomainEnd = DomainEnd.UNKNOWN


@dataclass(frozen=True, slots=True)
class CommandDone:
    """A command ended: the command itself, and the result that belongs to its class (core/results.py)."""

    command: c.Work
    result: Result

    def __post_init__(self) -> None:
        kind = answer_of(self.command)
        assert type(self.result) is kind, f"{type(self.command).__name__} is answered by {kind.__name__}"


@dataclass(frozen=True, slots=True)
class NeighboursSeen:
    """The public networks were looked at: does a gateway answer (None: none is configured), and which of the service
    address and the VMs' addresses does somebody else answer for?"""

    gateway: bool | None
    claimed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperatorAsked:
    """A person asked for something that only a person may decide: `override`, `reset-device` or `keep`.

    `ask` numbers the question for the answer; `node` is the name that was typed.
    """

    request: str
    node: NodeId
    ask: int


@dataclass(frozen=True, slots=True)
class FencePeerAsked:
    """DRBD froze the I/O of a resource, or wants to promote it alone, and asks whether the peer is out of the way."""

    vm: VmId
    ask: int


@dataclass(frozen=True, slots=True)
class VmAdded:
    """An operator asked for a VM to be protected; the definition is already durable on this node."""

    spec: VmSpec
    config_hash: str


@dataclass(frozen=True, slots=True)
class VmChanged:
    """The definition of a VM is another one, durably; it counts from the VM's next start."""

    spec: VmSpec
    config_hash: str


@dataclass(frozen=True, slots=True)
class VmRemoved:
    """A VM was removed from the definitions, durably; what is left of it here is taken away by others."""

    vm: VmId
    config_hash: str


@dataclass(frozen=True, slots=True)
class DatagramsRefused:
    """Datagrams came on a link that must not be believed; told at most once a minute, `count` since the last time.

    `senders`: some of the addresses that they named as their source.
    """

    link: LinkName
    reason: str
    count: int
    senders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MirrorChanged:
    """The mirror of this node's data disks, or what is kept of it, is another than before."""

    view: MirrorView


@dataclass(frozen=True, slots=True)
class PartSeen:
    """A part of this node was looked at: `problem` says what is wrong with it, what is true now and what to do.

    Empty: it does its work. `name` says which one, where there are several. Told when it has changed.
    """

    part: NodePart
    problem: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """The service address is not as the last command for it left it: is it up on this node? Told again and again."""

    present: bool


@dataclass(frozen=True, slots=True)
class ChangeAsked:
    """A person asked for other definitions, which are sound here: `text` says in words what is changed.

    `base`: the version that was changed. `hash`: of the new contents. `id`: a new one for each question. `alone`: they
    are to count without the other node. `ask` numbers the question for the answer.
    """

    text: str
    base: Version
    hash: str
    id: str
    alone: bool
    ask: int


@dataclass(frozen=True, slots=True)
class TakeAsked:
    """A person asked that this node gives its definitions up and takes the peer's."""

    ask: int


@dataclass(frozen=True, slots=True)
class DocumentHeard:
    """The peer sent the document for which this node asked by `key`; its contents are those that the key names.

    `version` and `history` are those of the document. `problem`: why this node cannot take it, "" when it can.
    """

    key: str
    version: Version
    history: tuple[Version, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class SensorsRead:
    """A source of sensors (core/conditions.py) was read as a whole: `wrong` names all that is not as it should be.

    Each is (sensor, subject, reading). What is missing there is sound.
    """

    source: str
    wrong: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MemorySeen:
    """Xen was asked how much memory is free on this node, in whole MiB; None: it does not say. Told when it changes."""

    free_mib: int | None


Rarer = (
    FencePeerAsked
    | VmAdded
    | VmChanged
    | VmRemoved
    | LinkChanged
    | NeighboursSeen
    | OperatorAsked
    | DatagramsRefused
    | MirrorChanged
    | PartSeen
    | AddressSeen
    | ChangeAsked
    | TakeAsked
    | DocumentHeard
    | SensorsRead
)
Event = (
    Tick
    | HeartbeatSeen
    | HeartbeatUnproven
    | DiskChanged
    | DiskStreamReset
    | DomainChanged
    | CommandDone
    | MemorySeen
    | Rarer
)
