from .utils import coordinate_to_encoding, inverse_sigmoid

__all__ = ['coordinate_to_encoding', 'inverse_sigmoid']
