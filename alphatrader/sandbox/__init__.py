"""Stand-ins that speak the broker's and the vendors' own protocols on loopback.

Imports nothing of the product but settings, addresses, clock, calendar and log: it must not grade the
product's formulas with the same formulas.
"""
