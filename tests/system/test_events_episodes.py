"""Alarms over restarts, power cuts and link losses: a slice of what `tests/soak_events.py` does at length."""

import episodes
import pytest


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_each_raise_has_exactly_one_clear_and_order_is_kept(tmp_path, seed):
    life = await episodes.run(tmp_path, 40, seed)
    assert sum(life.cloud.raises.values()) > 40
    assert life.cloud.raises == life.cloud.clears
