"""Workers and servers that end with the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Server, Start, serve, starter


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    yield from starter(tmp_path)


@pytest.fixture(scope="module")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Workers for all tests of a module."""
    yield from starter(tmp_path_factory.mktemp("worker"))


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serve()


@pytest.fixture(scope="module")
def server_once() -> Iterator[Server]:
    yield from serve()
