"""SNMP messages against pysnmp's own encoder and decoder, and rubbish."""

import contextlib

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


# --- traps and informs ------------------------------------------------------------------------------------------------

TRAP_NAMES = st.lists(arcs, min_size=1, max_size=12).map(lambda rest: ".".join(map(str, (1, 3, *rest))))


def their_notification(kind: str, community: bytes, name: str, varbinds) -> bytes:
    from pysnmp.proto.api import v2c

    pdu = v2c.InformRequestPDU() if kind == "inform" else v2c.TrapPDU()
    v2c.apiTrapPDU.set_defaults(pdu)
    head = [("1.3.6.1.2.1.1.3.0", v2c.TimeTicks(7)), ("1.3.6.1.6.3.1.1.4.1.0", v2c.ObjectIdentifier(name))]
    v2c.apiTrapPDU.set_varbinds(pdu, head + [(oid, their_value(*value)) for oid, value in varbinds])
    message = v2c.Message()
    v2c.apiMessage.set_defaults(message)
    v2c.apiMessage.set_community(message, community)
    v2c.apiMessage.set_pdu(message, pdu)
    return encoder.encode(message)


@given(st.sampled_from(["trap", "inform"]), communities, TRAP_NAMES, st.lists(st.tuples(oids, values), max_size=4))
def test_notifications_are_read_and_informs_answered_as_pysnmp_reads_it(kind, community, name, varbinds):
    from pysnmp.proto.api import v2c

    message = their_notification(kind, community, name, varbinds)
    read = ber.decode_notification(message)
    assert (read.version, read.community, read.what) == (ber.V2C, community, name)
    assert [varbind.oid for varbind in read.varbinds] == [oid for oid, _ in varbinds]
    if kind == "trap":
        assert read.reply is None
        return
    assert read.reply is not None
    theirs_, _ = decoder.decode(read.reply, asn1Spec=v2c.Message())
    asked, _ = decoder.decode(message, asn1Spec=v2c.Message())
    pdu, question = v2c.apiMessage.get_pdu(theirs_), v2c.apiMessage.get_pdu(asked)
    assert pdu.tagSet == v2c.ResponsePDU.tagSet
    assert v2c.apiPDU.get_request_id(pdu) == v2c.apiPDU.get_request_id(question)
    assert v2c.apiPDU.get_error_status(pdu) == 0
    assert v2c.apiPDU.get_varbinds(pdu) == v2c.apiPDU.get_varbinds(question)
    assert ber.decode_response(read.reply, ber.V2C, community).varbinds[2:] == read.varbinds


@pytest.mark.parametrize(
    ("generic", "specific", "name"),
    [(0, 0, "1.3.6.1.6.3.1.1.5.1"), (3, 9, "1.3.6.1.6.3.1.1.5.4"), (6, 31, "1.3.6.1.4.1.2011.6.0.31")],
)
def test_a_v1_trap_has_the_name_that_rfc_3584_gives_it(generic, specific, name):
    from pysnmp.proto.api import v1

    pdu = v1.TrapPDU()
    v1.apiTrapPDU.set_defaults(pdu)
    v1.apiTrapPDU.set_enterprise(pdu, "1.3.6.1.4.1.2011.6")
    v1.apiTrapPDU.set_generic_trap(pdu, generic)
    v1.apiTrapPDU.set_specific_trap(pdu, specific)
    v1.apiTrapPDU.set_varbinds(pdu, [("1.3.6.1.4.1.1", v1.Integer(4))])
    message = v1.Message()
    v1.apiMessage.set_defaults(message)
    v1.apiMessage.set_community(message, b"public")
    v1.apiMessage.set_pdu(message, pdu)
    read = ber.decode_notification(encoder.encode(message))
    assert (read.version, read.community, read.kind, read.what) == (ber.V1, b"public", ber.TRAP_V1, name)
    assert [(varbind.oid, varbind.value) for varbind in read.varbinds] == [("1.3.6.1.4.1.1", 4)]


# A v3 trap of net-snmp 5.9.3, authPriv: the header in clear, the contents sealed.
SEALED = bytes.fromhex(
    "30819f020103301102043492d1aa020300ffe3040103020103042f302d0408800000000102030402010102030674c2040178"
    "040c1196d05277609e4e7f66544604080d5d2c5ac613aebe0456cc743201dda1e1c49ede4200a035e79bec14e1dc26dfdc07"
    "7466180707f1c9e52d1446d081f63b610b3cc8f3b322f4a441f24bd38ae11005a1bf3a72694cc9457fcab87e884671cab412"
    "cfb10eddabcffc1876cb0701"
)


def test_of_a_v3_notification_only_the_outside_is_read():
    assert ber.decode_notification(SEALED) == ber.Notification(ber.V3)
    for cut in range(len(SEALED)):
        with pytest.raises(BadReply):
            ber.decode_notification(SEALED[:cut])


@given(st.binary(max_size=200))
def test_rubbish_is_no_notification(data):
    with pytest.raises(BadReply):
        ber.decode_notification(data)


@given(st.data())
def test_a_notification_with_a_flipped_bit_is_read_or_refused_and_nothing_else(data):
    message = bytearray(their_notification("inform", b"public", "1.3.6.1.4.1.9", [("1.3.6.1.1", ("Integer32", 5))]))
    at = data.draw(st.integers(0, 8 * len(message) - 1))
    message[at // 8] ^= 1 << at % 8
    with contextlib.suppress(BadReply):
        ber.decode_notification(bytes(message))


def test_an_answer_or_a_question_is_no_notification():
    for message in (
        their_response(b"public", 5, 0, 0, []),
        ber.encode_request(ber.V2C, b"public", ber.GET, ("1.3.6",)).message,
    ):
        with pytest.raises(BadReply, match="neither trap nor inform"):
            ber.decode_notification(message)
