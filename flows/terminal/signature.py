"""Read a flow's parameters and help from its source, without importing Prefect.

Prefect takes most of a second to import. A page of help, a misspelt option and a question that no
Prefect server records need none of it.
"""

import ast
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Asked = Callable[..., None]


def read_signature(module: str, function: str) -> Asked:
    """Return a function that has a flow's signature and docstring, and does nothing.

    Of the module, only the imports and constants run that the parameters name.

    Args:
        module: the flow's module, such as flows.embed_images.
        function: the flow's name in it.

    Raises:
        LookupError: there is no such flow.
    """
    path, tree = _parse(module)
    flow = _find(tree, function, path)
    flow.decorator_list, flow.returns, flow.body = [], None, flow.body[:1]
    needed, kept = set(_names(flow.args)), []
    for statement in reversed(tree.body[: tree.body.index(flow)]):
        if needed.intersection(_bound(statement)):
            needed.update(_names(statement))
            kept.append(statement)
    namespace: dict[str, Any] = {"__name__": module}
    code = compile(ast.Module([*reversed(kept), flow], []), path, "exec")
    exec(code, namespace)  # noqa: S102 - lines of our own flows
    asked: Asked = namespace[function]
    return asked


def read_docstring(module: str, function: str) -> str:
    """Return the docstring of a function without importing its module.

    Raises:
        LookupError: there is no such function.
    """
    path, tree = _parse(module)
    return ast.get_docstring(_find(tree, function, path)) or ""


def _parse(module: str) -> tuple[Path, ast.Module]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"There is no module {module}.")
    path = Path(spec.origin)
    return path, ast.parse(path.read_text(encoding="utf-8"))


def _find(tree: ast.Module, name: str, path: Path) -> ast.FunctionDef | ast.AsyncFunctionDef:
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name == name:
            return statement
    raise LookupError(f"There is no function {name} in {path}.")


def _names(node: ast.AST) -> Iterator[str]:
    """Yield every name that is read or bound in a piece of source."""
    return (found.id for found in ast.walk(node) if isinstance(found, ast.Name))


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement of a module makes."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return (alias.asname or alias.name for alias in statement.names)
    if isinstance(statement, ast.Assign):
        return (target.id for target in statement.targets if isinstance(target, ast.Name))
    return iter(())
