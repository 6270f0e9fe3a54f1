"""Performance: what the closed trades say, by strategy, and whether the paper gate is met."""
