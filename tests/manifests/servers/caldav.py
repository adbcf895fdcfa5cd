"""A CalDAV server for one user; it says which port it got."""

import socket
import sys
from pathlib import Path

from radicale import config, server

directory, user, password = sys.argv[1:]
users = Path(directory, "users")
users.write_text(f"{user}:{password}\n")
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
settings = config.load()
settings.update(
    {
        "server": {"hosts": f"127.0.0.1:{port}"},
        "auth": {"type": "htpasswd", "htpasswd_filename": str(users), "htpasswd_encryption": "plain", "delay": 0},
        "storage": {"filesystem_folder": str(Path(directory, "calendars"))},
        "logging": {"level": "warning"},
    },
    "the test",
)
print("ready", port, flush=True)
server.serve(settings)
