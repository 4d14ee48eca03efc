"""Placeholder of the contract, replaced by its owner."""
