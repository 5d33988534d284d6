"""A configuration is taken whole or refused with one sentence; nothing unsafe gets through."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import IPv4Address

import pytest

from avance.config import BmcConfig, parse
from avance.core.crashloop import Policy
from avance.core.model import LinkName, Timers
from avance.errors import ConfigError
from avance.parsed import Json
from avance.wire import derived
from tests.schema_check import complaints, load
from tests.unit.avance.site import SECRET, config, full_site, site, vm

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
    assert mine.public_devices == ("biz0",)
    assert mine.timers == Timers()
    assert mine.vms[0].port == 7789


def test_site_matches_its_schema() -> None:
    """The site that the tests use is one that the published schema describes."""
    assert complaints("site", site()) == []
    assert complaints("site", full_site()) == []


def test_schema_knows_every_timer() -> None:
    """A timer that the product has can be set, and is published."""
    assert load("site")["properties"]["timers"]["properties"].keys() == {field.name for field in fields(Timers)} - {
        "second_s"  # the dilation has a key of its own
    }


def test_further_means_become_values() -> None:
    """Witnesses keep their order, a node gets the BMC of its peer, and gateways belong to links."""
    mine, theirs = parse("a", full_site(), [vm()]), parse("b", full_site(), [vm()])
    assert [(witness.name, str(witness.address), witness.port) for witness in mine.witnesses] == [
        ("w1", "10.77.0.5", 7790),
        ("w2", "10.77.0.6", 7790),
    ]
    assert mine.peer_bmc == BmcConfig(IPv4Address("10.77.0.32"), "u-b", "pass-of-b")
    assert theirs.peer_bmc == BmcConfig(IPv4Address("10.77.0.31"), "u-a", "pass-of-a")
    assert mine.gateways == ((LinkName("biz0"), IPv4Address("10.77.0.2")),)
    assert not mine.watchdog


def test_a_password_that_is_left_out_is_derived() -> None:
    """Each BMC has one of its own, which follows from the site's secret."""
    raw = full_site()
    del raw["nodes"]["b"]["bmc"]["password"]
    bmc = parse("a", raw, [vm()]).peer_bmc
    assert bmc is not None
    assert bmc.password == derived.of_bmc(bytes.fromhex(raw["secret"]), "b")


def test_no_secret_stands_in_the_words_of_a_configuration() -> None:
    """What Python says of a configuration, in an assertion or a traceback, holds none of its secrets."""
    told = repr(parse("a", full_site(), [vm()]))
    assert not [text for text in (*derived.every(full_site()), repr(bytes.fromhex(SECRET))) if text in told]


def test_quarantine_is_the_sites_choice() -> None:
    """How many failures are judged, and how, can be said; the defaults are those of the fault-tolerant machines."""
    assert (config().crash_policy, config().crash_samples) == (Policy.THRESHOLD, 6)
    chosen = config(quarantine={"policy": "never", "samples": 3})
    assert (chosen.crash_policy, chosen.crash_samples) == (Policy.NEVER, 3)


def test_further_means_are_optional() -> None:
    """A site without them has none, but its watchdog is on."""
    bare = config()
    assert (bare.witnesses, bare.peer_bmc, bare.gateways, bare.watchdog) == ((), None, (), True)


def test_any_odd_value_is_refused_with_a_sentence() -> None:
    """Whatever stands in whatever place, the answer is a configuration or a ConfigError, never another error."""
    whole = {"site": full_site(), "vms": [vm()]}
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
    assert slow.timers.crash_mean_s == 14400.0
    assert config(dilation=4.0, timers={"stable_s": 20}).timers.stable_s == 80.0
    assert slow.config_hash != config().config_hash


def test_foreign_node_name_is_refused() -> None:
    """A node that the site does not describe is not paired."""
    with pytest.raises(ConfigError, match="this node is called 'c'"):
        parse("c", site(), [])


def test_every_difference_changes_the_hash() -> None:
    """Two nodes with any difference in site or VMs have different hashes."""
    hashes = {
        parse("a", site(), []).config_hash,
        config().config_hash,
        config(policy="safety").config_hash,
        parse("a", site(), [vm(memory_mib=97)]).config_hash,
    }
    assert len(hashes) == 4
