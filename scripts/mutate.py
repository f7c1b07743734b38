"""Test the tests: change one operator or number of a module at a time; say which changes pass.

    python scripts/mutate.py cam_repro/geometry.py tests/test_geometry.py
    python scripts/mutate.py cam_repro/metrics/official.py tests/metrics/test_official.py --every 3

A change that no test notices is printed, with its line: a test is missing there, or the change
makes no difference. Each change is made in a copy of the package, in a process of its own that has
imported the libraries already. Nothing here is part of the package.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

OUTPUT = "output.txt"
"""What the tests said last, in the copy of the package."""

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
}
NAMES = {"min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum"}
NAMES |= {"argmin": "argmax", "argmax": "argmin", "any": "all", "all": "any"}


def changes(tree: ast.Module) -> Iterator[tuple[int, str, ast.Module]]:
    """Yield each change: its line, what it is, and the changed module."""
    types = {id(inner) for node in ast.walk(tree) for inner in _within_types(node)}
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in types:
            continue
        for what, change in _of_node(node):
            changed = copy.deepcopy(tree)
            twin = next(each for i, each in enumerate(ast.walk(changed)) if i == number)
            change(twin)
            yield getattr(node, "lineno", 0), what, ast.fix_missing_locations(changed)


def _within_types(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is within the types of arguments, variables and results: it does nothing."""
    for name in ("annotation", "returns"):
        if isinstance(kind := getattr(node, name, None), ast.AST):
            yield from ast.walk(kind)


def _of_node(node: ast.AST) -> Iterator:
    """Yield what can be changed in a node: in words, and as a function that does it."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        new = OPERATORS[type(node.ops[0])]
        yield _arrow(node.ops[0], new), lambda twin: twin.ops.__setitem__(0, new())
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OPERATORS:
        new = OPERATORS[type(node.op)]
        yield _arrow(node.op, new), lambda twin: setattr(twin, "op", new())
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield f"{node.value} -> + 1", lambda twin: setattr(twin, "value", twin.value + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert | ast.USub):
        yield f"{type(node.op).__name__} left out", lambda twin: setattr(twin, "op", ast.UAdd())
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield f"{node.id} -> {NAMES[node.id]}", lambda twin: setattr(twin, "id", NAMES[twin.id])
    elif isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield (
            f"{node.attr} -> {NAMES[node.attr]}",
            lambda twin: setattr(twin, "attr", NAMES[twin.attr]),
        )


def _arrow(old: ast.AST, new: type[ast.AST]) -> str:
    return f"{type(old).__name__} -> {new.__name__}"


def passes(copy_of_root: Path, tests: list[str]) -> bool:
    """Run the tests in a child process; tell whether all pass. One that hangs is ended."""
    child = os.fork()
    if child == 0:
        os.chdir(copy_of_root)
        sys.path.insert(0, str(copy_of_root))
        said = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        status = 1
        try:
            status = int(pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]))
        except BaseException:  # nothing of the parent's may run on here
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)
    started = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        if time.monotonic() - started > 300:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return False
        time.sleep(0.02)


def main() -> None:
    """Try the changes of a module, and print those that no test notices."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--every", type=int, default=1, help="try each n-th change only")
    args = parser.parse_args()
    for library in ("torch", "cv2", "pandas", "pyarrow", "scipy.ndimage"):
        __import__(library)
    tree = ast.parse((ROOT / args.module).read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder)
        for name in ("cam_repro", "configs", "tests"):
            shutil.copytree(
                ROOT / name, copied / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copy(ROOT / "pyproject.toml", copied)
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True
        if not passes(copied, args.tests):
            raise SystemExit((copied / OUTPUT).read_text() + "the tests fail without a change")
        tried = unnoticed = 0
        for line, what, changed in list(changes(tree))[:: args.every]:
            (copied / args.module).write_text(ast.unparse(changed), encoding="utf-8")
            tried += 1
            if passes(copied, args.tests):
                unnoticed += 1
                print(f"{args.module}:{line}: {what}", flush=True)
    print(f"{args.module}: {unnoticed} of {tried} changes pass")


if __name__ == "__main__":
    main()
