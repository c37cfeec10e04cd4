"""Export of searched networks as folders that need torch only."""

from .exporter import Export, ExportOptions, export_network, export_onnx, own_weights

__all__ = ['Export', 'ExportOptions', 'export_network', 'export_onnx', 'own_weights']
