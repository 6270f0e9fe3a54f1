"""Signals: scoring, sizing, stops and the choice of the contract."""
