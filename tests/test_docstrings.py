"""Every test says in one sentence which truth it holds."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _tests(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, functions) and node.name.startswith("test_")
    ]


FILES = {path.stem: _tests(path) for path in sorted(HERE.glob("*.py"))}


@pytest.mark.parametrize("file", [file for file, tests in FILES.items() if tests])
def test_docstrings(file: str) -> None:
    """Each test has a docstring that is one sentence."""
    silent = [
        test.name for test in FILES[file] if not (ast.get_docstring(test) or "").endswith(".")
    ]

    assert [] == silent
