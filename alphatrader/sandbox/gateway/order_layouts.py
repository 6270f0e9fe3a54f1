"""Layouts of openOrder and completedOrder, server versions 157..176, from named values.

Most of their 136 fields never change for an ordinary order, so a message is its few values over the defaults that
recorded gateways send (`tests/sandbox/test_gateway_layouts.py` holds both to the recordings).
"""

from __future__ import annotations

from collections.abc import Mapping

from alphatrader.sandbox.gateway.wire import UNSET_DOUBLE, UNSET_INTEGER, Field, Fields

_ORDER_CONTRACT = "conId symbol secType lastTradeDate strike right multiplier exchange currency localSymbol tradingClass"
_ORDER_FIRST = (
    f"{_ORDER_CONTRACT} action totalQuantity orderType lmtPrice auxPrice tif ocaGroup account openClose origin orderRef"
)

# Names of openOrder's fields after the message id, up to the version-gated tail.
OPEN_ORDER = (
    f"orderId {_ORDER_FIRST} "
    "clientId permId outsideRth hidden discretionaryAmt goodAfterTime sharesAllocation faGroup faMethod "
    "faPercentage faProfile modelCode goodTillDate rule80A percentOffset settlingFirm shortSaleSlot "
    "designatedLocation exemptCode auctionStrategy startingPrice stockRefPrice delta stockRangeLower "
    "stockRangeUpper displaySize blockOrder sweepToFill allOrNone minQty ocaType eTradeOnly firmQuoteOnly "
    "nbboPriceCap parentId triggerMethod volatility volatilityType deltaNeutralOrderType deltaNeutralAuxPrice "
    "deltaNeutralConId deltaNeutralSettlingFirm deltaNeutralClearingAccount deltaNeutralClearingIntent "
    "deltaNeutralOpenClose deltaNeutralShortSale deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation "
    "continuousUpdate referencePriceType trailStopPrice trailingPercent basisPoints basisPointsType "
    "comboLegsDescrip comboLegs orderComboLegs smartComboRoutingParams scaleInitLevelSize scaleSubsLevelSize "
    "scalePriceIncrement hedgeType optOutSmartRouting clearingAccount clearingIntent notHeld deltaNeutralContract "
    "algoStrategy solicited whatIf status initMarginBefore maintMarginBefore equityWithLoanBefore initMarginChange "
    "maintMarginChange equityWithLoanChange initMarginAfter maintMarginAfter equityWithLoanAfter commission "
    "minCommission maxCommission commissionCurrency warningText randomizeSize randomizePrice conditions "
    "adjustedOrderType triggerPrice adjustedTrailStopPrice lmtPriceOffset adjustedStopPrice adjustedStopLimitPrice "
    "adjustedTrailingAmount adjustableTrailingUnit softDollarTierName softDollarTierValue softDollarTierDisplayName "
    "cashQty dontUseAutoPriceForHedge isOmsContainer discretionaryUpToLimitPrice usePriceMgmtAlgo"
).split()
OPEN_ORDER_TAIL = (
    (159, "duration"),
    (160, "postToAts"),
    (162, "autoCancelParent"),
    (170, "minTradeQty"),
    (170, "minCompeteSize"),
    (170, "competeAgainstBestOffset"),
    (170, "midOffsetAtWhole"),
    (170, "midOffsetAtHalf"),
)

COMPLETED_ORDER = (
    f"{_ORDER_FIRST} "
    "permId outsideRth hidden discretionaryAmt goodAfterTime faGroup faMethod faPercentage faProfile modelCode "
    "goodTillDate rule80A percentOffset settlingFirm shortSaleSlot designatedLocation exemptCode startingPrice "
    "stockRefPrice delta stockRangeLower stockRangeUpper displaySize sweepToFill allOrNone minQty ocaType "
    "triggerMethod volatility volatilityType deltaNeutralOrderType deltaNeutralAuxPrice deltaNeutralConId "
    "deltaNeutralShortSale deltaNeutralShortSaleSlot deltaNeutralDesignatedLocation continuousUpdate "
    "referencePriceType trailStopPrice trailingPercent comboLegsDescrip comboLegs orderComboLegs "
    "smartComboRoutingParams scaleInitLevelSize scaleSubsLevelSize scalePriceIncrement hedgeType clearingAccount "
    "clearingIntent notHeld deltaNeutralContract algoStrategy solicited status randomizeSize randomizePrice "
    "conditions adjustedTrailStopPrice lmtPriceOffset cashQty dontUseAutoPriceForHedge isOmsContainer "
    "autoCancelDate filledQuantity refFuturesConId autoCancelParent shareholder imbalanceOnly routeMarketableToBbo "
    "parentPermId completedTime completedStatus"
).split()
COMPLETED_ORDER_TAIL = tuple((since, name) for since, name in OPEN_ORDER_TAIL if since == 170)

# What recorded gateways send in the fields an ordinary order leaves alone; every other unnamed field is empty.
_ZERO = (
    "strike outsideRth hidden discretionaryAmt shortSaleSlot blockOrder sweepToFill allOrNone eTradeOnly "
    "firmQuoteOnly parentId triggerMethod volatilityType auctionStrategy referencePriceType deltaNeutralConId "
    "deltaNeutralShortSale deltaNeutralShortSaleSlot continuousUpdate comboLegs orderComboLegs "
    "smartComboRoutingParams optOutSmartRouting notHeld deltaNeutralContract solicited whatIf randomizeSize "
    "randomizePrice conditions cashQty isOmsContainer discretionaryUpToLimitPrice usePriceMgmtAlgo autoCancelParent "
    "origin filledQuantity refFuturesConId shareholder"
)
_UNSET = (
    "initMarginBefore maintMarginBefore equityWithLoanBefore initMarginChange maintMarginChange "
    "equityWithLoanChange initMarginAfter maintMarginAfter equityWithLoanAfter triggerPrice lmtPriceOffset "
    "adjustedStopPrice adjustedStopLimitPrice adjustedTrailingAmount adjustedTrailStopPrice"
)
ORDER_DEFAULTS: dict[str, Field] = {
    **dict.fromkeys(_ZERO.split(), "0"),
    **dict.fromkeys(_UNSET.split(), UNSET_DOUBLE),
    "right": "?",
    "exemptCode": "-1",
    "displaySize": UNSET_INTEGER,
    "ocaType": "3",
    "deltaNeutralOrderType": "None",
    "deltaNeutralOpenClose": "?",
    "scaleInitLevelSize": UNSET_INTEGER,
    "scaleSubsLevelSize": UNSET_INTEGER,
    "clearingIntent": "IB",
    "adjustedOrderType": "None",
    "adjustableTrailingUnit": "0",
    "dontUseAutoPriceForHedge": "1",
    "shareholder": "Not an insider or substantial shareholder",
    "imbalanceOnly": "0",
    "routeMarketableToBbo": "0",
    "parentPermId": "9223372036854775807",
}


def open_order_names(version: int) -> list[str]:
    return OPEN_ORDER + [name for since, name in OPEN_ORDER_TAIL if version >= since]


def completed_order_names(version: int) -> list[str]:
    return COMPLETED_ORDER + [name for since, name in COMPLETED_ORDER_TAIL if version >= since]


def open_order(values: Mapping[str, Field], version: int) -> Fields:
    """`values` names what this order sets; the rest is what a real gateway sends for an ordinary order."""
    return (5, *(values[n] if n in values else ORDER_DEFAULTS.get(n, "") for n in open_order_names(version)))


def completed_order(values: Mapping[str, Field], version: int) -> Fields:
    return (101, *(values[n] if n in values else ORDER_DEFAULTS.get(n, "") for n in completed_order_names(version)))
