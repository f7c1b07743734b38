"""The order of the rooms (docs/architecture.md): each imports only what stands before it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cam_repro"

GROUND = {
    "__init__",
    "classes",
    "config",
    "errors",
    "files",
    "geometry",
    "locks",
    "matlab",
    "progress",
    "resample",
    "signals",
    "threads",
    "truth",
    "types",
    "words",
}
"""Modules at the package's top: small, and imported by all."""

ROOMS = [
    *("ground", "formats", "runs", "data", "models", "saliency", "objectives", "boxes", "quality"),
    *("metrics", "generic", "engine", "tables", "figures", "report", "api", "commands", "cli"),
]

MODULES = {
    ".".join(["cam_repro", *path.relative_to(PACKAGE).with_suffix("").parts]): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room_of(module):
    parts = module.split(".")[1:]
    return "ground" if len(parts) < 2 and parts != ["api"] else parts[0]


def imports_of(path):
    """The modules of this package that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written from the package's name"
            of_module = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in of_module]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "cam_repro":
                found.add(name if name in MODULES else f"{name}.__init__")
    return found


ARROWS = {module: imports_of(path) & MODULES.keys() for module, path in MODULES.items()}


def test_the_rooms_are_those_named_here():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(ROOMS) - {"ground", "api"}
    assert {path.stem for path in PACKAGE.glob("*.py")} == GROUND | {"api"}


@pytest.mark.parametrize("module", MODULES)
def test_no_arrow_runs_back_up(module):
    floor = ROOMS.index(room_of(module))
    above = {other for other in ARROWS[module] if ROOMS.index(room_of(other)) > floor}
    assert not above, f"{module} imports {', '.join(sorted(above))}"


def test_no_circle():
    order, open_modules = [], []

    def visit(module):
        if module in order:
            return
        assert module not in open_modules, " -> ".join([*open_modules, module])
        open_modules.append(module)
        for other in sorted(ARROWS[module]):
            visit(other)
        order.append(open_modules.pop())

    for module in MODULES:
        visit(module)
    assert len(order) == len(MODULES)
