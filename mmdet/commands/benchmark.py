"""x"""


def benchmark() -> None:
    """benchmark."""
