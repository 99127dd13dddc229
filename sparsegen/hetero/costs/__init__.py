"""What operators cost: measured and kept, from tables, or predicted."""
