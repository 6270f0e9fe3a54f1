"""Every request is read to its last field: what ib_insync writes is read whole, what is cut or padded is named."""

import pytest
from ib_insync import ExecutionFilter, Order, OrderComboLeg, Stock, TagValue
from ib_insync.client import Client
from ib_insync.order import PriceCondition, TimeCondition

from alphatrader.sandbox.gateway.requests import PLAIN, SHAPED, BadRequest, decode
from alphatrader.sandbox.gateway.wire import FrameBuffer, FrameError, decode_fields, encode_frame, number


class Recorder(Client):
    """ib_insync's own serializer, its socket replaced by a list."""

    def __init__(self, version):
        self._version, self.sent = version, []

    def serverVersion(self):
        return self._version

    def isConnected(self):
        return True

    def sendMsg(self, message):
        self.sent.append(message.split("\0")[:-1])


AAPL = Stock("AAPL", "SMART", "USD", conId=265598, strike=0.0)


def every_request(client):
    client.clientId, client.optCapab = 7, ""
    client.startApi()
    client.reqMktData(1, AAPL, "225,233", False, False, [])
    client.cancelMktData(1)
    client.reqMktDepth(2, AAPL, 10, True, [])
    client.cancelMktDepth(2, True)
    client.reqTickByTickData(3, AAPL, "AllLast", 0, False)
    client.cancelTickByTickData(3)
    client.reqRealTimeBars(4, AAPL, 5, "TRADES", True, [])
    client.cancelRealTimeBars(4)
    client.reqHistoricalData(5, AAPL, "", "1 D", "1 min", "TRADES", True, 1, False, [])
    client.cancelHistoricalData(5)
    client.reqHeadTimeStamp(5, AAPL, "TRADES", True, 1)
    client.cancelHeadTimeStamp(5)
    client.reqContractDetails(6, AAPL)
    client.reqSecDefOptParams(7, "AAPL", "", "STK", 265598)
    client.reqMktDepthExchanges()
    client.reqSmartComponents(8, "9c0001")
    client.reqMatchingSymbols(8, "AA")
    client.reqMarketRule(26)
    client.placeOrder(9, AAPL, Order(action="BUY", totalQuantity=1, orderType="LMT", lmtPrice=1.0))
    client.cancelOrder(9)
    client.reqGlobalCancel()
    client.reqOpenOrders()
    client.reqAllOpenOrders()
    client.reqAutoOpenOrders(True)
    client.reqCompletedOrders(False)
    client.reqExecutions(10, ExecutionFilter())
    client.reqAccountUpdates(True, "DUSIM0001")
    client.reqAccountSummary(11, "All", "NetLiquidation")
    client.cancelAccountSummary(11)
    client.reqPositions()
    client.cancelPositions()
    client.reqAccountUpdatesMulti(12, "DUSIM0001", "", False)
    client.cancelAccountUpdatesMulti(12)
    client.reqPnL(13, "DUSIM0001", "")
    client.cancelPnL(13)
    client.reqPnLSingle(14, "DUSIM0001", "", 1)
    client.cancelPnLSingle(14)
    client.reqIds(1)
    client.reqManagedAccts()
    client.reqCurrentTime()
    client.reqMarketDataType(1)
    client.setServerLogLevel(1)
    client.reqNewsBulletins(True)
    client.cancelNewsBulletins()
    client.reqFamilyCodes()


@pytest.mark.parametrize("version", [157, 163, 166, 169, 170, 176])
def test_what_ib_insync_writes_is_read_to_its_last_field(version):
    client = Recorder(version)
    every_request(client)
    names = {decode(fields, version).name for fields in client.sent}
    assert names == {name for name, _ in PLAIN.values()} | {name for name, _ in SHAPED.values()}


@pytest.mark.parametrize("version", [157, 176])
def test_a_missing_or_leftover_field_is_named(version):
    client = Recorder(version)
    every_request(client)
    for fields in client.sent:
        name = decode(fields, version).name
        with pytest.raises(BadRequest, match=f"{name}: 1 fields left over"):
            decode([*fields, ""], version)
        if len(fields) > 1:
            with pytest.raises(BadRequest, match=f"{name}: field .* is missing"):
                decode(fields[:-1], version)


def test_an_order_with_every_optional_part_is_read_whole():
    order = Order(action="SELL", totalQuantity=2, orderType="PEG BENCH", lmtPrice=5.0, hedgeType="D", hedgeParam="1")
    order.algoStrategy, order.algoParams = "Twap", [TagValue("a", "b")]
    order.scalePriceIncrement, order.deltaNeutralOrderType = 0.5, "LMT"
    order.conditions = [PriceCondition(1, "a", True, 10.0, 1, "SMART", 0), TimeCondition(3, "a", True, "20261123 10:00:00")]
    order.orderComboLegs = [OrderComboLeg(1.0)]
    client = Recorder(176)
    client.placeOrder(3, AAPL, order)
    values = decode(client.sent[0], 176).values
    assert (values["orderType"], values["conditions"], values["hedgeParam"]) == ("PEG BENCH", 2, "1")


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "12,5", "x"])
def test_a_price_that_is_no_finite_number_is_refused_by_name(text):
    client = Recorder(176)
    client.placeOrder(3, AAPL, Order(action="BUY", totalQuantity=1, orderType="LMT", lmtPrice=1.0))
    fields = client.sent[0]
    fields[19] = text
    with pytest.raises(BadRequest, match="placeOrder: field lmtPrice") as refused:
        decode(fields, 176)
    assert refused.value.req_id == 3


def test_an_unknown_message_is_answered_to_its_own_id():
    with pytest.raises(BadRequest, match="message 96 is not served") as refused:
        decode(["96", "44", "0"], 176)
    assert refused.value.req_id == 44


def test_frames_survive_any_cut_of_the_stream():
    stream = b"".join(encode_frame((17, n, "text", None, True, 0.05)) for n in range(50))
    for size in (1, 3, 7, 64):
        buffer = FrameBuffer()
        payloads = [p for at in range(0, len(stream), size) for p in buffer.feed(stream[at : at + size])]
        assert [decode_fields(p)[1] for p in payloads] == [str(n) for n in range(50)]


def test_an_impossible_length_ends_the_stream():
    with pytest.raises(FrameError, match="4294967295"):
        FrameBuffer().feed(b"\xff\xff\xff\xff")


@pytest.mark.parametrize(("value", "text"), [(5.0, "5"), (0.1, "0.1"), (1e-7, "0.0000001"), (6000.25, "6000.25"), (-1.0, "-1")])
def test_numbers_leave_in_their_shortest_form(value, text):
    assert number(value) == text


def test_a_number_without_a_wire_form_never_leaves():
    with pytest.raises(ValueError, match="nan"):
        number(float("nan"))
