"""Options: Black-Scholes prices and greeks, and time to expiry."""
