"""Serves one folder of Python code to Tercel: tools, dispatchers, hooks, routes, a connector."""

PROTOCOL = 1
