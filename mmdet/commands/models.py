"""x"""


def models() -> None:
    """models."""
