"""Configs of mmdetection 1.x and 2.x, translated to the new style."""

from .config import UpgradeReport, looks_legacy, read_legacy_config, upgrade_config, upgrade_file

__all__ = ['UpgradeReport', 'looks_legacy', 'read_legacy_config', 'upgrade_config', 'upgrade_file']
