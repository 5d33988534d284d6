"""Tests of what goes into a node; they must never import the product."""

import re
from pathlib import Path, PurePosixPath

import pytest

from images import ext4, process, product


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ext4.Placed]:
    """What is placed in a node by its path there."""
    built = product.placed(tmp_path_factory.mktemp("product"))
    return {str(item.target): item for item in built if isinstance(item, ext4.Placed)}


def test_every_source_of_the_product_comes_with_its_bytecode(placed: dict[str, ext4.Placed]) -> None:
    """A node never compiles the product."""
    sources = [path for path in placed if path.startswith(str(product.PACKAGE)) and path.endswith(".py")]
    assert sources
    for path in map(PurePosixPath, sources):
        assert f"{path.parent}/__pycache__/{path.stem}.cpython-311.pyc" in placed


def test_caches_and_hidden_files_stay_out(tmp_path: Path) -> None:
    """Only sources are taken from a tree."""
    for name in ("a.py", "__pycache__/a.pyc", ".hidden", "sub/b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.name for path in product.files_below(tmp_path)] == ["a.py", "b.py"]


def test_programs_of_the_node_are_executable(placed: dict[str, ext4.Placed]) -> None:
    """runit and libxl start these by name; one without its mode would stop the node."""
    programs = [
        path for path, item in placed.items() if not path.startswith(str(product.PACKAGE)) and item.mode == 0o755
    ]
    assert {"/etc/runit/1", "/etc/runit/2", "/etc/runit/3", "/etc/xen/scripts/block", "/usr/bin/avance"} <= set(
        programs
    )
    assert all(item.mode == 0o755 for path, item in placed.items() if path.endswith("/run"))


def test_scripts_of_the_node_have_no_syntax_error() -> None:
    """Every shell script of the node and of the recipes is accepted by sh."""
    scripts = [path for path in product.files_below(product.NODE_FILES) if path.read_text().startswith("#!/bin/sh")]
    scripts += sorted((product.NODE_FILES.parent / "recipes").glob("*.sh"))
    assert len(scripts) > 12
    for path in scripts:
        process.output_of(["sh", "-n", str(path)])


@pytest.mark.parametrize("networks", [1, 5])
def test_each_public_interface_has_a_bridge(tmp_path: Path, networks: int) -> None:
    """The orders that the node gives to `ip`, for the interfaces that it finds."""
    for number in range(1 + networks):
        (tmp_path / f"eth{number}").touch()
    script = (product.NODE_FILES / "etc" / "runit" / "1").read_text(encoding="utf-8")
    begin, end = script.index("{\n    echo link set lo up"), script.index("| ip -batch -")
    orders = process.output_of(["sh", "-c", script[begin:end].replace("/sys/class/net", str(tmp_path))]).splitlines()
    assert orders[:2] == ["link set lo up", "link set eth0 up"]
    bridges = [orders[place : place + 4] for place in range(2, len(orders), 4)]
    assert bridges == [
        [
            f"link add biz{number} type bridge stp_state 0 forward_delay 0",
            f"link set eth{number + 1} master biz{number}",
            f"link set eth{number + 1} up",
            f"link set biz{number} up",
        ]
        for number in range(networks)
    ]


def test_the_version_is_read_from_the_source() -> None:
    """The manifest states the version that the product's package states."""
    assert re.fullmatch(r"\d[\w.+-]*", product.version())


@pytest.mark.parametrize("name", ["avance/__init__.py", "node/etc/runit/1"])
def test_inputs_name_product_and_node_files(name: str) -> None:
    """A change of either makes another image."""
    assert name in product.sources()
