"""JSON Schema of profile files, for completion and a first check in editors.

What it says is what `profile` reads: words that are listed anywhere in the code come from there, and a test holds the
keys of every part against those that the reader asks for. It knows no names that refer to one another, no units and no
OIDs; `gantry-agent profiles lint` does.
"""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from gantry_agent.field.product import Maturity, Protocol
from gantry_agent.field.profile_identity import TESTS
from gantry_agent.field.profile_outputs import SET_KINDS
from gantry_agent.field.profile_parts import KINDS, OPERATIONS
from gantry_agent.field.profile_writes import ORDERS
from gantry_agent.vocabulary import BATTERY_TEST, MEMBERS, WARNING_FIELD

Schema = dict[str, Any]

NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string", "minLength": 1}
SCALAR: Schema = {"type": ["number", "string"]}
SCALARS: Schema = {"anyOf": [SCALAR, {"type": "array", "items": SCALAR}]}
AMOUNT: Schema = {"anyOf": [NUMBER, {"type": "string", "description": "the name of a parameter"}]}
FLAG: Schema = {"type": "boolean"}
LOCAL = r"[a-z][a-z0-9_]*(\[[0-9]+\])?"
FIELD = r"[A-Za-z]\w*(\[[0-9]+\])?\.[A-Za-z]\w*"


def whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def part(required: Iterable[str] = (), **keys: Schema) -> Schema:
    """An object with these keys and no others."""
    shape: Schema = {"type": "object", "additionalProperties": False, "properties": keys}
    return shape | ({"required": [*required]} if required else {})


def named(value: Schema, pattern: str = "") -> Schema:
    """An object whose keys are names that the writer chooses."""
    shape: Schema = {"type": "object", "additionalProperties": value}
    return shape | ({"propertyNames": {"pattern": f"^({pattern})$"}} if pattern else {})


def listed(item: Schema) -> Schema:
    """A list; one alone may stand without brackets."""
    return {"anyOf": [item, {"type": "array", "items": item}]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def one_of(words: Iterable[Any]) -> Schema:
    return {"enum": [*words]}


def json_schema() -> Schema:
    """The schema of a whole file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gantry-agent profile",
        "$defs": {
            "when": listed(named({"anyOf": [SCALARS, part(**{"not": SCALARS, "below": AMOUNT, "above": AMOUNT})]})),
            "filter": _filter(),
            "layout": {"type": "array", "minItems": 1, "items": _layout_item()},
            "texts": part(("zh", "en"), zh=TEXT, en=TEXT),
        },
        **_file(),
    }


def _file() -> Schema:
    need = ("profile", "title", "protocol", "maturity", "sources")
    small = part(("zh", "en"), zh=TEXT, en=TEXT)
    limits = {"registers": whole(1, 125), "bits": whole(1, 2000), "hole": whole(0, 124), "oids": whole(1, 100)}
    point_of_row = _point(row=True)
    return part(
        need,
        profile=TEXT,
        title=small,
        protocol=one_of(get_args(Protocol)),
        maturity=one_of(get_args(Maturity)),
        sources=listed(part(("document", "page"), document=TEXT, page=TEXT)),
        caveats=listed(ref("texts")),
        timing=part(response_ms={"type": "number", "exclusiveMinimum": 0}, gap_ms={"type": "number", "minimum": 0}),
        limits=part(**limits),
        prefixes=named(TEXT),
        parameters=named(part(("default",), default=SCALAR, choices=SCALARS, title=small)),
        members={
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(MEMBERS, whole(0, 64)),
        },
        identity=listed(_sign()),
        was=SCALARS,
        renamed=named(TEXT),
        objects=SCALARS,
        answers=named(part(("ask", "layout"), ask=TEXT, layout=ref("layout"))),
        points=named(_point(row=False), f"{FIELD}|{LOCAL}"),
        tables=named(_table(point_of_row)),
        derived=named(_derived(), f"{FIELD}|{LOCAL}"),
        warnings=listed(
            part(
                ("member", "text", "when"),
                member=one_of(name for name in MEMBERS if name in WARNING_FIELD),
                number=whole(1, 64),
                text=TEXT,
                when=ref("when"),
            )
        ),
        writes=_writes(),
        on_return=listed(part(("value",), **_target(), value=AMOUNT)),
        battery_test=_battery_test(),
    )


# --- points and tables ------------------------------------------------------------------------------------------------


def _encoding() -> Mapping[str, Schema]:
    kinds = sorted({kind for known in KINDS.values() for kind in known})
    values = listed({"anyOf": [SCALAR, part(above=NUMBER, below=NUMBER)]})
    return {
        "as": {"anyOf": [one_of(kinds), {"type": "string", "pattern": r"^text:[1-9]\d?$"}]},
        "order": one_of(("big", "little", "swap-words", "swap-bytes")),
        "bit": whole(0, 63),
        "mask": whole(1, 2**64 - 1),
        "none": values,
        "absent": values,
        "map": {"type": "object", "minProperties": 1, "additionalProperties": SCALAR},
        "else": SCALAR,
        "scale": AMOUNT,
        "offset": AMOUNT,
    }


def _point(*, row: bool) -> Schema:
    places = {"read": TEXT, **({"column": TEXT} if row else {"oid": TEXT, "host": TEXT})}
    by_value = _by_value(SCALAR)
    place = "column" if row else "oid"
    an_object: dict[str, Schema] = {place: TEXT, "kind": one_of(SET_KINDS)}
    within_s: Schema = {"type": "number", "exclusiveMinimum": 0}
    sets = part((place,), **an_object, map=by_value, within_s=within_s, returns=FLAG)
    registers = part(("to", "map"), to=TEXT, map=by_value, within_s={"type": "number", "exclusiveMinimum": 0})
    keys: dict[str, Schema] = {
        **places,
        **_encoding(),
        "unit": {"type": "string"},
        "lane": one_of(("fast", "slow")),
        "inferred": FLAG,
        **({} if row else {"again": FLAG}),
        "write": {"anyOf": [TEXT, sets, registers, by_value]},
        "terminal": TEXT,
        "pulse": _pulse(place, an_object),
        "shows": part(count={"type": "string"}, given={"type": "string"}),
    }
    return part(**keys) | {"anyOf": [{"required": [place]} for place in places]}


def _pulse(place: str, an_object: dict[str, Schema]) -> Schema:
    begin = {"anyOf": [TEXT, part((place,), **an_object, value={"type": "integer"})]}
    choices = {"type": "array", "items": whole(1, 0xFFFF)}
    width = part((place,), **an_object, choices=choices, set=FLAG)
    found = part(on=begin, off=begin, width=width, step_ms=whole(1, 60_000), most=whole(1, 0xFFFF))
    return found | {"anyOf": [{"required": ["on"]}, {"required": ["off"]}]}


def _sign() -> Schema:
    tests: dict[str, Schema] = {
        "is": SCALARS,
        "under": SCALARS,
        "has": SCALARS,
        "between": {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2},
        "there": {"const": True},
    }
    places = {"read": TEXT, "oid": TEXT, "host": TEXT}
    keys = part(**places, **_encoding(), **tests, weak=FLAG)
    return keys | {"oneOf": [{"required": [test]} for test in TESTS]}


def _filter() -> Schema:
    tests = {"equals": SCALARS, "word": SCALARS, "not": SCALARS}
    return part(("column",), **{"column": TEXT, **tests, "and": ref("filter")}) | {
        "oneOf": [{"required": [test]} for test in tests]
    }


def _table(point: Schema) -> Schema:
    return part(
        member=one_of(MEMBERS),
        rows=TEXT,
        index=TEXT,
        order=one_of(("index", "value")),
        where=listed(ref("filter")),
        points=named(point, f"{FIELD}|{LOCAL}"),
    )


def _layout_item() -> Schema:
    """`name: kind`, `name: [kind]` or `name: [{…}, …]`, and a condition."""
    groups: Schema = {"anyOf": [TEXT, {"type": "array", "items": {"anyOf": [TEXT, _nested()]}, "minItems": 1}]}
    return {"type": "object", "minProperties": 1, "maxProperties": 2, "additionalProperties": groups}


def _nested() -> Schema:
    return {"$ref": "#/$defs/layout/items"}


# --- what follows, and what can be ordered ----------------------------------------------------------------------------


def _derived() -> Schema:
    case = part(("when", "then"), when=ref("when"), then=SCALAR)
    operations: dict[str, Schema] = dict.fromkeys(OPERATIONS, SCALARS) | {"case": listed(case)}
    shape = part(
        **operations,
        **{"unit": {"type": "string"}, "scale": AMOUNT, "offset": AMOUNT, "bits": whole(8, 64), "else": SCALAR},
    )
    return shape | {"oneOf": [{"required": [operation]} for operation in OPERATIONS]}


def _target() -> dict[str, Schema]:
    return {
        "write": TEXT,
        "oid": TEXT,
        "function": one_of((5, 6, 16)),
        "kind": one_of(("integer", "unsigned", "octets", "oid")),
        "as": _encoding()["as"],
    }


def _step() -> dict[str, Schema]:
    return {
        **_target(),
        "column": TEXT,
        "table": TEXT,
        "point": TEXT,
        "order": _encoding()["order"],
        "map": _by_value(SCALAR),
        "scale": AMOUNT,
        "offset": AMOUNT,
        "value": SCALAR,
        "for": whole(0, 9),
        "block": TEXT,
        "pad": whole(0, 0xFFFF),
    }


def _by_value(value: Schema) -> Schema:
    """`{1: …, 0: …}`: keys are numbers, which JSON knows as texts."""
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": r"^-?\d+$"},
        "additionalProperties": value,
    }


def _writes() -> Schema:
    confirm = part(
        ("point",),
        point=TEXT,
        within_s={"type": "number", "exclusiveMinimum": 0},
        expect=_by_value(SCALARS),
        tolerance={"type": "number", "minimum": 0},
    )
    order = part(
        **_step(),
        steps=listed(part(**_step())),
        low=AMOUNT,
        high=AMOUNT,
        require=part(("point", "is"), **{"point": TEXT, "is": SCALARS, "for": whole(0, 9)}),
        confirm=confirm,
        momentary=FLAG,
    )
    orders = "|".join(rf"{member}(\[[0-9]+\])?\.({'|'.join(known)})" for member, known in ORDERS.items())
    return named(order, orders)


def _battery_test() -> Schema:
    return part(
        records=TEXT,
        fields={
            "type": "object",
            "additionalProperties": False,
            "properties": dict.fromkeys(BATTERY_TEST.fields, TEXT),
        },
        verdict=part(("point", "map"), point=TEXT, map=_by_value(whole(1, 4))),
        minutes=AMOUNT,
    )
