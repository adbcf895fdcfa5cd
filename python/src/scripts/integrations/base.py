"""What every connector class is."""

import os
import re
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import yaml

# How a file names a secret that the server keeps: ${secret:myservice.api_key}
_SECRET = re.compile(r"\$\{secret:([a-z][a-z0-9_]*)\.([A-Za-z0-9_]+)\}")


class IntegrationBase(ABC):
    """Connects one outside service: a form, a test, and where it can, records."""

    name: str
    label: str
    tier: str = "free"

    @abstractmethod
    def fields(self) -> list[dict[str, Any]]:
        """The form: `key label type required placeholder help` of each field."""

    @abstractmethod
    def connect(self, config: dict[str, Any]) -> bool:
        """Takes the values; whether all that are needed are there."""

    @abstractmethod
    def test(self) -> bool:
        """Whether the values work, by asking the service."""

    def sync(self, jobs: list[dict[str, Any]]) -> Any:
        """Pushes records to the service and says how many; a class that does not say how, does none."""
        return 0

    @classmethod
    def config_path(cls, config_dir: Path) -> Path:
        return Path(config_dir) / "integrations" / f"{cls.name}.yaml"

    @classmethod
    def is_configured(cls, config_dir: Path) -> bool:
        return cls.config_path(config_dir).is_file()

    def save_config(self, config: dict[str, Any], config_dir: Path) -> None:
        """Writes the whole file or nothing, readable by its owner only."""
        path = self.config_path(config_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                yaml.safe_dump(dict(config), file, allow_unicode=True, sort_keys=False)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def load_config(self, config_dir: Path) -> dict[str, Any]:
        """The values of the file; none when there is no file."""
        path = self.config_path(config_dir)
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except yaml.YAMLError as wrong:
            raise ValueError(f"{path} is not valid YAML: {wrong}") from wrong
        if loaded is None:
            return {}
        if not isinstance(loaded, dict):
            raise ValueError(f"{path} must hold keys with values")
        return {key: _resolved(value, path) for key, value in loaded.items()}


def _resolved(value: Any, path: Path) -> Any:
    """Puts in the secrets that this process was given."""

    def secret(match: re.Match[str]) -> str:
        variable = f"{match[1]}_{match[2]}".upper()
        given = os.environ.get(variable)
        if given is None:
            raise ValueError(f"{path} names a secret that the server keeps, and {variable} is not set here")
        return given

    return _SECRET.sub(secret, value) if isinstance(value, str) else value
