"""The rule of the core: state has one owner. Functions from source text to complaints.

A module of avance/core assigns to attributes of `self`, and of objects of its own classes; only the engine, which
applies what the owners return, may assign to those of others. A method that is called is the owner's own doing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

CORE = "avance/core/"
ENGINE = "avance/core/engine.py"


def ownership_complaints(path: str, source: str) -> list[str]:
    """Assignments to attributes of objects that a module of the core did not make."""
    if not path.startswith(CORE) or path == ENGINE:
        return []
    tree = ast.parse(source, path)
    own = declared(tree)
    complaints = [
        f"{path}:{target.lineno}: {ast.unparse(target)} belongs to another owner: call it, or return what it should be"
        for target in assigned(tree)
        if not is_own(target, own)
    ]
    complaints += [
        f"{path}:{node.lineno}: {ast.unparse(node.func)} goes around the owner"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr", "object.__setattr__")
    ]
    return complaints


def engine_complaints(path: str, imported: list[str]) -> list[str]:
    """Modules of the core that import the engine, also for type hints only."""
    if not path.startswith(CORE):
        return []
    found = [name for name in imported if name == "avance.core.engine" or name.startswith("avance.core.engine.")]
    return [f"{path}: imports {name}: the core must not know its engine" for name in found]


def assigned(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Every attribute that is assigned to or deleted, in whatever form."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node


def declared(tree: ast.Module) -> set[str]:
    """The attributes that the classes of a module have."""
    names: set[str] = set()
    for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in ast.walk(owner):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
        names |= {target.attr for target in assigned(owner) if ast.unparse(target.value) == "self"}
    return names


def is_own(target: ast.Attribute, own: set[str]) -> bool:
    """Says whether the object is `self`, or a variable that holds an object of a class of the same module."""
    return isinstance(target.value, ast.Name) and (target.value.id == "self" or target.attr in own)


__all__ = ["engine_complaints", "ownership_complaints"]
