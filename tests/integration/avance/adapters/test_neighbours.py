"""The look at the neighbours, on a real bridge in a private network: who answers, and whose answer does not count."""

from __future__ import annotations

from tests.integration.avance.adapters.lan import lan

SERVICE, VM = "10.77.0.10", "10.77.0.20"


def test_gateway_answers_and_the_own_domain_is_no_stranger() -> None:
    """The gateway is seen; the VM of this very node answers for its address, and claims nothing by that."""
    found = lan()["own domain"]
    assert found["done"][0] == "OK"
    assert found["seen"] == [{"gateway": True, "claimed": []}]


def test_addresses_in_use_elsewhere_are_claimed() -> None:
    """Whoever answers from outside for the service address or the VM's claims it; a silent gateway is False."""
    assert lan()["claimed"]["seen"] == [{"gateway": False, "claimed": [SERVICE, VM]}]


def test_without_a_gateway_there_is_no_answer_about_one() -> None:
    """None configured is not the same as none there."""
    assert lan()["no gateway"]["seen"][0]["gateway"] is None


def test_broadcasts_are_few() -> None:
    """No window of one second has ten broadcasts of a look."""
    times = lan()["broadcasts"]
    assert len(times) == 4, "whoever answered the first try is not asked again"
    assert all(sum(1 for at in times if first <= at < first + 1.0) < 10 for first in times)


def test_dead_network_is_silent_and_said() -> None:
    """A bridge that is down, or not there, gives no gateway and no claims, and the detail says why."""
    for name in ("bridge down", "no bridge"):
        found = lan()[name]
        assert found["seen"] == [{"gateway": False, "claimed": []}]
        assert found["done"][0] == "OK"
        assert found["done"][1].startswith("biz0: ")
