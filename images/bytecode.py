"""Compile the product for the node's Python, so that a node never compiles anything at its start.

The compiled files carry no date and are never checked against their sources (the image is not edited in place); this
module must never write bytecode of another Python version into an image.
"""

import importlib.util
import py_compile
import sys
from pathlib import Path

from images import process
from images.errors import BuildError

TAG = "cpython-311"


def is_right_python() -> bool:
    """Tell whether this interpreter writes the bytecode that the node's interpreter reads."""
    return sys.implementation.cache_tag == TAG and importlib.util.MAGIC_NUMBER[:2] == (3495).to_bytes(2, "little")


def compile_file(source: Path, target: Path, shown: str) -> None:
    """Compile one source file; `shown` is the path that tracebacks on the node will name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not is_right_python():
        _compile_elsewhere(source, target, shown)
        return
    try:
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(target), shown, doraise=True, invalidation_mode=unchecked)
    except py_compile.PyCompileError as error:
        raise BuildError(f"the product does not compile, so no image was made: {error.msg.strip()}") from error


def compiled_name(name: str) -> str:
    """Return where Python looks for the bytecode of a module file, relative to the file's directory."""
    return f"__pycache__/{name.removesuffix('.py')}.{TAG}.pyc"


def _compile_elsewhere(source: Path, target: Path, shown: str) -> None:
    if process.find("python3.11") is None:
        raise BuildError(
            f"the node runs Python 3.11, this build runs {sys.version.split()[0]} and no python3.11 is on the PATH; "
            f"no image was made; run the build with Python 3.11"
        )
    code = (
        "import py_compile, sys; py_compile.compile(sys.argv[1], sys.argv[2], sys.argv[3], doraise=True, "
        "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)"
    )
    process.output_of(["python3.11", "-I", "-c", code, str(source), str(target), shown])
