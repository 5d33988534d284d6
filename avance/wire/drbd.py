"""DRBD 8.4: resource file, argument vectors, and the parser of `drbdsetup events2` (drbd-utils 9.22, kernel 8.4.11).

The settings are those of docs/safety.md, S6; times that depend on the dilation are scaled with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from avance.core.model import DiskRole, DiskState, DiskView, VmId, VmSpec
from avance.wire import names
from avance.wire.quoted import quoted

VOLUME_GROUP = "vg0"
METADATA_MIB = 4  # internal metadata; 1 MiB serves 32 GiB (DRBD 8.4 guide, 'Estimating metadata size')
EVENTS_ARGV = ("drbdsetup", "events2", "--statistics", "all")
FENCE_HANDLER = "/usr/lib/avance/fence-peer"

_JUST_CREATED = "4"
_GENERATIONS, _UUID_DIGITS = 4, 16
_TIMEOUT_MAX = 600  # in 0.1 s; drbd.conf(5)
_PING_TIMEOUT_MAX = 300  # in 0.1 s


def volume_path(vm: VmId) -> str:
    """Return the block device of the local copy of a VM's volume."""
    return path_of(names.of(vm))


def path_of(volume: str) -> str:
    """Return the block device of a volume by its own name."""
    return f"/dev/{VOLUME_GROUP}/{volume}"


def device_path(spec: VmSpec) -> str:
    """Return the replicated block device that the VM uses."""
    return f"/dev/drbd{spec.minor}"


@dataclass(frozen=True, slots=True)
class Replication:
    """What the nodes agree on for all resources: both addresses of the private link, their secret, the dilation.

    `integrity`: each block is sent with a digest (drbd.conf(5), data-integrity-alg); one that does not fit ends the
    connection, and the block comes again with the resynchronisation.
    """

    addresses: tuple[str, str]
    secret: str = field(repr=False)
    dilation: float
    integrity: bool = False


def resource_file(shared: Replication, spec: VmSpec) -> str:
    """Return the text of /etc/drbd.d/avance-<vm>.res; the same on both nodes."""
    scale = shared.dilation
    timeout = min(round(15 * scale), _TIMEOUT_MAX)
    ping_timeout = min(round(35 * scale), _PING_TIMEOUT_MAX)
    seconds = max(2, round(2 * scale))
    digest = " data-integrity-alg crc32c;" if shared.integrity else ""
    # `floating` finds this host by its own address, so the name of the host does not matter (drbd.conf(5)).
    hosts = "\n".join(f"  floating {address}:{spec.port};" for address in sorted(shared.addresses))
    return f"""resource {names.of(spec.name)} {{
  options  {{ on-no-data-accessible suspend-io; }}
  disk     {{ on-io-error detach; fencing resource-and-stonith; disk-timeout {min(round(40 * scale), _TIMEOUT_MAX)};
             disk-flushes yes; md-flushes yes; disk-barrier no; resync-rate 40M; c-plan-ahead 0; }}
  net      {{ protocol C; allow-two-primaries no; cram-hmac-alg sha256; shared-secret "{shared.secret}";
             verify-alg sha256;{digest} timeout {timeout}; ko-count 4; ping-int {seconds}; ping-timeout {ping_timeout};
             connect-int {seconds}; after-sb-0pri disconnect; after-sb-1pri disconnect; after-sb-2pri disconnect;
             rr-conflict disconnect; }}
  handlers {{ fence-peer {FENCE_HANDLER}; }}
  device {device_path(spec)} minor {spec.minor};
  disk {volume_path(spec.name)};
  meta-disk internal;
{hosts}
}}
"""


def stored_generations_argv(spec: VmSpec) -> list[str]:
    """Print the generation identifiers in the metadata of a volume that is not attached (drbdmeta(8), get-gi)."""
    return ["drbdmeta", str(spec.minor), "v08", volume_path(spec.name), "internal", "get-gi"]


def generations_argv(spec: VmSpec) -> list[str]:
    """Print the generation identifiers of an attached resource (drbdsetup-8.4(8), get-gi)."""
    return ["drbdsetup", "get-gi", str(spec.minor)]


def generations(text: str) -> str:
    """Return the identifiers of `get-gi`: the current one, that of the bitmap, two of the history, as words.

    Behind them `get-gi` prints flags, which are left out.

    Raises:
        ValueError: this is no output of get-gi.
    """
    words = text.strip().split(":")[:_GENERATIONS]
    if len(words) < _GENERATIONS or any(len(word) != _UUID_DIGITS for word in words):
        raise ValueError(f"get-gi said {quoted(text)!r}")
    return " ".join(f"{int(word, 16):X}" for word in words)


def is_just_created(words: str) -> bool:
    """Say whether the metadata was never part of a pair: its data generation is still the one of `create-md`.

    linux/drbd.h, UUID_JUST_CREATED.
    """
    return words.partition(" ")[0] == _JUST_CREATED


def attach_argvs(vm: VmId) -> list[list[str]]:
    """Bring a resource up on its local disk without a connection (drbdadm(8))."""
    return [["drbdadm", step, names.of(vm)] for step in ("new-resource", "new-minor", "attach")]


def down_argv(vm: VmId) -> list[str]:
    """Take a half-raised resource down again."""
    return ["drbdadm", "down", names.of(vm)]


def clear_argvs(vm: VmId, minor: int) -> list[list[str]]:
    """Take down the resource of a removed VM, without its file and whatever its disk holds.

    I/O that is frozen, and that nobody waits for any more, is let go first: it would hold the device open. `down` of a
    resource that is not there is no failure (drbd-utils, v84/drbdsetup.c, missing_ok); `resume-io` of it is one.
    """
    return [["drbdsetup", "resume-io", str(minor)], ["drbdsetup", "down", names.of(vm)]]


def connect_argv(vm: VmId, *, discard: bool) -> list[str]:
    """Let the resource connect; `discard` only after an operator gave this version up (guide, 'Manual recovery')."""
    return ["drbdadm", *(["--", "--discard-my-data"] if discard else []), "connect", names.of(vm)]


def kept_name(vm: VmId, epoch: int) -> str:
    """Return the name of the volume in which a version that was given up is kept."""
    return f"{names.of(vm)}.kept-{epoch}"


def part_name(vm: VmId) -> str:
    """Return the name of a volume that is not complete yet."""
    return f"{names.of(vm)}.part"


def initialise_argv(vm: VmId) -> list[str]:
    """Declare both zeroed copies equal (DRBD 8.4 guide, 'Skipping initial resynchronization')."""
    return ["drbdadm", "--", "--clear-bitmap", "new-current-uuid", names.of(vm)]


def promote_argv(vm: VmId, *, forced: bool = False) -> list[str]:
    """Become the writer; `forced`: of an outdated copy, which DRBD takes for current from then on (drbd_set_role)."""
    return ["drbdadm", "primary", *(["--force"] if forced else []), names.of(vm)]


def two_writers_argv(vm: VmId, *, allowed: bool) -> list[str]:
    """Let both nodes be writers at the same time, or one only, until the next connection (drbdadm(8), net-options).

    DRBD 8.4 refuses the second while both are. It has no such setting of a resource that stands alone. A connected peer
    takes it over (drbd_receiver.c, receive_protocol); two that differ do not connect again.
    """
    return ["drbdadm", "net-options", f"--allow-two-primaries={'yes' if allowed else 'no'}", names.of(vm)]


def demote_argv(vm: VmId) -> list[str]:
    """Stop being the writer."""
    return ["drbdadm", "secondary", names.of(vm)]


def resume_argv(vm: VmId) -> list[str]:
    """Let frozen I/O go on."""
    return ["drbdadm", "resume-io", names.of(vm)]


def disconnect_argv(vm: VmId) -> list[str]:
    """Leave the peer without asking it whether it agrees; then the resource stands alone."""
    return ["drbdadm", "disconnect", "--force", names.of(vm)]


def outdate_argv(vm: VmId) -> list[str]:
    """Mark the local copy as outdated, durably; DRBD refuses while it is connected."""
    return ["drbdadm", "outdate", names.of(vm)]


def disk_state_argv(vm: VmId) -> list[str]:
    """Print the states of both copies."""
    return ["drbdadm", "dstate", names.of(vm)]


def is_no_longer_good(states: str) -> bool:
    """Say whether `drbdadm dstate` calls the local copy outdated, or worse: it cannot be promoted then.

    `Unconfigured` is what drbdadm 9.22 says of a resource that has neither a disk nor a connection.

    Raises:
        ValueError: DRBD used a word that this version does not know.
    """
    local, _, _ = states.strip().partition("/")
    if local == "Unconfigured":
        return True
    if local not in list(DiskState):
        raise ValueError(f"{quoted(states)!r} are no states of a disk")
    worse = (DiskState.OUTDATED, DiskState.INCONSISTENT, DiskState.FAILED, DiskState.DISKLESS)
    return DiskState(local) in worse


_IN_FLIGHT = ("ap", "lo", "pe")


def in_flight(counters: str, minor: int) -> tuple[int, int, int]:
    """Return the requests of a volume's writer from /proc/drbd: all of them, those at the local disk, at the peer.

    The words are those of the DRBD 8.4 user's guide, section "Performance indicators": ap, lo and pe.

    Raises:
        ValueError: the volume or a number is not there.
    """
    _, _, found = f"\n{counters}".replace("\n ", "\n").partition(f"\n{minor}: cs:")
    words = dict(word.split(":", 1) for line in found.splitlines()[1:2] for word in line.split() if ":" in word)
    try:
        every, local, peer = (int(words[name]) for name in _IN_FLIGHT)
    except KeyError as error:
        raise ValueError(f"/proc/drbd says no {error} of minor {minor}") from None
    return every, local, peer


def resync_argv(vm: VmId) -> list[str]:
    """Call the peer's copy bad and send it all of ours; only over an established connection."""
    return ["drbdadm", "invalidate-remote", names.of(vm)]


def invalidate_argv(vm: VmId) -> list[str]:
    """Call the local copy bad, durably: all of it is taken from the peer (drbdadm(8), invalidate).

    While it stands alone nothing is fetched yet; one that waits for a connection refuses it.
    """
    return ["drbdadm", "invalidate", names.of(vm)]


@dataclass(slots=True)
class EventsParser:
    """Folds the lines of `drbdsetup events2` into one DiskView per VM; other resources are none of ours."""

    views: dict[VmId, DiskView] = field(default_factory=dict)

    def feed(self, line: str) -> VmId | None:
        """Take one line; returns the VM whose view changed, or None.

        Raises:
            ValueError: DRBD used a word that this version does not know; guessing would be unsafe.
        """
        words = line.split()
        if len(words) < 3 or words[0] not in ("exists", "create", "change", "destroy"):
            return None
        what, pairs = words[1], _pairs(words[2:])
        name = names.vm_of(pairs.get("name", ""))
        if name is None or what not in ("resource", "device", "connection", "peer-device"):
            return None
        before = self.views.get(name)
        if words[0] == "destroy":
            return self._destroyed(what, name, before)
        after = _fold(what, pairs, before or DiskView())
        self.views[name] = after
        return name if after != before else None

    def _destroyed(self, what: str, name: VmId, before: DiskView | None) -> VmId | None:
        if before is None:
            return None
        if what in ("resource", "device"):
            del self.views[name]
        else:
            self.views[name] = replace(
                before,
                connection="StandAlone",
                peer_role=DiskRole.UNKNOWN,
                peer_disk=DiskState.UNKNOWN,
                replication="Off",
            )
        return name


def _pairs(words: Sequence[str]) -> dict[str, str]:
    return dict(word.split(":", 1) for word in words if ":" in word)


def _fold(what: str, pairs: dict[str, str], view: DiskView) -> DiskView:
    if what == "resource":
        role = DiskRole(pairs["role"]) if "role" in pairs else view.role
        suspended = pairs["suspended"] != "no" if "suspended" in pairs else view.suspended
        return replace(view, role=role, suspended=suspended)
    if what == "device":
        return replace(view, disk=DiskState(pairs["disk"])) if "disk" in pairs else view
    if what == "connection":
        peer_role = DiskRole(pairs["role"]) if "role" in pairs else view.peer_role
        return replace(view, connection=pairs.get("connection", view.connection), peer_role=peer_role)
    peer_disk = DiskState(pairs["peer-disk"]) if "peer-disk" in pairs else view.peer_disk
    # Only whether copies differ is followed: during a resync the number changes with every line.
    differs = int(pairs.get("out-of-sync", view.out_of_sync_kib))
    kept = view.out_of_sync_kib if bool(differs) is bool(view.out_of_sync_kib) else differs
    return replace(
        view, peer_disk=peer_disk, replication=pairs.get("replication", view.replication), out_of_sync_kib=kept
    )
