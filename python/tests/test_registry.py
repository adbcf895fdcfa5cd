"""REGISTRY, IntegrationBase and the wizard, as programs use them without a worker."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness import SOURCE, Server, write

CLASS = """
    from scripts.integrations.base import IntegrationBase

    class {kind}({base}):
        name = "{name}"
        label = "{kind}"
        tier = "{tier}"

        def fields(self):
            return [{{"key": "token", "label": "T", "type": "password", "required": True}}]

        def connect(self, config):
            return bool(config.get("token"))

        def test(self):
            import requests
            return requests.get("http://127.0.0.1:1/").ok
"""


def module(name: str, kind: str = "Kind", base: str = "IntegrationBase", tier: str = "free") -> str:
    return CLASS.format(name=name, kind=kind, base=base, tier=tier)


def run(directory: Path, code: str, environment: dict[str, str] | None = None) -> Any:
    """What a program started there prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=directory,
        env={"PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_connectors_are_found_and_a_broken_one_hides_none(tmp_path: Path) -> None:
    indirect = module("indirect", "Indirect", "Shared").replace(
        "class Indirect", "class Shared(IntegrationBase):\n        pass\n\n    class Indirect"
    )
    write(
        tmp_path,
        {
            "scripts/integrations/one.py": module("one", "One"),
            "scripts/integrations/indirect.py": indirect,
            "scripts/integrations/again.py": module("one", "Again"),
            "scripts/integrations/broken.py": "import nothing_there\n",
            "scripts/integrations/leaves.py": "raise SystemExit(1)\n",
            "scripts/integrations/_shared.py": "raise RuntimeError('never imported')\n",
            "integrations/folder/connector.py": module("folder", "Folder"),
        },
    )
    found = run(
        tmp_path,
        "import json; from scripts.integrations import REGISTRY;"
        "print(json.dumps([sorted(REGISTRY), [p.message for p in REGISTRY.problems], REGISTRY['folder'].label]))",
    )
    assert found[0] == ["folder", "indirect", "one"]
    assert found[2] == "Folder"
    assert found[1][:2] == ["ModuleNotFoundError: No module named 'nothing_there'", "SystemExit: 1"]
    assert "again.py" in found[1][2] or "one.py" in found[1][2]
    assert "which" in found[1][2]
    assert "again.py" in found[1][2]
    assert "one.py" in found[1][2]


def test_other_scripts_that_stand_beside_can_be_imported(tmp_path: Path) -> None:
    write(tmp_path, {"scripts/other.py": "NAME = 'other'\n"})
    assert run(tmp_path, "import json; from scripts.other import NAME; print(json.dumps(NAME))") == "other"


def test_what_a_module_imports_late_can_be_patched_there(tmp_path: Path) -> None:
    write(tmp_path, {"scripts/integrations/late.py": module("late")})
    assert run(
        tmp_path,
        """
import json
from unittest.mock import MagicMock, patch
from scripts.integrations.late import Kind
with patch("scripts.integrations.late.requests.get", return_value=MagicMock(ok=True)):
    good = Kind().test()
import scripts.integrations.late as late
print(json.dumps([good, hasattr(late, "requests"), hasattr(late, "other")]))
""",
    ) == [True, True, False]


def test_values_are_written_whole_private_and_read_back(tmp_path: Path) -> None:
    write(tmp_path, {"scripts/integrations/one.py": module("one")})
    assert run(
        tmp_path,
        """
import json, os, pathlib
from scripts.integrations.one import Kind
config = pathlib.Path("config")
before = [Kind.is_configured(config), Kind().load_config(config)]
Kind().save_config({"token": "geheim ü", "n": 1}, config)
path = Kind.config_path(config)
after = [Kind.is_configured(config), Kind().load_config(config), str(path), oct(path.stat().st_mode & 0o777), os.listdir(path.parent)]
path.write_text("token: ${secret:one.token}\\n")
os.environ["ONE_TOKEN"] = "from the server"
referenced = Kind().load_config(config)
del os.environ["ONE_TOKEN"]
wrong = []
for text in ("token: ${secret:one.token}\\n", "- 1\\n", "a: [\\n"):
    path.write_text(text)
    try:
        Kind().load_config(config)
    except ValueError as error:
        wrong.append(str(error)[:40])
path.write_text("")
print(json.dumps([before, after, referenced, wrong, Kind().load_config(config)]))
""",
    ) == [
        [False, {}],
        [True, {"token": "geheim ü", "n": 1}, "config/integrations/one.yaml", "0o600", ["one.yaml"]],
        {"token": "from the server"},
        [
            text[:40]
            for text in (
                "config/integrations/one.yaml names a secret that the server keeps",
                "config/integrations/one.yaml must hold keys with values",
                "config/integrations/one.yaml is not valid YAML",
            )
        ],
        {},
    ]


def test_forms_of_the_server_are_classes_too(tmp_path: Path, server: Server) -> None:
    write(tmp_path, {"scripts/integrations/one.py": module("one")})
    api = "/api/v1/admin/integrations"
    field = {"key": "token", "label": "Token", "type": "password", "required": True}
    server.answers = {
        f"GET {api}/forms": {
            "forms": [
                {"name": "github", "label": "GitHub", "tier": "paid", "fields": [field]},
                {"name": "one", "label": "Other", "tier": "paid", "fields": [field]},
                {"name": "theirs", "label": "Theirs", "tier": "free", "fields": [field]},
            ]
        },
        f"POST {api}/theirs/connection/test": (403, {"detail": "It is another's", "code": "forbidden"}),
        f"POST {api}/github/connection/test": {"ok": False, "code": "auth", "message": "Bad token"},
        f"POST {api}/github/connection/sync": (202, {"task_id": "t"}),
    }
    assert run(
        tmp_path,
        """
import json
from scripts.integrations import REGISTRY
kind = REGISTRY["github"]
one = kind()
import io, contextlib
with contextlib.redirect_stdout(io.StringIO()) as printed:
    tested = one.connect({"token": ""}), one.connect({"token": "t"}), one.test(), one.sync([{"id": 1}])
    theirs = REGISTRY["theirs"]()
    refused = theirs.connect({"token": "t"}), theirs.test(), theirs.sync([{"id": 1}])
print(json.dumps([sorted(REGISTRY), kind.label, kind.tier, one.fields()[0]["key"], tested, refused, printed.getvalue(), REGISTRY["one"].label]))
""",
        {"AGENT_SERVER_URL": server.url, "AGENT_API_KEY": "k"},
    ) == [
        ["github", "one", "theirs"],
        "GitHub",
        "paid",
        "token",
        [False, True, False, 1],
        [True, False, 0],
        "[github] auth: Bad token\n[theirs] It is another's\n[theirs] There is no /api/v1/admin/integrations/theirs/connection/sync\n",
        "Kind",
    ]


def test_tiers_and_the_wizard_decide_as_documented(tmp_path: Path) -> None:
    write(tmp_path, {"scripts/integrations/one.py": module("one", tier="premium")})
    assert run(
        tmp_path,
        """
import json, pathlib
from app.wizard import tiers, step_hardware, step_tier, step_identity, step_resume, step_inference, step_search, step_integrations
from scripts.user_profile import UserProfile
c = tiers.can_use
print(json.dumps({
    "can": [c("free", "notion_sync"), c("paid", "notion_sync"), c("ultra", "multi_user"), c("gold", "notion_sync"),
            c("free", "unlisted"), c("free", "vue_ui_beta"), c("free", "llm_job_titles", True),
            c("free", "llm_keywords_blocklist", has_byok=True), c("free", "company_research", True), c("free", "notion_sync", True)],
    "demo": [c("paid", "notion_sync", demo_tier="free"), tiers._DEMO_MODE],
    "labels": [tiers.tier_label("notion_sync"), tiers.tier_label("multi_user"), tiers.tier_label("unlisted"),
               tiers.tier_label("llm_job_titles", True)],
    "profile": [UserProfile().tier, UserProfile().effective_tier],
    "wrong": [len(step.validate({})) for step in (step_hardware, step_tier, step_identity, step_resume, step_inference, step_search, step_integrations)],
    "right": [step_hardware.validate({"inference_profile": "cpu"}), step_tier.validate({"tier": "paid"}),
              step_identity.validate({"name": "A", "email": "a@b", "career_summary": "x"}), step_resume.validate({"experience": [{}]}),
              step_inference.validate({"endpoint_confirmed": True}), step_search.validate({"job_titles": ["x"], "locations": ["y"]})],
    "blank": step_identity.validate({"name": " ", "email": "a@b", "career_summary": "x"})
             + step_search.validate({"job_titles": [" "], "locations": "y"}) + step_resume.validate({"experience": "much"}),
    "available": [step_integrations.get_available(tier) for tier in ("free", "premium", "gold")],
    "connected": step_integrations.is_connected("one", pathlib.Path("config")),
}))
""",
    ) == {
        "can": [False, True, True, False, True, True, True, False, True, False],
        "demo": [True, False],
        "labels": ["🔒 Paid", "⭐ Premium", "", ""],
        "profile": ["premium", "premium"],
        "wrong": [1, 1, 3, 1, 1, 2, 0],
        "right": [[], [], [], [], [], []],
        "blank": [
            "Your name is needed",
            "At least one job title is needed",
            "At least one location is needed",
            "At least one entry of experience is needed",
        ],
        "available": [[], ["one"], []],
        "connected": False,
    }


MODULES = [
    "integrations._register",
    "integrations.utils",
    "integrations.slack.client",
    "integrations.slack.uploads",
    "app.tools.registry",
    "app.agent.dispatchers",
    "app.agent.hooks",
    "app.agent.bots",
    "app.agent.context",
    "app.db.engine",
    "app.db.models",
    "app.dependencies",
    "app.services.integration_settings",
    "app.services.channels",
    "app.services.sessions",
    "app.services.attachments",
    "app.services.api_keys",
    "app.services.approval_suggestions",
    "app.config",
    "app.wizard.tiers",
    "scripts.integrations",
    "scripts.user_profile",
]


def test_every_documented_module_imports_without_a_server_and_without_another_one(tmp_path: Path) -> None:
    # A process for each, so that none finds imported what it forgot to import.
    assert (
        run(
            tmp_path,
            f"""
import importlib, json, os, sys, traceback
failed = []
for name in {MODULES!r}:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print(json.dumps(failed))
""",
        )
        == []
    )


def test_without_a_server_register_only_marks_the_function(tmp_path: Path) -> None:
    assert run(
        tmp_path,
        """
import json
from integrations._register import register
from app.tools import registry
@register({"type": "function", "function": {"name": "x"}}, source_dir="somewhere")
def x():
    return 1
print(json.dumps([x(), x._tool_schema["function"]["name"], registry._tools, registry.get_local_tool_schemas(["x"])]))
""",
    ) == [1, "x", {}, []]


# Nothing but the standard library and this package.
WITHOUT = "import sys; sys.path[:] = [path for path in sys.path if 'site-packages' not in path]"


def test_the_session_type_and_select_are_there_without_sqlalchemy(tmp_path: Path) -> None:
    assert run(
        tmp_path,
        WITHOUT
        + """
import json
import integrations
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from app.db.models import Bot, Channel
wrong = []
for make in (
    lambda: select(int),
    lambda: select(Channel, Bot),
    lambda: select(Channel).where(True),
    lambda: select(Channel).where(Channel.bot_id == "a" and Channel.client_id == "b"),
    lambda: select(Channel).filter_by(name="x"),
    lambda: select(Channel).join(Bot),
    lambda: Channel.bot_id.desc(),
):
    try:
        make()
    except (NotImplementedError, AttributeError, TypeError) as error:
        wrong.append(str(error))
print(json.dumps([AsyncSession.__module__, len(select(Bot).where(Bot.id == "x").conditions), wrong]))
""",
    ) == [
        "app.db.engine",
        1,
        [
            "Only Channel, ChannelIntegration and Bot can be selected, each as a whole",
            "Only Channel, ChannelIntegration and Bot can be selected, each as a whole",
            "A condition compares a column with a value: Channel.client_id == …",
            "A condition is no truth: give it to where(…), several of them side by side",
            "Channel has no name; it has id, bot_id, client_id, integration, display_name, require_mention, passive_memory, "
            "allow_bot_messages, thinking_display, dispatch_config",
            "select(…) has where(), filter(), filter_by() and limit() here, and no join()",
            "A column compares by == != is_ is_not in_ not_in like ilike startswith; it has no desc",
        ],
    ]


def test_statements_of_the_real_sqlalchemy_are_understood(tmp_path: Path) -> None:
    # As a folder writes it that brings it for tables of its own.
    code = """
import json
from sqlalchemy import and_, column, or_, select, table, text
from app.db import real
from app.db.models import Bot, Channel

def understood(statement):
    selected = real.ours(statement)
    return selected and [selected.table.__name__, [[c.column, c.operator, c.value] for c in selected.conditions], selected.most]

many = and_(Channel.client_id.like("demo:%"), Channel.bot_id.in_(["a", "b"]))
wrong = []
for make in (
    lambda: real.ours(select(Channel).where(or_(Channel.client_id == "a", Channel.bot_id == "b"))),
    lambda: real.ours(select(Channel).where(column("client_id") == "a")),
    lambda: real.ours(select(Channel, Bot)),
):
    try:
        make()
    except NotImplementedError as error:
        wrong.append(str(error))
statements = [
    select(Channel),
    select(Bot).where(Bot.id == "b").limit(1),
    select(Channel).where(many, Channel.thinking_display != None),
    select(Channel).filter_by(client_id="x"),
    select(table("own", column("n"))),
    text("SELECT 1"),
]
print(json.dumps([[understood(statement) for statement in statements], len(wrong)]))
"""
    assert run(tmp_path, code) == [
        [
            ["Channel", [], None],
            ["Bot", [["id", "==", "b"]], 1],
            [
                "Channel",
                [["client_id", "like", "demo:%"], ["bot_id", "in", ["a", "b"]], ["thinking_display", "!=", None]],
                None,
            ],
            ["Channel", [["client_id", "==", "x"]], None],
            None,
            None,
        ],
        3,
    ]


def test_a_sqlalchemy_that_is_installed_goes_first(tmp_path: Path) -> None:
    write(tmp_path, {"site/sqlalchemy.py": "select = 'the real one'\n"})
    code = "import json, integrations, sqlalchemy; print(json.dumps(sqlalchemy.select))"
    assert run(tmp_path, f"{WITHOUT}; sys.path.append('site'); {code}") == "the real one"
