"""Scheduling problems and their answers, as data and as JSON: seconds, bytes, links, no model."""
