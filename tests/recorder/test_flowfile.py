"""Weir's encoder writes the same fields as mitmproxy, and mitmproxy reads them."""

import io as stdio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import connection, http, io, version
from mitmproxy.io import tnetstring
from mitmproxy.test import tflow

from weir.recorder import flowfile
from weir.recorder.copies import RequestRecord, ResponseRecord
from weir.recorder.flowfile import FLOW_FORMAT, FlowEncoder, check_format, line_in

fields = st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=4).map(tuple)


@given(
    request=st.builds(RequestRecord, st.just(b"POST"), st.sampled_from([b"http", b"https"]), st.text(st.characters(codec="utf-8")), st.integers(0, 65535),
                      st.binary(), fields, st.binary()),
    response=st.none() | st.builds(ResponseRecord, st.integers(100, 599), st.binary(), fields, st.binary()),
    text=st.text(st.characters(codec="utf-8")), times=st.tuples(*[st.floats(1e9, 2e9)] * 4),
)  # fmt: skip
def test_a_flow_comes_back_as_it_was(
    request: RequestRecord, response: ResponseRecord | None, text: str, times: tuple[float, float, float, float]
) -> None:
    template = tflow.tflow()
    encoder = FlowEncoder()
    data = encoder.flow(
        flow_id="id-1", client=encoder.connection(template.client_conn), server=encoder.connection(template.server_conn),
        request=request, response=response, error="" if response else text, replay="request", marked=":no_entry:", comment=text,
        metadata=text.encode(), times=times,
    )  # fmt: skip
    (flow,) = io.FlowReader(stdio.BytesIO(data)).stream()
    assert isinstance(flow, http.HTTPFlow)
    assert (flow.id, flow.comment, flow.marked, flow.is_replay, line_in(flow.metadata)) == (
        "id-1",
        text,
        ":no_entry:",
        "request",
        text,
    )
    assert (flow.request.raw_content, flow.request.headers.fields, flow.request.data.path) == (
        request.body,
        request.fields,
        request.target,
    )
    assert (flow.request.host, flow.request.port, flow.request.timestamp_start) == (
        request.host,
        request.port,
        times[0],
    )
    assert (flow.response is None) == (response is None)
    if response and flow.response:
        assert (flow.response.status_code, flow.response.data.reason, flow.response.raw_content) == (
            response.status,
            response.reason,
            response.body,
        )
    assert (flow.error.msg if flow.error else "") == ("" if response else text)
    assert flow.client_conn.get_state() == template.client_conn.get_state()
    assert tnetstring.loads(data) == tnetstring.loads(tnetstring.dumps(flow.get_state()))  # every field


def test_an_unconnected_server_is_not_remembered() -> None:
    encoder, server = FlowEncoder(), connection.Server(address=("a", 1))
    before = encoder.connection(server)
    server.timestamp_start, server.state = 1.0, connection.ConnectionState.OPEN
    assert encoder.connection(server) != before
    assert encoder.connection(server) is encoder.connection(server)


def test_the_installed_mitmproxy_writes_the_format_that_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version.FLOW_FORMAT_VERSION == FLOW_FORMAT
    check_format()
    monkeypatch.setattr(flowfile, "FLOW_FORMAT", FLOW_FORMAT - 1)
    with pytest.raises(RuntimeError, match=r"install mitmproxy 12\.2"):
        check_format()
