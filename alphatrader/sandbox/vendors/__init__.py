"""HTTP stand-ins of the vendors, through which the vendors' own client libraries work unmodified.

`create_app(world)` is the one Flask application, `VendorServer` serves it on loopback inside the sandbox process:

    /alphavantage  /stripe  /telegram  /discord  /x  /openai     the vendors
    /outbox, /outbox.json                                        what the vendors were told
    /sandbox/faults                                              what shall go wrong next
"""

from alphatrader.sandbox.vendors.app import VendorServer, create_app
from alphatrader.sandbox.vendors.world import VendorCredentials, VendorWorld

__all__ = ["VendorCredentials", "VendorServer", "VendorWorld", "create_app"]
