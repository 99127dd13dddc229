"""Rewriting for the scheduler's devices: their prices, what it gains in a plan, and the verb `rewrite`."""
