"""Compiled models in files: what `docs/artefact.md` describes, written and, for torch's operators, read."""
