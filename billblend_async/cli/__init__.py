"""The ``billblend`` command."""
