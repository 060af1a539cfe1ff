"""How long bodies and rows are kept, as `record:` of a connection and of gateway.yaml say it."""

from typing import Any

import pytest

from weir.base.mistakes import SettingError
from weir.config.model import KeepSettings, RecordSettings
from weir.recorder.settings import compile_record

DAY = 86400


@pytest.mark.parametrize(("connection", "gateway", "kept"), [
    ({}, {}, ("full", None, None)),
    ({"keep": "90d"}, {}, ("full", 90 * DAY, None)),
    ({"keep": "90d", "bodies": {"keep": "7d"}}, {}, ("full", 90 * DAY, 7 * DAY)),
    ({"bodies": {"keep": "7d"}}, {}, ("full", None, 7 * DAY)),
    ({"bodies": {"keep": "7d"}}, {"keep": "30d"}, ("full", 30 * DAY, 7 * DAY)),
    ({}, {"keep": "30d", "bodies": {"keep": "7d"}}, ("full", 30 * DAY, 7 * DAY)),
    ({"bodies": {"keep": "forever"}}, {"keep": "30d", "bodies": {"keep": "7d"}}, ("full", 30 * DAY, None)),
    ({"bodies": "full"}, {"keep": "30d", "bodies": {"keep": "7d"}}, ("full", 30 * DAY, None)),
    ({"bodies": "digest"}, {"bodies": {"keep": "7d"}}, ("digest", None, None)),
    ({"bodies": "none"}, {}, ("none", None, None)),
    ({"keep": "3d"}, {"keep": "30d", "bodies": {"keep": "7d"}}, ("full", 3 * DAY, None)),
])  # fmt: skip
def test_times(connection: dict[str, Any], gateway: dict[str, Any], kept: tuple[str, int | None, int | None]) -> None:
    made = compile_record(RecordSettings.model_validate(connection), KeepSettings.model_validate(gateway))
    assert (made.bodies, made.keep, made.keep_bodies) == kept


@pytest.mark.parametrize(("connection", "gateway", "place"), [
    ({"keep": "7d", "bodies": {"keep": "90d"}}, {}, ("bodies", "keep")),
    ({"keep": "7d", "bodies": {"keep": "7d"}}, {}, ("bodies", "keep")),
    ({"bodies": {"keep": "90d"}}, {"keep": "7d"}, ("bodies", "keep")),
    ({"bodies": {"keep": "long"}}, {}, ("bodies", "keep")),
    ({"keep": "long", "bodies": {"keep": "7d"}}, {}, ("keep",)),
])  # fmt: skip
def test_mistakes(connection: dict[str, Any], gateway: dict[str, Any], place: tuple[str, ...]) -> None:
    with pytest.raises(SettingError) as caught:
        compile_record(RecordSettings.model_validate(connection), KeepSettings.model_validate(gateway))
    assert caught.value.location == place
