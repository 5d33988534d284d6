"""Does the service stay off the private link, which is for heartbeats and replication? Pure."""

from __future__ import annotations

from testbed.judge.finding import Finding, blind, failed, passed
from testbed.judge.oracle import Oracle
from testbed.judge.recorded import Recorded
from testbed.judge.sightings import sightings_of, why_unwatched


class PrivateLink:
    """No frame with an address of the VM or of the service enters at a port that is not for clients."""

    name = "private_link"
    is_needed = False  # what blinds it blinds `dual_active`, which is needed

    def judge(self, recorded: Recorded) -> Finding:
        """Look for sightings at the nodes' other ports."""
        scene = recorded.scene
        private = {
            port for node, ports in scene.node_ports.items() for port in ports if port not in scene.client_ports[node]
        }
        strays = [one for one in sightings_of(recorded) if one.port in private]
        if strays:
            first = strays[0]
            told = [[one.address, one.port, one.first_s] for one in strays]
            return failed(self.name, f"{first.address} sent at {first.port}, {first.first_s:.3f} s", strays=told)
        unseen = why_unwatched(recorded)
        if unseen:
            return blind(self.name, unseen)
        return passed(self.name, f"no frame of the service entered at {', '.join(sorted(private))}")


ORACLES: tuple[Oracle, ...] = (PrivateLink(),)
