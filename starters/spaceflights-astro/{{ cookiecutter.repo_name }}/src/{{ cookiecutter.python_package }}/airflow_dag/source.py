"""Find in the project's code what Kedro 1 no longer has, or what does not work in tasks."""

import ast
import inspect
import re
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

from kedro import __version__
from kedro.framework.hooks import specs

from .finding import Finding

# Arguments that Kedro 1 has renamed, of these functions.
FUNCTIONS = {"Pipeline", "create", "pipeline"}
LOOK_UP = "Look it up in Kedro's migration guide, or add its package to requirements.txt."
RENAMED = {"extra_params": "runtime_params", "pipe": "nodes"}
MOVED = {
    "modular_pipeline": "Import `pipeline` from `kedro.pipeline`.",
    "kedro_viz": "Remove it, and `SESSION_STORE_CLASS`: Kedro-Viz no longer has a session store.",
}
HOOKS = {name for kind in (specs.NodeSpecs, specs.DatasetSpecs) for name in vars(kind)}
CHANGES = {"add", "append", "extend", "insert", "pop", "setdefault", "update"}


def in_code(folder: Path) -> Iterator[Finding]:
    """Find what Kedro 1 no longer has, and runners of the project's own, in a package."""
    for path in sorted(folder.rglob("*.py")):
        file = path.relative_to(folder.parent).as_posix()
        with suppress(SyntaxError):  # Kedro reports it, if it needs the file
            nodes = list(ast.walk(ast.parse(path.read_bytes())))
            tried = {part for node in nodes if isinstance(node, ast.Try) for part in ast.walk(node)}
            for node in (node for node in nodes if node not in tried):
                for level, why, what in in_node(node, folder.name):
                    yield Finding(level, f"{file}:{node.lineno}", why, what)  # type: ignore


def in_node(node: ast.AST, package: str) -> Iterator[tuple[str, str, str]]:
    """Find the same in a node of a syntax tree: level, why, and what to do."""
    names = []
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        names = [f"{'.' * node.level}{node.module}.{name}" for name in names]
    for name in names:
        if re.match(r"kedro(_\w+)?\.", name) and not name.startswith(f"{package}.") and gone(name):
            what = next((MOVED[part] for part in name.split(".") if part in MOVED), LOOK_UP)
            yield (
                "error",
                f"`{name}` does not exist in Kedro {__version__}, or is not installed.",
                what,
            )
    if isinstance(node, ast.Call) and named(node.func) in FUNCTIONS:
        for word in node.keywords:
            if word.arg in RENAMED:
                why = f"Kedro 1 has another name for the argument `{word.arg}`."
                yield "error", why, f"Write `{RENAMED[word.arg]}`."
    if isinstance(node, ast.ClassDef) and any(
        named(base).endswith("Runner") for base in node.bases
    ):
        why = f"Tasks do not use the runner {node.name}: the DAG has its own."
        yield "warning", why, "Move what it does to hooks, unless only `kedro run` needs it."


def gone(name: str) -> bool:
    """Return whether a module, or what is imported from it, is not installed here."""
    module, _, last = name.rpartition(".")
    try:
        return last != "*" and not hasattr(import_module(module), last) and not import_module(name)
    except ImportError:
        return True


def named(node: ast.expr) -> str:
    """Return the name of a function or a class, without its module."""
    return str(getattr(node, "attr", getattr(node, "id", "")))


def in_hook(hook: Any, package: str) -> Iterator[Finding]:
    """Find what a hook of the project stores in itself, in methods around nodes and datasets."""
    cls = hook if isinstance(hook, type) else type(hook)
    if cls.__module__.split(".")[0] != package:
        return
    for method in ast.walk(ast.parse(dedent(inspect.getsource(cls)))):
        if isinstance(method, ast.FunctionDef) and method.name in HOOKS:
            if stored := sorted(set(filter(None, map(stored_in, ast.walk(method))))):
                yield Finding(
                    "warning",
                    f"{cls.__module__}.{cls.__name__}.{method.name}",
                    f"Other tasks do not see {', '.join(stored)}: each has hooks of its own.",
                    "Store it outside, unless only hooks around the same node read it.",
                )


def stored_in(node: ast.AST) -> str:
    """Return the attribute of ``self`` that this changes, as self.NAME, or nothing."""
    if isinstance(node, ast.Call) and named(node.func) in CHANGES:
        node = getattr(node.func, "value", node)
    elif not isinstance(getattr(node, "ctx", None), ast.Store):
        return ""
    while isinstance(node, ast.Subscript):
        node = node.value
    text = ast.unparse(node)
    return text if re.fullmatch(r"self\.\w+", text) else ""
