"""A configuration is taken whole or refused with one sentence; nothing unsafe gets through."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest

from avance.config import VMS_MAX, parse
from avance.core.model import LinkName, Timers
from avance.errors import ConfigError
from avance.parsed import Json
from tests.unit.avance.schema_check import complaints
from tests.unit.avance.site import config, site, vm

ODD: list[Json] = [None, True, 0, -1, 1.5, math.nan, math.inf, 10**400, "", "x", "é", [], {}, ["x"], {"x": 1}]


def places(document: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value in a document."""
    yield path
    inner = dict(enumerate(document)) if isinstance(document, list) else document
    for key, value in inner.items() if isinstance(inner, dict) else ():
        yield from places(value, (*path, key))


def test_good_site_becomes_values() -> None:
    """Both nodes read the same file, each from its own side."""
    mine, theirs = config("a"), config("b")
    assert (mine.node, mine.peer) == ("a", "b")
    assert (theirs.node, theirs.peer) == ("b", "a")
    assert mine.config_hash == theirs.config_hash
    assert str(mine.link(LinkName("priv0")).peer_address) == str(theirs.link(LinkName("priv0")).address.ip)
    assert str(mine.service_address) == "10.77.0.10/24"
    assert mine.timers == Timers()
    assert mine.vms[0].port == 7789


def test_site_matches_its_schema() -> None:
    """The site that the tests use is one that the published schema describes."""
    assert complaints("site", site()) == []


def test_any_odd_value_is_refused_with_a_sentence() -> None:
    """Whatever stands in whatever place, the answer is a configuration or a ConfigError, never another error."""
    whole = {"site": site(timers={"retry_s": 2.0}), "vms": [vm()]}
    refused = 0
    for path in places(whole):
        for odd in ODD if path else []:
            changed = copy.deepcopy(whole)
            target: Json = changed
            for key in path[:-1]:
                target = target[key]
            target[path[-1]] = odd
            try:
                parse("a", changed["site"], changed["vms"])
            except ConfigError:
                refused += 1
    assert refused > 200


@pytest.mark.parametrize("key", ["schema", "secret", "nodes", "service_address", "replication_link"])
def test_missing_key_is_named(key: str) -> None:
    """A key that is needed and not there is named."""
    raw = site()
    del raw[key]
    with pytest.raises(ConfigError, match=key):
        parse("a", raw, [])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"policy": "never"}, "availability, safety"),
        ({"takeover": False}, "unknown keys takeover"),
        ({"dilation": 0.5}, "1 to 40"),
        ({"timers": {"takeover_wait_s": 1}}, "unsafe"),
        ({"timers": {"watchdog_s": 60}}, "unsafe"),
        ({"timers": {"margin_s": -10}}, "margin_s"),
        ({"timers": {"takeover_wait_s": math.inf}}, "takeover_wait_s"),
        ({"timers": {"takeover_wait_s": math.nan}}, "takeover_wait_s"),
        ({"timers": {"takeover_wait_s": 1e9}}, "takeover_wait_s"),
        ({"timers": {"takeover_wait_s": "12"}}, "takeover_wait_s"),
        ({"timers": {"wait_s": 12}}, "may only set"),
        ({"secret": "AB" * 16}, "lower case"),
        ({"replication_link": "eth9"}, "eth9"),
        ({"service_address": {"network": "biz0", "address": "10.77.0.11/24"}}, "third address"),
        ({"call_home": {"url": "http://x", "ca_pem": "", "token": ""}}, "https"),
    ],
)
def test_refusal_names_the_place(change: dict[str, Json], word: str) -> None:
    """A refused site says which entry is wrong and what is possible."""
    with pytest.raises(ConfigError, match=word):
        parse("a", site(**change), [])


def test_takeover_is_switched_off_only_by_policy() -> None:
    """No key but `policy` can keep a healthy backup from taking over."""
    assert config().policy == "availability"
    assert config(policy="safety").policy == "safety"
    longest = config(timers={"takeover_wait_s": 3600})
    assert longest.timers.takeover_wait_s == 3600.0


def test_dilation_multiplies_every_time() -> None:
    """A declared dilation slows all timers down alike."""
    slow = config(dilation=10.0)
    assert slow.timers.takeover_wait_s == 120.0
    assert slow.timers.retry_s == 20.0
    assert slow.config_hash != config().config_hash


def test_foreign_node_name_is_refused() -> None:
    """A node that the site does not describe is not paired."""
    with pytest.raises(ConfigError, match="this node is called 'c'"):
        parse("c", site(), [])


@pytest.mark.parametrize(
    ("vms", "word"),
    [
        ([vm(), vm()], "same name"),
        ([vm(), vm(name="db")], "same mac"),
        ([vm(), vm(name="db", mac="00:16:3e:77:00:21")], "same address"),
        ([vm(name="../x")], "must match"),
        ([vm(cmdline='x"\nextra = "y')], "quotes and line breaks"),
        ([vm(memory_mib=1)], "memory_mib"),
        ([vm(network="eth9")], "eth9"),
        ([vm()] * (VMS_MAX + 1), "at most 8"),
    ],
)
def test_bad_vm_is_refused(vms: Json, word: str) -> None:
    """A VM that could not run, or could break out of its definition, is refused."""
    with pytest.raises(ConfigError, match=word):
        parse("a", site(), vms)


def test_every_difference_changes_the_hash() -> None:
    """Two nodes with any difference in site or VMs have different hashes."""
    hashes = {
        parse("a", site(), []).config_hash,
        config().config_hash,
        config(policy="safety").config_hash,
        parse("a", site(), [vm(memory_mib=97)]).config_hash,
    }
    assert len(hashes) == 4
