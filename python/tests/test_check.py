"""One folder for each mistake: what is said of it, with which line, and that nothing else is said."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from harness import SOURCE
from mistakes import GOOD_TOOL, MISTAKES

from tercel_worker.check import check


def said(place: Path, files: dict[str, str], id: str = "board") -> list[tuple[str, int | None, str, str]]:
    folder = place / id
    for name, text in {"README.md": "# Board\n", **files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return [(one.file, one.line, one.level, one.message) for one in check(folder)]


@pytest.mark.parametrize(("files", "file", "line", "level", "words"), MISTAKES)
def test_a_mistake_is_said_where_it_is_and_nothing_else(
    tmp_path: Path, files: dict[str, str], file: str, line: int | None, level: str, words: str
) -> None:
    found = said(tmp_path, files)
    assert [one[:3] for one in found] == [(file, line, level)], found
    assert words in found[0][3], found


GOOD = {
    "__init__.py": 'id = "board"\n',
    "config.py": """
        from pydantic_settings import BaseSettings

        class Config(BaseSettings):
            BOARD_TOKEN: str = ""

        settings = Config()
    """,
    "setup.py": """
        SETUP = {
            "env_vars": [{"key": "BOARD_URL", "required": True, "secret": False, "description": "d", "default": "u"}],
            "webhook": {"path": "/integrations/board/webhook", "description": "d"},
            "sidebar_section": {
                "id": "board", "title": "BOARD", "icon": "Plug", "readiness_endpoint": "/api/v1/board/r",
                "readiness_field": "f", "items": [{"label": "L", "href": "/board", "icon": "Plug"}],
            },
            "dashboard_modules": [{"id": "a", "label": "A", "icon": "Plug", "description": "d"}],
            "features": {"board_sync": "paid"}, "api_permissions": ["documents:write"],
            "activation": {"carapaces": ["c"], "includes": [], "requires_workspace": False, "version": "1"},
        }
    """,
    "router.py": """
        import hmac
        import os

        from fastapi import APIRouter, Request

        from app.db.engine import async_session
        from integrations import utils
        from integrations.board.config import settings
        from .tools._helpers import help

        router = APIRouter()

        @router.post("/webhook")
        async def receive(request: Request):
            if not _is_ours(request):
                return {}
            os.environ["BOARD_URL"]
            os.environ.get("AGENT_API_KEY")

        def _is_ours(request):
            return hmac.compare_digest("", settings.BOARD_TOKEN)
    """,
    "dispatcher.py": """
        from app.agent.dispatchers import register

        class Board:
            async def deliver(self, task, result, client_actions=None, extra_metadata=None):
                open("notes/app.txt", "w")

            async def post_message(self, dispatch_config, text, **more):
                return False

        register("board", Board())
    """,
    "hooks.py": """
        from app.agent.hooks import HookContext, IntegrationMeta, register_hook, register_integration

        register_integration(IntegrationMeta(integration_type="board", client_id_prefix="board:"))
        register_hook("after_tool_call", print)
        try:
            import numpy
        except ImportError:
            numpy = None
    """,
    "process.py": """
        CMD = ["python", "integrations/board/listen.py"]
        REQUIRED_ENV = ["BOARD_TOKEN"]
    """,
    "listen.py": "import bs4\n",
    "requirements.txt": "beautifulsoup4>=4 --hash=sha256:0\n",
    "tools/__init__.py": "",
    "tools/_helpers.py": "def help(): pass\n",
    "tools/read.py": GOOD_TOOL,
    "tests/test_board.py": "import pytest\nfrom app.main import x\n",
    "__pycache__/router.cpython-311.pyc": "x",
}


def test_a_folder_without_mistakes_has_none(tmp_path: Path) -> None:
    assert said(tmp_path, GOOD) == []


def test_a_dispatcher_that_cannot_be_called_is_told_what_it_lacks(tmp_path: Path) -> None:
    text = """
        from app.agent.dispatchers import register

        class Board:
            def deliver(self, task, result):
                pass

        register("board", Board())
    """
    found = said(tmp_path, {"dispatcher.py": text})
    assert [(line, level) for _, line, level, _ in found] == [(3, "warning"), (4, "error"), (4, "error")]
    assert "async def deliver" in found[1][3]
    assert "client_actions, extra_metadata" in found[2][3]


@pytest.mark.parametrize(("id", "better"), [("my-board", "my_board"), ("Board", "board"), ("9lives", "my_9lives")])
def test_a_name_that_cannot_be_one_gets_a_better_one(tmp_path: Path, id: str, better: str) -> None:
    found = said(tmp_path, {"skills/a.md": "x"}, id)
    assert [(one[0], one[2]) for one in found] == [(".", "error")]
    assert f"`{better}`" in found[0][3]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "bad.py").write_text("def f(:\n")
    (tmp_path / "board").mkdir()
    os.symlink(tmp_path / "secret", tmp_path / "board" / "tools")
    os.symlink("/etc/passwd", tmp_path / "board" / "config.py")
    found = said(tmp_path, {"skills/a.md": "x"})
    assert [(file, level) for file, _, level, _ in found] == [("config.py", "error"), ("tools", "error")]


def test_a_folder_that_nobody_described_is_asked_to(tmp_path: Path) -> None:
    (tmp_path / "board" / "skills").mkdir(parents=True)
    (tmp_path / "board" / "skills" / "a.md").write_text("x")
    assert [(one.file, one.level) for one in check(tmp_path / "board")] == [("README.md", "warning")]


def test_a_function_that_was_copied_from_a_folder_beside_names_that_folder(tmp_path: Path) -> None:
    text = """
        import httpx

        async def post(text):
            url = "https://board.example/posts"
            body = {"text": text}
            async with httpx.AsyncClient() as client:
                answer = await client.post(url, json=body)
            return answer.json()
    """
    rest = {"hooks.py": ""}
    assert said(tmp_path, {"client.py": text, **rest}, "first") == []
    found = said(tmp_path, {"client.py": text.replace("import httpx", "import httpx  # copied\n\n"), **rest}, "second")
    assert [one[:3] for one in found] == [("client.py", 5, "warning")]
    assert "first/client.py, line 3" in found[0][3]


def test_the_form_of_a_connector_is_looked_at(tmp_path: Path) -> None:
    text = """
        from scripts.integrations.base import IntegrationBase

        class Board(IntegrationBase):
            name = "other"
            label = "Board"
            tier = "free"

            def fields(self):
                return [{"key": "a", "label": "A", "type": "secret", "helpp": ""}, {"key": "a", "type": "text"}]
    """
    found = " ".join(one[3] for one in said(tmp_path, {"connector.py": text}))
    for words in ("called `other`", "type `secret`", "is `help` meant?", "has `a` twice", "no `label`"):
        assert words in found, found


def test_what_nobody_would_write_is_no_reason_to_fail(tmp_path: Path) -> None:
    folder = tmp_path / "board"
    folder.mkdir()
    (folder / "README.md").write_text("x")
    (folder / "router.py").write_bytes(b"\x00\xff\xfe")
    (folder / "hooks.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    (folder / "setup.py").write_text(
        "SETUP = {**other, 1: 2, 'webhook': {**x}, 'env_vars': [*y, {None: 1, 'key': k}]}\n"
    )
    (folder / "process.py").write_text("CMD = [x for x in y]\nREQUIRED_ENV = {'A': [{}]}\n")
    (folder / "dispatcher.py").write_text("")
    (folder / "config.py").write_text("# -*- coding: klingon -*-\n")
    found = check(folder)
    assert {one.file for one in found if one.level == "error"} >= {
        "router.py",
        "hooks.py",
        "dispatcher.py",
        "config.py",
    }


def test_the_program_prints_json_and_refuses_what_is_no_folder(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-B", "-m", "tercel_worker.check", *arguments]
        return subprocess.run(program, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False)

    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "hooks.py").write_text("def f(:\n")
    problems = json.loads(run(str(tmp_path / "board")).stdout)["problems"]
    assert ("hooks.py", 1, "error") in [(one["file"], one["line"], one["level"]) for one in problems]
    assert run().returncode == 2
    assert run(str(tmp_path / "nothing")).returncode == 2
    assert list(tmp_path.rglob("__pycache__")) == []
