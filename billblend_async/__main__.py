"""``python -m billblend_async`` is the ``billblend`` command."""

from .cli.entrance import enter

if __name__ == "__main__":
    enter()
