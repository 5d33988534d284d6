"""Tests of testbed.vocabulary: it has the words that the product publishes in `avance/schema`, and no others."""

from __future__ import annotations

import json
from typing import Any, get_args

from avance.core.model import VmId
from avance.wire.drbd import kept_name, part_name
from testbed.site import ROOT
from testbed.vocabulary import AlertCode, Milestone, PairState, VmState, in_tools, is_kept_of


def published(name: str) -> Any:  # noqa: ANN401 - unchecked JSON
    """A schema of the product."""
    return json.loads((ROOT / "avance" / "schema" / f"{name}.json").read_text(encoding="utf-8"))


def test_milestones_are_those_of_the_journal() -> None:
    """In its order; a line may have none."""
    assert [None, *get_args(Milestone)] == published("journal")["properties"]["milestone"]["enum"]


def test_states_are_those_of_status_and_journal() -> None:
    """A journal begins with the pairing, so it never says UNPAIRED."""
    status, journal = published("status")["properties"], published("journal")
    assert list(get_args(PairState)) == status["pair"]["enum"]
    assert set(get_args(PairState)) - {"UNPAIRED"} == set(journal["$defs"]["pair"]["enum"])
    assert list(get_args(VmState)) == status["vms"]["additionalProperties"]["properties"]["state"]["enum"]


def test_codes_are_those_of_the_alerts() -> None:
    """As the service centre gets them."""
    assert list(get_args(AlertCode)) == published("alert")["properties"]["code"]["enum"]


def test_names_in_tools_are_those_of_the_status() -> None:
    """A VM's domain, resource and volume are called as the product says."""
    said = published("status")["properties"]["vms"]["additionalProperties"]["properties"]["name_in_tools"]["pattern"]
    assert said == f"^{in_tools('')}."


def test_a_kept_version_is_a_volume_of_its_vm() -> None:
    """As the product names it; the volume in use, a half copy and the volume of another VM are none."""
    named = [kept_name(VmId("web"), 7), "avance-web", part_name(VmId("web")), kept_name(VmId("web1"), 7)]
    assert [is_kept_of("web", volume) for volume in named] == [True, False, False, False]
