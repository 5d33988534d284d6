"""Alerts are what the service centre can rely on: fixed words, one sentence for a person."""

from __future__ import annotations

import pytest

from avance.core import alerts
from avance.core.conditions import TABLE
from avance.core.model import Alert, LinkName, MirrorView, NodePart
from tests.playbook import PRIV, WEB, A, B

TOLD = [row for row in TABLE if row.told]
EVERY = [
    alerts.link_down(PRIV), alerts.link_up(LinkName("biz0")), alerts.peer_lost(A, 5.04), alerts.peer_returned(A),
    alerts.takeover(4, "policy availability"), alerts.alone(4, "policy availability"),
    alerts.takeover_refused(("no good copy", "no right")), alerts.fenced("the peer owns epoch 5"),
    alerts.definitions_differ(A, B), alerts.definitions_refused(B, "no such device"),
    alerts.mismatch("the configurations differ"), alerts.vm_started(WEB), alerts.vm_crashed(WEB),
    alerts.off_by_guest(WEB), alerts.runs_on(WEB, 60.0),
    alerts.command_failed("StartDomain", WEB, "no memory"), alerts.store_failed("disk hangs"), alerts.protected(),
    alerts.no_good_copy(WEB), alerts.split("both nodes claim epoch 3"), alerts.resets_itself("it is fenced"),
    alerts.paused_machine(21.4), alerts.waits(("its copy may be older",)), alerts.backup_down(PRIV),
    alerts.fence_failed(A, "no answer"), alerts.replication_unsteady(WEB, 2),
    alerts.quarantined(A), alerts.lagging(2.34), alerts.contradiction(WEB), alerts.operator("override", A),
    alerts.operator("reset-device", A), alerts.operator("keep", A),
    alerts.datagrams_refused(PRIV, {"not a heartbeat": 3}, ("10.9.0.7",)),
    alerts.copy_lost(WEB), alerts.copy_behind(WEB, B),
    alerts.one_copy(WEB, "the other node is not heard"), alerts.two_copies(WEB), alerts.last_disk(WEB),
    alerts.foreign_disk(WEB), alerts.hands_over(B, "the copy of web here is gone"),
    alerts.mirror_degraded(MirrorView(halves=1, detail="vdb")), alerts.mirror_whole(MirrorView(halves=2)),
    alerts.vm_left(WEB, A, 5, there=False), alerts.peer_resets(B, "it is fenced"), alerts.was_reset("fenced", "noon"),
    alerts.cures_used_up(B, "the private link is down", 3),
    alerts.mirror_refused(MirrorView(detail="vdb is old")), alerts.mirror_reused(),
    alerts.moves(B, "a person wants it"), alerts.move_failed("a person wants it", "it took too long", last=True),
    alerts.stays(A, "network_lost biz0", "the copies are not equal", stopped=False),
    alerts.not_ready(WEB, B, A, "it was left", "Mend it"), alerts.ready_again(WEB, B),
    *(alerts.ailing(row, "Fan 1") for row in TOLD), *(alerts.recovered(row, "Fan 1") for row in TOLD),
    *(alerts.part_failed(part, "It is gone. Look for it") for part in NodePart),
    *(alerts.part_restored(part, "") for part in NodePart),
]  # fmt: skip


def test_codes_are_unique() -> None:
    """Each alert has its own stable word."""
    assert len({alert.code for alert in EVERY}) == len(EVERY)


@pytest.mark.parametrize("alert", EVERY, ids=[alert.code for alert in EVERY])
def test_words_are_those_of_the_contract(alert: Alert) -> None:
    """Kind and severity are words of the published contract, and the text is a sentence."""
    assert alert.kind in ("fault", "recovery", "warning")
    assert alert.severity in ("critical", "warning", "info")
    assert alert.code.replace("_", "").islower()
    assert alert.text[0].isupper()


def test_texts_carry_the_evidence() -> None:
    """A person reads what happened without looking into a log."""
    assert "5.0 s" in alerts.peer_lost(A, 5.04).text
    assert "no good copy; no right" in alerts.takeover_refused(("no good copy", "no right")).text
    assert "21 s" in alerts.paused_machine(21.4).text
    assert "2.3 s" in alerts.lagging(2.34).text
    assert "avance keep NODE" in alerts.split("both nodes claim epoch 3").text
    assert "avance reset-device a" in alerts.quarantined(A).text
    assert "no memory" in alerts.command_failed("StartDomain", WEB, "no memory").text


def test_every_alert_is_tried_here() -> None:
    """A new alert is added to this list, so that its words are checked."""
    made = {name for name, one in vars(alerts).items() if callable(one) and one.__module__ == alerts.__name__}
    more = 2 * (len(NodePart) - 1) + 2 * (len(TOLD) - 1)
    assert len(made) == len(EVERY) - 2 - more, "the operator has three words; parts and conditions have their own"
