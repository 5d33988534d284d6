"""A configuration is taken whole or refused with one sentence; nothing unsafe gets through."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import IPv4Address

import pytest

from avance.config import VMS_MAX, BmcConfig, parse
from avance.core.crashloop import Policy
from avance.core.model import LinkName, Timers
from avance.errors import ConfigError
from avance.parsed import Json
from tests.schema_check import complaints, load
from tests.unit.avance.site import config, site, vm

ODD: list[Json] = [None, True, 0, -1, 1.5, math.nan, math.inf, 10**400, "", "x", "é", [], {}, ["x"], {"x": 1}]


W1, W2 = {"name": "w1", "address": "10.77.0.5:7790"}, {"name": "w2", "address": "10.77.0.6:7790"}


def full_site(**changes: Json) -> Json:
    """Return a site with everything that a site may have; `changes` replace single keys."""
    raw = site(witnesses=[W1, W2], gateways={"biz0": "10.77.0.2"}, watchdog=False, timers={"retry_s": 2.0})
    raw["quarantine"] = {"policy": "always", "samples": 4}
    for name, number in (("a", 31), ("b", 32)):
        raw["nodes"][name]["bmc"] = {"address": f"10.77.0.{number}", "user": f"u-{name}", "password": f"p-{name}"}
    return raw | changes


def with_bmc(**changes: Json) -> Json:
    """Return the nodes of a site whose node b has a changed BMC."""
    nodes: Json = full_site()["nodes"]
    nodes["b"]["bmc"] |= changes
    return nodes


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
    assert mine.peer_bmc == BmcConfig(IPv4Address("10.77.0.32"), "u-b", "p-b")
    assert theirs.peer_bmc == BmcConfig(IPv4Address("10.77.0.31"), "u-a", "p-a")
    assert mine.gateways == ((LinkName("biz0"), IPv4Address("10.77.0.2")),)
    assert not mine.watchdog


def test_quarantine_is_the_sites_choice() -> None:
    """How many failures are judged, and how, can be said; the defaults are those of the fault-tolerant machines."""
    assert (config().crash_policy, config().crash_samples) == (Policy.THRESHOLD, 6)
    chosen = config(quarantine={"policy": "never", "samples": 3})
    assert (chosen.crash_policy, chosen.crash_samples) == (Policy.NEVER, 3)


def test_further_means_are_optional() -> None:
    """A site without them has none, but its watchdog is on."""
    bare = config()
    assert (bare.witnesses, bare.peer_bmc, bare.gateways, bare.watchdog) == ((), None, (), True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"witnesses": {}}, "at most 2"),
        ({"witnesses": [W1, W2, W1 | {"name": "w3"}]}, "at most 2"),
        ({"witnesses": [W1, W2 | {"name": "w1"}]}, "two witnesses are called w1"),
        ({"witnesses": [W1, W2 | {"address": "10.77.0.5:9"}]}, "have the address 10.77.0.5"),
        ({"witnesses": [W1 | {"name": "W1"}]}, "must match"),
        ({"witnesses": [W1 | {"name": "w1:x"}]}, "must match"),
        ({"witnesses": [W1 | {"port": 7790}]}, "unknown keys port"),
        ({"witnesses": [{"name": "w1"}]}, "lacks address"),
        ({"witnesses": [W1 | {"address": "10.77.0.5"}]}, "a colon and a port"),
        ({"witnesses": [W1 | {"address": "10.77.0.5:0"}]}, "a colon and a port"),
        ({"witnesses": [W1 | {"address": "10.77.0.5:65536"}]}, "a colon and a port"),
        ({"witnesses": [W1 | {"address": "w1.example:7790"}]}, "must be an IPv4 address"),
        ({"witnesses": [W1 | {"address": "10.77.0.12:7790"}]}, "must be a third machine"),
        ({"witnesses": [W1 | {"address": "10.77.0.10:7790"}]}, "must be a third machine"),
        ({"witnesses": [W1 | {"address": "10.77.0.20:7790"}]}, "must be a third machine"),
        ({"nodes": with_bmc(address="10.77.0.31")}, "would switch itself off"),
        ({"nodes": with_bmc(address="10.77.0.11")}, "not to a bmc"),
        ({"nodes": with_bmc(address="bmc-b")}, "must be an IPv4 address"),
        ({"nodes": with_bmc(user="")}, "1 to 16"),
        ({"nodes": with_bmc(user="u" * 17)}, "1 to 16"),
        ({"nodes": with_bmc(password="p" * 21)}, "1 to 20"),
        ({"nodes": with_bmc(password="p\n")}, "printable"),
        ({"nodes": with_bmc(port=623)}, "unknown keys port"),
        ({"nodes": full_site()["nodes"] | {"b": site()["nodes"]["b"]}}, "nodes.b lacks a bmc"),
        ({"gateways": ["10.77.0.2"]}, "link names"),
        ({"gateways": {"eth9": "10.77.0.2"}}, "link names"),
        ({"gateways": {"biz0": "10.9.0.9"}}, "no host of the link's network"),
        ({"gateways": {"biz0": "10.77.0.255"}}, "no host of the link's network"),
        ({"gateways": {"biz0": "10.77.0.12"}}, "not to a gateway"),
        ({"gateways": {"biz0": "10.77.0.20"}}, "not to a gateway"),
        ({"gateways": {"biz0": "10.77.0.2/24"}}, "must be an IPv4 address"),
        ({"watchdog": "yes"}, "true and false"),
        ({"data_integrity": 1}, "true and false"),
        ({"quarantine": {"policy": "sometimes"}}, "threshold, never, always"),
        ({"quarantine": {"policy": []}}, "threshold, never, always"),
        ({"quarantine": {"samples": 1}}, "from 2 to 100"),
        ({"quarantine": {"samples": True}}, "from 2 to 100"),
        ({"quarantine": {"mean_s": 5}}, "unknown keys mean_s"),
        ({"watchdog": 0}, "true and false"),
    ],
)
def test_bad_further_means_are_refused(change: dict[str, Json], word: str) -> None:
    """A witness, BMC or gateway that could not do what it is for is refused with its place."""
    with pytest.raises(ConfigError, match=word):
        parse("a", full_site(**change), [vm()])


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
    assert slow.timers.crash_mean_s == 14400.0
    assert config(dilation=4.0, timers={"stable_s": 20}).timers.stable_s == 80.0
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
        ([vm(address="10.77.0.20/24")], "must be an IPv4 address"),
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
