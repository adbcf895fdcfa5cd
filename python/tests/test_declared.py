"""What a folder declares can be read without running a line of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import SOURCE, write

TRAP = "raise SystemExit('this must never run')\n"


def declared(folder: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "tercel_worker.declared", str(folder)],
        env={"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_variables_and_reads_have_their_file_and_line(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    write(
        folder,
        {
            "__init__.py": TRAP,
            "setup.py": """
                PREFIX = "DEMO_"
                SETUP = {
                    "env_vars": [
                        {"key": PREFIX + "TOKEN", "required": True, "secret": True, "description": "T"},
                        {"key": "DEMO_PORT", "default": 8080},
                        {"no": "key"},
                        "nonsense",
                    ],
                    "webhook": {"path": "/integrations/demo/webhook"},
                }
                raise SystemExit('this must never run')
            """,
            "process.py": 'CMD = ["python", "x.py"]\nREQUIRED_ENV = ["DEMO_TOKEN", "DEMO_APP_SECRET"]\n' + TRAP,
            "config.py": """
                import os
                from pydantic import Field, SecretStr
                from pydantic_settings import BaseSettings, SettingsConfigDict

                class Base(BaseSettings):
                    model_config = SettingsConfigDict(env_prefix="demo_")
                    url: str = "http://x"
                    _hidden: str = ""
                    pin: SecretStr
                    depth: int = Field(default=3, description="How deep")
                    needed: str = Field(...)
                    other: str = Field("", alias="OTHER_NAME")

                class More(Base):
                    flags: list[str] = ["a"]
                    BARE: bool = True
            """,
            "tools/reads.py": """
                import os
                from os import environ, getenv
                from app.services.integration_settings import get_value
                from integrations.sibling.tools import thing
                NAME = "DEMO_CONSTANT"
                os.environ["DEMO_SUBSCRIPT"]
                os.environ["DEMO_WRITTEN"] = "x"
                environ.get("DEMO_GET", "")
                getenv("DEMO_GETENV")
                os.getenv(NAME)
                "DEMO_IN" in os.environ
                os.environ[unknown]
                os.environ.get("PATH"), os.environ.get("TERCEL_SOCKET"), os.environ.get("PYTHONPATH")
                get_value("demo", "DEMO_VALUE")
                get_value("other", "OTHER_VALUE")
            """,
        },
    )
    found = declared(folder)
    variables = {
        variable["key"]: (variable["required"], variable["secret"], variable["default"], variable["file"])
        for variable in found["variables"]
    }
    assert variables == {
        "DEMO_TOKEN": (True, True, None, "setup.py"),
        "DEMO_PORT": (False, False, "8080", "setup.py"),
        "DEMO_APP_SECRET": (True, True, None, "process.py"),
        "DEMO_URL": (False, False, "http://x", "config.py"),
        "DEMO_PIN": (True, True, None, "config.py"),
        "DEMO_DEPTH": (False, False, "3", "config.py"),
        "DEMO_NEEDED": (True, False, None, "config.py"),
        "OTHER_NAME": (False, False, None, "config.py"),
        "DEMO_FLAGS": (False, False, '["a"]', "config.py"),
        "DEMO_BARE": (False, False, "true", "config.py"),
    }
    assert [(read["key"], read["file"], read["line"]) for read in found["reads"]] == [
        ("DEMO_SUBSCRIPT", "tools/reads.py", 7),
        ("DEMO_GET", "tools/reads.py", 9),
        ("DEMO_GETENV", "tools/reads.py", 10),
        ("DEMO_CONSTANT", "tools/reads.py", 11),
        ("DEMO_IN", "tools/reads.py", 12),
        ("DEMO_VALUE", "tools/reads.py", 15),
    ]
    assert found["imports"] == ["sibling"]
    assert found["setup"]["webhook"] == {"path": "/integrations/demo/webhook"}
    assert found["process"]["command"] == ["python", "x.py"]
    assert found["problems"] == []


def test_a_connector_s_form_is_read_from_a_folder_and_from_a_single_file(tmp_path: Path) -> None:
    text = '''
        from scripts.integrations.base import IntegrationBase

        class Demo(IntegrationBase):
            name = "demo"

            def fields(self):
                """The form."""
                return [{"key": "token", "type": "password", "required": True}]
    '''
    write(tmp_path, {"demo/connector.py": text, "scripts/integrations/demo.py": text})
    for place in ("demo", "scripts/integrations/demo.py"):
        found = declared(tmp_path / place)
        assert found["connector"] == "demo"
        assert found["fields"] == [{"key": "token", "type": "password", "required": True}]


def test_what_is_known_only_when_it_runs_is_left_out(tmp_path: Path) -> None:
    deep = "x = " + "(" * 90 + "1" + ")" * 90 + "\n"
    write(
        tmp_path / "demo",
        {
            "setup.py": "SETUP = make()\n",
            "process.py": "CMD = [sys.executable]\nREQUIRED_ENV = names\nLOOP = LOOP\n",
            "connector.py": "class A(IntegrationBase):\n    def fields(self):\n        return form()\n",
            "deep.py": deep,
        },
    )
    found = declared(tmp_path / "demo")
    assert (found["variables"], found["setup"], found["fields"]) == ([], None, None)
    assert found["process"] == {"description": "", "command": [], "required": [], "watch": []}


def test_source_that_cannot_be_read_is_a_problem_and_the_rest_is_read(tmp_path: Path) -> None:
    write(
        tmp_path / "demo",
        {"good.py": "import os\nos.getenv('DEMO_A')\n", "bad.py": "def broken(:\n", "null.py": "a = '\0'\n"},
    )
    (tmp_path / "demo" / "latin.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "demo" / "__pycache__").mkdir()
    (tmp_path / "demo" / "__pycache__" / "x.py").write_text("def broken(:")
    found = declared(tmp_path / "demo")
    assert [read["key"] for read in found["reads"]] == ["DEMO_A"]
    assert [(problem["file"], problem["line"]) for problem in found["problems"]] == [
        ("bad.py", 1),
        ("latin.py", None),
        ("null.py", None),
    ]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tercel_worker.declared", str(tmp_path / "none")],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "usage: python -m tercel_worker.declared <folder>\n")
