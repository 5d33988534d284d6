"""A VM's name never stands alone in the words of a tool."""

from __future__ import annotations

import pytest

from avance.core.model import VmId
from avance.wire import names


@pytest.mark.parametrize("vm", ["web", "all", "proxy", "avance-web", "a"])
def test_a_name_there_and_back(vm: str) -> None:
    """What tools are told leads back to the VM, whatever people called it."""
    told = names.of(VmId(vm))
    assert told != vm
    assert names.vm_of(told) == vm


@pytest.mark.parametrize("name", ["", "web", "avance", "avance-", "Avance-web", " avance-web"])
def test_other_names_are_not_ours(name: str) -> None:
    """A name without the whole prefix belongs to somebody else."""
    assert names.vm_of(name) is None
