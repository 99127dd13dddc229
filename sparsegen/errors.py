"""The one error that sparsegen raises for bad input."""


class SparsegenError(Exception):
    """Bad input: the message names the file or layer, what was found, what is allowed, what to do."""


class UnsupportedOperatorError(SparsegenError):
    """The model uses an operator outside the supported set."""
