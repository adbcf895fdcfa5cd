"""The documented module names of the server, for folders: what they call here is asked of the server."""
