"""x"""


def web() -> None:
    """web."""
