"""One configuration file into frozen values; unsafe or unknown things are refused before anything changes.

The site (schema `avance/schema/site.json`) is the same file on both nodes; only the node's own name differs. The hash
of site and VM definitions travels in each heartbeat, so two nodes with different configurations are never paired.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from dataclasses import dataclass, field, fields
from pathlib import Path

from avance.checked import NAME, address_of, is_certificate, is_host, is_host_name, is_machine, keys, machine_of
from avance.core.crashloop import SAMPLES_MIN, Policy
from avance.core.model import LinkName, NodeId, Timers, VmSpec
from avance.definitions import numbered
from avance.errors import ConfigError
from avance.parsed import Json
from avance.vm_config import Tombstone, parse_vms
from avance.wire import derived

CONFIG_PATH = Path("/etc/avance/config.json")
SITE_SCHEMA = "avance.site/1"
POLICIES = ("availability", "safety")
WITNESSES_MAX = 2  # the one in office and its alternate
PORT_MAX = 65535
BMC_USER_MAX = 16  # bytes (IPMI 2.0, 22.28 Set User Name)
BMC_PASSWORD_MAX = 20  # bytes (IPMI 2.0, 22.30 Set User Password)
CRASH_SAMPLES_MAX = 100
TIMER_S_MIN = 0.05  # what is shorter keeps a node busy with nothing else
TIMER_S_MAX = 3600  # a longer wait would switch the takeover off in silence
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")  # of the names that Linux allows, those that every tool takes
_NO_DEVICES = ("lo", "all", "default")  # the first has no cable; the others are words of the kernel's own settings
_PREFIXED = re.compile(r"[0-9.]+/[0-9]{1,2}", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_URL = re.compile(r"https://(?P<host>[A-Za-z0-9.-]+)(:(?P<port>[0-9]{1,5}))?(/[!-\"$-~]*)?")
_TOKEN = re.compile(r"[!-~]{8,1024}")
_DIGITS_DISTINCT_MIN = 6  # in a secret; of 32 random digits fewer are different once in 10^14 secrets
_TIMERNAMES = frozenset(field.name for field in fields(Timers)) - {"second_s"}  # that one is the dilation


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """One link between the nodes: both devices and both addresses (IPv4, the own one with prefix length)."""

    name: LinkName
    device: str
    address: ipaddress.IPv4Interface
    peer_address: ipaddress.IPv4Address
    peer_device: str


@dataclass(frozen=True, slots=True)
class CallHome:
    """Where alerts go: an HTTPS URL, the authority that signs its certificate (PEM) and the bearer token."""

    url: str
    ca_pem: str
    token: str = field(repr=False)


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
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """All that the daemon of one node is told."""

    node: NodeId
    peer: NodeId
    secret: bytes = field(repr=False)
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
    removed: tuple[Tombstone, ...] = ()

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
    keys(
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
    service_device, service_address = _service(site["service_address"], links, site["replication_link"])
    dilation, timers = _timers(site.get("dilation", 1.0), site.get("timers", {}))
    policy = site.get("policy", "availability")
    if policy not in POLICIES:
        raise ConfigError(f"site.policy is {policy!r}; possible are {', '.join(POLICIES)}")
    watchdog = _switch(site, "watchdog", default=True)
    data_integrity, stay = (_switch(site, key, default=False) for key in ("data_integrity", "stay_without_disk"))
    crash_policy, crash_samples = _quarantine(site.get("quarantine", {}))
    vms, ends = numbered(vms), [link.address.network for link in links]
    whole = _encoded({"site": site, "vms": vms})
    taken = {address for link in links for address in (link.address.ip, link.peer_address)} | {service_address.ip}
    networks = {link.name: link.address.network for link in links if link.name != site["replication_link"]}
    specs, removed = parse_vms(vms, networks, taken)
    taken |= {ipaddress.IPv4Address(spec.address) for spec in specs}
    gateways = _gateways(site.get("gateways", {}), links, taken)
    witnesses = _witnesses(site.get("witnesses", []), taken, {address for _, address in gateways}, ends)
    third = {address for _, address in gateways} | {witness.address for witness in witnesses}
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
        call_home=_call_home(site.get("call_home"), taken, ends),
        vms=specs,
        config_hash=hashlib.sha256(whole).hexdigest()[:16],
        witnesses=witnesses,
        peer_bmc=_peer_bmc(node, site["nodes"], taken | third, ends, _secret(site["secret"])),
        gateways=gateways,
        watchdog=watchdog,
        data_integrity=data_integrity,
        stay_without_disk=stay,
        crash_policy=crash_policy,
        crash_samples=crash_samples,
        removed=removed,
    )


def _encoded(whole: Json) -> bytes:
    """Return the bytes whose hash the nodes compare; every text has to have some, because it is written to files."""
    try:
        return json.dumps(whole, sort_keys=True, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"the configuration holds {error.object[error.start : error.end]!r}, half a character that no file can hold"
        ) from error


def _secret(value: Json) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"([0-9a-f]{2}){16,32}", value):
        raise ConfigError("site.secret must be 32 to 64 hexadecimal digits in lower case, an even number of them")
    if len(set(value)) < _DIGITS_DISTINCT_MIN:
        raise ConfigError(
            "site.secret can be guessed: it has too few different digits; `openssl rand -hex 32` makes one"
        )
    return bytes.fromhex(value)


def _links(node: str, nodes: Json) -> tuple[LinkConfig, ...]:
    if not isinstance(nodes, dict) or len(nodes) != 2 or not all(NAME.fullmatch(str(name)) for name in nodes):
        raise ConfigError("site.nodes must describe exactly two nodes, each named by a-z, 0-9 and '-'")
    if node not in nodes:
        raise ConfigError(f"this node is called {node!r}, but the site describes {' and '.join(sorted(nodes))}")
    for name, entry in nodes.items():
        keys(f"site.nodes.{name}", entry, needed={"links"}, optional={"bmc"})
    mine = nodes[node]["links"]
    theirs = next(entry["links"] for name, entry in nodes.items() if name != node)
    if not isinstance(mine, dict) or not isinstance(theirs, dict) or not mine or mine.keys() != theirs.keys():
        raise ConfigError("both nodes must have the same links, at least one")
    links = tuple(_link(node, name, entry, theirs[name]) for name, entry in mine.items())
    for index, link in enumerate(links):
        for other in links[:index]:
            if link.address.network.overlaps(other.address.network):
                raise ConfigError(
                    f"the links {other.name} and {link.name} are both in {other.address.network}; each link needs a "
                    "network of its own, or Linux sends the heartbeats of both over one of them"
                )
    for name, entry in nodes.items():
        devices = [link["device"] for link in entry["links"].values()]
        for device in devices:
            if devices.count(device) > 1:
                raise ConfigError(f"two links of node {name} name the device {device}; each link needs its own cable")
    return links


def _link(node: str, name: str, entry: Json, peers: Json) -> LinkConfig:
    place, peers_place = f"site.nodes.{node}.links.{name}", f"the peer's link {name}"
    if not NAME.fullmatch(name):
        raise ConfigError(f"{place}: the name must match {NAME.pattern}")
    for where, value in ((place, entry), (peers_place, peers)):
        keys(where, value, needed={"device", "address"}, optional=set())
        if not isinstance(value["device"], str) or not _DEVICE.fullmatch(value["device"]):
            raise ConfigError(f"{where}.device is {value['device']!r}; it must be the name of a network device")
        if value["device"] in _NO_DEVICES:
            raise ConfigError(f"{where}.device is {value['device']!r}, which is no network card")
    own, peer = _interface(place, entry["address"]), _interface(peers_place, peers["address"])
    if own.network != peer.network or own.ip == peer.ip:
        raise ConfigError(f"{place}: {own} and {peer} must be two addresses of one network")
    return LinkConfig(LinkName(name), entry["device"], own, peer.ip, peers["device"])


def _interface(place: str, text: Json) -> ipaddress.IPv4Interface:
    try:
        found = ipaddress.IPv4Interface(text if isinstance(text, str) and _PREFIXED.fullmatch(text) else "")
    except ValueError as error:
        raise ConfigError(f"{place}: {text!r} is not an IPv4 address with prefix length") from error
    if not is_host(found.ip, found.network):
        raise ConfigError(f"{place}: {found} is no address of a host in its network")
    return found


def _service(value: Json, links: tuple[LinkConfig, ...], private: str) -> tuple[str, ipaddress.IPv4Interface]:
    keys("site.service_address", value, needed={"network", "address"}, optional=set())
    link = next((link for link in links if link.name == value["network"]), None)
    if link is None:
        raise ConfigError(f"site.service_address.network {value['network']!r} is not a link of this site")
    if link.name == private:
        raise ConfigError(f"site.service_address.network is {private}, the private link, where no client is")
    address = _interface("site.service_address.address", value["address"])
    if address.network != link.address.network or address.ip in (link.address.ip, link.peer_address):
        raise ConfigError(f"site.service_address {address} must be a third address in {link.address.network}")
    return link.device, address


def _timers(dilation: Json, overrides: Json) -> tuple[float, Timers]:
    if isinstance(dilation, bool) or not isinstance(dilation, int | float) or not 1.0 <= dilation <= 40.0:
        raise ConfigError(f"site.dilation is {dilation!r}; it must be a number from 1 to 40")
    if not isinstance(overrides, dict) or not overrides.keys() <= _TIMERNAMES:
        raise ConfigError(f"site.timers may only set {', '.join(sorted(_TIMERNAMES))}")
    for name, value in overrides.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not TIMER_S_MIN <= value <= TIMER_S_MAX:
            raise ConfigError(
                f"site.timers.{name} must be a number from {TIMER_S_MIN:g} to {TIMER_S_MAX}, before the dilation"
            )
    base = Timers()
    values = {name: float(overrides.get(name, getattr(base, name))) * dilation for name in sorted(_TIMERNAMES)}
    timers = Timers(second_s=float(dilation), **values)
    reason = timers.unsafe_reason()
    if reason is not None:
        raise ConfigError(f"site.timers are unsafe: {reason}")
    return float(dilation), timers


def _witnesses(
    value: Json,
    taken: set[ipaddress.IPv4Address],
    gateways: set[ipaddress.IPv4Address],
    networks: list[ipaddress.IPv4Network],
) -> tuple[WitnessSite, ...]:
    if not isinstance(value, list) or len(value) > WITNESSES_MAX:
        raise ConfigError(f"site.witnesses must be a list of at most {WITNESSES_MAX} witnesses, the preferred first")
    witnesses = tuple(_witness(f"site.witnesses[{index}]", entry, networks) for index, entry in enumerate(value))
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
        if witness.address in gateways:
            raise ConfigError(
                f"witness {witness.name} has the address {witness.address} of a gateway; one machine that "
                "answers must not count as two"
            )
    return witnesses


def _witness(place: str, value: Json, networks: list[ipaddress.IPv4Network]) -> WitnessSite:
    keys(place, value, needed={"name", "address"}, optional=set())
    name, text = value["name"], value["address"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{place}.name is {name!r}; it must match {NAME.pattern}")
    host, _, port = text.partition(":") if isinstance(text, str) else ("", "", "")
    if not _PORT.fullmatch(port) or not 1 <= int(port) <= PORT_MAX:
        raise ConfigError(f"{place}.address is {text!r}; it must be an IPv4 address, a colon and a port up to 65535")
    return WitnessSite(name, machine_of(f"{place}.address", host, networks), int(port))


def _peer_bmc(
    node: str,
    nodes: Json,
    taken: set[ipaddress.IPv4Address],
    networks: list[ipaddress.IPv4Network],
    secret: bytes,
) -> BmcConfig | None:
    given = {name: entry["bmc"] for name, entry in nodes.items() if entry.get("bmc") is not None}
    if not given:
        return None
    if len(given) < len(nodes):
        lacking = next(name for name in nodes if name not in given)
        raise ConfigError(f"site.nodes.{lacking} lacks a bmc; either both nodes have one or none")
    bmcs = {name: _bmc(name, value, taken, networks, derived.of_bmc(secret, name)) for name, value in given.items()}
    if len({bmc.address for bmc in bmcs.values()}) < len(bmcs):
        raise ConfigError("both nodes name the same bmc address; a node would switch itself off")
    return next(bmc for name, bmc in bmcs.items() if name != node)


def _bmc(
    node: str,
    value: Json,
    taken: set[ipaddress.IPv4Address],
    networks: list[ipaddress.IPv4Network],
    usual: str,
) -> BmcConfig:
    place = f"site.nodes.{node}.bmc"
    keys(place, value, needed={"address", "user"}, optional={"password"})
    user, password = value["user"], value.get("password", usual)
    for key, text, least, most in (("user", user, 1, BMC_USER_MAX), ("password", password, 8, BMC_PASSWORD_MAX)):
        if not isinstance(text, str) or not re.fullmatch(f"[ -~]{{{least},{most}}}", text):
            raise ConfigError(f"{place}.{key} must be {least} to {most} printable ASCII characters")
    address = machine_of(f"{place}.address", value["address"], networks)
    if address in taken:
        raise ConfigError(
            f"{place}.address {address} belongs to a node, the service, a VM, a gateway or a witness, not to a bmc"
        )
    return BmcConfig(address, user, password)


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
            address, network = address_of(place, value[link.name]), link.address.network
            if not is_host(address, network):
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
    keys("site.quarantine", value, needed=set(), optional={"policy", "samples"})
    policy, samples = value.get("policy", Policy.THRESHOLD), value.get("samples", SAMPLES_MIN)
    if policy not in list(Policy):
        raise ConfigError(f"site.quarantine.policy is {policy!r}; possible are {', '.join(Policy)}")
    if isinstance(samples, bool) or not isinstance(samples, int) or not 2 <= samples <= CRASH_SAMPLES_MAX:
        raise ConfigError(f"site.quarantine.samples is {samples!r}; it must be a whole number from 2 to 100")
    return Policy(policy), samples


def _call_home(
    value: Json, taken: set[ipaddress.IPv4Address], networks: list[ipaddress.IPv4Network]
) -> CallHome | None:
    if value is None:
        return None
    keys("site.call_home", value, needed={"url", "ca_pem", "token"}, optional=set())
    if not all(isinstance(text, str) for text in value.values()):
        raise ConfigError("site.call_home consists of texts")
    url = _URL.fullmatch(value["url"])
    if url is None or not 1 <= int(url["port"] or 443) <= PORT_MAX or not _is_somebody(url["host"], networks):
        raise ConfigError(
            f"site.call_home.url is {value['url']!r}; it must be https://, a host, and if need be a port and a path"
        )
    if any(url["host"] == str(address) for address in taken):
        raise ConfigError(
            f"site.call_home.url: {url['host']} belongs to a node, the service or a VM; who tells of their end must be "
            "another machine"
        )
    if not is_certificate(value["ca_pem"]):
        raise ConfigError("site.call_home.ca_pem must hold a whole certificate in PEM, from BEGIN to END CERTIFICATE")
    if not _TOKEN.fullmatch(value["token"]):
        raise ConfigError("site.call_home.token must be 8 to 1024 printable ASCII characters without blanks")
    return CallHome(value["url"], value["ca_pem"], value["token"])


def _is_somebody(host: str, networks: list[ipaddress.IPv4Network]) -> bool:
    """Say whether a machine can have this name or address."""
    if is_host_name(host):
        return True
    try:
        return is_machine(ipaddress.IPv4Address(host), networks)
    except ValueError:
        return False
