"""What a module's code means: a hash that comments, docstrings and layout leave alone."""

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parent

# They check and report, and cannot change what a job writes; a job's settings are tracked value by value.
SHELL = frozenset({"params", "errors", "console", "progress", "code"})


Tables = Mapping[str, Iterable[str]]  # names of tables, and of the entries of each that a job uses
Cut = frozenset[tuple[str, frozenset[str]]]  # the same, hashable
WHOLE: Cut = frozenset()


def code_hash(*modules: str, only: Tables | None = None) -> str:
    """Hash of the syntax trees of `modules` and of all of pig that they import, also inside functions.

    `modules` are named within the package, e.g. "verbs.train". Comments, docstrings and layout do not
    count, nor do the modules in SHELL. Every Python gives the same hash. `only` cuts tables, which are dicts at
    the top level of a module, to the entries that count, and their module to the private functions that it then
    still uses: a new entry changes no hash but its own.

    Raises:
        FileNotFoundError: pig has no such module.
    """
    for module in modules:
        if not _path(module).is_file():
            raise FileNotFoundError(f"pig.{module}: no such module")
    return _hash(modules, frozenset((table, frozenset(entries)) for table, entries in (only or {}).items()))


@cache  # a workflow asks for the same one for job after job
def _hash(modules: tuple[str, ...], cut: Cut) -> str:
    digest = hashlib.sha256()
    for module in sorted(closure(modules, cut)):
        digest.update(f"{module}\n{_read(module, _own(module, cut)).meaning}\n".encode())
    return digest.hexdigest()[:16]


def closure(modules: Iterable[str], cut: Cut = WHOLE) -> set[str]:
    """`modules` and, transitively, the modules of pig that they import, without those in SHELL."""
    todo, seen = list(modules), set[str]()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += imports(module, cut) - SHELL
    return seen


def imports(module: str, cut: Cut = WHOLE) -> frozenset[str]:
    """The modules of pig that `module` imports, anywhere in it, named within the package."""
    return _read(module, _own(module, cut)).imports


class Read(NamedTuple):
    """What counts of a module."""

    imports: frozenset[str]
    meaning: str


@cache
def _read(module: str, cut: Cut) -> Read:
    tree = _tree(module, cut)
    return Read(_imports(module, tree), _meaning(tree))


def _own(module: str, cut: Cut) -> Cut:
    """The part of `cut` that is of tables in `module`: it alone tells one reading from another."""
    return frozenset((table, entries) for table, entries in cut if table in _names(module))


@cache
def _names(module: str) -> frozenset[str]:
    """The names of the tables of `module`."""
    return frozenset(name for name, _ in _tables(_tree(module)))


def _imports(module: str, tree: ast.Module) -> frozenset[str]:
    named = set[str]()
    for node in ast.walk(tree):
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


def _tree(module: str, cut: Cut = WHOLE) -> ast.Module:
    tree = ast.parse(_path(module).read_bytes())
    wanted = dict(cut)
    tables = [(table, entries) for name, table in _tables(tree) if (entries := wanted.get(name)) is not None]
    for table, entries in tables:
        pairs = zip(table.keys, table.values, strict=True)
        kept = [
            (key, value) for key, value in pairs if isinstance(key, ast.Constant) and key.value in entries
        ]
        table.keys, table.values = [key for key, _ in kept], [value for _, value in kept]
    while tables and (unused := _unused(tree)):
        tree.body = [node for node in tree.body if node not in unused]
    return tree


def _tables(tree: ast.Module) -> Iterator[tuple[str, ast.Dict]]:
    """The dicts that are assigned to a name at the top level."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))


def _unused(tree: ast.Module) -> list[ast.stmt]:
    """The private functions and classes of the top level that no other statement names."""
    named = [{part.id for part in ast.walk(node) if isinstance(part, ast.Name)} for node in tree.body]
    return [
        node
        for i, node in enumerate(tree.body)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and node.name.startswith("_")
        and not any(node.name in names for names in named[:i] + named[i + 1 :])
    ]


def _meaning(tree: ast.Module) -> str:
    """The tree, which loses its docstrings, as text."""
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
