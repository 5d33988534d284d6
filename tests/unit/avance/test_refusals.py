"""What can never work is refused before anything changes, with one sentence that names its place.

docs/refusals.md shows every row of this file with the sentence that the product answers (AVANCE_REGENERATE=1 writes it
anew).
"""

from __future__ import annotations

import copy
import json
import math
import os
from pathlib import Path

import pytest

from avance.changes import changed
from avance.config import parse
from avance.definitions import VMS_MAX
from avance.errors import ConfigError
from avance.parsed import Json
from tests.unit.avance.core.test_agreement import REFUSED as AGREEMENTS
from tests.unit.avance.core.test_agreement import refusal
from tests.unit.avance.site import CERTIFICATE, SECRET, W1, W2, full_site, pem, site, vm, with_bmc, with_links
from tests.unit.avance.test_changes import BEFORE, FIXED, REFUSED
from tests.unit.avance.test_vm_life import REFUSED as LIFE
from tests.unit.avance.test_vm_life import refusal as refused_life

PAGE = Path(__file__).resolve().parents[3] / "docs" / "refusals.md"
CALL_HOME = site()["call_home"]
SERVICE = site()["service_address"]

# What is changed in a site that has everything, and a word of the answer.
SITES: list[tuple[dict[str, Json], str]] = [
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
    # a witness on this machine would say yes to each node
    ({"witnesses": [W1 | {"address": "127.0.0.1:7790"}]}, "that one other machine can have"),
    ({"witnesses": [W1 | {"address": "0.0.0.0:7790"}]}, "that one other machine can have"),
    ({"witnesses": [W1 | {"address": "224.0.0.9:7790"}]}, "that one other machine can have"),
    ({"witnesses": [W1 | {"address": "255.255.255.255:7790"}]}, "that one other machine can have"),
    ({"witnesses": [W1 | {"address": "10.77.0.255:7790"}]}, "that one other machine can have"),
    ({"witnesses": [W1 | {"address": "10.9.0.0:7790"}]}, "that one other machine can have"),
    ({"nodes": with_bmc(address="127.0.0.1")}, "that one other machine can have"),
    ({"nodes": with_bmc(address="0.0.0.0")}, "that one other machine can have"),
    ({"nodes": with_bmc(address="224.0.0.9")}, "that one other machine can have"),
    ({"nodes": with_bmc(address="10.77.0.255")}, "that one other machine can have"),
    ({"nodes": with_bmc(address="10.77.0.31")}, "would switch itself off"),
    ({"nodes": with_bmc(address="10.77.0.11")}, "not to a bmc"),
    ({"nodes": with_bmc(address="bmc-b")}, "must be an IPv4 address"),
    ({"nodes": with_bmc(user="")}, "1 to 16"),
    ({"nodes": with_bmc(user="u" * 17)}, "1 to 16"),
    ({"nodes": with_bmc(password="p" * 21)}, "8 to 20"),
    ({"nodes": with_bmc(password="calvin")}, "8 to 20"),
    ({"nodes": with_bmc(password="password\n")}, "printable"),
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
    ({"policy": "never"}, "availability, safety"),
    ({"takeover": False}, "unknown keys takeover"),
    ({"dilation": 0.5}, "1 to 40"),
    ({"dilation": True}, "1 to 40"),
    ({"timers": {"takeover_wait_s": 1}}, "unsafe"),
    ({"timers": {"watchdog_s": 60}}, "unsafe"),
    ({"timers": {"margin_s": -10}}, "margin_s"),
    ({"timers": {"takeover_wait_s": math.inf}}, "takeover_wait_s"),
    ({"timers": {"takeover_wait_s": math.nan}}, "takeover_wait_s"),
    ({"timers": {"takeover_wait_s": 1e9}}, "takeover_wait_s"),
    ({"timers": {"takeover_wait_s": "12"}}, "takeover_wait_s"),
    ({"timers": {"heartbeat_s": 1e-9}}, "from 0.05 to 3600"),
    ({"timers": {"retry_s": 0.01}}, "from 0.05 to 3600"),
    ({"timers": {"heartbeat_s": 3600}}, "the times must rise"),
    ({"timers": {"pause_s": 0.5}}, "the hardware clock"),
    ({"timers": {"link_hold_s": 200}}, "link_hold_max"),
    ({"timers": {"wait_s": 12}}, "may only set"),
    ({"secret": "ABABABABABABABABABABABABABABABAB"}, "lower case"),
    ({"replication_link": "eth9"}, "eth9"),
    ({"service_address": {"network": "biz0", "address": "10.77.0.11/24"}}, "third address"),
    ({"call_home": {"url": "http://x", "ca_pem": "", "token": ""}}, "https"),
    # links
    ({"nodes": with_links(a={"priv0": {"device": "eth 0"}})}, "name of a network device"),
    ({"nodes": with_links(b={"priv0": {"device": "eth0;reboot"}})}, "name of a network device"),
    ({"nodes": with_links(a={"priv0": {"device": "a-name-of-sixteen"}})}, "name of a network device"),
    ({"nodes": with_links(a={"priv0": {"device": "lo"}})}, "no network card"),
    ({"nodes": with_links(b={"priv0": {"device": "all"}})}, "no network card"),
    ({"nodes": with_links(a={"priv0": {"device": "default"}})}, "no network card"),
    ({"nodes": with_links(a={"priv0": {"device": "biz0"}})}, "two links of node a name the device biz0"),
    ({"nodes": with_links(b={"priv0": {"device": "biz0"}})}, "two links of node b name the device biz0"),
    (
        {"nodes": with_links(a={"priv0": {"address": "10.77.0.1/16"}}, b={"priv0": {"address": "10.77.0.2/16"}})},
        "both in",
    ),
    ({"nodes": with_links(a={"priv0": {"address": "10.9.0.2/24"}})}, "two addresses of one network"),
    ({"nodes": with_links(a={"priv0": {"address": "10.9.0.0/24"}})}, "no address of a host"),
    ({"nodes": with_links(b={"priv0": {"address": "10.9.0.255/24"}})}, "no address of a host"),
    (
        {"nodes": with_links(a={"priv0": {"address": "127.0.0.1/8"}}, b={"priv0": {"address": "127.0.0.2/8"}})},
        "of a host",
    ),
    ({"nodes": with_links(a={"priv0": {"address": "fd00::1/64"}})}, "not an IPv4 address"),
    ({"nodes": with_links(a={"priv0": {"address": "10.9.0.1"}})}, "with prefix length"),
    ({"nodes": with_links(a={"priv0": {"address": "10.9.0.1/255.255.255.0"}})}, "with prefix length"),
    ({"nodes": with_links(a={"priv0": {"address": "10.9.0.1/0.0.0.255"}})}, "with prefix length"),
    (
        {"nodes": with_links(a={"priv0": {"address": "0.0.0.1/8"}}, b={"priv0": {"address": "0.0.0.2/8"}})},
        "no address of a host",
    ),
    (
        {"nodes": with_links(a={"priv0": {"address": "10.9.0.1/32"}}, b={"priv0": {"address": "10.9.0.2/32"}})},
        "two addresses of one network",
    ),
    ({"nodes": with_links(a={"Priv 0": {}}, b={"Priv 0": {}})}, "the name must match"),
    # addresses that collide, or lie where nobody is
    ({"service_address": SERVICE | {"network": "priv0", "address": "10.9.0.9/24"}}, "the private link"),
    ({"service_address": SERVICE | {"address": "10.77.0.255/24"}}, "no address of a host"),
    ({"service_address": SERVICE | {"address": "10.77.0.10/25"}}, "third address"),
    ({"witnesses": [W1 | {"address": "10.77.0.2:7790"}]}, "of a gateway"),
    ({"nodes": with_bmc(address="10.77.0.2")}, "not to a bmc"),
    ({"nodes": with_bmc(address="10.77.0.5")}, "not to a bmc"),
    # secrets
    ({"secret": SECRET[:33]}, "an even number"),
    ({"secret": "0" * 64}, "can be guessed"),
    ({"secret": "0123" * 16}, "can be guessed"),
    # Call Home
    ({"call_home": CALL_HOME | {"url": "https://"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://x:99999/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://x/\r\nHost: y"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://user@x/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://u:p@x/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://[::1]/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://x..y/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://x-/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://10.77.0.256/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://10.77.4/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://127.0.0.1/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://10.77.0.255/"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://x/#alerts"}}, "a host"),
    ({"call_home": CALL_HOME | {"url": "https://10.77.0.10/v1"}}, "must be another machine"),
    ({"call_home": CALL_HOME | {"url": "https://10.77.0.12/v1"}}, "must be another machine"),
    ({"call_home": CALL_HOME | {"url": "https://10.77.0.20/v1"}}, "must be another machine"),
    ({"call_home": CALL_HOME | {"ca_pem": ""}}, "a whole certificate"),
    ({"call_home": CALL_HOME | {"ca_pem": CERTIFICATE[:-20]}}, "a whole certificate"),
    ({"call_home": CALL_HOME | {"ca_pem": CERTIFICATE.replace("AAAAAAAA", "", 1)}}, "a whole certificate"),
    ({"call_home": CALL_HOME | {"ca_pem": CERTIFICATE + CERTIFICATE[:40]}}, "a whole certificate"),
    ({"call_home": CALL_HOME | {"ca_pem": pem("3003020101")}}, "a whole certificate"),
    ({"call_home": CALL_HOME | {"ca_pem": pem("300a 3005020101 3000 030100")}}, "a whole certificate"),
    ({"call_home": CALL_HOME | {"token": "a b"}}, "without blanks"),
    ({"call_home": CALL_HOME | {"token": "a\r\nX: y"}}, "without blanks"),
    ({"call_home": CALL_HOME | {"token": "short"}}, "8 to 1024"),
    ({"call_home": CALL_HOME | {"token": "\ud800"}}, "half a character"),
]
# The VMs of a site, and a word of the answer.
VMS: list[tuple[Json, str]] = [
    ([vm(), vm()], "same name"),
    ([vm(), vm(name="db")], "same mac"),
    ([vm(), vm(name="db", mac="00:16:3e:77:00:21")], "same address"),
    ([vm(name="../x")], "must match"),
    ([vm(cmdline='x"\nextra = "y')], "holds a quote"),
    ([vm(memory_mib=1)], "memory_mib"),
    ([vm(network="eth9")], "eth9"),
    ([vm(address="10.77.0.20/24")], "must be an IPv4 address"),
    ([vm()] * (VMS_MAX + 1), "at most 8"),
    ([vm(cmdline="a\\")], "a backslash"),
    ([vm(cmdline="a' b")], "a quote"),
    ([vm(kernel="/k\x1b[2J")], "another control character"),
    ([vm(ramdisk="/r\x00")], "another control character"),
    ([vm(cmdline="\udc80")], "half a character"),
    ([vm(mac="01:16:3e:77:00:20")], "no address of a single card"),
    ([vm(mac="00:00:00:00:00:00")], "no address of a single card"),
    ([vm(mac="fe:ff:ff:ff:ff:ff")], "no address of a single card"),
    ([vm(mac="33:33:00:00:00:01")], "no address of a single card"),
    ([vm(mac="00:16:3E:77:00:20")], "must match"),
    ([vm(kernel="")], "the whole path"),
    ([vm(kernel="vmlinux")], "the whole path"),
    ([vm(kernel="/boot/")], "the whole path"),
    ([vm(ramdisk="")], "the whole path"),
    ([vm(ramdisk="/" + "x" * 4095)], "at most 4095 bytes"),
    ([vm(cmdline="x" * 1024)], "more than 1023 bytes"),
    ([vm(cmdline="x" * 500 + "ä" * 262)], "more than 1023 bytes"),
    ([vm(memory_mib=10**30)], "memory_mib"),
    ([vm(memory_mib=96.5)], "memory_mib"),
    ([vm(volume_mib=3)], "volume_mib"),
    ([vm(address="10.77.0.020")], "must be an IPv4 address"),
    ([vm(network="priv0")], "public links"),
    ([vm(address="10.9.0.20")], "no host of the link's network"),
    ([vm(address="10.77.0.255")], "no host of the link's network"),
    ([vm(address="10.77.0.11")], "belongs to a node"),
    ([vm(address="10.77.0.10")], "belongs to a node or the service"),
    ([vm(memory_mib=True)], "memory_mib"),
    ([vm(number=16)], "from 0 to 15"),
    ([vm(number=True)], "from 0 to 15"),
    ([vm(number="0")], "from 0 to 15"),
    ([vm(number=2), vm(number=2, name="db")], "the number 2"),
    ([vm(number=2), {"name": "db", "number": 2, "removed": True}], "the number 2"),
    ([vm(), {"name": "web", "number": 1, "removed": True}], "its name is taken"),
    ([{"name": "db", "number": 1, "removed": True}, {"name": "db", "number": 2, "removed": True}], "its name is taken"),
    ([vm(wanted="asleep")], "possible are running, shut-down, off, off-by-guest"),
    ([vm(wanted=True)], "possible are running"),
    ([vm(wanted=["off"])], "possible are running"),
    ([vm(removed=False)], "stands for no removed VM"),
    ([{"name": "db", "removed": True}], "stands for no removed VM"),
    ([{"name": "../x", "number": 1, "removed": True}], "stands for no removed VM"),
    ([vm()] + [{"name": f"x{one}", "number": one, "removed": True} for one in range(16)], "all numbers belong"),
]


def answer(site_given: Json, vms: Json) -> str:
    """Return the sentence with which a configuration is refused."""
    before = copy.deepcopy((site_given, vms))
    with pytest.raises(ConfigError) as refused:
        parse("a", site_given, vms)
    assert (site_given, vms) == before, "what is refused is not changed"
    return str(refused.value)


@pytest.mark.parametrize(("change", "word"), SITES)
def test_bad_site_is_refused(change: dict[str, Json], word: str) -> None:
    """What could not do what it is for is refused with its place."""
    assert word in answer(full_site(**change), [vm()])


@pytest.mark.parametrize(("vms", "word"), VMS)
def test_bad_vm_is_refused(vms: Json, word: str) -> None:
    """A VM that could not run, or could break out of its definition, is refused."""
    assert word in answer(site(), vms)


def page() -> str:
    """Return the page of all refusals."""
    lines = [
        "# What is refused",
        "",
        "Each of these configurations could never work, or not safely. It is refused before anything changes. The page",
        "is made by [its test](../tests/unit/avance/test_refusals.py); run that with `AVANCE_REGENERATE=1` after a",
        "change.",
        "",
        "| Given | Answer |",
        "|---|---|",
    ]
    for change, _ in SITES:
        lines.append(_row(change, answer(full_site(**change), [vm()])))
    for vms, _ in VMS:
        changed = vms if len(vms) != 1 else {key: value for key, value in vms[0].items() if value != vm().get(key)}
        lines.append(_row({"vm": changed} if len(vms) == 1 else f"{len(vms)} VMs", answer(site(), vms)))
    lines += ["", "## Changes", "", "What a pair cannot change, or not in this way.", ""]
    lines += ["| Asked | Answer |", "|---|---|"]
    for change, _ in FIXED:
        asked = {"op": "site-change", "site": change}
        lines.append(_row(asked, refused_change({"op": "site-change", "site": full_site(**change)})))
    for asked, _ in REFUSED:
        given = asked.get("vm")
        shown = {**asked, "vm": _difference(given, vm())} if isinstance(given, dict) else asked
        lines.append(_row(shown, refused_change(asked)))
    lines += ["", "## The life of a VM", "", "Asked while the VM is as it says in the middle.", ""]
    lines += ["| Asked | The VM | Answer |", "|---|---|---|"]
    for asked, one, _ in LIFE:
        is_ = f"{one['state']}, wanted {one['wanted']}"
        lines.append(f"| `{json.dumps(asked)}` | {is_} | {refused_life(asked, one)} |")
    lines += ["", "## While both nodes have to agree", "", "Asked on node a.", "", "| Answer |", "|---|"]
    lines += dict.fromkeys(f"| {refusal(asked, facts, said)} |" for asked, facts, said, _ in AGREEMENTS)
    return "\n".join(lines) + "\n"


def refused_change(asked: dict[str, Json]) -> str:
    """Return the sentence with which a change is refused."""
    with pytest.raises(ConfigError) as refused:
        changed(asked, BEFORE, alone=False)
    return str(refused.value)


def _row(given: Json, said: str) -> str:
    shown = given if isinstance(given, str) else f"`{json.dumps(_short(given))}`"
    return f"| {shown} | {said} |".replace("\n", " ")


def _short(given: Json) -> Json:
    """Leave out what a reader of a table does not need: whole nodes and certificates."""
    if isinstance(given, dict):
        usual = full_site()["nodes"]
        if given.keys() == {"nodes"}:
            return {"nodes": _difference(given["nodes"], usual)}
        return {key: _short(value) for key, value in given.items()}
    if isinstance(given, str) and len(given) > 80:
        return f"{given[:60]}... ({len(given.encode())} bytes)" if given.isprintable() else given[:60] + "..."
    if isinstance(given, float | int) and not isinstance(given, bool) and not math.isfinite(given):
        return str(given)
    return given


def _difference(given: Json, usual: Json) -> Json:
    if not isinstance(given, dict) or not isinstance(usual, dict):
        return given
    return {key: _difference(value, usual.get(key)) for key, value in given.items() if value != usual.get(key)}


def test_page_shows_every_refusal() -> None:
    """The page is what the product answers today."""
    if os.environ.get("AVANCE_REGENERATE"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page()
