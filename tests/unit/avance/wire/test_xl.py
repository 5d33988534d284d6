"""Xen's words: the domain's uuid, its configuration and the commands."""

from __future__ import annotations

import uuid

import pytest

from avance.core.model import VmId
from avance.wire import xl
from tests.playbook import spec


def test_config_never_restarts_by_itself() -> None:
    """Xen leaves every decision on a dead domain to this product, and the disk is the replicated one."""
    text = xl.domain_config(spec(), "br7")
    for event in ("watchdog", "crash"):
        assert f'on_{event} = "destroy"' in text
    for event in ("poweroff", "reboot"):
        assert f'on_{event} = "preserve"' in text, "Xen has to say why it ended, until avance has destroyed it"
    assert 'disk = ["phy:/dev/drbd0,xvda,w"]' in text
    assert 'vif = ["mac=00:16:3e:77:00:20,bridge=br7"]' in text
    compile(text, "domain configuration", "exec")


def test_domain_carries_the_uuid_of_its_vm() -> None:
    """The domain is created with the uuid by which it is found again, in the form that xl reads."""
    values: dict[str, str] = {}
    exec(xl.domain_config(spec(), "br7"), values)  # xl.cfg(5) of this shape is also Python
    assert uuid.UUID(values["uuid"]).hex == xl.uuid_of(spec().name)


@pytest.mark.parametrize("name", ["web", "db", "a" * 40, "all", "proxy"])
def test_uuid_is_a_valid_one_of_the_name(name: str) -> None:
    """A uuid is of version 5 and the RFC's variant, and two names never share one."""
    made = uuid.UUID(xl.uuid_of(VmId(name)))
    assert (made.version, made.variant) == (5, uuid.RFC_4122)
    assert made.hex != xl.uuid_of(VmId(f"{name}x"))


def test_uuid_never_changes() -> None:
    """A later version of this product finds the domains of this one."""
    assert xl.uuid_of(VmId("web")) == "cb599840c5ed5192bcc5c3d87d10ff68"


def test_argument_vectors() -> None:
    """The commands are those of xl(1); no xl process stays behind, and a domain is named by its number."""
    assert xl.create_argv("/run/x.cfg") == ["xl", "create", "-q", "-e", "/run/x.cfg"]
    assert xl.destroy_argv(3) == ["xl", "destroy", "3"]


def test_move_is_one_xl_on_each_side() -> None:
    """Both leave the domain paused; what runs ends with the daemon, and is given the connection as standard input."""
    send, receive = xl.send_argv(3), xl.receive_argv()
    assert send[:3] == receive[:3] == ["setpriv", "--pdeathsig", "KILL"]
    assert send[send.index("xl") : -1] == ["xl", "migrate", "-p", "-s", "", "3"]
    assert receive[receive.index("xl") :] == ["xl", "migrate-receive", "-e", "-p"]
