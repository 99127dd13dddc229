"""Plans as data: made of a solver's answer, written down, checked, shown."""
