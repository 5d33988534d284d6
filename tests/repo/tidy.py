"""The rules of the tree that a machine can check: functions from source text to complaints.

Pure apart from `modules` and `tracked_files`, which read the tree. It must never import the code it looks at.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

PACKAGES = ("avance", "testbed", "faults", "images")
NAMED_APART = ("avance/", "testbed/", "faults/")  # no two classes of these share a name
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

# Third-party modules and the only files that may import them.
WALLED = {
    "qemu": {"testbed/node/qmp.py"},
    "scapy": {"testbed/lan/packets.py"},
    "allure": {"testbed/report/page.py"},
    "allure_commons": {"testbed/report/page.py"},
    "matplotlib": {"testbed/report/picture.py", "testbed/figures/picture.py"},
    "pyroute2": {"avance/adapters/netlink.py"},
    "coverage": {"tests/sim/reach.py"},  # elsewhere a program of its own
    "testcontainers": set(),  # for tests with external containers, when there are any
    "pytest": {"testbed/fixtures.py"},
    "cryptography": {"testbed/world/tls.py", "tests/unit/testbed/world/test_tls.py"},
    "jsonschema": {"tests/schema_check.py"},
}
# What several outside systems are reached by; these implement no port, so another adapter may import them.
ADAPTER_HELPERS = (
    "avance.adapters.process", "avance.adapters.hypercall", "avance.adapters.xenstore", "avance.adapters.moving",
)  # fmt: skip
# Files that may start processes, each for a reason.
PROCESS_FILES = {
    "avance/adapters/process.py",  # the product
    "testbed/process.py",  # the bed
    "images/process.py",  # the image builder
    "testbed/host/setup.py",  # runs before anything is installed
}
# Files that may catch everything, each for a reason.
BROAD_FILES = {
    "testbed/judge/panel.py",  # a judge that raises is blind with the reason, and nothing that was recorded is lost
}
# Files that may read a line from a connection: they say for all others how long it may be, and what is no line.
LINE_FILES = {"avance/socket_line.py", "testbed/socket_line.py"}
# What the pure layers may use of the standard library: nothing that reads a clock, a file, a socket or chance.
PURE_STANDARD = {
    "__future__", "abc", "base64", "bisect", "collections", "copy", "dataclasses", "enum", "functools", "hashlib",
    "heapq", "hmac", "ipaddress", "itertools", "json", "math", "operator", "re", "shlex", "string", "struct",
    "textwrap", "types", "typing", "zlib",
}  # fmt: skip
# The last two are as pure: the error tree, and the name of the type of unchecked JSON.
WIRE_MAY_IMPORT = ("avance.core", "avance.wire", "avance.errors", "avance.parsed")
BANNED_CALLS = {
    "time.time": "decide with time.monotonic",
    "time.sleep": "wait for an event with a deadline",
    "asyncio.create_task": "use a TaskGroup, or a class that owns and cancels its one reader task",
    "asyncio.ensure_future": "use a TaskGroup",
    "os.system": "use process.py",
    "os.popen": "use process.py",
}
RANDOM_ALLOWED = {"Random", "SystemRandom"}
# Modules without a test at a mirrored path, each with the reason.
UNMIRRORED: dict[str, str] = {}
# Class names that stand for one thing seen from two sides: the files that have them, and why both may keep the name.
_ON_THE_WIRE = (
    ("testbed/switch/rule_kinds.py", "faults/kinds/link/traffic.py"),
    "what the switch does to frames, and the fault that orders it and proves it",
)
SHARED_NAMES: dict[str, tuple[tuple[str, ...], str]] = {
    "BurstLoss": _ON_THE_WIRE,
    "Corrupt": _ON_THE_WIRE,
    "Delay": _ON_THE_WIRE,
    "Duplicate": _ON_THE_WIRE,
    "Flap": _ON_THE_WIRE,
    "Loss": _ON_THE_WIRE,
    "MatchDrop": _ON_THE_WIRE,
    "MtuBlackHole": _ON_THE_WIRE,
    "Reorder": _ON_THE_WIRE,
    "Completed": (
        ("avance/adapters/process.py", "testbed/process.py"),
        "a command that has ended; product and bed may not import each other",
    ),
    "Half": (
        ("avance/core/halves.py", "testbed/replica/compare.py"),
        "a half of a mirror, by its superblock and by its bytes; product and bed may not import each other",
    ),
}
# The second alternative: a fixed name in a directory that everybody shares.
MACHINE_PATH = re.compile(r"(?<![\w.])(/wor[k]/|/tmp/(?!\{)[\w.])")
# What the documents of safety are cited by: the number of a rule, and nothing that no longer exists.
RULE_HEADING = re.compile(r"^### (S\d+): ", re.MULTILINE)
RULE_CITED = re.compile(r"docs/safety\.md, (S\d+(?:(?:,| and) S\d+)*)")
OLD_CITATION = re.compile(r"arbitration design|\brule R\d|\(R\d\)")
REGISTRY = re.compile(r"((?<!emit-)index-url|https?://[^\s/]*(?:pypi|npm|debian)|\"resolved\": )")

Nodes = Sequence[ast.AST]  # all of a file, as `ast.walk` gives them: the module first


def dotted(node: ast.expr) -> str:
    """The dotted name of an expression such as `a.b.c`, or the empty text."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            left = dotted(value)
            return f"{left}.{attr}" if left else ""
    return ""


def imports(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Each imported module with its line, also inside functions; `from a import b` counts as a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def layer_complaint(path: str, imported: str) -> str:
    """Why this file may not import this module, or the empty text."""
    own, top = path.split("/", maxsplit=1)[0], imported.split(".", maxsplit=1)[0]
    allowed = {
        "avance": {"avance"},
        "testbed": {"testbed"},
        "faults": {"faults", "testbed"},
        "images": {"images"},
    }
    if own in allowed and top in PACKAGES and top not in allowed[own]:
        return f"{own} must not import {top}"
    if path.startswith("tests/system/") and top == "avance" and not imported.startswith("avance.schema"):
        return "system tests know the product only by its published schema"
    if top in WALLED and path not in WALLED[top] and not (top == "pytest" and path.startswith("tests/")):
        return f"{top} is walled behind {', '.join(sorted(WALLED[top])) or 'nothing yet'}"
    if path.startswith(("avance/core/", "avance/wire/")):
        return pure_complaint(path, imported, top)
    if path.startswith("avance/adapters/") and imported.startswith("avance."):
        other = ".".join(imported.split(".")[:3])
        outer = imported.startswith(("avance.daemon", "avance.__main__"))
        if outer or (other.startswith("avance.adapters") and other not in (*ADAPTER_HELPERS, own_name(path))):
            return "an adapter imports core, wire, ports and process (or hypercall, xenstore and moving) only"
    return ""


def pure_complaint(path: str, imported: str, top: str) -> str:
    """Why a pure module may not import this, or the empty text."""
    inner = ("avance.core",) if path.startswith("avance/core/") else WIRE_MAY_IMPORT
    if top == "avance":
        layer = path.rsplit("/", maxsplit=1)[0]
        return "" if imported.startswith(inner) else f"{layer} imports {', '.join(inner)} only"
    return "" if top in PURE_STANDARD else f"{top} is not pure"


def own_name(path: str) -> str:
    """The dotted name of a module, from its path."""
    return path.removesuffix(".py").replace("/", ".")


def import_complaints(path: str, nodes: Nodes) -> Iterator[str]:
    """Layers, walls and banned modules."""
    for line, imported in imports(nodes):
        complaint = layer_complaint(path, imported)
        if complaint:
            yield f"{path}:{line}: {complaint} (imports {imported})"
        if imported.split(".")[0] == "subprocess" and path not in PROCESS_FILES:
            yield f"{path}:{line}: subprocess belongs into process.py"
        if imported.startswith("unittest.mock"):
            yield f"{path}:{line}: unittest.mock is not used: write a fake"
        if imported.startswith("random.") and imported.split(".")[1] not in RANDOM_ALLOWED:
            yield f"{path}:{line}: module-level random: use a seeded random.Random"
        if imported in BANNED_CALLS:
            yield f"{path}:{line}: {imported}: {BANNED_CALLS[imported]}"


def call_complaints(path: str, nodes: Nodes) -> Iterator[str]:
    """Banned calls, too broad excepts, and skips without a reason."""
    for node in nodes:
        if isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in BANNED_CALLS and not (name == "asyncio.create_task" and is_owned_task(nodes, node)):
                yield f"{path}:{node.lineno}: {name}: {BANNED_CALLS[name]}"
            if name.startswith("random.") and name.split(".")[1] not in RANDOM_ALLOWED:
                yield f"{path}:{node.lineno}: {name}: use a seeded random.Random"
            if name.startswith("asyncio.create_subprocess") and path not in PROCESS_FILES:
                yield f"{path}:{node.lineno}: {name} belongs into process.py"
            if is_line_read(node) and path.startswith(PACKAGES) and path not in LINE_FILES:
                yield f"{path}:{node.lineno}: read lines by socket_line.py, which bounds them and says what is none"
            if name in ("pytest.skip", "pytest.mark.skip", "pytest.mark.skipif") and not has_reason(node, name):
                yield f"{path}:{node.lineno}: a skip needs a reason"
        elif isinstance(node, ast.Attribute) and dotted(node) == "pytest.mark.skip" and not is_called(nodes, node):
            yield f"{path}:{node.lineno}: a skip needs a reason"
        elif isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            broad = any(kind is None or dotted(kind) in ("Exception", "BaseException") for kind in caught)
            if broad and path not in BROAD_FILES and not re_raises(node):
                yield f"{path}:{node.lineno}: except {'Exception' if node.type else ''} is too broad".replace("  ", " ")


def re_raises(handler: ast.ExceptHandler) -> bool:
    """Says whether a handler ends by raising what it caught: cleaning up after anything is allowed."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def is_line_read(call: ast.Call) -> bool:
    """Says whether a call reads a line, or makes something that does, as streams and sockets can."""
    return isinstance(call.func, ast.Attribute) and call.func.attr in ("readline", "makefile")


def is_owned_task(nodes: Nodes, call: ast.Call) -> bool:
    """The one exception to the rule: `self._x = asyncio.create_task(...)` in a class with `__aexit__`."""
    for owner in nodes:
        if isinstance(owner, ast.ClassDef) and any(
            isinstance(part, ast.AsyncFunctionDef) and part.name == "__aexit__" for part in owner.body
        ):
            for node in ast.walk(owner):
                if isinstance(node, ast.Assign) and node.value is call and dotted(node.targets[0]).startswith("self."):
                    return True
    return False


def is_called(nodes: Nodes, attribute: ast.Attribute) -> bool:
    """Says whether this expression is the function of some call."""
    return any(isinstance(node, ast.Call) and node.func is attribute for node in nodes)


def has_reason(call: ast.Call, name: str) -> bool:
    """Says whether a skip states a reason that is not empty."""
    given = [k.value for k in call.keywords if k.arg == "reason"] or ([] if name.endswith("skipif") else call.args[:1])
    return bool(given) and not (isinstance(given[0], ast.Constant) and not given[0].value)


def size_complaints(path: str, source: str, nodes: Nodes) -> Iterator[str]:
    """Files and functions that are too long to be read."""
    lines = source.count("\n")
    if lines > FILE_LINES_MAX:
        yield f"{path}: {lines} lines, the limit is {FILE_LINES_MAX}"
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                yield f"{path}:{node.lineno}: {node.name} has {length} lines, the limit is {FUNCTION_LINES_MAX}"


def docstring_complaints(path: str, nodes: Nodes) -> Iterator[str]:
    """Modules and tests without a sentence that says what they are for."""
    tree = nodes[0]
    assert isinstance(tree, ast.Module)
    if tree.body and not ast.get_docstring(tree):
        yield f"{path}: no module docstring"
    functions = (n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    for function in functions if path.startswith("tests/") else ():
        if function.name.startswith("test_") and not ast.get_docstring(function):
            yield f"{path}:{function.lineno}: {function.name} does not state its promise"


def source_complaints(path: str, source: str) -> list[str]:
    """Everything there is to say about one Python file."""
    nodes = tuple(ast.walk(ast.parse(source, path)))  # walked once for all rules: that takes most of the time
    return [
        *import_complaints(path, nodes),
        *call_complaints(path, nodes),
        *size_complaints(path, source, nodes),
        *docstring_complaints(path, nodes),
    ]


def mirrors_of(path: str) -> tuple[str, str]:
    """Where the tests of a module may stand: those of its own, and those with other programs."""
    folder, _, name = path.rpartition("/")
    mirror = f"{folder}/test_{name.lstrip('_').replace('__.py', '.py')}"
    return f"tests/unit/{mirror}", f"tests/integration/{mirror}"


def has_code(source: str) -> bool:
    """Says whether a module does something: has a function that is more than a docstring or `...`."""
    functions = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(
        not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for function in functions
        for statement in function.body
    )


def mirror_complaints(sources: Mapping[str, str], exempt: Mapping[str, str]) -> list[str]:
    """Modules with code but no test at a mirrored path, and exemptions that are no longer needed."""
    complaints: list[str] = []
    for path, source in sources.items():
        if path.startswith(PACKAGES) and has_code(source):
            present = any(mirror in sources for mirror in mirrors_of(path))
            if not present and path not in exempt:
                complaints.append(f"{path}: no test at {' or '.join(mirrors_of(path))}")
            if present and path in exempt:
                complaints.append(f"{path}: is exempt from having a test but has one")
    return complaints + [f"{path}: exempt, but does not exist" for path in exempt if path not in sources]


def name_complaints(sources: Mapping[str, str], shared: Mapping[str, tuple[tuple[str, ...], str]]) -> list[str]:
    """Classes of product, bed and faults that share a name, and entries of the table that are no longer true.

    A leading underscore makes no other name: whoever reads `_Rule` thinks of `Rule`.
    """
    found: dict[str, list[str]] = {}
    for path, source in sources.items():
        if path.startswith(NAMED_APART):
            for node in ast.walk(ast.parse(source, path)):
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name.lstrip("_"), []).append(path)
    complaints: list[str] = []
    for name, paths in sorted(found.items()):
        allowed = sorted(shared[name][0]) if name in shared else []
        if len(paths) > 1 and sorted(paths) != allowed:
            complaints.append(f"{name} is the name of a class in {' and in '.join(paths)}: say what each of them is")
    stale = [name for name, (paths, _) in shared.items() if not set(paths) <= {*found.get(name, ())}]
    return complaints + [f"{name}: may be shared, but is not" for name in stale]


def text_complaints(path: str, text: str) -> list[str]:
    """Paths of one machine and names of registries, which make a tree work in one place only."""
    found = [(n, line) for n, line in enumerate(text.splitlines(), 1)]
    rules = (("a path of one machine", MACHINE_PATH), ("a registry host", REGISTRY))
    return [f"{path}:{n}: {name}: {m[0]}" for n, line in found for name, rule in rules if (m := rule.search(line))]


def link_complaints(path: str, text: str, root: Path) -> list[str]:
    """Links of a Markdown file to files, or to headings of Markdown files, that do not exist."""
    outside = ("http://", "https://", "mailto:")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(text)) if not link.startswith(outside)]
    return [f"{path}: broken link {link}" for link in links if not is_there(link, (root / path).parent, text)]


def is_there(link: str, folder: Path, own: str) -> bool:
    """Says whether the file of a link exists, and its heading; a link without a file means the text itself."""
    name, _, heading = link.partition("#")
    target = folder / name
    if name and not target.exists():
        return False
    if not heading or (name and target.suffix != ".md"):
        return True
    return heading in anchors(target.read_text(encoding="utf-8") if name else own)


def prose_of(text: str) -> str:
    """A Markdown text without its blocks of code."""
    return re.sub(r"```[\s\S]*?```", "", text)


def anchors(text: str) -> set[str]:
    """The names by which the headings of a Markdown text are linked, as the usual viewers make them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(text), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain}


def citation_complaints(path: str, text: str, rules: set[str]) -> list[str]:
    """Citations of safety rules that do not exist, and of the numbers that they had once."""
    flat = re.sub(r"\s+(?:# )?", " ", text)  # a citation may go on in the next line, also in that of a comment
    cited = [name for found in RULE_CITED.findall(flat) for name in re.findall(r"S\d+", found)]
    unknown = [f"{path}: docs/safety.md has no rule {name}" for name in dict.fromkeys(cited) if name not in rules]
    old = [f"{path}: cite a rule of docs/safety.md instead of {found!r}" for found in OLD_CITATION.findall(flat)]
    return unknown + old


def rule_complaints(text: str) -> list[str]:
    """Rules of docs/safety.md that are not numbered one after the other."""
    numbers = [int(name[1:]) for name in RULE_HEADING.findall(text)]
    return [] if numbers == [*range(1, len(numbers) + 1)] else [f"docs/safety.md: the rules are numbered {numbers}"]


def list_complaints(listed: str, names: Iterable[str]) -> list[str]:
    """Pages of a folder that its README does not link."""
    links = {link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", listed)}
    return [f"{name} is not linked from the README beside it" for name in sorted(names) if name not in links]


def diff_complaints(path: str, text: str, sources: Mapping[str, str]) -> list[str]:
    """Lines that an example of a change in a document adds to a file, and that are not in that file any more."""
    complaints, file = [], ""
    for block in re.findall(r"```diff\n([\s\S]*?)```", text):
        for line in block.splitlines():
            if line.startswith("+++ "):
                file = line.removeprefix("+++ ").removeprefix("b/")
            elif line.startswith("+") and line[1:] not in sources.get(file, "").splitlines():
                complaints.append(f"{path}: {file} has no line {line[1:]!r}")
    return complaints


@cache
def modules(root: Path) -> Mapping[str, str]:
    """The Python files of the project, by path."""
    found: Iterable[Path] = (p for top in (*PACKAGES, "tests") for p in sorted((root / top).rglob("*.py")))
    return {p.relative_to(root).as_posix(): p.read_text(encoding="utf-8") for p in found}


@cache
def tracked_files(root: Path) -> Mapping[str, str]:
    """The text files of the tree that a commit would carry, by path."""
    ignored = {".git", ".venv", "build", "node_modules", "__pycache__"}
    ignored |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    texts: dict[str, str] = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in ignored and not name.endswith(".egg-info"))
        for path in (Path(folder) / name for name in sorted(set(names) - ignored)):  # .git is a file in a worktree
            data = path.read_bytes() if path.is_file() else b"\0"
            if b"\0" not in data:
                texts[path.relative_to(root).as_posix()] = data.decode(errors="replace")
    return texts
