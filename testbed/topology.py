"""What a bed is made of, as one value: how many networks, VMs and witnesses, and how large a node. Pure.

Counts are chosen; names, ports at the switch, MAC and IPv4 addresses follow from them here and nowhere else. The bed,
the targets of faults, the client, its books and the oracles read this value. It must never say how a product behaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from testbed.errors import UsageError

NODES = ("a", "b")
DISK_NAMES = ("vda", "vdb", "vdc")  # of each node
PRIVATE = "priv0"
PREFIX = 24  # of every network
NETWORKS_MAX, VMS_MAX, WITNESSES_MAX, PROCESSORS_MAX = 5, 8, 2, 4
MEMORY_MIN_MIB, MEMORY_MAX_MIB = 512, 32768
WITNESS_UDP_PORT = 7790
VM_OVERHEAD_MIB = 16  # what Xen and dom0 need for a VM beside its memory


@dataclass(frozen=True)
class Host:
    """A machine of its own on a network: its port at the switch, its MAC and its IPv4 address."""

    port: str
    mac: str
    address: str


@dataclass(frozen=True)
class PublicNetwork:
    """One public network, on which clients reach VMs; the first one also has BMCs, witnesses and the service centre."""

    number: int

    @property
    def name(self) -> str:
        """The segment of the switch, and the bridge in each node."""
        return f"biz{self.number}"

    def address(self, host: int) -> str:
        """The IPv4 address with this last number."""
        return f"10.77.{self.number}.{host}"

    def host(self, name: str, number: int) -> Host:
        """The machine with this name and last number."""
        mac = f"02:77:00:{self.number:02x}:01:{number % 100:02d}"
        return Host(f"{name}.{self.name}", mac, self.address(number))

    @property
    def gateway(self) -> Host:
        """The way out."""
        return self.host("outside", 2)

    @property
    def client(self) -> Host:
        """From where the VMs of this network are asked."""
        return self.host("client", 100)


@dataclass(frozen=True)
class Vm:
    """One VM: its name, its number from 0 on, and its network card."""

    name: str
    number: int
    network: PublicNetwork
    mac: str
    address: str

    def of(self, what: str) -> str:
        """The name of its records and files: plain for the first VM (`probe`), else with its name (`probe@web1`)."""
        return what if self.number == 0 else f"{what}@{self.name}"


_WITNESS_HOSTS = {
    f"w{number}": PublicNetwork(0).host(f"witness{number}", 4 + number) for number in range(1, WITNESSES_MAX + 1)
}


@dataclass(frozen=True)
class Topology:
    """What a bed is made of; the default is one VM on one network.

    `networks`: public ones, 1 to 5, over which the VMs are dealt in turn. `vms`: 1 to 8. `witnesses`: 0 to 2.
    `memory_mib` of a node: by default what the image says, and so much more as further VMs need. `processors` of a
    node: 1 to 4. Two nodes, their BMCs and one private link are always there. Raises UsageError.
    """

    networks: int = 1
    vms: int = 1
    witnesses: int = 1
    memory_mib: int | None = None
    processors: int = 1

    def __post_init__(self) -> None:
        """Refuse what the bed has not."""
        for name, least, most in (
            ("networks", 1, NETWORKS_MAX), ("vms", 1, VMS_MAX), ("witnesses", 0, WITNESSES_MAX),
            ("processors", 1, PROCESSORS_MAX),
        ):  # fmt: skip
            count = getattr(self, name)
            if not least <= count <= most:
                raise UsageError(f"{name} is {count}; a site has {least} to {most} of them.")
        if self.memory_mib is not None and not MEMORY_MIN_MIB <= self.memory_mib <= MEMORY_MAX_MIB:
            raise UsageError(f"memory_mib is {self.memory_mib}; a node has {MEMORY_MIN_MIB} to {MEMORY_MAX_MIB} MiB.")

    def node_memory_mib(self, image_mib: int, vm_mib: int) -> int:
        """The memory of a node, if an image needs so much for one VM; raises UsageError when `memory_mib` is less."""
        least = image_mib + (self.vms - 1) * (vm_mib + VM_OVERHEAD_MIB)
        if self.memory_mib is not None and self.memory_mib < least:
            raise UsageError(f"memory_mib is {self.memory_mib}; a node that runs {self.vms} VMs needs {least} MiB.")
        return self.memory_mib or least

    # ---------------------------------------------------------------- networks

    @property
    def public(self) -> tuple[PublicNetwork, ...]:
        """The public networks."""
        return tuple(PublicNetwork(number) for number in range(self.networks))

    @property
    def links(self) -> tuple[str, ...]:
        """The links of a node in the order of its network cards: the private one, then the public ones."""
        return (PRIVATE, *(network.name for network in self.public))

    @property
    def segments(self) -> dict[str, list[str]]:
        """The segments of the switch with their ports; a port is there also while nobody is plugged in."""
        found = {link: [f"{node}.{link}" for node in NODES] for link in self.links}
        for network in self.public:
            first = network.number == 0
            hosts = [network.client, *([self.tcp_client] if first else []), network.gateway]
            hosts += [*self.bmcs.values(), *_WITNESS_HOSTS.values()] if first else []
            found[network.name] += [host.port for host in hosts]
        return found

    # ---------------------------------------------------------------- nodes

    @property
    def node_addresses(self) -> dict[str, dict[str, str]]:
        """The address of each node on each link, with its prefix."""
        return {
            node: {PRIVATE: f"10.9.0.{place}/{PREFIX}"}
            | {network.name: f"{network.address(10 + place)}/{PREFIX}" for network in self.public}
            for place, node in enumerate(NODES, start=1)
        }

    @property
    def node_macs(self) -> dict[str, dict[str, str]]:
        """The MAC address of each network card of each node."""
        return {
            node: {PRIVATE: f"52:54:00:09:00:{place:02x}"}
            | {network.name: f"52:54:00:77:{network.number:02x}:{place:02x}" for network in self.public}
            for place, node in enumerate(NODES, start=1)
        }

    @property
    def devices(self) -> dict[str, str]:
        """The network device in a node that has the address of a link; a public card is a port of its bridge."""
        return {PRIVATE: "eth0"} | {network.name: network.name for network in self.public}

    def ports(self, node: str) -> list[str]:
        """All ports of a node at the switch."""
        return [f"{node}.{link}" for link in self.links]

    def client_ports(self, node: str) -> list[str]:
        """The ports of a node on networks of clients."""
        return [f"{node}.{network.name}" for network in self.public]

    @property
    def bmcs(self) -> Mapping[str, Host]:
        """The BMC of each node: a host of its own on the first public network, for whoever fences the node."""
        return {node: PublicNetwork(0).host(f"bmc-{node}", 30 + place) for place, node in enumerate(NODES, start=1)}

    # ---------------------------------------------------------------- service

    @property
    def guests(self) -> tuple[Vm, ...]:
        """The VMs: `web` and, with more than one, `web1` to `web7`, dealt over the networks in turn."""
        return tuple(_vm(number, PublicNetwork(number % self.networks)) for number in range(self.vms))

    def vm(self, name: str) -> Vm:
        """One VM; raises UsageError with the list when there is no such."""
        for vm in self.guests:
            if vm.name == name:
                return vm
        raise UsageError(f"There is no VM {name!r}; there is: {', '.join(vm.name for vm in self.guests)}.")

    @property
    def service(self) -> str:
        """The service address, which only the primary holds; on the first public network."""
        return PublicNetwork(0).address(10)

    # ---------------------------------------------------------------- the world on the first public network

    @property
    def tcp_client(self) -> Host:
        """A client with the TCP of this machine's kernel; silent while no such probe runs."""
        return PublicNetwork(0).host("tcp", 101)

    @property
    def observers(self) -> str:
        """The first of the addresses that belong to nobody: ARP is asked for under them."""
        return PublicNetwork(0).address(200)

    @property
    def centre(self) -> str:
        """The service centre."""
        return PublicNetwork(0).address(4)

    @property
    def witness_hosts(self) -> Mapping[str, Host]:
        """The witnesses by name, the preferred one first: third machines."""
        return dict(list(_WITNESS_HOSTS.items())[: self.witnesses])


def _vm(number: int, network: PublicNetwork) -> Vm:
    mac = f"00:16:3e:77:{network.number:02x}:{20 + number}"
    return Vm(f"web{number or ''}", number, network, mac, network.address(20 + number))
