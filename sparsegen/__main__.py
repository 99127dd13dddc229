"""`python -m sparsegen`: the same as the `sparsegen` command."""

from sparsegen.cli import main

if __name__ == "__main__":
    main()
