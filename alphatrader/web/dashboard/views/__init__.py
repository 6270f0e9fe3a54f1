"""Messages as the page shows them: plain values, instants in milliseconds, missing as None. Pure.

The commands use them too.
"""
