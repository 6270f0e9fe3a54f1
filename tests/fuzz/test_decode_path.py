"""A short fuzz of the decode path in every run of the tests; `tests/soak/test_fuzz.py` lets atheris at it for longer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.decode import DecodePath, frame, own_messages, recorded_messages

MARKET_DATA = ["1", "2", "12", "13", "21", "45", "46", "50", "58", "81", "99"]
NASTY = [
    "", "0", "-1", "1", "2", "3", "10", "48", "49", "nan", "inf", "-inf", "1e400", "1.7976931348623157E308", "2147483648",
    "99999999999999999999", "-0.0", "1e-320", "0x10", "１", "1_0", " 1", "1;2;3", "nan;inf;1e99", "é\u202e", "A" * 900,
]  # fmt: skip
field = st.one_of(st.sampled_from(NASTY), st.integers(-3, 60).map(str), st.floats().map(repr), st.text(max_size=12))
made_up = st.tuples(st.sampled_from(MARKET_DATA), st.lists(field, max_size=14)).map(lambda made: [made[0], *made[1]])
known = st.sampled_from(own_messages())


@st.composite
def bent(draw: st.DrawFn) -> list[str]:
    """A good message with some of its fields replaced, missing or added."""
    fields = list(draw(known))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(fields) - 1)))
        match draw(st.sampled_from(["replace", "drop", "add"])):
            case "replace" if fields:
                fields[at] = draw(field)
            case "drop":
                del fields[at:]
            case _:
                fields.insert(at, draw(field))
    return fields


@pytest.fixture(scope="module")
def path() -> Iterator[DecodePath]:
    made = DecodePath()
    yield made
    made.close()


def test_what_the_gateway_sends_and_what_was_recorded_is_decoded(path: DecodePath) -> None:
    for fields in own_messages():
        path.read(frame(fields))
    assert (path.refused, path.library_errors, path.messages) == (0, 0, len(own_messages()))
    for fields in recorded_messages():
        path.read(frame(fields))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(st.one_of(known, bent(), made_up), min_size=1, max_size=8))
def test_no_message_of_market_data_does_harm(path: DecodePath, messages: list[list[str]]) -> None:
    path.read(b"".join(map(frame, messages)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(known, min_size=1, max_size=4), cut=st.integers(0, 400), noise=st.binary(max_size=60))
def test_no_bytes_do_harm(path: DecodePath, messages: list[list[str]], cut: int, noise: bytes) -> None:
    data = b"".join(map(frame, messages))
    path.read(data[:cut], noise, data[cut:])
