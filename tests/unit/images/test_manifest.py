"""Tests of the manifest; they must never need a built image."""

import json
from pathlib import Path

from avance.standby import PID
from images import manifest
from images.cache import Layer, StoredFile


def written(tmp_path: Path) -> dict[str, object]:
    """Write a manifest and read it again."""
    layer = Layer(tmp_path, {path: StoredFile(f"digest of {path}", 7) for path in manifest.FILES.values()})
    manifest.write(layer, "abc", {"in": "put"}, {"xen": "4.17"}, "1.2.3")
    content: dict[str, object] = json.loads((tmp_path / manifest.FILE).read_text())
    return content


def test_files_are_relative_and_carry_digest_and_size(tmp_path: Path) -> None:
    """A reader can check every file against the manifest."""
    assert written(tmp_path)["files"] == {
        role: {"path": path, "sha256": f"digest of {path}", "size": 7}
        for role, path in (("hypervisor", "xen"), ("kernel", "vmlinux"), ("initrd", "initrd"), ("root", "root.img"))
    }


def test_the_agreed_keys_are_there(tmp_path: Path) -> None:
    """The bed reads exactly these."""
    content = written(tmp_path)
    assert set(content) == {
        *("schema", "hash", "inputs", "files", "hypervisor_args", "kernel_args", "memory_mib", "versions"),
        *("product", "workload", "questions", "networks"),
    }
    assert content["schema"] == "testbed.image/1"
    workload = content["workload"]
    assert isinstance(workload, dict)
    assert set(workload) == {"kernel", "ramdisk", "memory_mib", "volume_mib", "udp_port", "tcp_port"}


def test_the_daemons_process_is_named(tmp_path: Path) -> None:
    """Faults of the daemon find its process by the file in which the product names it; two services keep it alive."""
    product = written(tmp_path)["product"]
    assert isinstance(product, dict)
    assert product["daemon"] == str(PID)
    services = Path(manifest.__file__).parent / "node" / "etc" / "sv"
    for name in ("avance", "avance-ready"):
        assert " -m avance run" in (services / name / "run").read_text()


def test_the_arguments_fit_a_multiboot_line(tmp_path: Path) -> None:
    """QEMU takes a comma in the kernel's arguments for the next module."""
    arguments = written(tmp_path)["kernel_args"]
    assert isinstance(arguments, str)
    assert "," not in arguments
