"""What a module's code means: a hash that comments, docstrings and layout leave alone."""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent

# They check and report, and cannot change what a job writes; a job's settings are tracked value by value.
SHELL = frozenset({"params", "errors", "progress", "code"})


def code_hash(*modules: str) -> str:
    """Hash of the syntax trees of `modules` and of all of pig that they import, also inside functions.

    `modules` are named within the package, e.g. "verbs.train". Comments, docstrings and layout do not
    count, nor do the modules in SHELL. Every Python gives the same hash.

    Raises:
        FileNotFoundError: pig has no such module.
    """
    for module in modules:
        if not _path(module).is_file():
            raise FileNotFoundError(f"pig.{module}: no such module")
    digest = hashlib.sha256()
    for module in sorted(closure(modules)):
        digest.update(f"{module}\n{_meaning(module)}\n".encode())
    return digest.hexdigest()[:16]


def closure(modules: Iterable[str]) -> set[str]:
    """`modules` and, transitively, the modules of pig that they import, without those in SHELL."""
    todo, seen = list(modules), set[str]()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += imports(module) - SHELL
    return seen


@cache
def imports(module: str) -> frozenset[str]:
    """The modules of pig that `module` imports, anywhere in it, named within the package."""
    named = set[str]()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(module, node)
            named |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    inside = {name.removeprefix("pig.") for name in named if name.startswith("pig.")}
    return frozenset(name for name in inside if _path(name).is_file())


def _absolute(module: str, node: ast.ImportFrom) -> str:
    """The module that a `from` statement names, with its leading dots resolved."""
    if not node.level:
        return node.module or ""
    parents = ["pig", *module.split(".")][: -node.level]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _path(module: str) -> Path:
    return PACKAGE / (module.replace(".", "/") + ".py")


def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_bytes())


@cache
def _meaning(module: str) -> str:
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _has_doc(
            node
        ):
            del node.body[0]
    return repr(_plain(tree))


def _has_doc(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None


def _plain(node: object) -> object:
    """The tree as nested tuples without empty fields, which differ from one Python to the next."""
    if isinstance(node, ast.AST):
        return (type(node).__name__, *_fields(node))
    return tuple(_plain(item) for item in node) if isinstance(node, list) else node


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    for name, value in ast.iter_fields(node):
        if value is not None and value != [] and name != "ctx":
            yield name, _plain(value)
