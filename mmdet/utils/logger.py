"""Lines in the log that say who writes them."""

import inspect

from mmengine.logging import print_log


def get_caller_name() -> str:
    """The name of the function that called the caller, as ``Class.method`` for methods."""
    frame = inspect.stack()[2].frame
    name = frame.f_code.co_name
    owner = frame.f_locals.get('self')
    return name if owner is None else f'{type(owner).__name__}.{name}'


def log_img_scale(img_scale: tuple[int, int], shape_order: str = 'hw', skip_square: bool = False) -> bool:
    """Log the size of images.

    Args:
        img_scale: the size.
        shape_order: 'hw' (height, width) or 'wh'.
        skip_square: log nothing where both are equal.

    Returns:
        Whether there was a line.

    Raises:
        ValueError: another ``shape_order``.
    """
    if shape_order not in ('hw', 'wh'):
        raise ValueError(f"shape_order must be 'hw' or 'wh'. Received: {shape_order!r}")
    height, width = img_scale if shape_order == 'hw' else img_scale[::-1]
    if skip_square and height == width:
        return False
    print_log(f'image shape: height={height}, width={width} in {get_caller_name()}', logger='current')
    return True
