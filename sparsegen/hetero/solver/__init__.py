"""The solvers of scheduling problems: exact ones, heuristics, and the bounds that both are held against."""
