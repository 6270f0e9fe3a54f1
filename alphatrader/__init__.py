"""AlphaTrader: trades US options for one operator through Interactive Brokers and sells the signals."""
