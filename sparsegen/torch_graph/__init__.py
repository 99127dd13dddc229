"""Layer graphs that torch itself computes: the rival of our kernels, and what runs on a GPU."""
