"""Analytics: streaming measures of one symbol. Pure state machines: no clock, no Redis."""
