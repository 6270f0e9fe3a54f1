"""A real module on a machine whose clock is set: what it holds is of another time, so it ends and begins anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from alphatrader.contract import keys as k
from alphatrader.contract.modules import Module
from tests.support.office import Office, office_on
from tests.support.people import until


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with office_on(tmp_path) as office:
        yield office


def beat_of(office: Office) -> int:
    """When it last beat, by its own clock."""
    health = office.servers.store(Module.OPERATOR).get(k.HEALTH.at(module=Module.DISTRIBUTION))
    assert health is not None
    return health.machine_ns


def test_a_stream_module_whose_machines_clock_is_set_says_so_and_ends_to_begin_anew(office: Office, tmp_path: Path) -> None:
    clock = tmp_path / "seconds"
    distributor = office.start(Module.DISTRIBUTION, "tests.support.set_clock", Module.DISTRIBUTION, str(clock))
    until(lambda: office.ready(Module.DISTRIBUTION, distributor), 30)
    # corrected bit by bit it goes on
    for step in range(1, 5):
        clock.write_text(f"{step * 0.2:.1f}")
        beat = beat_of(office)
        until(lambda beat=beat: beat_of(office) > beat, 10)
    assert distributor.poll() is None
    # set, it ends: its parent starts it again, and that is recovery
    clock.write_text("-3600")
    until(lambda: distributor.poll() is not None, 10)
    assert distributor.returncode == 1
    assert "the machine's clock was set by -3600.8 s" in office.log.read_text()
