"""Folders with one mistake each, and what is to be said of it: file, line, level, and words of the message."""

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
    # By kind: what is asked of the server, names, the router, hooks, the dispatcher, settings, the connector, tools,
    # packages, files, waiting, secrets. All are of line, file and level as told.
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
