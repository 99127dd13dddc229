"""What is placed: models cut into operators, modules put together, operators told apart and written down."""
