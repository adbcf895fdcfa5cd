"""What loads of a folder, loads; the rest is a problem with file and line."""

import signal

from harness import Start

TOOL = """
    from integrations._register import register

    @register({"type": "function", "function": {"name": "works", "parameters": {"type": "object", "properties": {}}}})
    async def works():
        return "yes"
"""


def test_each_module_that_fails_is_a_problem_and_the_rest_works(start: Start) -> None:
    worker = start(
        {
            "dispatcher.py": "import no_such_module\n",
            "hooks.py": "\n\nimport sys\nsys.exit(4)\n",
            "router.py": "def broken(:\n    pass\n",
            "tools/inner.py": "from ._deep import thing\n",
            "tools/_deep.py": "thing = 1\n1 / 0\n",
            "tools/interrupted.py": "raise KeyboardInterrupt\n",
            "tools/null.py": "x = '\\0'\n",
            "tools/works.py": TOOL,
        }
    )
    assert worker.tool("works") == {"result": "yes"}
    assert worker.describe()["problems"] == [
        {"file": "dispatcher.py", "line": 1, "message": "ModuleNotFoundError: No module named 'no_such_module'"},
        {"file": "hooks.py", "line": 4, "message": "SystemExit: 4"},
        {"file": "router.py", "line": 1, "message": "SyntaxError: invalid syntax"},
        {"file": "tools/_deep.py", "line": 2, "message": "ZeroDivisionError: division by zero"},
        {"file": "tools/interrupted.py", "line": 1, "message": "KeyboardInterrupt"},
    ]


def test_a_package_that_fails_is_one_problem(start: Start) -> None:
    worker = start({"__init__.py": "raise OSError('no disk')\n", "tools/works.py": TOOL})
    assert worker.describe()["problems"] == [{"file": "__init__.py", "line": 1, "message": "OSError: no disk"}]
    assert worker.tool("works")["error"]["code"] == "not_found"


def test_a_folder_of_nothing_is_described(start: Start) -> None:
    described = start({"README.md": "Nothing"}).describe()
    assert (described["name"], described["tools"], described["problems"]) == ("demo", [], [])


def test_a_folder_imports_its_siblings_and_does_not_have_their_parts(start: Start) -> None:
    worker = start(
        {
            "tools/mine.py": """
                from integrations._register import register
                from integrations.other.tools.theirs import theirs

                @register({"type": "function", "function": {"name": "mine"}})
                async def mine():
                    return await theirs()
            """
        },
        siblings={
            "other": {
                "tools/theirs.py": """
                    from integrations._register import register

                    @register({"type": "function", "function": {"name": "theirs"}})
                    async def theirs():
                        return "from other"
                """
            }
        },
    )
    described = worker.describe()
    assert [tool["name"] for tool in described["tools"]] == ["mine"]
    assert described["siblings"] == ["other"]
    assert worker.tool("mine") == {"result": "from other"}
    assert worker.tool("theirs")["error"]["code"] == "not_found"


def test_a_folder_may_have_the_name_of_what_is_shipped(start: Start) -> None:
    worker = start(
        {
            "client.py": "WHOSE = 'mine'\n",
            "tools/whose.py": """
                from integrations._register import register
                from integrations.slack.client import WHOSE

                @register({"type": "function", "function": {"name": "whose"}})
                async def whose():
                    return WHOSE
            """,
        },
        id="slack",
    )
    assert worker.tool("whose") == {"result": "mine"}
    assert worker.describe()["problems"] == []


def test_what_setup_process_and_source_declare_is_described(start: Start) -> None:
    worker = start(
        {
            "setup.py": """
                PORT = "8" + "080"
                SETUP = {
                    "icon": "Zap",
                    "env_vars": [
                        {"key": "DEMO_TOKEN", "required": True, "secret": True, "description": "From the page"},
                        {"key": "DEMO_PORT", "required": False, "default": PORT},
                    ],
                    "webhook": {"path": "/integrations/demo/webhook", "description": "Events"},
                    "sidebar_section": {"id": "demo", "items": []},
                    "dashboard_modules": [{"id": "m"}],
                    "activation": {"carapaces": ["c"]},
                    "hooks": "all",
                    "features": {"demo_sync": "paid"},
                    "api_permissions": ["documents:write"],
                }
            """,
            "config.py": """
                from pydantic_settings import BaseSettings

                IDENTITY_FIELDS = [{"key": "user_id"}]

                class Config(BaseSettings):
                    DEMO_URL: str = "http://x"
                    DEMO_PASSWORD: str

                    model_config = {"extra": "ignore"}
            """,
            "process.py": """
                import sys
                DESCRIPTION = "Listens"
                CMD = ["python"] + ["integrations/demo/listen.py"]
                REQUIRED_ENV = ["DEMO_TOKEN", "DEMO_SECRET"]
                WATCH_PATHS = ["integrations/demo/"]
            """,
            "listen.py": "import os\nos.environ['DEMO_DEBUG']\nos.getenv('DEMO_PORT')\nos.environ.get('TERCEL_SOCKET')\n",
        }
    )
    described = worker.describe()
    assert described["variables"] == [
        {"key": "DEMO_TOKEN", "required": True, "secret": True, "description": "From the page", "default": None},
        {"key": "DEMO_PORT", "required": False, "secret": False, "description": "", "default": "8080"},
        {"key": "DEMO_SECRET", "required": True, "secret": True, "description": "", "default": None},
        {"key": "DEMO_URL", "required": False, "secret": False, "description": "", "default": "http://x"},
        {"key": "DEMO_PASSWORD", "required": True, "secret": True, "description": "", "default": None},
    ]
    assert described["undeclared"] == ["DEMO_DEBUG"]
    assert described["process"] == {
        "description": "Listens",
        "command": ["python", "integrations/demo/listen.py"],
        "required": ["DEMO_TOKEN", "DEMO_SECRET"],
        "watch": ["integrations/demo/"],
    }
    assert (described["icon"], described["watches"]) == ("Zap", "all")
    assert described["webhook"] == {"path": "/integrations/demo/webhook", "description": "Events"}
    assert described["sidebar_section"] == {"id": "demo", "items": []}
    assert (described["dashboard_modules"], described["activation"]) == ([{"id": "m"}], {"carapaces": ["c"]})
    assert (described["features"], described["api_permissions"]) == ({"demo_sync": "paid"}, ["documents:write"])
    assert described["identity_fields"] == [{"key": "user_id"}]


def test_nothing_is_written_beside_the_code(start: Start) -> None:
    worker = start({"tools/works.py": TOOL})
    worker.tool("works")
    assert list((worker.root / "snapshot").rglob("__pycache__")) == []


def test_loading_that_never_ends_can_be_seen_in_the_log(start: Start) -> None:
    worker = start({"hooks.py": "print('loading')\nwhile True:\n    pass\n"})
    worker.wait_for_log("loading")
    worker.process.send_signal(signal.SIGUSR1)
    worker.wait_for_log('hooks.py", line ')
    worker.process.kill()


def test_settings_are_there_when_the_folder_is_imported(start: Start) -> None:
    worker = start(
        {
            "config.py": """
                from pydantic_settings import BaseSettings

                class Config(BaseSettings):
                    DEMO_TOKEN: str = ""

                settings = Config()
            """,
            "tools/token.py": """
                from integrations._register import register
                from integrations.demo.config import settings
                from app.services.integration_settings import get_value

                TOKEN = settings.DEMO_TOKEN

                @register({"type": "function", "function": {"name": "token"}})
                def token():
                    return [TOKEN, get_value("demo", "DEMO_TOKEN"), get_value("demo", "DEMO_NONE", "fallback"),
                            get_value("other", "DEMO_TOKEN", "not yours")]
            """,
        },
        {"DEMO_TOKEN": "t0"},
    )
    assert worker.tool("token") == {"result": ["t0", "t0", "fallback", "not yours"]}
    worker.wait_for_log("a folder has its own settings only")


def test_a_worker_without_a_socket_says_how_it_is_started(start: Start) -> None:
    worker = start({}, {"TERCEL_SOCKET": ""})
    assert worker.process.wait(10) == 2
    assert "is started by Tercel" in worker.log()
