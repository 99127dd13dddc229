"""Candidates compiled and run in processes of their own, so that none can end the search."""
