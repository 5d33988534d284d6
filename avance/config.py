"""One configuration file into frozen values; unsafe or unknown things are refused before anything changes.

The site (schema `avance/schema/site.json`) is the same file on both nodes; only the node's own name differs. The hash
of site and VM definitions travels in each heartbeat, so two nodes with different configurations are never paired.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path

from avance.core.crashloop import SAMPLES_MIN, Policy
from avance.core.model import LinkName, NodeId, Timers, VmId, VmSpec
from avance.errors import ConfigError
from avance.parsed import Json

CONFIG_PATH = Path("/etc/avance/config.json")
SITE_SCHEMA = "avance.site/1"
POLICIES = ("availability", "safety")
VMS_MAX = 8
FIRST_DRBD_PORT = 7789
WITNESSES_MAX = 2  # the one in office and its alternate
PORT_MAX = 65535
BMC_USER_MAX = 16  # bytes (IPMI 2.0, 22.28 Set User Name)
BMC_PASSWORD_MAX = 20  # bytes (IPMI 2.0, 22.30 Set User Password)
CRASH_SAMPLES_MAX = 100
TIMER_S_MAX = 3600  # a longer wait would switch the takeover off in silence
_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_TIMER_NAMES = frozenset(field.name for field in fields(Timers)) - {"second_s"}  # that one is the dilation


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One link between the nodes: the local device, and both addresses (IPv4 with prefix length)."""

    name: LinkName
    device: str
    address: ipaddress.IPv4Interface
    peer_address: ipaddress.IPv4Address


@dataclass(frozen=True, slots=True)
class CallHome:
    """Where alerts go: an HTTPS URL, the authority that signs its certificate (PEM) and the bearer token."""

    url: str
    ca_pem: str
    token: str


@dataclass(frozen=True, slots=True)
class WitnessSite:
    """One witness: its name, and where it listens (UDP)."""

    name: str
    address: ipaddress.IPv4Address
    port: int


@dataclass(frozen=True, slots=True)
class BmcConfig:
    """The management controller of the *peer*: RMCP+ address and credentials."""

    address: ipaddress.IPv4Address
    user: str
    password: str


@dataclass(frozen=True, slots=True)
class Config:
    """All that the daemon of one node is told."""

    node: NodeId
    peer: NodeId
    secret: bytes
    links: tuple[LinkConfig, ...]
    replication_link: LinkName
    service_device: str
    service_address: ipaddress.IPv4Interface
    policy: str
    dilation: float
    timers: Timers
    call_home: CallHome | None
    vms: tuple[VmSpec, ...]
    config_hash: str
    witnesses: tuple[WitnessSite, ...] = ()
    peer_bmc: BmcConfig | None = None
    gateways: tuple[tuple[LinkName, ipaddress.IPv4Address], ...] = ()
    watchdog: bool = True
    data_integrity: bool = False
    stay_without_disk: bool = False
    crash_policy: Policy = Policy.THRESHOLD
    crash_samples: int = SAMPLES_MIN

    @property
    def public_devices(self) -> tuple[str, ...]:
        """The devices of the networks on which VMs and the service address are reached."""
        return tuple(link.device for link in self.links if link.name != self.replication_link)

    def link(self, name: LinkName) -> LinkConfig:
        """Return the link of that name; it exists, because the parser checked it."""
        return next(link for link in self.links if link.name == name)


def parse(node: str, site: Json, vms: Json) -> Config:
    """Check a whole configuration and return it as values.

    Raises:
        ConfigError: with one sentence that names the place and what is possible there.
    """
    _keys(
        "site",
        site,
        needed={"schema", "secret", "nodes", "service_address", "replication_link"},
        optional={
            "policy",
            "timers",
            "dilation",
            "call_home",
            "witnesses",
            "gateways",
            "watchdog",
            "quarantine",
            "data_integrity",
            "stay_without_disk",
        },
    )
    if site["schema"] != SITE_SCHEMA:
        raise ConfigError(f"site.schema is {site['schema']!r}; this version understands {SITE_SCHEMA} only")
    links = _links(node, site["nodes"])
    names = [link.name for link in links]
    if site["replication_link"] not in names:
        raise ConfigError(f"site.replication_link {site['replication_link']!r} is not one of the links {names}")
    service_device, service_address = _service(site["service_address"], links)
    dilation, timers = _timers(site.get("dilation", 1.0), site.get("timers", {}))
    policy = site.get("policy", "availability")
    if policy not in POLICIES:
        raise ConfigError(f"site.policy is {policy!r}; possible are {', '.join(POLICIES)}")
    watchdog = _switch(site, "watchdog", default=True)
    data_integrity, stay = (_switch(site, key, default=False) for key in ("data_integrity", "stay_without_disk"))
    crash_policy, crash_samples = _quarantine(site.get("quarantine", {}))
    specs = _vms(vms, names)
    taken = {address for link in links for address in (link.address.ip, link.peer_address)}
    taken |= {service_address.ip, *(_address(f"vm {spec.name!r}: address", spec.address) for spec in specs)}
    whole = json.dumps({"site": site, "vms": vms}, sort_keys=True)
    return Config(
        node=NodeId(node),
        peer=NodeId(next(name for name in site["nodes"] if name != node)),
        secret=_secret(site["secret"]),
        links=links,
        replication_link=LinkName(site["replication_link"]),
        service_device=service_device,
        service_address=service_address,
        policy=policy,
        dilation=dilation,
        timers=timers,
        call_home=_call_home(site.get("call_home")),
        vms=specs,
        config_hash=hashlib.sha256(whole.encode()).hexdigest()[:16],
        witnesses=_witnesses(site.get("witnesses", []), taken),
        peer_bmc=_peer_bmc(node, site["nodes"], taken),
        gateways=_gateways(site.get("gateways", {}), links, taken),
        watchdog=watchdog,
        data_integrity=data_integrity,
        stay_without_disk=stay,
        crash_policy=crash_policy,
        crash_samples=crash_samples,
    )


def _keys(place: str, value: Json, *, needed: set[str], optional: set[str]) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{place} must be an object with the keys {sorted(needed)}")
    missing, unknown = needed - value.keys(), value.keys() - needed - optional
    if missing:
        raise ConfigError(f"{place} lacks {', '.join(sorted(missing))}")
    if unknown:
        possible = sorted(needed | optional)
        raise ConfigError(f"{place} has unknown keys {', '.join(sorted(unknown))}; possible are {possible}")


def _secret(value: Json) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{32,64}", value):
        raise ConfigError("site.secret must be 32 to 64 hexadecimal digits in lower case")
    return bytes.fromhex(value)


def _links(node: str, nodes: Json) -> tuple[LinkConfig, ...]:
    if not isinstance(nodes, dict) or len(nodes) != 2 or not all(_NAME.fullmatch(str(name)) for name in nodes):
        raise ConfigError("site.nodes must describe exactly two nodes, each named by a-z, 0-9 and '-'")
    if node not in nodes:
        raise ConfigError(f"this node is called {node!r}, but the site describes {' and '.join(sorted(nodes))}")
    for name, entry in nodes.items():
        _keys(f"site.nodes.{name}", entry, needed={"links"}, optional={"bmc"})
    mine = nodes[node]["links"]
    theirs = next(entry["links"] for name, entry in nodes.items() if name != node)
    if not isinstance(mine, dict) or not isinstance(theirs, dict) or not mine or mine.keys() != theirs.keys():
        raise ConfigError("both nodes must have the same links, at least one")
    links = []
    for name, entry in mine.items():
        place = f"site.nodes.{node}.links.{name}"
        _keys(place, entry, needed={"device", "address"}, optional=set())
        _keys(place.replace(node, "peer", 1), theirs[name], needed={"device", "address"}, optional=set())
        own, peer = _interface(place, entry["address"]), _interface(place, theirs[name]["address"])
        if own.network != peer.network or own.ip == peer.ip:
            raise ConfigError(f"{place}: {own} and {peer} must be two addresses of one network")
        if not isinstance(entry["device"], str) or not entry["device"]:
            raise ConfigError(f"{place}.device must be the name of a network device")
        links.append(LinkConfig(LinkName(name), entry["device"], own, peer.ip))
    return tuple(links)


def _interface(place: str, text: Json) -> ipaddress.IPv4Interface:
    try:
        return ipaddress.IPv4Interface(text if isinstance(text, str) else "")
    except ValueError as error:
        raise ConfigError(f"{place}: {text!r} is not an IPv4 address with prefix length") from error


def _address(place: str, text: Json) -> ipaddress.IPv4Address:
    try:
        return ipaddress.IPv4Address(text if isinstance(text, str) else "")
    except ValueError as error:
        raise ConfigError(f"{place} is {text!r}; it must be an IPv4 address") from error


def _service(value: Json, links: tuple[LinkConfig, ...]) -> tuple[str, ipaddress.IPv4Interface]:
    _keys("site.service_address", value, needed={"network", "address"}, optional=set())
    link = next((link for link in links if link.name == value["network"]), None)
    if link is None:
        raise ConfigError(f"site.service_address.network {value['network']!r} is not a link of this site")
    address = _interface("site.service_address.address", value["address"])
    if address.network != link.address.network or address.ip in (link.address.ip, link.peer_address):
        raise ConfigError(f"site.service_address {address} must be a third address in {link.address.network}")
    return link.device, address


def _timers(dilation: Json, overrides: Json) -> tuple[float, Timers]:
    if not isinstance(dilation, int | float) or not 1.0 <= dilation <= 40.0:
        raise ConfigError(f"site.dilation is {dilation!r}; it must be a number from 1 to 40")
    if not isinstance(overrides, dict) or not overrides.keys() <= _TIMER_NAMES:
        raise ConfigError(f"site.timers may only set {', '.join(sorted(_TIMER_NAMES))}")
    for name, value in overrides.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= TIMER_S_MAX:
            raise ConfigError(
                f"site.timers.{name} must be a number above 0 and up to {TIMER_S_MAX}, before the dilation"
            )
    base = Timers()
    values = {name: float(overrides.get(name, getattr(base, name))) * dilation for name in sorted(_TIMER_NAMES)}
    timers = Timers(second_s=float(dilation), **values)
    reason = timers.unsafe_reason()
    if reason is not None:
        raise ConfigError(f"site.timers are unsafe: {reason}")
    return float(dilation), timers


def _witnesses(value: Json, taken: set[ipaddress.IPv4Address]) -> tuple[WitnessSite, ...]:
    if not isinstance(value, list) or len(value) > WITNESSES_MAX:
        raise ConfigError(f"site.witnesses must be a list of at most {WITNESSES_MAX} witnesses, the preferred first")
    witnesses = tuple(_witness(f"site.witnesses[{index}]", entry) for index, entry in enumerate(value))
    for index, witness in enumerate(witnesses):
        if any(witness.name == other.name for other in witnesses[:index]):
            raise ConfigError(f"two witnesses are called {witness.name}; each needs a name of its own")
        if any(witness.address == other.address for other in witnesses[:index]):
            raise ConfigError(f"two witnesses have the address {witness.address}; each must be a machine of its own")
        if witness.address in taken:
            raise ConfigError(
                f"witness {witness.name} has the address {witness.address} of a node, the service or a VM; "
                "a witness must be a third machine"
            )
    return witnesses


def _witness(place: str, value: Json) -> WitnessSite:
    _keys(place, value, needed={"name", "address"}, optional=set())
    name, text = value["name"], value["address"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{place}.name is {name!r}; it must match {_NAME.pattern}")
    host, _, port = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= PORT_MAX:
        raise ConfigError(f"{place}.address is {text!r}; it must be an IPv4 address, a colon and a port up to 65535")
    return WitnessSite(name, _address(f"{place}.address", host), int(port))


def _peer_bmc(node: str, nodes: Json, taken: set[ipaddress.IPv4Address]) -> BmcConfig | None:
    given = {name: entry["bmc"] for name, entry in nodes.items() if entry.get("bmc") is not None}
    if not given:
        return None
    if len(given) < len(nodes):
        lacking = next(name for name in nodes if name not in given)
        raise ConfigError(f"site.nodes.{lacking} lacks a bmc; either both nodes have one or none")
    bmcs = {name: _bmc(f"site.nodes.{name}.bmc", value, taken) for name, value in given.items()}
    if len({bmc.address for bmc in bmcs.values()}) < len(bmcs):
        raise ConfigError("both nodes name the same bmc address; a node would switch itself off")
    return next(bmc for name, bmc in bmcs.items() if name != node)


def _bmc(place: str, value: Json, taken: set[ipaddress.IPv4Address]) -> BmcConfig:
    _keys(place, value, needed={"address", "user", "password"}, optional=set())
    for key, longest in (("user", BMC_USER_MAX), ("password", BMC_PASSWORD_MAX)):
        text = value[key]
        if not isinstance(text, str) or not text.isascii() or not text.isprintable() or not 1 <= len(text) <= longest:
            raise ConfigError(f"{place}.{key} must be 1 to {longest} printable ASCII characters")
    address = _address(f"{place}.address", value["address"])
    if address in taken:
        raise ConfigError(f"{place}.address {address} belongs to a node, the service or a VM, not to a bmc")
    return BmcConfig(address, value["user"], value["password"])


def _gateways(
    value: Json, links: tuple[LinkConfig, ...], taken: set[ipaddress.IPv4Address]
) -> tuple[tuple[LinkName, ipaddress.IPv4Address], ...]:
    names = [link.name for link in links]
    if not isinstance(value, dict) or not value.keys() <= set(names):
        raise ConfigError(f"site.gateways must be an object from link names to addresses; possible names are {names}")
    gateways = []
    for link in links:
        if link.name in value:
            place = f"site.gateways.{link.name}"
            address, network = _address(place, value[link.name]), link.address.network
            if address not in network or address in (network.network_address, network.broadcast_address):
                raise ConfigError(f"{place} {address} is no host of the link's network {network}")
            if address in taken:
                raise ConfigError(f"{place} {address} belongs to a node, the service or a VM, not to a gateway")
            gateways.append((link.name, address))
    return tuple(gateways)


def _switch(site: Json, key: str, *, default: bool) -> bool:
    value = site.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(f"site.{key} is {value!r}; possible are true and false")
    return value


def _quarantine(value: Json) -> tuple[Policy, int]:
    """How a node that fails again and again is judged; the mean time between failures is the timer crash_mean_s."""
    _keys("site.quarantine", value, needed=set(), optional={"policy", "samples"})
    policy, samples = value.get("policy", Policy.THRESHOLD), value.get("samples", SAMPLES_MIN)
    if policy not in list(Policy):
        raise ConfigError(f"site.quarantine.policy is {policy!r}; possible are {', '.join(Policy)}")
    if isinstance(samples, bool) or not isinstance(samples, int) or not 2 <= samples <= CRASH_SAMPLES_MAX:
        raise ConfigError(f"site.quarantine.samples is {samples!r}; it must be a whole number from 2 to 100")
    return Policy(policy), samples


def _call_home(value: Json) -> CallHome | None:
    if value is None:
        return None
    _keys("site.call_home", value, needed={"url", "ca_pem", "token"}, optional=set())
    if not all(isinstance(text, str) for text in value.values()) or not value["url"].startswith("https://"):
        raise ConfigError("site.call_home consists of texts, and its url must begin with https://")
    return CallHome(value["url"], value["ca_pem"], value["token"])


def _vms(value: Json, links: list[LinkName]) -> tuple[VmSpec, ...]:
    if not isinstance(value, list) or len(value) > VMS_MAX:
        raise ConfigError(f"a site has at most {VMS_MAX} VMs")
    specs = tuple(_vm(index, entry, links) for index, entry in enumerate(value))
    for what in ("name", "mac", "address"):
        if len({getattr(spec, what) for spec in specs}) < len(specs):
            raise ConfigError(f"two VMs have the same {what}")
    return specs


def _vm(index: int, value: Json, links: list[LinkName]) -> VmSpec:
    place = f"vm {value.get('name', index)!r}" if isinstance(value, dict) else f"vm {index}"
    texts = {"name", "kernel", "ramdisk", "cmdline", "mac", "network", "address"}
    _keys(place, value, needed=texts | {"memory_mib", "volume_mib"}, optional=set())
    if not all(isinstance(value[key], str) for key in texts):
        raise ConfigError(f"{place}: {', '.join(sorted(texts))} must be texts")
    if not _NAME.fullmatch(value["name"]) or not _MAC.fullmatch(value["mac"]):
        raise ConfigError(f"{place}: the name must match {_NAME.pattern} and the mac {_MAC.pattern}")
    if value["network"] not in links:
        raise ConfigError(f"{place}: network {value['network']!r} is not one of the links {links}")
    for key, low, high in (("memory_mib", 64, 65536), ("volume_mib", 4, 1 << 20)):
        if not isinstance(value[key], int) or not low <= value[key] <= high:
            raise ConfigError(f"{place}: {key} must be a whole number from {low} to {high}")
    if any('"' in value[key] or "\n" in value[key] for key in texts):
        raise ConfigError(f"{place}: quotes and line breaks are not possible in a VM definition")
    values = {key: value[key] for key in texts - {"name"}}
    return VmSpec(
        name=VmId(value["name"]),
        memory_mib=value["memory_mib"],
        volume_mib=value["volume_mib"],
        minor=index,
        port=FIRST_DRBD_PORT + index,
        **values,
    )
