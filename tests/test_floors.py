"""Imports point downwards only, and the pure floors stay pure: both rules as data, proved on the syntax tree."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "terminator"

FLOORS: list[set[str]] = [
    {"errors", "record"},
    {"wire", "routing"},
    {"config"},
    {"telemetry"},
    {"transport"},
    {"tls", "backend"},
    {"proxy"},
    {"service", "report", "selftest"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

PURE = (
    "errors",
    "record",
    "wire.",
    "routing.",
    "config.backends",
    "config.hosts",
    "config.model",
    "config.section",
    "config.values",
    "telemetry.events",
    "service.supervision",
)
IMPURE = {"trio", "socket", "ssl", "os", "time", "random", "logging", "select", "selectors", "threading"}
# Only the named folders or modules may import these at all.
RESERVED = {
    "yaml": ("config.load", "config.nodes"),
    "ssl": ("tls.", "selftest.", "cli."),
    "ctypes": ("tls.libssl", "tls.openssl"),
    "cryptography": ("tls.certificates", "tls.chains", "tls.throwaway", "cli."),
}


def imports() -> list[tuple[str, str, int]]:
    """(importing module, imported module, line) for every import in the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found += [(module, alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found += [(module, name, node.lineno) for name in names]
    return found


def test_imports_point_downwards() -> None:
    wrong = []
    for module, imported, line in imports():
        parts = imported.split(".")
        if parts[0] != "terminator" or len(parts) < 2 or parts[1] not in FLOOR:
            continue
        here, there = module.split(".")[0], parts[1]
        if here == "__init__" or here == there:
            continue
        if FLOOR[there] >= FLOOR[here]:
            wrong.append(f"{module}:{line} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_every_module_stands_on_a_floor() -> None:
    tops = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("__") and path.suffix != ".typed"}
    assert tops - {"__init__"} <= set(FLOOR)


def test_pure_modules_stay_pure() -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for module, imported, line in imports()
        if any(module == pure or (pure.endswith(".") and module.startswith(pure)) for pure in PURE)
        and imported.split(".")[0] in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


def test_reserved_imports_stay_in_their_place() -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for module, imported, line in imports()
        for reserved, places in RESERVED.items()
        if imported.split(".")[0] == reserved
        and not any(module == place or (place.endswith(".") and module.startswith(place)) for place in places)
    ]
    assert not wrong, "\n".join(wrong)
