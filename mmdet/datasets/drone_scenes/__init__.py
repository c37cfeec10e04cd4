"""Synthetic drone scenes in the manner of VisDrone, drawn on first use."""

from .dataset import DroneScenesDataset, generate_drone_scenes

__all__ = ['DroneScenesDataset', 'generate_drone_scenes']
