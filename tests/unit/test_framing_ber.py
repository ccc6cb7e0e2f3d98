"""SNMP messages against pysnmp's own encoder and decoder, and rubbish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder, encoder

from gantry_agent.field.framing import ber
from gantry_agent.model import BadReply

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pysnmp uses old names of pysmi

arcs = st.integers(0, 0xFFFFFFFF)
oids = st.builds(
    lambda first, second, rest: ".".join(map(str, (first, second % 40 if first < 2 else second, *rest))),
    st.integers(0, 2),
    st.integers(0, 0xFFFFFFFF - 80),
    st.lists(arcs, max_size=20),
)
communities = st.binary(max_size=40)
u32 = st.integers(0, 0xFFFFFFFF)
values = st.one_of(
    st.tuples(st.just("Integer32"), st.integers(-(2**31), 2**31 - 1)),
    st.tuples(st.sampled_from(["Counter32", "Gauge32", "TimeTicks", "Unsigned32"]), u32),
    st.tuples(st.just("Counter64"), st.integers(0, 2**64 - 1)),
    st.tuples(st.sampled_from(["OctetString", "Opaque"]), st.binary(max_size=300)),
    st.tuples(st.just("ObjectIdentifier"), oids),
    st.tuples(st.just("IpAddress"), st.binary(min_size=4, max_size=4)),
    st.tuples(st.sampled_from(["Null", "NoSuchObject", "NoSuchInstance", "EndOfMibView"]), st.none()),
)


def theirs(version: int):
    from pysnmp.proto.api import v1, v2c

    return v1 if version == ber.V1 else v2c


def their_value(kind: str, value):
    from pysnmp.proto import rfc1902, rfc1905

    if kind == "Null":
        return rfc1902.Null("")
    if value is None:
        return {"NoSuchObject": rfc1905.noSuchObject, "NoSuchInstance": rfc1905.noSuchInstance}.get(
            kind, rfc1905.endOfMibView
        )
    return getattr(rfc1902, kind)(value)


def their_response(community, request_id, status, index, varbinds) -> bytes:
    from pysnmp.proto.api import v2c

    pdu = v2c.ResponsePDU()
    v2c.apiPDU.set_defaults(pdu)
    v2c.apiPDU.set_request_id(pdu, request_id)
    v2c.apiPDU.set_error_status(pdu, status)
    v2c.apiPDU.set_error_index(pdu, index)
    v2c.apiPDU.set_varbinds(pdu, [(oid, their_value(*value)) for oid, value in varbinds])
    message = v2c.Message()
    v2c.apiMessage.set_defaults(message)
    v2c.apiMessage.set_community(message, community)
    v2c.apiMessage.set_pdu(message, pdu)
    return encoder.encode(message)


def ours(kind: str, value):
    return ".".join(map(str, value)) if kind == "IpAddress" else value


@given(communities, st.integers(0, 2**31 - 1), st.integers(0, 18), st.lists(st.tuples(oids, values), max_size=8))
def test_every_type_is_read_as_pysnmp_wrote_it(community, request_id, status, varbinds):
    data = their_response(community, request_id, status, min(status, len(varbinds)), varbinds)
    response = ber.decode_response(data, ber.V2C, community)
    assert (response.request_id, response.status) == (request_id, status)
    assert [(v.oid, v.value) for v in response.varbinds] == [(oid, ours(*value)) for oid, value in varbinds]


@given(
    st.sampled_from([ber.V1, ber.V2C]),
    communities,
    st.sampled_from([ber.GET, ber.GET_NEXT]),
    st.lists(oids, max_size=30).map(tuple),
    st.integers(ber.FIRST_ID, ber.LAST_ID),
)
def test_requests_are_the_bytes_that_pysnmp_writes(version, community, kind, asked, request_id):
    api = theirs(version)
    pdu = api.GetRequestPDU() if kind == ber.GET else api.GetNextRequestPDU()
    api.apiPDU.set_defaults(pdu)
    api.apiPDU.set_request_id(pdu, request_id)
    api.apiPDU.set_varbinds(pdu, [(oid, api.null) for oid in asked])
    message = api.Message()
    api.apiMessage.set_defaults(message)
    api.apiMessage.set_community(message, community)
    api.apiMessage.set_pdu(message, pdu)
    assert ber.encode_request(version, community, kind, asked).with_id(request_id) == encoder.encode(message)


@given(oids, st.integers(1, 127), st.integers(ber.FIRST_ID, ber.LAST_ID))
def test_a_bulk_request_is_read_by_pysnmp(oid, repetitions, request_id):
    from pysnmp.proto.api import v2c

    request = ber.encode_request(ber.V2C, b"public", ber.GET_BULK, (oid,), repetitions=repetitions)
    message, rest = decoder.decode(request.with_id(request_id), asn1Spec=v2c.Message())
    pdu = v2c.apiMessage.get_pdu(message)
    assert not rest
    assert v2c.apiBulkPDU.get_request_id(pdu) == request_id
    assert (v2c.apiBulkPDU.get_non_repeaters(pdu), v2c.apiBulkPDU.get_max_repetitions(pdu)) == (0, repetitions)
    assert [str(name) for name, _ in v2c.apiBulkPDU.get_varbinds(pdu)] == [oid]


@given(st.binary(max_size=300))
def test_rubbish_is_a_bad_reply_and_nothing_else(data):
    with pytest.raises(BadReply):
        ber.decode_response(data, ber.V2C, b"public")


@given(st.lists(st.tuples(oids, values), min_size=1, max_size=4), st.data())
def test_a_damaged_answer_is_a_bad_reply_or_an_answer(varbinds, data):
    message = bytearray(their_response(b"public", 0x12345678, 0, 0, varbinds))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(message[: data.draw(st.integers(0, len(message)))])
    try:
        ber.decode_response(damaged, ber.V2C, b"public")
    except BadReply:
        return


@given(st.lists(st.tuples(oids, values), min_size=1, max_size=4), st.data())
def test_an_answer_cut_short_or_drawn_out_is_a_bad_reply(varbinds, data):
    message = their_response(b"public", 0x12345678, 0, 0, varbinds)
    cut = data.draw(st.integers(0, len(message) - 1))
    for broken in (message[:cut], message + b"\0"):
        with pytest.raises(BadReply):
            ber.decode_response(broken, ber.V2C, b"public")


def test_another_version_or_community_is_a_bad_reply():
    message = their_response(b"public", 0x12345678, 0, 0, [("1.3.6.1", ("Integer32", 1))])
    with pytest.raises(BadReply, match="community"):
        ber.decode_response(message, ber.V2C, b"private")
    with pytest.raises(BadReply, match="version"):
        ber.decode_response(message, ber.V1, b"public")


def test_an_unsigned_number_without_its_leading_zero_is_still_unsigned():
    message = their_response(b"public", 0x12345678, 0, 0, [("1.3.6.1", ("Gauge32", 0x7FFFFFFF))])
    response = ber.decode_response(message.replace(b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"), ber.V2C, b"public")
    assert response.varbinds[0].value == 0xFFFFFFFF


@pytest.mark.parametrize("oid", ["", "1", "1.40", "3.1", "1.3.-6", "1.3.x", "1.3.4294967296"])
def test_what_is_no_object_identifier_is_our_own_fault(oid):
    with pytest.raises(ValueError, match=r"cannot|invalid"):
        ber.encode_oid(oid)


@given(oids)
def test_object_identifiers_come_back(oid):
    assert ber.decode_oid(ber.encode_oid(oid)) == oid
