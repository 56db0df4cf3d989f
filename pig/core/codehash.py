"""A hash of what code means: comments, docstrings, layout and the places of modules leave it alone."""

import ast
import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1]

# Modules that check and report, and cannot change what a job writes; its settings are tracked value by value.
SHELL = frozenset(
    {"core.codehash", "core.errors", "core.params", "core.paths", "cli.console", "cli.progress"}
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code_hash(*modules: str, also: str = "", without: frozenset[str] = frozenset()) -> str:
    """Hash of the syntax trees of `modules` and of all of pig that they import, also inside functions.

    `modules` are named within the package, e.g. "cli.verbs.train". An import of pig counts as the hash of what it
    names, not as its name. So a module that moves changes nothing. Modules in SHELL and `without` do not count. `also`
    is text that counts too. Every Python gives the same hash.

    Raises:
        FileNotFoundError: pig has no such module.
    """
    for module in modules:
        if not _path(module).is_file():
            raise FileNotFoundError(f"pig.{module}: no such module")
    return _digest(also, *sorted(_hash(module, SHELL | without) for module in modules))


class Import(NamedTuple):
    """An import of a module of pig, or of a name from it."""

    module: str
    name: str  # "" for the module itself
    alias: str  # the name that it goes by


class Read(NamedTuple):
    """What counts of a module."""

    imports: frozenset[Import]
    meaning: str


@cache  # a workflow asks for the same ones for job after job
def _hash(module: str, shell: frozenset[str]) -> str:
    """Hash of a module and of all that it imports. Imports are sorted by hash: names of modules do not count."""
    if module in shell:
        return "shell"
    read = _read(module)
    below = sorted((_hash(each.module, shell), each.name, each.alias) for each in read.imports)
    return _digest(read.meaning, repr(below))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def _read(module: str) -> Read:
    imports = _Imports(module)
    tree = imports.visit(ast.parse(_path(module).read_bytes()))
    return Read(frozenset(imports.found), _meaning(tree))


class _Imports(ast.NodeTransformer):
    """Takes the imports of pig out of a tree, and keeps them."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.found: set[Import] = set()

    def visit_Import(self, node: ast.Import) -> ast.Import | None:
        others = []
        for alias in node.names:
            name = alias.name.removeprefix("pig.")
            if alias.name.split(".")[0] != "pig":
                others.append(alias)
            elif name != alias.name and _is_module(name):
                self.found.add(Import(name, "", alias.asname or name))
        node.names = others
        return node if others else None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
        base = self._absolute(node)
        if base.split(".")[0] != "pig":
            return node
        inside = base.removeprefix("pig").removeprefix(".")
        for alias in node.names:
            below = f"{inside}.{alias.name}" if inside else alias.name
            if _is_module(below):
                self.found.add(Import(below, "", alias.asname or alias.name))
            elif _is_module(inside):
                self.found.add(Import(inside, alias.name, alias.asname or alias.name))
        return None

    def _absolute(self, node: ast.ImportFrom) -> str:
        """The module that a `from` statement names, with its leading dots resolved."""
        if not node.level:
            return node.module or ""
        parents = ["pig", *self.module.split(".")][: -node.level]
        return ".".join([*parents, *([node.module] if node.module else [])])


def _path(module: str) -> Path:
    return PACKAGE / (module.replace(".", "/") + ".py")


def _is_module(name: str) -> bool:
    return bool(name) and _path(name).is_file()


def _meaning(tree: ast.AST) -> str:
    """The tree, which loses its docstrings, as text."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return repr(_plain(tree))


def _plain(node: object) -> object:
    """The tree as nested tuples without empty fields, which differ from one Python to the next."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if name != "ctx"]
        filled = [(name, _plain(value)) for name, value in fields if value is not None and value != []]
        return (type(node).__name__, *filled)
    return tuple(_plain(item) for item in node) if isinstance(node, list) else node
