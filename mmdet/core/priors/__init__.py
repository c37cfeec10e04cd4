from .anchor_generator import AnchorGenerator, LegacyAnchorGenerator

__all__ = ['AnchorGenerator', 'LegacyAnchorGenerator']
