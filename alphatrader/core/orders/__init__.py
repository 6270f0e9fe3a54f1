"""Orders as pure decisions: states, fills, prices and hard limits, permission, protection, reconciliation."""
