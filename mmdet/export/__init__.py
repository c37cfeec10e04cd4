"""Export of searched networks as folders that need torch only."""

from .exporter import EXPORTED_FILES, Export, ExportOptions, export_network, export_onnx, own_weights

__all__ = ['EXPORTED_FILES', 'Export', 'ExportOptions', 'export_network', 'export_onnx', 'own_weights']
