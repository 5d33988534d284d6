"""The health of both nodes: as a part of the status document, and in words for people (schema `status.json`). Pure."""

from __future__ import annotations

from typing import Any

from avance.core import conditions
from avance.core.engine import Engine
from avance.core.health import in_words, score_of
from avance.core.model import Ailment


def health_of(engine: Engine) -> dict[str, Any]:
    """Return what is wrong with each node, as this node knows it; the peer's as it said last."""
    peer = engine.sight.peer
    nodes = {engine.setup.me: engine.health.ailments}
    if peer is not None:
        nodes[engine.setup.peer_id] = peer.ailments
    return {"nodes": {node: _node(ailments) for node, ailments in nodes.items()}, "moves": engine.health.going or None}


def unknown_health() -> dict[str, Any]:
    """Return the same of a node that knows no site."""
    return {"nodes": {}, "moves": None}


def _node(ailments: tuple[Ailment, ...]) -> dict[str, Any]:
    return {"score": list(score_of(ailments)), "ailments": [_ailment(one) for one in ailments]}


def _ailment(one: Ailment) -> dict[str, Any]:
    row = conditions.named(one.code)
    more = {} if row is None else {"text": row.text.format(subject=one.subject), "part": row.part, "action": row.action}
    return {"code": one.code, "subject": one.subject, "severity": one.severity, **more}


def health_text(health: dict[str, Any]) -> str:
    """Return the health of both nodes as a person wants to read it."""
    lines = [f"the VMs move: {health['moves']}"] if health["moves"] else []
    for node, found in health["nodes"].items():
        first, second, third = found["score"]
        lines.append(f"node {node}: {in_words((first, second, third))}" + ("" if found["ailments"] else " is wrong"))
        for one in found["ailments"]:
            name = f"{one['code']} {one['subject']}".strip()
            lines.append(f"  {one['severity']}: {name}. {one.get('text', 'This node does not know what that means')}.")
            if "action" in one:
                lines.append(f"    {one['action']}. It concerns: {one['part']}.")
    return "\n".join(lines) or "nothing is known of any node's health: this node is not paired"
