"""Models that were compiled before: found again by what they were made of."""
