"""Tests of compiling for the node's Python; they must never import what they compile."""

from pathlib import Path

import pytest

from images.bytecode import compile_file, compiled_name, is_right_python
from images.errors import BuildError


def test_the_name_is_the_one_that_python_looks_for() -> None:
    """The bytecode stands where the node's interpreter expects it."""
    assert compiled_name("core.py") == "__pycache__/core.cpython-311.pyc"


@pytest.mark.skipif(not is_right_python(), reason="these tests run on another Python than the node's")
def test_the_bytecode_is_never_checked_against_the_source(tmp_path: Path) -> None:
    """The header says `unchecked hash`, so that the source's date does not matter, and carries no host path."""
    source, target = tmp_path / "m.py", tmp_path / "out" / "m.pyc"
    source.write_text("x = 1\n")
    compile_file(source, target, "/usr/lib/m.py")
    content = target.read_bytes()
    assert content[4:8] == (1).to_bytes(4, "little")
    assert b"/usr/lib/m.py" in content
    assert str(tmp_path).encode() not in content


def test_a_syntax_error_is_a_build_error(tmp_path: Path) -> None:
    """A product that does not compile makes no image."""
    source = tmp_path / "m.py"
    source.write_text("def\n")
    with pytest.raises(BuildError):
        compile_file(source, tmp_path / "m.pyc", "/m.py")
