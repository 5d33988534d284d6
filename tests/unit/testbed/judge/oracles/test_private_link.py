"""Tests of testbed.judge.oracles.private_link: a frame of the VM on the private link, and when nobody can say."""

from __future__ import annotations

from testbed.history import History
from testbed.judge.finding import Finding
from testbed.judge.oracles.private_link import PrivateLink
from testbed.judge.recorded import Recorded, Scene
from testbed.judge.verdict import Verdict

VM = "00:16:3e:77:00:20"


def judged(*ports: str, watched: bool = True) -> Finding:
    """The word on a run in which frames of the VM entered at these ports, one a second."""
    history = History()
    if watched:
        history.record_at(0.0, "switch", "watching")
    for second, port in enumerate(ports, 2):
        history.record_at(float(second), "switch", "claim", mac=VM, port=port)
    return PrivateLink().judge(Recorded(Scene(), 1.0, 9.0, "none", "none", records=tuple(history)))


def test_a_frame_of_the_vm_on_the_private_link_is_caught() -> None:
    """The planted violation, also when the switch did not watch from the beginning."""
    found = judged("a.biz0", "b.priv0")
    assert (found.verdict, found.text) == (Verdict.FAIL, f"{VM} sent at b.priv0, 3.000 s")
    assert judged("b.priv0", watched=False).verdict is Verdict.FAIL


def test_frames_at_the_ports_of_clients_pass() -> None:
    """Of either node, and of what is no node."""
    assert judged("a.biz0", "b.biz0", "client.biz0").verdict is Verdict.PASS


def test_a_vm_that_nobody_watched_is_no_proof() -> None:
    """Blind, with the reason."""
    assert judged("a.biz0", watched=False).verdict is Verdict.INCONCLUSIVE
    assert "did not send a single frame" in judged().text
