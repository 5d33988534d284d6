"""ipmitool's words: no password on a command line, and only a clear answer is one."""

from __future__ import annotations

import pytest

from avance.wire import ipmi

BMC = ("10.77.0.32", "admin")


def test_session_is_authenticated_and_the_password_is_not_told() -> None:
    """RMCP+ with the cipher suite of the standard, two tries of whole seconds, the password from the environment."""
    assert ipmi.status_argv(*BMC, patience_s=1.0) == [
        "ipmitool", "-I", "lanplus", "-C", "3", "-H", "10.77.0.32", "-U", "admin", "-E", "-N", "1", "-R", "1",
        "chassis", "power", "status",
    ]  # fmt: skip
    assert ipmi.cut_argv(*BMC, patience_s=1.0)[-2:] == ["exec", "/proc/self/fd/0"]


def test_a_cut_is_one_order_and_then_questions() -> None:
    """The order is given once, however often the power is asked for."""
    first, *others = ipmi.CUT_SCRIPT.splitlines()
    assert first == "chassis power off"
    assert set(others) == {"chassis power status"}


@pytest.mark.parametrize(
    ("line", "off"),
    [("Chassis Power is off\n", True), ("Chassis Power Control: Down/Off\n", False), ("Chassis Power is on", False),
     ("Set Chassis Power Control to Down/Off failed: Command not supported in present state", False), ("", False)],
)  # fmt: skip
def test_only_a_state_that_was_read_is_off(line: str, off: bool) -> None:
    """The echo of the order, or its refusal, says nothing about the power."""
    assert ipmi.is_off(line) is off


@pytest.mark.parametrize(("patience_s", "word"), [(0.2, "1"), (1.0, "1"), (2.5, "3")])
def test_patience_is_rounded_up_to_whole_seconds(patience_s: float, word: str) -> None:
    """ipmitool knows whole seconds only, and 0 would mean its own default."""
    argv = ipmi.status_argv(*BMC, patience_s=patience_s)
    assert argv[argv.index("-N") + 1] == word


@pytest.mark.parametrize(("text", "power"), [("Chassis Power is on\n", "on"), ("Chassis Power is off\n", "off")])
def test_power_status_of_1_8_19(text: str, power: str) -> None:
    """Both answers of ipmitool 1.8.19 are understood."""
    assert ipmi.parse_power(text) == power


@pytest.mark.parametrize(
    "text", ["", "Chassis Power Control: Down/Off\n", "Chassis Power is unknown\n", "Unable to get Chassis Power off\n"]
)
def test_anything_else_is_no_answer(text: str) -> None:
    """An order that was taken, or an error that ends with a fitting word, is never read as a state."""
    with pytest.raises(ValueError, match="no power status"):
        ipmi.parse_power(text)
