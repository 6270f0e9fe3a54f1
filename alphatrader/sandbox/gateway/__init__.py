"""Stand-in for IB Gateway: a TWS API socket server that unmodified ib_insync connects to."""

from alphatrader.sandbox.gateway.config import GatewayConfig
from alphatrader.sandbox.gateway.gateway import Gateway
from alphatrader.sandbox.gateway.limits import Limits

__all__ = ["Gateway", "GatewayConfig", "Limits"]
