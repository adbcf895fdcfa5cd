"""A WebDAV server for one user; it says which port it got."""

import sys

from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp

directory, user, password = sys.argv[1:]
app = WsgiDAVApp(
    {
        "provider_mapping": {"/": directory},
        "simple_dc": {"user_mapping": {"*": {user: {"password": password}}}},
        "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
        "logging": {"enable": False},
        "verbose": 0,
    }
)
server = wsgi.Server(("127.0.0.1", 0), app)
server.prepare()
print("ready", server.bind_addr[1], flush=True)
server.serve()
