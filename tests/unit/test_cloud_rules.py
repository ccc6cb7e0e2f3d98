"""The strict simulated cloud's judgement: the source's own examples, and one fault at a time with its complaint.

The examples are copied from the interface's text (§2.1.3, §3.1.3), so that neither side of this project wrote them.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from hwsim.cloud_rules import Judgement, Rules, judge

STAMP = 1564734526  # 2019-08-02 16:28:46 in Shanghai
NOW = STAMP + 2.0
RULES = Rules("123456", "G000211001002110010")

COMPUTERS = """{
 "gantryId": "G000211001002110010", "method": "computerStatusUpdate", "timeStamp": "1564734526", "version": "1001",
 "computerStatus": [
  {"id": "1", "isMonitorComputer":"0", "isMainComputer":"1", "sysDiskUsage": "99.99", "sysDiskSize": "10485760",
   "dataDiskUsage": "99.99", "dataDiskSize": "10485760", "memoryUsage": "99.99", "memorySize": "8388608",
   "netUsage": "99.99", "cpuUsage": "99.99", "cpuTemperature": "40", "ip": "192.168.1.1"},
  {"id": "2", "isMonitorComputer":"0", "isMainComputer":"0", "sysDiskUsage": "99.99", "sysDiskSize": "10485760",
   "dataDiskUsage": "99.99", "dataDiskSize": "10485760", "memoryUsage": "99.99", "memorySize": "8388608",
   "netUsage": "99.99", "cpuUsage": "99.99", "cpuTemperature": "40", "ip": "192.168.1.2"}
 ]}"""
CABINET = """{
 "gantryId": "G000211001002110010", "method": "cabinetStatusUpdate", "timeStamp": "1564734526", "version": "1001",
 "cabinetStatus": {
  "id": "1",
  "elec": [{"id": "1", "status": "1", "voltage": "220", "current": "10", "power": "10", "frequency": "50",
   "elecConsumption": "100", "warningMsg": ""}],
  "rectifier": [{"id": "1", "status": "1", "currentLimiting": "0", "outputVoltage": "50", "outputCurrent": "10",
   "outputPower": "20", "warningMsg": ""}],
  "ups": [{"id": "1", "status": "1", "runningState": "1", "inputVoltage": "220", "inputCurrent": "10",
   "outputVoltage": "220", "outputCurrent": "10", "powerRate": "99", "surplusTime": "3600", "remainCapacity": "100",
   "temperature": "40", "warningMsg": ""}],
  "airConditioners": [
   {"id": "1", "status": "1", "errorMsg": "", "isWorking": "1", "workMode": "1", "systemWarning": "1",
    "temperatureWarning": "1"},
   {"id": "2", "status": "1", "errorMsg": "", "isWorking": "1", "workMode": "1", "systemWarning": "1",
    "temperatureWarning": "1"}],
  "thermohygrometer": {"status": "1", "temperature": "40", "humidity": "20"},
  "waterloggingSensor": {"status": "1", "isWarning": "0", "warningChangeTime": "2019-08-28 14:11:01.321"},
  "doors": {"status": "1", "defendMode": "0", "frontDoorClosed": "1", "frontDoorLocked": "1",
   "frontDoorUnlockType": "0", "frontDoorUnlockCardId": "NoData", "frontDoorOpenIllegally": "0",
   "frontDoorChangeTime": "2019-08-28 01:15:01.321", "backDoorClosed": "1", "backDoorLocked": "1",
   "backDoorUnlockType": "0", "backDoorUnlockCardId": "NoData", "backDoorOpenIllegally": "0",
   "backDoorChangeTime": "2019-08-28 01:17:01.321"},
  "smokeSensor": {"status": "1", "isWarning": "0", "warningChangeTime": "2019-08-28 20:12:01.321"},
  " thunderSpd": [{"id": "1" , "status": "1", " lightningCount ": "1"}]
 }}"""


def send(
    body: bytes, rules: Rules = RULES, now: float = NOW, drop: str = "", headers: dict[str, str] | None = None
) -> Judgement:
    given = {
        "binfile-md5": hashlib.md5(body).hexdigest(),
        "binfile-auth": "123456",
        "content-type": "application/json; charset=utf-8",
    } | (headers or {})
    given.pop(drop, None)
    return judge(rules, given, body, now)


def complaints(judgement: Judgement) -> list[str]:
    return [str(complaint) for complaint in judgement.complaints]


def good(text: str) -> dict[str, Any]:
    """The source's example without the source's own mistakes."""
    text = text.replace('" thunderSpd"', '"thunderSpd"').replace('" lightningCount "', '"lightningCount"')
    text = text.replace('"cpuTemperature": "40"', '"cpuTemperature": "40.00"').replace("2019-08-28", "2019-07-28")
    envelope: dict[str, Any] = json.loads(text)
    return envelope


def encoded(envelope: object) -> bytes:
    return json.dumps(envelope, ensure_ascii=False).encode()


def test_the_example_of_computers_fails_only_for_its_temperature_without_decimals() -> None:
    judgement = send(COMPUTERS.encode())
    assert complaints(judgement) == [
        f"computerStatus[{place}].cpuTemperature: '40' needs exactly two decimals" for place in (0, 1)
    ]
    assert (judgement.code, judgement.message) == ("1002", "参数有误: cpuTemperature")


def test_the_example_of_a_cabinet_fails_only_for_its_stray_blanks_and_its_later_changes() -> None:
    found = complaints(send(CABINET.encode()))
    assert found[0] == "cabinetStatus.thunderSpd: is missing"
    assert found[1] == "cabinetStatus. thunderSpd: has stray blanks in its key ' thunderSpd'"
    assert [text.partition(":")[0].rpartition(".")[2] for text in found[2:]] == [
        "warningChangeTime",
        "frontDoorChangeTime",
        "backDoorChangeTime",
        "warningChangeTime",
    ]
    assert all("is later than the upload" in text for text in found[2:])


@pytest.mark.parametrize("text", [COMPUTERS, CABINET])
def test_the_examples_without_their_mistakes_pass(text: str) -> None:
    judgement = send(encoded(good(text)))
    assert complaints(judgement) == []
    assert (judgement.code, judgement.message) == ("1000", "成功")
    assert judgement.cabinet == ("1" if text is CABINET else "")


def test_a_site_with_nothing_in_its_arrays_passes() -> None:
    envelope = good(CABINET)
    for name in ("elec", "rectifier", "ups", "airConditioners", "thunderSpd"):
        envelope["cabinetStatus"][name] = []
    assert send(encoded(envelope)).code == "1000"


@pytest.mark.parametrize("word", ["NoData", "GetFailed", "NotSupport"])
def test_error_words_stand_in_every_field_but_the_ones_a_site_gives(word: str) -> None:
    cabinet, computers = good(CABINET), good(COMPUTERS)
    for member in cabinet["cabinetStatus"].values():
        for entry in member if isinstance(member, list) else [member]:
            if isinstance(entry, dict):
                entry.update({key: word for key in entry if key != "id"})
    for computer in computers["computerStatus"]:
        kept = {"id", "isMonitorComputer", "isMainComputer"}
        computer.update({key: word for key in computer if key not in kept})
    assert send(encoded(cabinet)).complaints == ()
    assert send(encoded(computers)).complaints == ()


HEADER_FAULTS = [
    ({"binfile-md5": "0" * 32}, "", "1004", "binfile-md5: is not the body's"),
    ({"binfile-md5": "abc"}, "", "1004", "binfile-md5: is not 32 hexadecimal digits"),
    ({}, "binfile-md5", "1004", "binfile-md5: the header is missing"),
    ({"binfile-auth": "654321"}, "", "1001", "binfile-auth: is not the agreed code"),
    ({"binfile-auth": "1" * 129}, "", "1001", "binfile-auth: is longer than 128"),
    ({}, "binfile-auth", "1001", "binfile-auth: the header is missing"),
    ({"binfile-auth": "654321", "binfile-md5": "0" * 32}, "", "1004", "binfile-md5: is not the body's"),
    ({"content-type": "text/plain"}, "", "1002", "Content-Type: 'text/plain' is not application/json"),
    ({"content-type": "application/json; charset=gbk"}, "", "1002", "Content-Type: 'application/json; charset=gbk'"),
    ({}, "content-type", "1002", "Content-Type: '' is not"),
]


@pytest.mark.parametrize(("headers", "drop", "code", "text"), HEADER_FAULTS)
def test_headers_are_checked_in_the_order_of_a_platform(
    headers: dict[str, str], drop: str, code: str, text: str
) -> None:
    judgement = send(encoded(good(CABINET)), drop=drop, headers=headers)
    assert judgement.code == code
    assert len(judgement.complaints) == 1
    assert complaints(judgement)[0].startswith(text)


def test_an_upper_case_md5_is_taken() -> None:
    body = encoded(good(CABINET))
    assert send(body, headers={"binfile-md5": hashlib.md5(body).hexdigest().upper()}).code == "1000"


BODY_FAULTS = [
    (b"", "body: is not JSON"),
    (b"{", "body: is not JSON"),
    (b"[]", "body: is not a JSON object"),
    (b'"x"', "body: is not a JSON object"),
    ('{"gantryId": "门"}'.encode("gbk"), "body: is not UTF-8"),
    (b"\xef\xbb\xbf{}", "body: is not JSON"),
    (b'{"gantryId": NaN}', "body: is not JSON (NaN is not JSON)"),
    (b'{"version": "1001", "version": "1001"}', "body: names the key 'version' twice"),
    (b"[" * 100_000, "body: is not JSON"),
]


@pytest.mark.parametrize(("body", "text"), BODY_FAULTS)
def test_a_body_that_is_no_request_is_1002(body: bytes, text: str) -> None:
    judgement = send(body)
    assert judgement.code == "1002"
    assert complaints(judgement)[0].startswith(text)


Change = Callable[[dict[str, Any]], Any]


def put(*path: str | int, value: object) -> Change:
    """A change of one place of the payload; the value None takes the key away."""

    def change(envelope: dict[str, Any]) -> None:
        place: Any = envelope
        for step in path[:-1]:
            place = place[step]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


ENVELOPE_FAULTS = [
    (put("gantryId", value=None), "1002", "gantryId: is missing"),
    (put("gantryId", value="G1"), "1002", "gantryId: 'G1' is not the gantry G000211001002110010"),
    (put("gantryId", value=7), "1002", "gantryId: is a number, not a string"),
    (put("gantryId", value="G" * 21), "1002", "gantryId: must be 1 to 20 characters long"),
    (put("method", value="cabinetControl"), "1002", "method: 'cabinetControl' is unknown"),
    (put("method", value=None), "1002", "method: is missing"),
    (put("method", value="computerStatusUpdate"), "1002", "computerStatus: is missing; the method"),
    (put("timeStamp", value=STAMP), "1002", "timeStamp: is a number, not a string"),
    (put("timeStamp", value=f"{STAMP}.5"), "1002", f"timeStamp: '{STAMP}.5' is not a Unix time"),
    (put("timeStamp", value="2019-08-02 16:28:46"), "1002", "timeStamp: '2019-08-02 16:28:46' is not a Unix time"),
    (put("version", value=None), "1002", "version: is missing"),
    (put("version", value=1001), "1002", "version: is a number, not a string"),
    (put("version", value="1002"), "1006", "version: is '1002', must be '1001'"),
    (put("timeStamp", value=str(STAMP + 400)), "1003", "timeStamp: is 398 s ahead"),
    (put("timeStamp", value=str(STAMP - 400)), "1003", "timeStamp: is 402 s behind"),
    (put("timeStamp", value=f"{STAMP}000"), "1003", "timeStamp: is 15631"),  # milliseconds
    (put("extra", value="1"), "1002", "extra: is not in the interface"),
    (put("version ", value="1001"), "1002", "version : has stray blanks"),
    (put("cabinetStatus", value=None), "1002", "cabinetStatus: is missing; the method"),
    (put("cabinetStatus", value=[]), "1002", "cabinetStatus: is an array, not an object"),
]


@pytest.mark.parametrize(("change", "code", "text"), ENVELOPE_FAULTS)
def test_every_fault_of_the_envelope_has_its_code(change: Change, code: str, text: str) -> None:
    envelope = good(CABINET)
    change(envelope)
    judgement = send(encoded(envelope))
    assert complaints(judgement)[0].startswith(text)
    assert judgement.code == code


def test_the_version_is_looked_at_before_the_time() -> None:
    envelope = good(CABINET) | {"version": "1", "timeStamp": "5"}
    assert [complaint.code for complaint in send(encoded(envelope)).complaints][:2] == ["1006", "1003"]


def test_old_data_pass_where_the_cloud_takes_retransmissions() -> None:
    body = encoded(good(CABINET))
    late = STAMP + 7200.0
    assert send(body, now=late).code == "1003"
    assert send(body, Rules("123456", oldest_s=86400), now=late).code == "1000"
    assert send(body, Rules("123456", oldest_s=86400), now=STAMP - 301.0).code == "1003"


def cabinet(*path: str | int, value: object) -> Change:
    return put("cabinetStatus", *path, value=value)


FIELD_FAULTS = [
    (cabinet("id", value="0"), "cabinetStatus.id: '0' is outside"),
    (cabinet("id", value="01"), "cabinetStatus.id: '01' is not a whole number"),
    (cabinet("id", value="NoData"), "cabinetStatus.id: cannot be NoData"),
    (cabinet("id", value=1), "cabinetStatus.id: is a number, not a string"),
    (cabinet("smoke", value={}), "cabinetStatus.smoke: is not in the interface"),
    (cabinet("ups", value=None), "cabinetStatus.ups: is missing"),
    (cabinet("ups", value={}), "cabinetStatus.ups: is an object, not an array"),
    (cabinet("doors", value=[]), "cabinetStatus.doors: is an array, not an object"),
    (cabinet("doors", "frontDoorLocked", value=None), "cabinetStatus.doors.frontDoorLocked: is missing"),
    (cabinet("elec", 0, "remark", value="x"), "cabinetStatus.elec[0].remark: is not in the interface"),
    (cabinet("elec", 0, "voltage", value=220), "cabinetStatus.elec[0].voltage: is a number, not a string"),
    (cabinet("elec", 0, "voltage", value=True), "cabinetStatus.elec[0].voltage: is a boolean, not a string"),
    (cabinet("elec", 0, "voltage", value=["220"]), "cabinetStatus.elec[0].voltage: is an array, not a string"),
    (cabinet("elec", 0, "status", value="2"), "cabinetStatus.elec[0].status: '2' is none of 0, 1"),
    (cabinet("elec", 0, "status", value=""), "cabinetStatus.elec[0].status: '' is none of 0, 1"),
    (cabinet("elec", 0, "voltage", value="2310"), "cabinetStatus.elec[0].voltage: '2310' is outside"),
    (cabinet("elec", 0, "power", value="1500"), "cabinetStatus.elec[0].power: '1500' is outside"),
    (
        cabinet("elec", 0, "warningMsg", value="输入过压，输入欠压"),
        "cabinetStatus.elec[0].warningMsg: '输入过压，输入欠压' has a full",
    ),
    (
        cabinet("elec", 0, "warningMsg", value="输入过压, 输入欠压"),
        "cabinetStatus.elec[0].warningMsg: '输入过压, 输入欠压' has blanks",
    ),
    (cabinet("elec", 0, "warningMsg", value="输入过压,"), "cabinetStatus.elec[0].warningMsg: '输入过压,' has an empty"),
    (cabinet("elec", 0, "warningMsg", value="a,a"), "cabinetStatus.elec[0].warningMsg: 'a,a' says a warning twice"),
    (cabinet("elec", 0, "warningMsg", value="a,NoData"), "cabinetStatus.elec[0].warningMsg: 'a,NoData' mixes"),
    (cabinet("elec", 0, "warningMsg", value="a\nb"), "cabinetStatus.elec[0].warningMsg: 'a\\nb' has a control"),
    (cabinet("rectifier", 0, "outputPower", value="71.5"), "cabinetStatus.rectifier[0].outputPower: '71.5' is outside"),
    (cabinet("rectifier", 0, "id", value="2"), "cabinetStatus.rectifier: has ids that do not start from 1: 2"),
    (cabinet("airConditioners", 1, "id", value="1"), "cabinetStatus.airConditioners: has an id twice: 1, 1"),
    (cabinet("airConditioners", 0, "workMode", value="3"), "cabinetStatus.airConditioners[0].workMode: '3' is none of"),
    (cabinet("ups", 0, "runningState", value="0"), "cabinetStatus.ups[0].runningState: '0' is none of 1, 2, 3, 4, 5"),
    (cabinet("ups", 0, "powerRate", value="100.1"), "cabinetStatus.ups[0].powerRate: '100.1' is outside"),
    (cabinet("ups", 0, "temperature", value="250"), "cabinetStatus.ups[0].temperature: '250' is outside"),
    (cabinet("ups", 0, "status", value="nodata"), "cabinetStatus.ups[0].status: 'nodata' is none of"),
    (
        cabinet("thunderSpd", 0, "lightningCount", value="1.0"),
        "cabinetStatus.thunderSpd[0].lightningCount: '1.0' is not a",
    ),
    (
        cabinet("doors", "frontDoorUnlockType", value="2"),
        "cabinetStatus.doors.frontDoorUnlockType: is 2 while the lock",
    ),
    (
        cabinet("doors", "backDoorLocked", value="0"),
        "cabinetStatus.doors.backDoorUnlockType: is 0 while the lock is open",
    ),
    (cabinet("doors", "frontDoorOpenIllegally", value="1"), "cabinetStatus.doors.frontDoorOpenIllegally: is 1 while"),
    (cabinet("doors", "frontDoorUnlockCardId", value="12345"), "cabinetStatus.doors.frontDoorUnlockCardId: has a card"),
    (
        cabinet("doors", "frontDoorUnlockCardId", value=""),
        "cabinetStatus.doors.frontDoorUnlockCardId: '' is no card number",
    ),
]


@pytest.mark.parametrize(("change", "text"), FIELD_FAULTS)
def test_every_fault_of_a_cabinet_is_complained_of_where_it_is(change: Change, text: str) -> None:
    envelope = good(CABINET)
    change(envelope)
    judgement = send(encoded(envelope))
    assert judgement.code == "1002"
    assert complaints(judgement)[0].startswith(text)


@pytest.mark.parametrize(
    "number",
    ["", " 220", "220 ", "+220", "2.2e2", "NaN", "inf", "0x10", "220,5", ".5", "5.", "007", "-0", "-0.0", "２２"],
)
def test_numbers_are_plain_decimals(number: str) -> None:
    envelope = good(CABINET)
    envelope["cabinetStatus"]["elec"][0]["voltage"] = number
    assert len(send(encoded(envelope)).complaints) == 1


@pytest.mark.parametrize("number", ["0", "220", "220.5", "-12.25", "0.001"])
def test_plain_decimals_pass(number: str) -> None:
    envelope = good(CABINET)
    envelope["cabinetStatus"]["elec"][0]["current"] = number
    assert send(encoded(envelope)).complaints == ()


@pytest.mark.parametrize("percent", ["99.9", "99", "100.01", "-0.01", "099.00", "99.990", "1e1", "", "99.99%"])
def test_percentages_have_exactly_two_decimals_within_0_and_100(percent: str) -> None:
    envelope = good(COMPUTERS)
    envelope["computerStatus"][1]["netUsage"] = percent
    found = complaints(send(encoded(envelope)))
    assert len(found) == 1
    assert found[0].startswith("computerStatus[1].netUsage: ")


@pytest.mark.parametrize("percent", ["0.00", "100.00", "7.05"])
def test_percentages_with_two_decimals_pass(percent: str) -> None:
    envelope = good(COMPUTERS)
    envelope["computerStatus"][1]["netUsage"] = percent
    assert send(encoded(envelope)).complaints == ()


@pytest.mark.parametrize(
    "moment",
    [
        "",
        "2019-07-28T14:11:01.321",
        "2019-07-28 14:11:01",
        "2019-07-28 14:11:01.32",
        "2019-7-28 14:11:01.321",
        "2019-02-30 14:11:01.321",
        "2019-07-28 24:11:01.321",
        "2019-07-28 14:11:01.321Z",
        "1970-01-01 08:00:00.000",
        "2019-08-02 16:28:49.000",  # three seconds after the upload
    ],
)
def test_times_are_valid_moments_before_the_upload(moment: str) -> None:
    envelope = good(CABINET)
    envelope["cabinetStatus"]["smokeSensor"]["warningChangeTime"] = moment
    assert len(send(encoded(envelope)).complaints) == 1


def test_a_change_within_the_second_of_the_upload_passes() -> None:
    envelope = good(CABINET)
    envelope["cabinetStatus"]["smokeSensor"]["warningChangeTime"] = "2019-08-02 16:28:46.999"
    assert send(encoded(envelope)).complaints == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "NotSupport"),
        ("isMonitorComputer", "NoData"),
        ("isMainComputer", "2"),
        ("sysDiskSize", "10485760.5"),
        ("memorySize", "0"),
        ("memorySize", "8 GB"),
        ("cpuTemperature", "140.00"),
        ("ip", "192.168.1"),
        ("ip", "0.0.0.0"),
        ("ip", "localhost"),
    ],
)
def test_every_fault_of_a_computer_is_complained_of(field: str, value: str) -> None:
    envelope = good(COMPUTERS)
    envelope["computerStatus"][0][field] = value
    assert complaints(send(encoded(envelope)))[0].startswith(f"computerStatus[0].{field}: ")


def test_a_gantry_without_computers_is_complained_of() -> None:
    assert complaints(send(encoded(good(COMPUTERS) | {"computerStatus": []}))) == ["computerStatus: is an empty array"]


def test_one_upload_shows_all_its_faults() -> None:
    envelope = good(CABINET)
    broken = copy.deepcopy(envelope)
    for change, _ in FIELD_FAULTS[6:8]:
        change(broken)
    broken["version"] = "1"
    judgement = send(encoded(broken))
    assert judgement.code == "1006"
    assert len(judgement.complaints) == 3


def test_no_message_is_longer_than_the_interface_allows() -> None:
    envelope = good(CABINET)
    envelope["x" * 100] = ""
    assert len(send(encoded(envelope)).message) == 40
