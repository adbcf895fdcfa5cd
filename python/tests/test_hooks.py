"""Hooks: everyone is told, who fails hinders nobody, the first one that answers overrides."""

import base64

import pytest
from harness import Start, Worker

FILES = {
    "hooks.py": """
        from app.agent import hooks
        from app.agent.hooks import HookContext, IntegrationMeta, register_hook, register_integration

        async def told(ctx: HookContext, **kwargs):
            print("async", ctx.bot_id, ctx.session_id, ctx.channel_id, ctx.client_id, ctx.correlation_id, ctx.extra, kwargs)

        def fails(ctx, **kwargs):
            raise ValueError("a hook that fails")

        def leaves(ctx, **kwargs):
            raise SystemExit(1)

        def told_too(ctx, **kwargs):
            print("sync", ctx.extra)

        for event in hooks.EVENTS[:-1]:
            register_hook(event, fails)
            register_hook(event, leaves)
            register_hook(event, told)
            register_hook(event, told_too)

        def finished(ctx, *, task, status, **kwargs):
            print("finished", task.id, task.task_type, status, task.bot_id)

        register_hook("after_task_complete", finished)

        async def nothing(ctx, **kwargs):
            return None

        def speech(ctx, **kwargs):
            return f"{len(ctx.audio)} bytes of {ctx.extra['audio_format']}" if ctx.audio else None

        register_hook("before_transcription", fails)
        register_hook("before_transcription", nothing)
        register_hook("before_transcription", speech)
        register_hook("before_transcription", lambda ctx, **kwargs: "never asked" if ctx.audio else "second")
        register_hook("no_such_event", told)

        def attribution(user):
            return {"username": user.display_name, "icon": (user.integration_config or {}).get("demo", {}).get("icon")}

        async def names(channels):
            return {channel.id: "#" + channel.client_id.split(":")[1] for channel in channels if channel.client_id != "demo:0"}

        register_integration(IntegrationMeta("demo", "demo:", user_attribution=attribution, resolve_display_names=names,
            resolve_dispatch_config=lambda client_id: {"type": "demo", "room": client_id}))
        register_integration(IntegrationMeta(integration_type="plain", client_id_prefix="plain:"))
        assert hooks.get_integration_meta("demo").client_id_prefix == "demo:"
        assert hooks.get_integration_meta("nobody") is None
        assert hooks.is_integration_client_id("plain:1") and not hooks.is_integration_client_id("web:1")
        assert hooks.get_all_client_id_prefixes() == ("demo:", "plain:")
    """,
}

EVENTS = [
    "before_context_assembly",
    "before_llm_call",
    "after_llm_call",
    "before_tool_execution",
    "after_tool_call",
    "after_response",
    "after_task_complete",
]
CONTEXT = {"bot_id": "b", "session_id": "s", "channel_id": "c", "client_id": "demo:1", "correlation_id": "k"}


@pytest.fixture(scope="module")
def worker(start_once: Start) -> Worker:
    return start_once(FILES)


def test_hooks_and_meta_are_described(worker: Worker) -> None:
    described = worker.describe()
    assert described["problems"] == []
    assert described["hooks"] == [*EVENTS, "before_transcription"]
    assert described["watches"] == "stake"
    all_of_them = {"user_attribution": True, "resolve_display_names": True, "resolve_dispatch_config": True}
    assert described["meta"] == [
        {"integration_type": "demo", "client_id_prefix": "demo:", **all_of_them},
        {"integration_type": "plain", "client_id_prefix": "plain:", **dict.fromkeys(all_of_them, False)},
    ]
    assert "There is no event `no_such_event`" in worker.log()


@pytest.mark.parametrize("event", EVENTS)
def test_everyone_is_told_though_others_fail(worker: Worker, event: str) -> None:
    extra = {"task_id": "t1", "task_type": "chat", "status": "complete", "event": event}
    assert worker.call("hook", event, {"extra": extra}, context=CONTEXT) == {"result": None}
    log = worker.log()
    assert f"async b s c demo:1 k {extra}" in log
    assert f"sync {extra}" in log
    assert f"Hook fails failed at {event}" in log


def test_the_end_of_a_task_comes_with_task_and_status(worker: Worker) -> None:
    extra = {"task_id": "t2", "task_type": "chat", "status": "failed"}
    worker.call("hook", "after_task_complete", {"extra": extra}, context=CONTEXT)
    assert "finished t2 chat failed b" in worker.log()


def test_the_first_one_that_answers_overrides(worker: Worker) -> None:
    audio = base64.b64encode(b"\x00" * 100).decode()
    given = {"extra": {"audio_format": "ogg", "audio_size_bytes": 100, "source": "api"}, "audio": audio}
    assert worker.call("hook", "before_transcription", given) == {"result": "100 bytes of ogg"}
    assert worker.call("hook", "before_transcription", {"extra": {}}) == {"result": "second"}


def test_a_folder_says_who_its_people_and_places_are(worker: Worker) -> None:
    user = {"display_name": "Ann", "avatar_url": None, "integration_config": {"demo": {"icon": "i"}}}
    assert worker.call("user_attribution", "demo", user) == {"result": {"username": "Ann", "icon": "i"}}
    assert worker.call("resolve_display_names", "demo", ["demo:0", "demo:1"]) == {"result": {"demo:1": "#1"}}
    given = {"client_id": "demo:9"}
    assert worker.call("resolve_dispatch_config", "demo", given) == {"result": {"type": "demo", "room": "demo:9"}}
    assert worker.call("user_attribution", "plain", user)["error"]["code"] == "unsupported"
