"""Parameters found in recorded data: bucket size, lookback, makers' profiles, volatility regimes, correlation.

Imported only inside the discovery task: scikit-learn and statsmodels are heavy.
"""
