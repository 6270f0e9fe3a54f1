"""The morning note: its facts, the plain text made of them, and what is not accepted from a model. Pure."""
