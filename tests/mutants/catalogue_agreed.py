"""Defects of the agreement on definitions: what counts, what is withdrawn, what is taken from the peer."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

_CORE = "avance/core/agreement.py"
_FILES = "the simulator knows neither files nor datagrams of definitions"

MUTANTS = (
    Mutant(
        "counts-without-the-peers-hold",
        "a proposal counts as soon as the peer says anything but no",
        (Edit(_CORE, "        elif said.proposal == own:\n", "        elif said.refused[0] != own.id:\n"),),
    ),
    Mutant(
        "hold-dropped-in-silence",
        "a node that starts anew drops what it holds of its silent peer",
        (
            Edit(
                _CORE,
                "            return again if said is None else",
                "            return replace(stand, proposal=None) if said is None else",
            ),
        ),
    ),
    Mutant(
        "takes-what-does-not-descend",
        "newer definitions of the peer overwrite our own, wherever they come from",
        (
            Edit(
                _CORE,
                "        return self.stand.version.number == 0 or self.stand.version in event.history\n",
                "        return True\n",
            ),
        ),
    ),
    Mutant(
        "one-node-while-heard",
        "a change counts on one node alone although the other one is heard and could agree",
        (Edit(_CORE, "            free = facts.silent or self.differs(facts)\n", "            free = True\n"),),
    ),
    Mutant(
        "both-keep-their-own",
        "of two changes that are proposed at the same moment, neither is withdrawn for the other",
        (Edit(_CORE, "said.proposal.by == peer and peer < self.me:", 'said.proposal.by == peer and peer == "":'),),
    ),
    Mutant(
        "refused-before-durable",
        "a person hears that nothing was changed while the disk may still hold the proposal",
        (
            Edit(
                _CORE,
                " or self.unsure or self.decided is not None or self._own is not None:\n            return\n",
                " or self.decided is not None:\n            return\n",
            ),
        ),
    ),
    Mutant(
        "proposal-said-before-durable",
        "a node says that it holds a proposal while it is still on its way to the disk",
        (
            Edit(
                _CORE,
                "self.stand.proposal, self.asks, self.refused)\n",
                "(self.saving or self.stand).proposal, self.asks, self.refused)\n",
            ),
        ),
    ),
    Mutant(
        "withdrawn-while-decided",
        "the coordinator withdraws, after a while, what it has let count already and cannot write",
        (
            Edit(_CORE, "        return self.decided is None and (self.asked", "        return (self.asked"),
            Edit(
                _CORE,
                "        if self.decided is not None:\n            return self.decided\n",
                "        if self.decided is not None and not self.why_not:\n            return self.decided\n",
            ),
        ),
    ),
    Mutant(
        "site-secret-travels",
        "the site's secret is in the document that is sent",
        (Edit("avance/wire/document.py", ' if key != "secret"}', "}"),),
        _FILES,
    ),
    Mutant(
        "earlier-release-counts-as-blank",
        "definitions of an earlier release count as those of a node that was never changed",
        (Edit("avance/wire/configuration.py", "_FIRST = 1  #", "_FIRST = 0  #"),),
        _FILES,
    ),
    Mutant(
        "yes-to-an-earlier-proposal",
        "what the peer still holds of a proposal that was withdrawn is a yes to a new one with the same contents",
        (
            Edit(
                _CORE,
                "elif said.proposal == own:",
                "elif said.proposal is not None and said.proposal.version == own.version:",
            ),
        ),
        "no two changes of a history have the same contents",
    ),
    Mutant(
        "number-of-what-is-held-ignored",
        "a held proposal counts when the peer has the same contents under another number, and both differ for ever",
        (Edit(_CORE, "if said.version == proposal.version:", "if said.version.hash == proposal.version.hash:"),),
        "no two changes of a history have the same contents",
    ),
    Mutant(
        "version-known-by-its-contents",
        "definitions of the peer are taken because they come from the contents of this node, which had changed since",
        (
            Edit(
                _CORE,
                "or self.stand.version in event.history",
                "or self.stand.version.hash in {one.hash for one in event.history}",
            ),
        ),
        "no two changes of a history have the same contents",
    ),
    Mutant(
        "nonce-used-twice",
        "two documents are sealed with the same key stream, so who has both can read what they do not share",
        (Edit("avance/documents.py", "secrets.token_bytes(NONCE_BYTES)", "bytes(NONCE_BYTES)"),),
        _FILES,
    ),
    Mutant(
        "volume-deleted-by-a-choice",
        "`definitions take` deletes the volume of a VM that was removed on the other node while this one served it",
        (Edit("avance/apply.py", "        if taken and spec is None:\n", "        if False and spec is None:\n"),),
        _FILES,
    ),
    Mutant(
        "history-has-no-room",
        "definitions are accepted that are too large to be sent once their history has grown",
        (Edit("avance/documents.py", "config.config_hash), _LONGEST) is None:", "config.config_hash), ()) is None:"),),
        _FILES,
    ),
    Mutant(
        "files-of-a-vm-not-looked-for",
        "a node agrees to a VM that it could not start",
        (Edit("avance/daemon.py", "if heard.problem or heard.key == heard.version.key:", "if heard.key:"),),
        _FILES,
        units=("tests/unit/avance/test_two_daemons.py",),
    ),
    Mutant(
        "counting-definitions-need-files",
        "a node refuses definitions that count on the other one already because of one VM that it could not start",
        (Edit("avance/daemon.py", "if heard.problem or heard.key == heard.version.key:", "if heard.problem:"),),
        _FILES,
        units=("tests/unit/avance/test_two_daemons.py",),
    ),
    Mutant(
        "both-start-anew-at-once",
        "for another site both daemons start anew at the same moment",
        (
            Edit(
                "avance/change_over.py",
                "(_PEER_BEGINS_S * self._documents.in_use.dilation if command.later else 0.0)",
                "0.0",
            ),
        ),
        "the simulator changes VMs only, which needs no new start",
    ),
    Mutant(
        "timers-change-in-service",
        "timers may be changed while the pair runs, on one node after the other",
        (Edit("avance/changes.py", '("policy", ', '("timers", "policy", '),),
        _FILES,
    ),
)
