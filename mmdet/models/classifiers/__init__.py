from .tinynas_classifier import TinyNASClassifier

__all__ = ['TinyNASClassifier']
