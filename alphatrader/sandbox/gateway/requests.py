"""Decodes what a client sends: every request of the protocol, by name, to its last field.

`decode(fields, version)` returns a Request; a missing, leftover or unreadable field raises BadRequest that names the
message and the field (the session answers error 320 and stays). Layouts: server versions 157..176.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]

CONTRACT = (
    "conId:i symbol secType lastTradeDateOrContractMonth strike:f right multiplier exchange primaryExchange currency "
    "localSymbol tradingClass"
)

# Message id -> (name, fields after the id). ":i" whole number, ":f" number (empty reads 0), ":o" number or empty,
# ":b" flag, otherwise text. "CONTRACT" stands for the twelve contract fields.
PLAIN: dict[int, tuple[str, str]] = {
    2: ("cancelMktData", "version:i reqId:i"),
    5: ("reqOpenOrders", "version:i"),
    6: ("reqAccountUpdates", "version:i subscribe:b account"),
    7: ("reqExecutions", "version:i reqId:i clientId:i account time symbol secType exchange side"),
    8: ("reqIds", "version:i numIds:i"),
    10: ("reqMktDepth", f"version:i reqId:i {CONTRACT} numRows:i isSmartDepth:b options"),
    11: ("cancelMktDepth", "version:i reqId:i isSmartDepth:b"),
    12: ("reqNewsBulletins", "version:i allMsgs:b"),
    13: ("cancelNewsBulletins", "version:i"),
    14: ("setServerLogLevel", "version:i logLevel:i"),
    15: ("reqAutoOpenOrders", "version:i autoBind:b"),
    16: ("reqAllOpenOrders", "version:i"),
    17: ("reqManagedAccts", "version:i"),
    25: ("cancelHistoricalData", "version:i reqId:i"),
    49: ("reqCurrentTime", "version:i"),
    50: ("reqRealTimeBars", f"version:i reqId:i {CONTRACT} barSize:i whatToShow useRTH:b options"),
    51: ("cancelRealTimeBars", "version:i reqId:i"),
    58: ("reqGlobalCancel", "version:i"),
    59: ("reqMarketDataType", "version:i marketDataType:i"),
    61: ("reqPositions", "version:i"),
    62: ("reqAccountSummary", "version:i reqId:i group tags"),
    63: ("cancelAccountSummary", "version:i reqId:i"),
    64: ("cancelPositions", "version:i"),
    71: ("startApi", "version:i clientId:i optionalCapabilities"),
    76: ("reqAccountUpdatesMulti", "version:i reqId:i account modelCode ledgerAndNLV:b"),
    77: ("cancelAccountUpdatesMulti", "version:i reqId:i"),
    78: ("reqSecDefOptParams", "reqId:i symbol futFopExchange underSecType underConId:i"),
    80: ("reqFamilyCodes", ""),
    81: ("reqMatchingSymbols", "reqId:i pattern"),
    82: ("reqMktDepthExchanges", ""),
    83: ("reqSmartComponents", "reqId:i bboExchange"),
    87: ("reqHeadTimeStamp", f"reqId:i {CONTRACT} includeExpired:b useRTH:b whatToShow formatDate:i"),
    90: ("cancelHeadTimeStamp", "reqId:i"),
    91: ("reqMarketRule", "marketRuleId:i"),
    92: ("reqPnL", "reqId:i account modelCode"),
    93: ("cancelPnL", "reqId:i"),
    94: ("reqPnLSingle", "reqId:i account modelCode conId:i"),
    95: ("cancelPnLSingle", "reqId:i"),
    97: ("reqTickByTick", f"reqId:i {CONTRACT} tickType numberOfTicks:i ignoreSize:b"),
    98: ("cancelTickByTick", "reqId:i"),
    99: ("reqCompletedOrders", "apiOnly:b"),
}

ORDER_HEAD = (
    f"orderId:i {CONTRACT} secIdType secId action totalQuantity:f orderType lmtPrice:o auxPrice:o tif ocaGroup account "
    "openClose origin:i orderRef transmit:b parentId:i blockOrder:b sweepToFill:b displaySize triggerMethod outsideRth:b hidden:b"
)
ORDER_BODY_FA = "sharesAllocation discretionaryAmt:o goodAfterTime goodTillDate faGroup faMethod faPercentage"
ORDER_BODY = (
    "modelCode shortSaleSlot designatedLocation exemptCode ocaType:i rule80A settlingFirm allOrNone:b minQty:o percentOffset:o "
    "eTradeOnly firmQuoteOnly nbboPriceCap:o auctionStrategy startingPrice:o stockRefPrice:o delta:o stockRangeLower:o "
    "stockRangeUpper:o overridePercentageConstraints:b volatility:o volatilityType deltaNeutralOrderType deltaNeutralAuxPrice:o"
)
DELTA_NEUTRAL_ORDER = (
    "deltaNeutralConId deltaNeutralSettlingFirm deltaNeutralClearingAccount deltaNeutralClearingIntent deltaNeutralOpenClose "
    "deltaNeutralShortSale deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation"
)
SCALE = (
    "scalePriceAdjustValue scalePriceAdjustInterval scaleProfitOffset scaleAutoReset scaleInitPosition scaleInitFillQty "
    "scaleRandomPercent"
)
PEG_BENCH = "referenceContractId isPeggedChangeAmountDecrease peggedChangeAmount referenceChangeAmount referenceExchangeId"
ORDER_TAIL = (
    "adjustedOrderType triggerPrice:o lmtPriceOffset:o adjustedStopPrice:o adjustedStopLimitPrice:o adjustedTrailingAmount:o "
    "adjustableTrailingUnit extOperator softDollarTierName softDollarTierValue cashQty:o mifid2DecisionMaker mifid2DecisionAlgo "
    "mifid2ExecutionTrader mifid2ExecutionAlgo dontUseAutoPriceForHedge isOmsContainer:b discretionaryUpToLimitPrice:b "
    "usePriceMgmtAlgo"
)
ORDER_TAIL_BY_VERSION = (
    (158, "duration"),
    (160, "postToAts"),
    (162, "autoCancelParent"),
    (166, "advancedErrorOverride"),
    (169, "manualOrderTime"),
)

# Fields of each order condition after its type: price, time, margin, execution, volume, percent change.
CONDITION_FIELDS = {1: 6, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5}


class BadRequest(ValueError):
    """A request that cannot be read. `req_id` is the id to answer to, -1 when it could not be read either."""

    def __init__(self, text: str, req_id: int = -1) -> None:
        super().__init__(text)
        self.req_id = req_id


@dataclass(frozen=True, slots=True)
class Request:
    name: str
    values: Values


class Cursor:
    """Reads the fields of one message in order and puts them, typed, into `values`."""

    def __init__(self, name: str, fields: list[str]) -> None:
        self.name = name
        self.values: Values = {}
        self._fields = fields
        self._at = 1

    def read(self, spec: str) -> None:
        for item in spec.split():
            field, _, kind = item.partition(":")
            self.values[field] = self.take(field, kind)

    def take(self, field: str, kind: str = "") -> Any:
        if self._at >= len(self._fields):
            raise BadRequest(f"{self.name}: field {field} (number {self._at}) is missing")
        text = self._fields[self._at]
        self._at += 1
        if not kind:
            return text
        try:
            if kind == "i":
                return int(text or 0)
            if kind == "b":
                return bool(int(text or 0))
            if not text or text.lower() == "1.7976931348623157e+308" or text.lower() == "1.7976931348623157e308":
                return None if kind == "o" else 0.0
            value = float(text)
        except ValueError:
            raise BadRequest(f"{self.name}: field {field}: {text!r} is not a number") from None
        if not math.isfinite(value):
            raise BadRequest(f"{self.name}: field {field}: {text!r} is not a finite number")
        return value

    def count(self, field: str, limit: int = 1000) -> int:
        number = self.take(field, "i")
        if not 0 <= number <= limit:
            raise BadRequest(f"{self.name}: field {field}: {number} is outside 0..{limit}")
        return int(number)

    def skip(self, group: str, size: int) -> None:
        for index in range(size):
            self.take(f"{group}[{index}]")

    def finish(self) -> Request:
        left = len(self._fields) - self._at
        if left:
            raise BadRequest(f"{self.name}: {left} fields left over after {list(self.values)[-1] if self.values else 'the id'}")
        return Request(self.name, self.values)


def _market_data(cursor: Cursor, version: int) -> None:
    cursor.read(f"version:i reqId:i {CONTRACT}")
    if cursor.values["secType"] == "BAG":
        cursor.skip("comboLeg", 4 * cursor.count("comboLegs"))
    if cursor.take("deltaNeutralContract", "b"):
        cursor.skip("deltaNeutralContract", 3)
    cursor.read("genericTickList snapshot:b regulatorySnapshot:b options")


def _historical_data(cursor: Cursor, version: int) -> None:
    cursor.read(f"reqId:i {CONTRACT} includeExpired:b endDateTime barSize duration useRTH:b whatToShow formatDate:i")
    if cursor.values["secType"] == "BAG":
        cursor.skip("comboLeg", 4 * cursor.count("comboLegs"))
    cursor.read("keepUpToDate:b options")


def _contract_details(cursor: Cursor, version: int) -> None:
    cursor.read(f"version:i reqId:i {CONTRACT} includeExpired:b secIdType secId")
    if version >= 176:
        cursor.read("issuerId")


def _cancel_order(cursor: Cursor, version: int) -> None:
    cursor.read("version:i orderId:i")
    if version >= 169:
        cursor.read("manualCancelOrderTime")


def _place_order(cursor: Cursor, version: int) -> None:
    cursor.read(ORDER_HEAD)
    values = cursor.values
    if values["secType"] == "BAG":
        cursor.skip("comboLeg", 8 * cursor.count("comboLegs"))
        cursor.skip("orderComboLeg", cursor.count("orderComboLegs"))
        cursor.skip("smartComboRoutingParam", 2 * cursor.count("smartComboRoutingParams"))
    cursor.read(ORDER_BODY_FA)
    if version < 177:
        cursor.read("faProfile")
    cursor.read(ORDER_BODY)
    if values["deltaNeutralOrderType"]:
        cursor.read(DELTA_NEUTRAL_ORDER)
    cursor.read("continuousUpdate referencePriceType trailStopPrice:o trailingPercent:o")
    cursor.read("scaleInitLevelSize:o scaleSubsLevelSize:o scalePriceIncrement:o")
    if (values["scalePriceIncrement"] or 0) > 0:
        cursor.read(SCALE)
    cursor.read("scaleTable activeStartTime activeStopTime hedgeType")
    if values["hedgeType"]:
        cursor.read("hedgeParam")
    cursor.read("optOutSmartRouting clearingAccount clearingIntent notHeld")
    if cursor.take("deltaNeutralContract", "b"):
        cursor.skip("deltaNeutralContract", 3)
        values["deltaNeutralContract"] = True
    cursor.read("algoStrategy")
    if values["algoStrategy"]:
        cursor.skip("algoParam", 2 * cursor.count("algoParams"))
    cursor.read("algoId whatIf:b orderMiscOptions solicited randomizeSize randomizePrice")
    if values["orderType"] == "PEG BENCH":
        cursor.read(PEG_BENCH)
    conditions = values["conditions"] = cursor.count("conditions", 100)
    for index in range(conditions):
        kind = cursor.take(f"condition[{index}].type", "i")
        if kind not in CONDITION_FIELDS:
            raise BadRequest(f"{cursor.name}: field condition[{index}].type: {kind} is unknown")
        cursor.skip(f"condition[{index}]", CONDITION_FIELDS[kind])
    if conditions:
        cursor.read("conditionsIgnoreRth conditionsCancelOrder")
    cursor.read(ORDER_TAIL)
    for since, field in ORDER_TAIL_BY_VERSION:
        if version >= since:
            cursor.read(field)
    if version >= 170:
        if values["exchange"] == "IBKRATS":
            cursor.read("minTradeQty")
        if values["orderType"] == "PEG BEST":
            cursor.read("minCompeteSize competeAgainstBestOffset")
            if values["competeAgainstBestOffset"] == "Infinite":
                cursor.read("midOffsetAtWhole midOffsetAtHalf")
        elif values["orderType"] == "PEG MID":
            cursor.read("midOffsetAtWhole midOffsetAtHalf")


SHAPED: dict[int, tuple[str, Callable[[Cursor, int], None]]] = {
    1: ("reqMktData", _market_data),
    3: ("placeOrder", _place_order),
    4: ("cancelOrder", _cancel_order),
    9: ("reqContractDetails", _contract_details),
    20: ("reqHistoricalData", _historical_data),
}


def _probable_id(message: int, fields: list[str]) -> int:
    """The request id of a message this gateway does not know: newer messages have no version before it."""
    text = fields[1 if message >= 78 else 2 : 3]
    return int(text[0]) if text and text[0].isdigit() else -1


def decode(fields: list[str], version: int) -> Request:
    try:
        message = int(fields[0])
    except ValueError:
        raise BadRequest(f"message id {fields[0][:40]!r} is not a number") from None
    shape: Callable[[Cursor, int], None] | None
    if message in PLAIN:
        name, spec = PLAIN[message]
        shape = None
    elif message in SHAPED:
        name, shape = SHAPED[message]
    else:
        raise BadRequest(f"message {message} is not served by this gateway", _probable_id(message, fields))
    cursor = Cursor(name, fields)
    try:
        if shape is None:
            cursor.read(spec)
        else:
            shape(cursor, version)
        return cursor.finish()
    except BadRequest as error:
        for name_of_id in ("reqId", "orderId"):
            error.req_id = cursor.values.get(name_of_id, error.req_id)
        raise
