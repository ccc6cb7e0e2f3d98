"""No body is an escape on the way from bytes to orders; hypothesis makes the smallest one that would be."""

import json
from typing import Any

import pytest
from cloud_site import GANTRY, NOW
from fuzz_bodies import NAMES, SCALARS, SEEDS, Bodies, Raw, tree, written
from fuzz_guided import check, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

VALUES = st.recursive(
    st.one_of(st.sampled_from([one for one in SCALARS if not isinstance(one, list)]), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=4)), inner), min_size=1, max_size=4),
    ),
    max_leaves=6,
)


def test_every_seed_is_in_order() -> None:
    ends = [check(seed) for seed in seeds()]
    assert not {"1002", "1003", "1006"} & set(ends)
    assert len(set(ends)) == 14  # all 13 orders, and the query


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_request_with_strange_members_is_refused_or_orders_what_the_site_allows(data: st.DataObject) -> None:
    method, business = data.draw(st.sampled_from(SEEDS))
    changed: list[tuple[str, Any]] = [
        (name, data.draw(VALUES) if data.draw(st.booleans()) else value) for name, value in tree(business)
    ]
    changed += data.draw(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=3))
    envelope = [("gantryId", GANTRY), ("method", method), ("timeStamp", str(NOW)), ("version", "1001")]
    check(written([*envelope, (method, changed or Raw("{}"))]).encode())


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(seeds()), st.data())
def test_a_request_with_other_bytes_in_it_is_refused_or_still_allowed(seed: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(seed)))
    check(seed[:at] + data.draw(st.binary(max_size=6)) + seed[at + data.draw(st.integers(0, 6)) :])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_what_the_fuzzer_makes_is_read_without_a_socket_too(seed: int) -> None:
    bodies = Bodies(seed)
    for _ in range(5):
        check(bodies.next(NOW).content)


@pytest.mark.parametrize("depth", [100, 990, 1000, 10_000, 100_000])
def test_depth_is_no_bug(depth: int) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        content = opening * depth + "1" + closing * depth
        assert check(content.encode()) == "1002"
        seed = json.loads(seeds()[2]) | {"cabinetControl": {"cmd": "2", "unlockDoorId": "1", "x": 0}}
        assert check(json.dumps(seed).replace('"x": 0', f'"x": {content}').encode()) in {"Unlock", "1002"}
