"""The worst-case recovery time in words and numbers, from the timers of a site (docs/safety.md, S18)."""

from __future__ import annotations

from dataclasses import fields

from avance.core.model import Timers

_WITNESS_TRIES = 3


def inequality(timers: Timers) -> str:
    """Return the inequality that every site must fulfil, with its numbers and what is left of them."""
    wait_s = timers.peer_lost_s + timers.takeover_wait_s
    stop_s = timers.lease_s + timers.watchdog_s + timers.margin_s
    left = f"peer_lost {timers.peer_lost_s:g} + takeover_wait {timers.takeover_wait_s:g} = {wait_s:g} s"
    right = f"lease {timers.lease_s:g} + watchdog {timers.watchdog_s:g} + margin {timers.margin_s:g} = {stop_s:g} s"
    if round(wait_s - stop_s, 6) < 0:  # sums of dilated times differ in their last bit
        return f"UNSAFE: {left}  <  {right}"
    return f"{left}  >=  {right}  (holds, {wait_s - stop_s:g} s to spare)"


def text(timers: Timers, dilation: float) -> str:
    """Return the page that `avance timers` prints; the times are multiplied by the dilation already."""
    lost, wait, delay = timers.peer_lost_s, timers.takeover_wait_s, timers.backup_delay_s
    grant, lease, watchdog, down = timers.grant_s, timers.lease_s, timers.watchdog_s, timers.link_down_s
    each = timers.witness_try_s
    asked = lost + _WITNESS_TRIES * each
    lines = [
        f"declared dilation {dilation:g}: every time below is multiplied by it already",
        "",
        "No takeover comes before the old primary must have stopped:",
        f"  {inequality(timers)}",
        "",
        "The primary dies. After its last heartbeat the backup starts the VMs at the latest after",
        f"  {lost:g} s = peer_lost {lost:g}, when its power reads as off",
        f"  {lost + delay:g} s = peer_lost {lost:g} + backup_delay {delay:g}, plus what the BMC takes to switch it off",
        f"  {lost + wait:g} s = peer_lost {lost:g} + takeover_wait {wait:g}, when nothing is known of it",
        "  each plus a tick of the loop, the record on disk, the promotion and the start of the VM.",
        "",
        "The backup dies. The I/O of the running VMs stands still at most for",
        f"  {grant:g} s = grant {grant:g}; a witness has {asked:g} s = {lost:g} + {_WITNESS_TRIES} x try {each:g}",
        "",
        "A primary that hears no echo any more, counted from the send time of its last echoed heartbeat, has",
        f"  its VMs paused after {lease:g} s = lease {lease:g},",
        f"  its machine reset after {grant:g} s = grant {grant:g} unless it got a right,",
        f"  and, if that hangs, its watchdog after {down + watchdog:g} s = link_down {down:g} + watchdog {watchdog:g}:",
        "  only an echo that is younger than link_down lets the watchdog be fed.",
        "",
        "All timers:",
    ]
    names = [field.name for field in fields(timers)]
    width = max(len(name) for name in names)
    lines += [f"  {name.removesuffix('_s'):{width}} {getattr(timers, name):g} s" for name in names]
    return "\n".join(lines)
