"""Positions: booked from executions in Decimal, marked, protected by a plan of exits, held against the broker's account."""
