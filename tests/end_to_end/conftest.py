"""Fixtures of the approval tests: the shared state, the requester and the reviewers."""

import zlib
from collections.abc import Iterator

import pytest

from tests import needs
from tests.end_to_end.approving import CAROL, token_of
from tests.end_to_end.gateway import free_port


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def state(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite"
        return
    needs.skip_without("redis-server")
    from tests.state.test_stores import start_redis

    port = free_port()
    process = start_redis(tmp_path_factory.mktemp("redis"), port)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait()


def user_of(request: pytest.FixtureRequest) -> str:
    return f"{request.node.originalname[5:35]}-{zlib.crc32(request.node.name.encode()):x}"


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """Return a caller that only this test uses."""
    return user_of(request)


@pytest.fixture
def caller(user: str) -> str:
    return token_of(user, "search")


@pytest.fixture
def carol() -> str:
    return token_of(*CAROL)
