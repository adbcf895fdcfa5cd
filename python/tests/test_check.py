"""One folder for each mistake: what is said of it, with which line, and that nothing else is said."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from harness import SOURCE

from tercel_worker.check import check

GOOD_TOOL = """
    from integrations._register import register

    @register({
        "type": "function",
        "function": {"name": "board_read", "description": "Reads.", "parameters": {"type": "object", "properties": {}}},
    })
    async def board_read() -> str:
        return "[]"
"""


def schema(
    function: str, name: str = "a", parameters: str = '{"type": "object", "properties": {}}', more: str = ""
) -> str:
    return f"""
from integrations._register import register

@register({{{more} "type": "function", "function": {{"name": "{name}", "description": "d", "parameters": {parameters}}}}})
{function}
    return ""
"""


def said(place: Path, files: dict[str, str], id: str = "board") -> list[tuple[str, int | None, str, str]]:
    folder = place / id
    for name, text in {"README.md": "# Board\n", **files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return [(one.file, one.line, one.level, one.message) for one in check(folder)]


MISTAKES = [
    ({"router.py": "def f(:\n"}, "router.py", 1, "error", "SyntaxError"),
    ({"hooks.py": "from app.main import app\n"}, "hooks.py", 1, "error", "`app.main.app` is the server's own"),
    ({"hooks.py": "from app.agent.hook import x\n"}, "hooks.py", 1, "error", "is `app.agent.hooks` meant?"),
    ({"hooks.py": "from app.agent.hooks import register_hok\n"}, "hooks.py", 1, "error", "is `register_hook` meant?"),
    ({"hooks.py": "import app.services.tasks\n"}, "hooks.py", 1, "error", "`app.services.tasks` is the server's own"),
    ({"hooks.py": "from .missing import x\n"}, "hooks.py", 1, "error", "no `missing.py`"),
    ({"hooks.py": "from . import confg\n", "config.py": "A = 1\n"}, "hooks.py", 1, "error", "is `config` meant?"),
    (
        {"hooks.py": "from integrations.board.confg import A\n", "config.py": "A = 1\n"},
        "hooks.py",
        1,
        "error",
        "`config`",
    ),
    ({"hooks.py": "import numpy\n"}, "hooks.py", 1, "error", "requirements.txt with `numpy`"),
    ({"hooks.py": "import hmacs\n"}, "hooks.py", 1, "error", "is `hmac` meant?"),
    ({"hooks.py": "import yaml, jwt\n"}, "hooks.py", 1, "error", "with `pyjwt`"),
    ({"hooks.py": "import numpy\n", "requirements.txt": "pandas\n"}, "hooks.py", 1, "warning", "`numpy`"),
    (
        {"hooks.py": "import os\nX = os.environ['BOARD_URL']\n"},
        "hooks.py",
        2,
        "warning",
        "BOARD_URL is read here and decl",
    ),
    (
        {"hooks.py": "from pydantic_settings import BaseSettings\nclass C(BaseSettings):\n    BOARD_URL: str = ''\n"},
        "hooks.py",
        3,
        "warning",
        "belong in config.py or setup.py",
    ),
    (
        {"hooks.py": "open('app/main.py', 'a').write('x')\n"},
        "hooks.py",
        1,
        "error",
        "`app/main.py` is a file of the server",
    ),
    (
        {"hooks.py": "from pathlib import Path\nPath('integrations/utils.py').write_text('')\n"},
        "hooks.py",
        2,
        "error",
        "`integrations/utils.py`",
    ),
    ({"hooks.py": "from app.db.models import Bot\nBot.colour = 1\n"}, "hooks.py", 2, "error", "belongs to the server"),
    (
        {"hooks.py": "U = 'https://slack.com/api/chat.postMessage'\n"},
        "hooks.py",
        1,
        "warning",
        "integrations.slack.client",
    ),
    (
        {"hooks.py": "from app.agent.hooks import register_hook\nregister_hook('after_tool_cal', print)\n"},
        "hooks.py",
        2,
        "error",
        "is `after_tool_call` meant?",
    ),
    (
        {"hooks.py": "from app.agent.hooks import IntegrationMeta\nIntegrationMeta('board', client_id_prefix='b')\n"},
        "hooks.py",
        2,
        "error",
        'write "b:"',
    ),
    ({"setup.py": "SETUP = {'env_var': []}\n"}, "setup.py", 1, "error", "is `env_vars` meant?"),
    ({"setup.py": "SETUP = []\n"}, "setup.py", 1, "error", "SETUP is not a table"),
    ({"setup.py": "SETUPS = {}\n"}, "setup.py", 1, "warning", "call `SETUPS` so"),
    ({"setup.py": "SETUP = dict()\n"}, "setup.py", 1, "warning", "made when the code runs"),
    ({"setup.py": "SETUP = {'env_vars': {'key': 'A'}}\n"}, "setup.py", 1, "error", "list of tables"),
    ({"setup.py": "SETUP = {'env_vars': ['A']}\n"}, "setup.py", 1, "error", "is a table"),
    (
        {"setup.py": "SETUP = {'env_vars': [{'requird': True, 'key': 'A'}]}\n"},
        "setup.py",
        1,
        "error",
        "`required` meant",
    ),
    ({"setup.py": "SETUP = {'env_vars': [{'required': True}]}\n"}, "setup.py", 1, "error", "has no `key`"),
    (
        {"setup.py": "SETUP = {'env_vars': [{'key': 'A', 'required': 'yes'}]}\n"},
        "setup.py",
        1,
        "error",
        "True or False",
    ),
    ({"setup.py": "SETUP = {'env_vars': [{'key': 'A', 'default': 8080}]}\n"}, "setup.py", 1, "error", 'write "8080"'),
    ({"setup.py": "SETUP = {'env_vars': [{'key': 'my-key'}]}\n"}, "setup.py", 1, "error", "write it as MY_KEY"),
    ({"setup.py": "SETUP = {'env_vars': [{'key': 'LD_PRELOAD'}]}\n"}, "setup.py", 1, "error", "set by the server"),
    (
        {"setup.py": "SETUP = {'env_vars': [\n  {'key': 'A'},\n  {'key': 'A'},\n]}\n"},
        "setup.py",
        3,
        "error",
        "already, in line 2",
    ),
    (
        {"setup.py": "SETUP = {'webhook': {'path': '/hook'}}\n"},
        "setup.py",
        1,
        "error",
        "write /integrations/board/hook",
    ),
    (
        {"setup.py": "SETUP = {'webhook': {'path': '/integrations/board/w', 'url': '/x'}}\n", "integration.yaml": ""},
        "setup.py",
        1,
        "error",
        "has no `url`",
    ),
    ({"setup.py": "SETUP = {'sidebar_section': {'id': 'x'}}\n"}, "setup.py", 1, "error", "has no `items`"),
    (
        {"setup.py": "SETUP = {'sidebar_section': {'id': 'x', 'items': [{'label': 'L', 'href': 'x'}]}}\n"},
        "setup.py",
        1,
        "error",
        "begins with /",
    ),
    ({"setup.py": "SETUP = {'dashboard_modules': [{'label': 'L'}]}\n"}, "setup.py", 1, "error", "has no `id`"),
    ({"setup.py": "SETUP = {'activation': {'carapace': []}}\n"}, "setup.py", 1, "error", "is `carapaces` meant?"),
    ({"setup.py": "SETUP = {'activation': {'requires_workspace': 1}}\n"}, "setup.py", 1, "error", "True or False"),
    ({"setup.py": "SETUP = {'icon': 3}\n"}, "setup.py", 1, "error", "`icon` is text"),
    ({"process.py": "CMDS = ['python', 'x.py']\n"}, "process.py", 1, "error", "call `CMDS` so"),
    ({"process.py": "CMD = 'python x.py'\n"}, "process.py", 1, "error", "list of texts"),
    (
        {"process.py": "CMD = ['python', 'integrations/board/lisen.py']\n", "listen.py": ""},
        "process.py",
        1,
        "error",
        "listen",
    ),
    (
        {"process.py": "CMD = ['python', 'listen.py']\n", "listen.py": ""},
        "process.py",
        1,
        "error",
        "integrations/board/listen.py",
    ),
    ({"dispatcher.py": "x = 1\n"}, "dispatcher.py", 1, "error", 'register("board", …)'),
    (
        {"dispatcher.py": "from app.agent.dispatchers import register\nregister('webhook', object())\n"},
        "dispatcher.py",
        2,
        "error",
        "is the server's",
    ),
    ({"router.py": "routr = 1\n"}, "router.py", 1, "error", "call `routr` so"),
    (
        {"router.py": "from fastapi import APIRouter\nrouter = APIRouter()\n@router.get('/x')\ndef x(): return 1\n"},
        "router.py",
        4,
        "warning",
        "Anybody may call `x`",
    ),
    ({"tools/a.py": "def a(): pass\n"}, "tools/a.py", 1, "warning", "No tool is registered here"),
    ({"tools/a-b.py": GOOD_TOOL}, "tools/a-b.py", None, "error", "call it `a_b.py`"),
    ({"tools/a.py": schema("def a():", name="a b")}, "tools/a.py", 3, "error", "no name of letters"),
    ({"tools/a.py": schema("def a():", parameters='{"type": "list"}')}, "tools/a.py", 3, "error", "parameters of `a`"),
    (
        {
            "tools/a.py": schema(
                "def a(x):", parameters='{"type": "object", "properties": {"x": {"type": "text"}}, "required": ["x"]}'
            )
        },
        "tools/a.py",
        3,
        "error",
        "has the type `text`",
    ),
    (
        {"tools/a.py": schema("def a(y=1):", parameters='{"type": "object", "properties": {"x": {"type": "string"}}}')},
        "tools/a.py",
        4,
        "error",
        "does not take `x`",
    ),
    ({"tools/a.py": schema("def a(x):")}, "tools/a.py", 4, "error", "needs `x`, which its schema does not offer"),
    (
        {"tools/a.py": schema("def a(x):", parameters='{"type": "object", "properties": {"x": {"type": "string"}}}')},
        "tools/a.py",
        4,
        "warning",
        "does not require",
    ),
    ({"tools/a.py": schema("def a():", more='"effect": "reads",')}, "tools/a.py", 3, "error", "is `read` meant?"),
    (
        {"tools/a.py": GOOD_TOOL, "tools/b.py": GOOD_TOOL},
        "tools/b.py",
        3,
        "error",
        "`board_read` is in tools/a.py, line 3,",
    ),
    ({"connector.py": "x = 1\n"}, "connector.py", 1, "error", "no subclass of IntegrationBase"),
    ({"notes.txt": "x"}, ".", None, "error", "Nothing here makes an integration"),
]


ROUTER = """
from fastapi import APIRouter
from integrations import utils

router = APIRouter(dependencies=[])


@router.post("/webhook")
async def receive():
"""
HOOK = "from app.agent.hooks import IntegrationMeta, register_hook, register_integration\n"
SETTINGS = (
    "from pydantic_settings import BaseSettings\nclass C(BaseSettings):\n    BOARD_URL: str = ''\nsettings = C()\n"
)
DISPATCHER = """
from app.agent.dispatchers import register
class D:
    async def deliver(self, task, result, **more): pass
    async def post_message(self, dispatch_config, text, **more): pass
"""
CONNECTOR = """
from scripts.integrations.base import IntegrationBase
class Board(IntegrationBase):
    name = "board"
    label = "Board"
    tier = "free"
    def fields(self):
        return [
            {"key": "a", "label": "A", "type": "text"},
        ]
    def connect(self, config): return True
    def test(self): return True
"""


def asked(line: str) -> dict[str, str]:
    return {"router.py": ROUTER.lstrip() + f"    {line}\n", "tools/a.py": GOOD_TOOL, "skills/board.md": "x"}


def declared(path: str) -> str:
    return f"SETUP = {{\n    'webhook': {{'path': '/integrations/board/{path}'}},\n}}\n"


def connected(before: str, after: str) -> dict[str, str]:
    assert before in CONNECTOR
    return {"connector.py": CONNECTOR.lstrip().replace(before, after)}


def one_line(text: str) -> dict[str, str]:
    return {"hooks.py": text + "\n"}


# By kind: what is asked of the server, names, the router, hooks, the dispatcher, settings, the connector, tools,
# packages, files, waiting, secrets. All are of line, file and level as told.
MORE_MISTAKES = [
    (asked("utils.inject_mesage()"), "router.py", 9, "error", "is `inject_message` meant?"),
    (
        asked("await utils.inject_message(1, 'x', 'board', run_agnet=True)"),
        "router.py",
        9,
        "error",
        "`run_agent` meant",
    ),
    (asked("await utils.inject_message(session_id=1, source='board')"), "router.py", 9, "error", "needs `content`"),
    (asked("await utils.inject_message(1, 'x', 'board', True)"), "router.py", 9, "error", "3 arguments by place"),
    (asked("utils.inject_message(1, 'x', 'board')"), "router.py", 9, "error", "write `await utils.inject_message(…)`"),
    (asked("x = utils.search_documents('x')"), "router.py", 9, "error", "search_documents() is awaited"),
    (
        asked("return await utils.inject_message(1, 'x', 'b', execution_config={'preamble': 'x'})"),
        "router.py",
        9,
        "error",
        "is `system_preamble` meant?",
    ),
    (
        asked("return await utils.inject_message(1, 'x', 'b', execution_config={'tools': ['board_raed']})"),
        "router.py",
        9,
        "error",
        "is `board_read` meant?",
    ),
    (
        asked(
            "return await utils.inject_message(1, 'x', 'b', execution_config={'skills': ['integrations/board/bord']})"
        ),
        "router.py",
        9,
        "error",
        "is `integrations/board/board` meant?",
    ),
    (
        {
            "dispatcher.py": DISPATCHER.lstrip() + "register('board', D())\n",
            **asked("await utils.get_or_create_session('board:1', dispatch_config={'type': 'bord'})"),
        },
        "router.py",
        9,
        "warning",
        "is `board` meant?",
    ),
    (
        one_line("from integrations.utils import ingest_documents"),
        "hooks.py",
        1,
        "error",
        "is `ingest_document` meant?",
    ),
    (
        one_line("from scripts.integrations.base import IntegrationBas"),
        "hooks.py",
        1,
        "error",
        "`IntegrationBase` meant",
    ),
    (
        one_line("from scripts.user_profil import UserProfile"),
        "hooks.py",
        1,
        "error",
        "is `scripts.user_profile` meant?",
    ),
    (one_line("from integrations.elsewhere.config import x"), "hooks.py", 1, "warning", "no folder `elsewhere` beside"),
    (one_line("import json\nx = jsn.dumps(1)"), "hooks.py", 2, "error", "Nothing defines `jsn`; is `json` meant?"),
    (one_line("x = [undefined for _ in ()]"), "hooks.py", 1, "error", "Nothing defines `undefined`"),
    (
        {"config.py": SETTINGS, "hooks.py": "from .config import setings\n"},
        "hooks.py",
        1,
        "error",
        "`config.py` has no `setings`; is `settings` meant?",
    ),
    (
        {"config.py": SETTINGS, "hooks.py": "from .config import settings\nX = settings.BOARD_ULR\n"},
        "hooks.py",
        2,
        "error",
        "is `BOARD_URL` meant?",
    ),
    ({"setup.py": declared("hook"), **asked("return {}")}, "setup.py", 2, "error", "no route `/hook`"),
    ({"setup.py": declared("webhook"), "tools/a.py": GOOD_TOOL}, "setup.py", 2, "error", "no router.py"),
    (
        {"setup.py": declared("webhook"), "router.py": ROUTER.replace("post", "get").lstrip() + "    return {}\n"},
        "router.py",
        8,
        "error",
        "Webhooks are sent with POST",
    ),
    (
        {"router.py": "from fastapi import APIRouter\nrouter = APIRouter(prefix='/integrations/board')\n"},
        "router.py",
        2,
        "error",
        "leave it out",
    ),
    ({"router.py": "from fastapi import FastAPI\nrouter = FastAPI()\n"}, "router.py", 2, "error", "write APIRouter()"),
    (one_line("def f(): pass"), "hooks.py", 1, "warning", "Nothing is registered here"),
    (
        one_line(HOOK + "def f(ctx, **_): pass\nregister_hook('after_response', f())"),
        "hooks.py",
        3,
        "error",
        "is called here, once",
    ),
    (one_line(HOOK + "def f(ctx): pass\nregister_hook('after_response', f)"), "hooks.py", 2, "error", "with `**_`"),
    (one_line(HOOK + "def f(): pass\nregister_hook('after_response', f)"), "hooks.py", 2, "error", "f(ctx, **more)"),
    (
        one_line(HOOK + "register_integration(IntegrationMeta('board'))"),
        "hooks.py",
        2,
        "error",
        "needs `client_id_prefix`",
    ),
    (
        one_line(HOOK + "register_integration(IntegrationMeta('bord', 'bord:'))"),
        "hooks.py",
        2,
        "warning",
        "by its folder `board`",
    ),
    (
        {"dispatcher.py": DISPATCHER.lstrip() + "register('board', D)\n"},
        "dispatcher.py",
        5,
        "error",
        "register one of it, `D()`",
    ),
    ({"dispatcher.py": DISPATCHER.lstrip() + "register(D(), 'board')\n"}, "dispatcher.py", 5, "error", "comes first"),
    (
        {"dispatcher.py": DISPATCHER.lstrip() + "if __name__ == '__main__':\n    register('board', D())\n"},
        "dispatcher.py",
        6,
        "error",
        "outside of the `if`",
    ),
    (
        {"dispatcher.py": DISPATCHER.lstrip().replace("deliver", "delivr") + "register('board', D())\n"},
        "dispatcher.py",
        2,
        "error",
        "call `delivr` so",
    ),
    (
        {"dispatcher.py": DISPATCHER.lstrip().replace("deliver(self, ", "deliver(") + "register('board', D())\n"},
        "dispatcher.py",
        3,
        "error",
        "called with self, task, result",
    ),
    (
        {"config.py": SETTINGS.replace(": str", ""), "tools/a.py": GOOD_TOOL},
        "config.py",
        3,
        "error",
        "write `BOARD_URL: str = …`",
    ),
    (
        {"config.py": SETTINGS.replace("BOARD_URL", "PYTHONPATH"), "tools/a.py": GOOD_TOOL},
        "config.py",
        3,
        "error",
        "set by the server",
    ),
    ({"__init__.py": "version = 1\n", "tools/a.py": GOOD_TOOL}, "__init__.py", 1, "error", 'write "1"'),
    ({"__init__.py": "id = 'bord'\n", "tools/a.py": GOOD_TOOL}, "__init__.py", 1, "warning", "`board`, which counts"),
    ({"setup.py": "SETUP = {'tier': 'gold'}\n"}, "setup.py", 1, "error", "there are free, paid, premium"),
    ({"setup.py": "SETUP = {'icon': 'MesageSquare'}\n"}, "setup.py", 1, "warning", "is `MessageSquare` meant?"),
    (
        {"setup.py": "SETUP = {\n  'webhook': {\n    'path': make(),\n  },\n}\ndef make(): pass\n"},
        "setup.py",
        3,
        "warning",
        "made when the code runs",
    ),
    (
        {"setup.py": "SETUP = {'env_vars': [{'key': 'BOARD_TOKEN'}]}\n"},
        "setup.py",
        1,
        "warning",
        'add "secret": True',
    ),
    (
        {"setup.py": "SETUP = {'env_vars': [{'key': 'A', 'secret': True, 'default': 'x'}]}\n"},
        "setup.py",
        1,
        "warning",
        "is no secret",
    ),
    ({"process.py": "CMD = ['no-such-program']\n"}, "process.py", 1, "warning", "no `no-such-program` on this machine"),
    (
        {"process.py": "CMD = ['python', '-V']\nREQUIRED_ENV = ['BOARD_ULR']\n", "config.py": SETTINGS},
        "process.py",
        2,
        "warning",
        "is `BOARD_URL` meant?",
    ),
    (connected('"text"', '"txt"'), "connector.py", 8, "error", "is `text` meant?"),
    (connected('"key": "a", ', ""), "connector.py", 8, "error", "a table with a `key`"),
    (connected("def test(", "def tests("), "connector.py", 2, "error", "no test(): call `tests` so"),
    (connected("def test(", "async def test("), "connector.py", 11, "error", "write `def test`"),
    (connected("self, config", "self"), "connector.py", 10, "error", "with self and the values"),
    (connected('    label = "Board"\n', ""), "connector.py", 2, "error", "has no `label`"),
    (connected('"free"', '"gratis"'), "connector.py", 5, "error", "There is no tier `gratis`"),
    (connected('name = "board"', 'name = "bord"'), "connector.py", 3, "warning", "the folder's name counts"),
    (
        {"connector.py": CONNECTOR.lstrip() + CONNECTOR.replace("Board(", "Other(")},
        "connector.py",
        14,
        "error",
        "`Other` is another",
    ),
    (
        {
            "tools/a.py": schema(
                "def a(x=1):", parameters='{"type": "object", "properties": {"x": {}}, "required": "x"}'
            )
        },
        "tools/a.py",
        3,
        "error",
        'write ["x"]',
    ),
    (
        {"tools/a.py": schema("def a(x=1):", parameters='{"type": "object", "properties": {"x": "string"}}')},
        "tools/a.py",
        3,
        "error",
        'write {"type": "string"}',
    ),
    (
        {"tools/a.py": schema("def a(x=1):", parameters='{"type": "object", "properties": {"x": {"type": "array"}}}')},
        "tools/a.py",
        3,
        "warning",
        'add "items"',
    ),
    ({"tools/a.py": schema("def a():", more='"efect": "read",')}, "tools/a.py", 3, "error", "is `effect` meant?"),
    (one_line("import config"), "hooks.py", 1, "error", "with `config` gets it"),
    (
        {"config.py": "A = 1\n", "hooks.py": "from config import A\n"},
        "hooks.py",
        1,
        "error",
        "import it from `.config`",
    ),
    (
        {"requirements.txt": "httpx\nx==\n", "tools/a.py": GOOD_TOOL},
        "requirements.txt",
        2,
        "error",
        "is no requirement",
    ),
    ({"requirements.txt": "-e .\n", "tools/a.py": GOOD_TOOL}, "requirements.txt", 1, "error", "lies on this machine"),
    ({"requirements.txt": "git+https://x/y\n", "tools/a.py": GOOD_TOOL}, "requirements.txt", 1, "error", "has no hash"),
    (
        {"pyproject.toml": "[project]\nname = \n", "tools/a.py": GOOD_TOOL},
        "pyproject.toml",
        2,
        "error",
        "Invalid value",
    ),
    (
        {"dispacher.py": "x = 1\n", "tools/a.py": GOOD_TOOL},
        "dispacher.py",
        None,
        "warning",
        "is `dispatcher.py` meant?",
    ),
    ({"Router.py": "x = 1\n", "tools/a.py": GOOD_TOOL}, "Router.py", None, "warning", "is `router.py` meant?"),
    ({"skill/a.md": "x\n", "tools/a.py": GOOD_TOOL}, "skill/", None, "warning", "is `skills` meant?"),
    ({"skills/a.txt": "x\n", "tools/a.py": GOOD_TOOL}, "skills/a.txt", None, "warning", "only `skills/*.md` are read"),
    (
        one_line(
            "import time\nasync def f(ctx, **_):\n    time.sleep(1)\n" + HOOK + "register_hook('after_response', f)"
        ),
        "hooks.py",
        3,
        "warning",
        "await asyncio.sleep",
    ),
    (one_line("NAME = input()"), "hooks.py", 1, "error", "on a server"),
    (one_line("while True:\n    pass"), "hooks.py", 1, "error", "does not end"),
    (one_line("import sys\nsys.exit(1)"), "hooks.py", 2, "error", "ends the loading"),
    (one_line("KEY = 'sk-" + "a1" * 12 + "'"), "hooks.py", 1, "warning", "looks like a secret"),
]


@pytest.mark.parametrize(("files", "file", "line", "level", "words"), [*MISTAKES, *MORE_MISTAKES])
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
