"""What is wrong with a folder, for the person who writes it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Problem:
    file: str
    line: int | None
    message: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
