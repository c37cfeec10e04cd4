"""x"""


def predict() -> None:
    """predict."""
