"""Who may know whom. A new edge is a decision, made here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BACKEND = Path(__file__).resolve().parent.parent / "backend"

ROOMS: dict[str, tuple[set[str], set[str]]] = {
    # room: (rooms it may import, third-party packages it may import)
    "chat": ({"chat"}, set()),
    "wire": ({"chat", "ledger", "wire"}, {"pydantic", "pydantic_core", "orjson"}),
    "providers": ({"chat", "providers"}, {"urllib3", "orjson", "rs_bpe"}),
    "stores": ({"chat", "stores"}, {"orjson", "redis", "sqlalchemy"}),
    "ledger": ({"chat", "ledger"}, {"sqlalchemy", "alembic"}),
    "access": ({"chat", "access"}, {"jwt", "limits", "urllib3"}),
    "runtime": ({"chat", "wire", "runtime"}, {"eventlet", "gevent", "greenlet", "dotenv"}),
    "telemetry": ({"chat", "telemetry"}, {"prometheus_client"}),
    "reference": ({"chat", "ledger", "wire", "reference"}, {"pydantic"}),
    "transports": (
        {"chat", "access", "ledger", "wire", "telemetry", "transports"},
        {"flask", "flask_socketio", "socketio", "engineio", "flask_limiter", "werkzeug"},
    ),
}
FILES: dict[str, tuple[set[str], set[str]]] = {
    # The files outside rooms; `*` stands for every room.
    "__init__": (set(), set()),
    "config": ({"chat", "models_file", "values"}, {"dotenv"}),
    "models": ({"chat", "config", "models_file", "providers"}, set()),
    "store_url": ({"access", "chat", "config", "stores"}, set()),
    "values": (set(), set()),
    "models_file": ({"chat"}, {"pydantic"}),
    "app": ({"*"}, {"flask", "flask_limiter", "limits", "werkzeug"}),
    "child": (set(), set()),
    "parent": ({"child"}, set()),
    "workers": ({"chat", "child", "parent", "runtime", "telemetry", "values"}, set()),
    "serving": ({"*"}, set()),
    "check": (set(), {"urllib3", "wsproto"}),
    "commands": ({"values"}, set()),
    "books": ({"chat", "ledger"}, set()),
    "__main__": ({"*"}, set()),
}


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Every module a file imports, split at its dots."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (tuple(name.name.split(".")) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = (node.module or "").split(".")
            if module == ["backend"]:
                yield from (("backend", name.name) for name in node.names)
            else:
                yield tuple(module)


def sources() -> list[Path]:
    return sorted(BACKEND.rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(BACKEND)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    place = path.relative_to(BACKEND)
    allowed_rooms, allowed_packages = ROOMS[place.parts[0]] if len(place.parts) > 1 else FILES[place.stem]
    for module in imports(path):
        if module[0] == "backend":
            room = module[1] if len(module) > 1 else "__init__"
            fine = "*" in allowed_rooms or room in allowed_rooms or room == "__version__"
            assert fine, f"{place} may not import {'.'.join(module)}"
        elif module[0] not in sys.stdlib_module_names:
            assert module[0] in allowed_packages, f"{place} may not import {module[0]}"


def test_only_one_file_names_each_green_thread_library() -> None:
    for path in sources():
        modules = {module[0] for module in imports(path)}
        for library in ("eventlet", "gevent"):
            assert library not in modules or path == BACKEND / "runtime" / f"on_{library}.py", path
        assert "greenlet" not in modules or path == BACKEND / "runtime" / "green.py", path


def test_every_import_stands_at_the_top_of_its_file() -> None:
    for path in sources():
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
                assert not inner, f"{path} imports inside {node.name}"


def test_a_server_loads_only_what_everybody_needs() -> None:
    """Who has no teams does without SQL, and who is not asked for its description without that."""
    script = "import sys, backend.app; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", script], cwd=BACKEND.parent, capture_output=True, text=True, check=True
    )
    modules = set(loaded.stdout.split())
    assert "backend.ledger.desk" in modules
    assert not modules & {"sqlalchemy", "alembic", "psycopg2", "backend.reference.schemas"}
