"""The core of Home Assistant with its API, a switch, a notification service that writes a file, and a command that posts."""

import asyncio
import socket
import sys
from datetime import timedelta

from homeassistant import bootstrap, config_entries, loader
from homeassistant.auth import auth_manager_from_config
from homeassistant.auth.models import TOKEN_TYPE_LONG_LIVED_ACCESS_TOKEN
from homeassistant.core import HomeAssistant
from homeassistant.setup import async_setup_component


async def run(directory: str, webhook: str, bearer: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hass = HomeAssistant(directory)
    loader.async_setup(hass)
    hass.config.skip_pip = True
    hass.config.allowlist_external_dirs = {directory}
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth_manager_from_config(hass, [{"type": "homeassistant"}], [])
    config = {
        "http": {"server_host": ["127.0.0.1"], "server_port": port},
        "api": {},
        "input_boolean": {"door": {"name": "Door"}},
        "notify": [{"platform": "file", "name": "phone", "filename": "notes.txt"}],
        "rest_command": {
            "tercel": {
                "url": webhook,
                "method": "post",
                "content_type": "application/json",
                "headers": {"authorization": f"Bearer {bearer}"},
                "payload": "{{ payload | to_json }}",
            }
        },
    }
    for component in config:
        assert await async_setup_component(hass, component, config), component
    await hass.async_start()
    user = await hass.auth.async_create_user("Alice", group_ids=["system-admin"])
    token = await hass.auth.async_create_refresh_token(
        user,
        client_name="tests",
        token_type=TOKEN_TYPE_LONG_LIVED_ACCESS_TOKEN,
        access_token_expiration=timedelta(days=1),
    )
    print("ready", port, hass.auth.async_create_access_token(token), flush=True)
    await asyncio.Event().wait()


asyncio.run(run(*sys.argv[1:]))
