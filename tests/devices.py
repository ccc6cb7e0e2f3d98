"""The table of supported products in both READMEs, made from the profiles and the evidence in the tests.

    python tests/devices.py            writes the tables (`make devices`)
    python tests/devices.py --check    fails when one is stale

What counts as evidence is counted here and nowhere else: rows of recordings, cases of transcripts, and tests that
bring a profile together with the program that stands for its device.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from gantry_agent.field import profile  # noqa: E402
from gantry_agent.field.product import Profile  # noqa: E402
from gantry_agent.vocabulary import MEMBERS  # noqa: E402

READMES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
BEGIN, END = "<!-- products: made by `make devices` -->", "<!-- end of products -->"
HEAD = {
    "en": ("product", "profile", "speaks", "fills", "carries out", "evidence"),
    "zh": ("产品", "型号", "协议", "可填的成员", "可执行的命令", "证据"),
}
WORDS = {
    "recordings": ("recordings", "录制"),
    "cases": ("cases by the table", "按表格的用例"),
    "tests": ("read in", "用于"),
    "draft": ("draft", "草稿"),
    "outputs": ("outputs", "输出点"),
}
PROGRAMS = {  # tests in which a program of somebody else stands for the device, or reads the same one beside the agent
    "local-host": ("test_bus_host",),  # psutil, asked directly
    "megatec-q1": ("test_spoken_devices",),  # NUT's nutdrv_qx
    "voltronic-qs": ("test_spoken_devices",),  # the same
    "uhppote-controller": ("test_cards",),  # the client of uhppoted
}
ORDERS = {  # what an order is called in the interface
    "airOperate": "cmd 3", "autoRefrigerationTemp": "cmd 4", "autoHeatingTemp": "cmd 4", "onOff": "cmd 8",
    "testStartStop": "cmd 9",
}  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """What has shown that a profile reads its product."""

    recordings: tuple[str, ...] = ()
    cases: int = 0  # by hand from the vendor's table, each with readings
    tests: tuple[str, ...] = ()  # with a program of somebody else

    def supports(self, maturity: str) -> bool:
        """Whether a profile may call itself so."""
        match maturity:
            case "recorded":
                return bool(self.recordings)
            case "transcript":
                return bool(self.cases or self.tests)
            case "simulated":
                return bool(self.recordings or self.tests)
        return True  # a draft claims nothing


def _yaml(path: Path) -> dict[str, Any]:
    return YAML(typ="safe", pure=True).load(path)


def _says(case: Mapping[str, Any]) -> bool:
    """Whether somebody wrote down what the answers of a case mean."""
    return bool(case.get("expected") or case.get("points"))


@cache
def products() -> tuple[Profile, ...]:
    """Every shipped profile."""
    return tuple(profile.load(name) for name in profile.names())


@cache
def recordings() -> dict[str, tuple[str, ...]]:
    """Names of the recordings by profile, of the rows that expect readings."""
    found: dict[str, list[str]] = {}
    source = (ROOT / "tests/recordings/test_profile_recordings.py").read_text(encoding="utf-8")
    for recording, name in re.findall(r'pytest\.param\(\s*"([\w.-]+)",\s*"([\w-]+)"', source):
        found.setdefault(name, []).append(recording)
    for path in sorted((ROOT / "tests/recordings/products").glob("*.yaml")):
        for case in _yaml(path)["cases"]:
            if "recording" in case and "said" not in case and _says(case):
                found.setdefault(path.stem, []).append(case["recording"])
    return {name: tuple(dict.fromkeys(each)) for name, each in found.items()}


@cache
def cases() -> dict[str, int]:
    """How many cases of transcripts there are by profile, those that change something of a recording included."""
    found: dict[str, int] = {}
    for path in sorted((ROOT / "tests/transcripts").glob("*.yaml")):
        one = _yaml(path)
        said = [*filter(_says, one["cases"]), *one.get("changes", ()), *one.get("orders", ()), *one.get("pulses", ())]
        found[path.stem] = len(said)
    for path in sorted((ROOT / "tests/recordings/products").glob("*.yaml")):
        one = _yaml(path)
        said = [case for case in one["cases"] if "said" in case and _says(case)]
        found[path.stem] = found.get(path.stem, 0) + len(said) + len(one.get("orders", ()))
    return found


def evidence(name: str) -> Evidence:
    return Evidence(recordings().get(name, ()), cases().get(name, 0), PROGRAMS.get(name, ()))


# --- the table --------------------------------------------------------------------------------------------------------


def table(language: str) -> str:
    """The table of one language, between its markers."""
    head = HEAD[language]
    rows = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    rows += [f"| {' | '.join(_row(one, language))} |" for one in sorted(products(), key=_order)]
    return "\n".join([BEGIN, "", *rows, "", END])


def _order(one: Profile) -> tuple[int, str]:
    """By what they are there for, as the interface has it; contacts last."""
    members = [place for place, member in enumerate(MEMBERS) if member in one.members]
    return (min(members, default=len(MEMBERS)), one.name)


def _row(one: Profile, language: str) -> Iterator[str]:
    orders = list(dict.fromkeys(ORDERS.get(order.name.field, order.name.field) for order in one.writes))
    if one.writable:
        orders.append(_word("outputs", language))
    yield getattr(one.title, language).replace("|", "/")
    yield f"`{one.name}`"
    yield one.protocol
    yield ", ".join(one.members) or "–"
    yield ", ".join(orders) or "–"
    yield (
        f"{one.maturity}: {_told(evidence(one.name), language)}"
        if one.maturity != "draft"
        else _word("draft", language)
    )


def _told(found: Evidence, language: str) -> str:
    said = [f"{_word('recordings', language)} {len(found.recordings)}"] if found.recordings else []
    said += [f"{_word('cases', language)} {found.cases}"] if found.cases else []
    said = said or [f"{_word('tests', language)} {', '.join(f'`{test}`' for test in found.tests[:2])}"]
    return ", ".join(said) if language == "en" else "，".join(said)


def _word(word: str, language: str) -> str:
    return WORDS[word][language == "zh"]


def stale(language: str) -> str | None:
    """Say what is wrong with a README; None when its table is as it should be."""
    path = READMES[language]
    text = path.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        return f"cannot find the table of products in {path.name}: it stands between {BEGIN} and {END}"
    found = text[text.index(BEGIN) : text.index(END) + len(END)]
    return None if found == table(language) else f"the table of products in {path.name} is stale: run `make devices`"


def write(language: str) -> None:
    path = READMES[language]
    text = path.read_text(encoding="utf-8")
    at, end = text.index(BEGIN), text.index(END) + len(END)
    path.write_text(text[:at] + table(language) + text[end:], encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        wrong = [said for language in READMES if (said := stale(language))]
        print("\n".join(wrong) or "the tables of products are as they should be")
        return int(bool(wrong))
    for language in READMES:
        write(language)
    return 0


if __name__ == "__main__":
    sys.exit(main())
