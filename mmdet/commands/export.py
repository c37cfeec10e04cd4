"""x"""


def export() -> None:
    """export."""
