"""Which happenings the service centre hears of, and in which words. `code` is stable; `text` is for a person."""

from __future__ import annotations

from collections.abc import Mapping

from avance.core.conditions import Condition
from avance.core.model import AilmentSeverity, Alert, LinkName, MirrorView, NodeId, NodePart, VmId


def link_down(link: LinkName) -> Alert:
    """A link to the peer carries no heartbeats any more."""
    return Alert("fault", "link_down", "warning", f"No heartbeat returns on link {link}.", link)


def link_up(link: LinkName) -> Alert:
    """A link to the peer carries heartbeats again."""
    return Alert("recovery", "link_up", "info", f"Heartbeats return on link {link} again.", link)


def peer_lost(peer: NodeId, silence_s: float) -> Alert:
    """Every link to the peer is silent."""
    text = f"Node {peer} has been silent on every link for {silence_s:.1f} s; not redundant."
    return Alert("fault", "peer_lost", "critical", text)


def peer_returned(peer: NodeId) -> Alert:
    """The peer is back and agrees on the epoch."""
    text = f"Node {peer} is back and agrees on the epoch; its copy is updated now."
    return Alert("recovery", "peer_returned", "info", text)


def takeover(epoch: int, means: str) -> Alert:
    """This node took the next epoch and starts the VMs."""
    text = f"This node takes over in epoch {epoch} by {means} and starts the VMs."
    return Alert("recovery", "takeover", "critical", text)


def alone(epoch: int, means: str) -> Alert:
    """This node owned the VMs already and goes on without its peer."""
    text = f"This node goes on alone in epoch {epoch} by {means}; the VMs keep running."
    return Alert("recovery", "alone", "warning", text)


def takeover_refused(reasons: tuple[str, ...]) -> Alert:
    """The peer is lost and this node must not replace it."""
    return Alert("fault", "takeover_refused", "critical", "This node must not take over: " + "; ".join(reasons) + ".")


def fenced(reason: str) -> Alert:
    """This node lost its right to run VMs."""
    return Alert("fault", "fenced", "critical", f"This node stops its VMs: {reason}. Restart the node to rejoin.")


def datagrams_refused(link: LinkName, counts: Mapping[str, int], senders: tuple[str, ...]) -> Alert:
    """Somebody sends what is no heartbeat of the peer; `counts`: how many since the last time, by reason."""
    why = ", ".join(f"{count} times: {reason}" for reason, count in sorted(counts.items()))
    text = (
        f"Datagrams on link {link} that are no heartbeats of the peer are refused; they change nothing. They say that"
        f" they come from {', '.join(senders) or 'nowhere'} ({why}). Keep this sender off the network; if it is the"
        " peer, give both nodes the same site and the same version. It is told once an hour."
    )
    return Alert("fault", "datagrams_refused", "warning", text, link)


def mismatch(reason: str) -> Alert:
    """The nodes hear each other but must not be paired."""
    return Alert("fault", "pair_mismatch", "critical", f"Not paired: {reason}.")


def definitions_differ(me: NodeId, peer: NodeId) -> Alert:
    """Both nodes were changed apart from each other."""
    text = (
        f"Nodes {me} and {peer} hold definitions that were changed apart from each other: neither comes from the other,"
        " so neither node takes the other's, and no disk connects anew. Compare them (avance definitions, on both"
        " nodes), and run `avance definitions take` on the node whose definitions are given up."
    )
    return Alert("fault", "definitions_differ", "critical", text)


def definitions_refused(peer: NodeId, why: str) -> Alert:
    """The peer has newer definitions, which this node cannot take."""
    text = (
        f"This node does not take the newer definitions of node {peer}, and no disk connects anew until it does: {why}."
        " It looks again each minute."
    )
    return Alert("fault", "definitions_refused", "critical", text)


def vm_started(vm: VmId) -> Alert:
    """A VM runs on this node now."""
    return Alert("recovery", "vm_started", "info", f"VM {vm} runs on this node.", vm)


def vm_left(vm: VmId, node: NodeId, times: int, *, there: bool) -> Alert:
    """A VM fails again and again, and is not started any more; `there`: the other node has tried, too."""
    also = "as it did on the other node before" if there else f"{times} times within an hour"
    text = (
        f"VM {vm} has failed on node {node}, {also}: it does not run and is not started again. Its data is kept. Mend"
        f" the guest, its kernel or its definition, then run `avance reset-device {node}` on node {node}. Without that"
        " it is tried again when its failures are an hour old."
    )
    return Alert("fault", "vm_left", "critical", text, vm)


def vm_crashed(vm: VmId) -> Alert:
    """The domain of a VM vanished while it was wanted."""
    return Alert(
        "fault",
        "vm_crashed",
        "critical",
        f"The domain of VM {vm} is gone; it is started again, unless it fails too often.",
        vm,
    )


def off_by_guest(vm: VmId) -> Alert:
    """A guest has shut down by itself."""
    text = f"The guest of VM {vm} has switched itself off. It stays off until `avance vm start {vm}`."
    return Alert("fault", "off_by_guest", "warning", text, vm)


def runs_on(vm: VmId, waited_s: float) -> Alert:
    """A guest that was asked to shut down has not done so."""
    text = (
        f"VM {vm} is to be off, but its guest has not shut down within {waited_s:g} s of being asked. It runs on."
        f" `avance vm power-off {vm}` ends it at once, `avance vm start {vm}` lets it run."
    )
    return Alert("fault", "runs_on", "warning", text, vm)


def command_failed(command: str, vm: VmId, detail: str) -> Alert:
    """A command for a VM did not succeed; it is tried again after a look."""
    return Alert(
        "fault", "command_failed", "critical", f"{command} for VM {vm} did not succeed: {detail}", f"{command} {vm}"
    )


def store_failed(detail: str) -> Alert:
    """The durable record could not be written; nothing that depends on it has happened."""
    return Alert("fault", "store_failed", "critical", f"The durable record could not be written: {detail}")


def protected() -> Alert:
    """Both copies of every VM are equal again and both nodes are in service."""
    return Alert("recovery", "protected", "info", "Every VM is protected: both nodes in service, both copies equal.")


def no_good_copy(vm: VmId) -> Alert:
    """Neither side has a copy that may be used without an operator."""
    text = f"VM {vm}: both copies are inconsistent; an operator must choose."
    return Alert("fault", "no_good_copy", "critical", text, vm)


def copy_lost(vm: VmId) -> Alert:
    """DRBD lost the local copy of a volume: the pair runs on one copy."""
    text = f"DRBD has no local copy of VM {vm} any more: the disk of this node is gone; only one copy is left."
    return Alert("fault", "copy_lost", "critical", text, vm)


def one_copy(vm: VmId, why: str) -> Alert:
    """A VM that runs has had no second good copy for a while, whatever the reason is."""
    text = f"VM {vm} has one copy only: {why}. It is not protected until both copies are equal again."
    return Alert("fault", "one_copy", "critical", text)


def two_copies(vm: VmId) -> Alert:
    """It has two equal copies again."""
    return Alert("recovery", "two_copies", "info", f"VM {vm} has two equal copies again.")


def last_disk(vm: VmId) -> Alert:
    """The only copy of a VM is on one half of a mirror: the next lost disk loses its data."""
    text = (
        f"The only copy of VM {vm} is on the last data disk of this node: one more lost disk loses its data. Bring the"
        " other node back, or replace the missing disk."
    )
    return Alert("fault", "last_disk", "critical", text)


def copy_behind(vm: VmId, peer: NodeId) -> Alert:
    """The disk of this node must not be served: writes that were acknowledged are missing on it, or may be."""
    text = f"The copy of VM {vm} on this node is behind; it is not served before node {peer} has made it good again."
    return Alert("fault", "copy_behind", "critical", text, vm)


def replication_unsteady(vm: VmId, falls: int) -> Alert:
    """The replication breaks again and again although heartbeats pass on the same link."""
    text = (
        f"The replication of VM {vm} broke {falls} times in a row although heartbeats pass on its link: the VM goes on"
        " without it, and it is tried again less and less often. Check that the link carries large frames (MTU)."
    )
    return Alert("fault", "replication_unsteady", "critical", text)


def foreign_disk(vm: VmId) -> Alert:
    """The disk of a volume is another one than this node knows, and the peer does not know its data either."""
    text = (
        f"The disk of VM {vm} on this node holds other data than it had: it is not used. Put the right disk back, or"
        " take the volume away so that a new one is made."
    )
    return Alert("fault", "foreign_disk", "critical", text, vm)


def hands_over(peer: NodeId, why: str) -> Alert:
    """The VMs are stopped here and started where the good copy is."""
    text = f"The VMs move to node {peer}, which has a good copy: {why}."
    return Alert("recovery", "hands_over", "critical", text)


def moves(peer: NodeId, why: str) -> Alert:
    """The VMs move to the peer while they run."""
    return Alert("recovery", "vms_move", "info", f"The VMs move to node {peer} while they run: {why}.")


def move_failed(why: str, against: str, *, last: bool) -> Alert:
    """A live move was broken off, and the VMs run on; `last`: it is not tried again soon."""
    text = f"The VMs stay, although they were to move ({why}): the move was broken off, because {against}."
    more = " Live moves have failed several times and are not tried again for an hour." if last else ""
    return Alert("fault", "move_failed", "warning", text + more)


def split(reason: str) -> Alert:
    """Both nodes wrote alone: nothing is discarded, and nothing runs until an operator chooses."""
    text = f"Both nodes wrote alone: {reason}. Every VM is stopped and both versions are kept; run `avance keep NODE`."
    return Alert("fault", "split", "critical", text)


def peer_resets(peer: NodeId, reason: str) -> Alert:
    """The peer has said why it resets itself, with its last word."""
    return Alert("fault", "peer_resets", "warning", f"Node {peer} says that it resets itself: {reason}.", peer)


def was_reset(reason: str, wall: str) -> Alert:
    """This node had reset itself, and is back: what it could not tell before."""
    text = f"This node is back. It had reset itself at {wall}, because: {reason}."
    return Alert("recovery", "was_reset", "critical", text)


def resets_itself(reason: str) -> Alert:
    """This node resets itself, because it has no right to run VMs any more."""
    return Alert("recovery", "resets_itself", "critical", f"This node resets itself: {reason}.")


def paused_machine(gap_s: float) -> Alert:
    """The whole machine stood still without noticing."""
    text = f"This machine stood still for about {gap_s:.0f} s; its VMs wait until the peer has confirmed their right."
    return Alert("fault", "machine_paused", "critical", text)


def waits(reasons: tuple[str, ...]) -> Alert:
    """This node came up alone and must not start VMs."""
    return Alert("fault", "waits_for_peer", "critical", "This node starts no VM: " + "; ".join(reasons) + ".")


def fence_failed(peer: NodeId, detail: str) -> Alert:
    """The peer could not be switched off by its BMC."""
    text = f"Node {peer} could not be switched off by its BMC ({detail}); this is tried again while it is needed."
    return Alert("fault", "fence_failed", "critical", text)


def backup_down(link: LinkName) -> Alert:
    """The private link is still dead after the backup's restart."""
    text = f"The private link {link} is still dead after the restart of the backup; there is no redundancy."
    return Alert("fault", "backup_down", "critical", text, link)


def cures_used_up(node: NodeId, reason: str, times: int) -> Alert:
    """A backup has restarted so often in the hope of a cure that it does so no more."""
    text = (
        f"On node {node}, {reason}. It has restarted {times} times for that, in vain, and restarts no more; there is no"
        " redundancy while this lasts. Check the cable, the ports at both ends and the network card, or the disk. What"
        f" is mended is used again by itself; `avance reset-device {node}` on node {node} allows restarts again, and"
        " so does an hour without the fault."
    )
    return Alert("fault", "cures_used_up", "critical", text)


def quarantined(node: NodeId) -> Alert:
    """The peer failed too often."""
    text = f"Node {node} failed too often; it is kept out of service until `avance reset-device {node}`."
    return Alert("fault", "quarantined", "critical", text, node)


def lagging(lag_s: float) -> Alert:
    """The daemon's loop was late."""
    return Alert("fault", "daemon_lag", "warning", f"The daemon's loop was {lag_s:.1f} s late.")


def contradiction(vm: VmId) -> Alert:
    """DRBD called two copies equal that it knows to differ."""
    text = f"DRBD called the copies of VM {vm} equal, but knows blocks that differ; they are synchronised again."
    return Alert("fault", "out_of_sync", "warning", text, vm)


def operator(request: str, node: NodeId) -> Alert:
    """A person used a right that only a person has."""
    code = f"operator_{request.replace('-', '_')}"
    return Alert("recovery", code, "warning", f"An operator asked for {request} {node}.", node)


def mirror_degraded(view: MirrorView) -> Alert:
    """The data disks of this node are no mirror any more; one more loss takes its copy away."""
    text = f"The mirror of this node's data disks has {view.halves} of {view.of} halves: {view.detail}."
    return Alert("fault", "mirror_degraded", "warning", text)


def mirror_whole(view: MirrorView) -> Alert:
    """Both halves hold all data again."""
    return Alert("recovery", "mirror_whole", "info", f"The mirror has {view.halves} of {view.of} halves again.")


def mirror_refused(view: MirrorView) -> Alert:
    """There is no half on this node that may be taken for the current one, so it has no copy of any volume."""
    return Alert("fault", "mirror_refused", "critical", f"This node has no current copy of its data: {view.detail}.")


def mirror_reused() -> Alert:
    """What was left of the data disks becomes an empty mirror, because the peer has the good copy."""
    text = "No current half is left on this node; the rest is emptied and takes the peer's copy in full."
    return Alert("recovery", "mirror_reused", "warning", text)


# Without these a client, or safety, misses something now.
_STOPS = (NodePart.GATE, NodePart.WATCHDOG, NodePart.DEVICE, NodePart.ADDRESS)


def part_failed(part: NodePart, problem: str) -> Alert:
    """A part of this node does not do its work."""
    return Alert("fault", f"{part}_failed", "critical" if part in _STOPS else "warning", f"{problem}.")


def part_restored(part: NodePart, name: str) -> Alert:
    """It does its work again."""
    which = f"{part} {name}".strip()
    return Alert("recovery", f"{part}_restored", "info", f"In order again on this node: {which}.")


def ailing(what: Condition, subject: str) -> Alert:
    """Something that counts for the health of this node is wrong."""
    severity = "critical" if what.severity is AilmentSeverity.BAD else "warning"
    text = f"{what.text.format(subject=subject)} ({what.severity}). {what.action}. It concerns: {what.part}."
    return Alert("fault", what.code, severity, text, subject)


def recovered(what: Condition, subject: str, *, now: Condition | None = None) -> Alert:
    """It is in order again; `now`: something else is wrong with the same thing instead."""
    name = f"{what.code} {subject}".strip()
    text = f"In order again: {name}." if now is None else f"No more: {name}. It is {now.code} now."
    return Alert("recovery", what.over, "info", text, subject)


def stays(me: NodeId, why: str, against: str, *, stopped: bool) -> Alert:
    """The backup is in better health, and the VMs stay; `stopped`: they have moved so often that a person is needed."""
    text = f"The VMs stay on node {me}, although they would be better off: {why}. Against a move: {against}."
    return Alert("fault", "vms_stay", "critical" if stopped else "warning", text)


def not_ready(vm: str, backup: NodeId, primary: NodeId, why: str, action: str) -> Alert:
    """A VM would not start on the backup if the primary died now; an empty name: none would."""
    which = f"VM {vm} would not start" if vm else "no VM would start"
    text = f"If node {primary} died now, {which} on node {backup}: {why}. {action}."
    return Alert("fault", "not_ready", "warning", text, vm)


def ready_again(vm: str, backup: NodeId) -> Alert:
    """It would start again."""
    which = f"VM {vm} would start" if vm else "VMs would start"
    return Alert("recovery", "ready_again", "info", f"{which} on node {backup} again, if the other node died.", vm)
