"""The tests mirror the tree: every module has its test file, and every test file its module."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "terminator"

# module → why it has no test file of its own
EXCEPTIONS = {
    "__main__": "two lines, run by every end-to-end test",
}
# folders and files of tests that are about no single module
BESIDE = {
    "border",
    "e2e",
    "systemd",
    "test_mirror.py",
    "test_floors.py",
    "test_docs.py",
    "test_monitoring.py",
    "test_bench.py",
}


def is_bare(path: Path) -> bool:
    """Whether a module holds nothing but its docstring."""
    return len(ast.parse(path.read_text()).body) <= 1


def mirror_of(module: Path) -> Path:
    """`wire/client_hello.py` → `wire/test_client_hello.py`; a package's own code → `cli/test_cli.py`."""
    name = module.parent.name if module.name == "__init__.py" else module.stem
    return module.parent / f"test_{name}.py"


def expected() -> dict[Path, str]:
    """Test file → module, for every module that holds code."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE)
        if not (module.name == "__init__.py" and is_bare(path)):
            found[mirror_of(module)] = ".".join(module.with_suffix("").parts)
    return found


def test_every_module_has_its_test_file() -> None:
    missing = [
        f"{module}: no tests/{file}"
        for file, module in expected().items()
        if module not in EXCEPTIONS and not (TESTS / file).exists()
    ]
    assert not missing, "\n".join(missing)


def test_every_test_file_has_its_module() -> None:
    orphans = []
    for path in sorted(TESTS.rglob("test_*.py")):
        file = path.relative_to(TESTS)
        if file.parts[0] not in BESIDE and file not in expected():
            orphans.append(f"tests/{file} tests no module of that name")
    assert not orphans, "\n".join(orphans)


def test_no_exception_is_out_of_date() -> None:
    modules = {module: file for file, module in expected().items()}
    stale = [name for name in EXCEPTIONS if name not in modules or (TESTS / modules[name]).exists()]
    assert not stale
