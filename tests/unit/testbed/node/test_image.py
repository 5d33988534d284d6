"""Proves that a manifest is believed only with everything behind it, and that each refusal names the way out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.errors import ImageError
from testbed.node import image
from tests.unit.testbed.small_image import write_image


def edit(manifest: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the document of a manifest."""
    document = json.loads(manifest.read_text(encoding="utf-8"))
    change(document)
    manifest.write_text(json.dumps(document), encoding="utf-8")


def test_a_good_manifest_gives_everything_the_bed_needs(tmp_path: Path) -> None:
    """Paths are absolute, argument vectors are tuples, and product and workload are as published."""
    found = image.load(write_image(tmp_path))
    assert found.hash == "5ma11"
    assert found.boot.hypervisor == tmp_path / "xen"
    assert found.root == tmp_path / "root.img"
    assert found.product.pair == ("nothing", "pair", "{node}", "{file}")
    assert found.workload.udp_port == 7000


def test_a_product_may_name_the_supervisor_of_its_daemon(tmp_path: Path) -> None:
    """A product without that field is as good; only its daemon cannot be broken by itself."""
    manifest = write_image(tmp_path)
    assert image.load(manifest).product.daemon is None
    edit(manifest, lambda document: document["product"].update(daemon="/run/service/x"))
    assert image.load(manifest).product.daemon == "/run/service/x"


def test_a_product_may_keep_its_inputs(tmp_path: Path) -> None:
    """A product whose journal cannot be replayed names no inputs, and none are looked for."""
    manifest = write_image(tmp_path)
    assert image.load(manifest).product.inputs == ""
    edit(manifest, lambda document: document["product"].update(inputs="/var/log/x/inputs.jsonl"))
    assert image.load(manifest).product.inputs == "/var/log/x/inputs.jsonl"


def test_a_product_may_say_how_a_witness_is_started(tmp_path: Path) -> None:
    """A product without a witness gets none in the bed."""
    manifest = write_image(tmp_path)
    assert image.load(manifest).product.witness == ()
    edit(manifest, lambda document: document["product"].update(witness=["{python}", "w", "{listen}"]))
    assert image.load(manifest).product.witness == ("{python}", "w", "{listen}")


def test_another_schema_is_refused(tmp_path: Path) -> None:
    """The schema found and the one needed are named."""
    manifest = write_image(tmp_path)
    edit(manifest, lambda document: document.update(schema="testbed.image/9"))
    with pytest.raises(ImageError, match=r"'testbed\.image/9', not testbed\.image/1\. Run `make image`"):
        image.load(manifest)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The error names the file and the command that makes it again."""
    manifest = write_image(tmp_path)
    (tmp_path / "initrd").unlink()
    with pytest.raises(ImageError, match=r"initrd \(.*/initrd\) should have 7 bytes and has None.*Run `make image`"):
        image.load(manifest)


def test_a_file_of_another_size_is_damaged(tmp_path: Path) -> None:
    """A download or copy that was cut off is found before a node boots from it."""
    manifest = write_image(tmp_path)
    (tmp_path / "vmlinux").write_bytes(b"ker")
    with pytest.raises(ImageError, match=r"damaged: kernel .* should have 7 bytes and has 3.*Run `make image`"):
        image.load(manifest)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"schema": "testbed.image/1", "files": []}', '{"schema": "testbed.image/1", "files": {}}'],
)
def test_a_manifest_of_another_shape_is_an_image_error(tmp_path: Path, content: str) -> None:
    """Whatever stands in the file, the error says what to do and is no traceback."""
    manifest = tmp_path / "manifest.json"
    manifest.write_text(content, encoding="utf-8")
    with pytest.raises(ImageError, match=r"cannot be used .*Run `make image`"):
        image.load(manifest)


def test_a_manifest_that_is_not_there_is_an_image_error(tmp_path: Path) -> None:
    """A cache that somebody emptied is refilled by the command that is named."""
    with pytest.raises(ImageError, match=r"FileNotFoundError.*Run `make image`"):
        image.load(tmp_path / "manifest.json")


def test_an_unknown_key_of_the_product_is_refused(tmp_path: Path) -> None:
    """A contract that this bed does not know is not half-used."""
    manifest = write_image(tmp_path)
    edit(manifest, lambda document: document["product"].update(teleport=["x"]))
    with pytest.raises(ImageError, match="teleport"):
        image.load(manifest)


def builder(directory: Path, program: str) -> Path:
    """A tree whose `python -m images build` is this program."""
    (directory / "images").mkdir()
    (directory / "images" / "__main__.py").write_text(program, encoding="utf-8")
    return directory


def test_the_last_line_of_the_build_is_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the build says before does not matter."""
    manifest = write_image(tmp_path / "image")
    monkeypatch.setattr(image, "ROOT", builder(tmp_path, f"print('building')\nprint({str(manifest)!r})"))
    assert asyncio.run(image.ensure()).root == tmp_path / "image" / "root.img"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys\nsys.exit('no room')", r"failed with code 1; its last words:\nno room"),
        ("", "named no manifest. Run `make image`"),
    ],
    ids=["failed", "silent"],
)
def test_a_build_that_gives_no_image_is_an_image_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    """The words of the build are in the error."""
    monkeypatch.setattr(image, "ROOT", builder(tmp_path, program))
    with pytest.raises(ImageError, match=message):
        asyncio.run(image.ensure())
