"""What a folder may know of the server."""

import os


class Settings:
    """Read when asked for: a worker gets its key when it starts."""

    @property
    def API_KEY(self) -> str:  # noqa: N802
        """The folder's own key; it acts as the folder and nothing more."""
        return os.environ.get("AGENT_API_KEY", "")

    @property
    def BASE_URL(self) -> str:  # noqa: N802
        """Where the server's API is."""
        return os.environ.get("AGENT_SERVER_URL", "")


settings = Settings()
