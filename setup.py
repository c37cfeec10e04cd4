"""Package metadata; versions that were tested together are in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements() -> list[str]:
    """Requirement specifiers of requirements.txt, its comments left out."""
    lines = (
        line.partition('#')[0].strip() for line in (ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    )
    return [line for line in lines if line]


def version() -> str:
    """``__version__`` of mmdet_runtime, the release of both distributions, read without importing the package."""
    text = (ROOT / 'mmdet_runtime' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)[1]


setup(
    name='mmdet-dense',
    version=version(),
    description='Detection toolbox for dense detectors and drone imagery: GFL, UFPMP-Det, ViT-Adapter, TinyNAS',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmdet', 'mmdet.*', 'mmdet_runtime', 'mmdet_runtime.*']),
    # In a checkout mmdet/.mim/ links to the configs and the model index; a built package has copies of these files there.
    package_data={'mmdet': ['py.typed', '.mim/model-index.yml', '.mim/configs/**/*'], 'mmdet_runtime': ['py.typed']},
    entry_points={'console_scripts': ['mmdet-runtime = mmdet_runtime.cli:main']},
    python_requires='>=3.10',
    install_requires=requirements(),
    extras_require={
        # torchvision's wheels are CUDA builds: they load beside a CUDA build of torch only.
        'cuda': ['torchvision'],
        'dev': ['pytest', 'pytest-xdist', 'ruff', 'mypy', 'import-linter', 'pre-commit'],
        'fast': ['simplejpeg'],  # LoadImageFromFile(imdecode_backend='simplejpeg')
        'geo': ['rasterio'],  # large images by tiles, GeoJSON of georeferenced ones, rare kinds of TIFF
        'loggers': ['wandb', 'mlflow'],
        # tools/export.py and the backends of exported detectors; onnxscript: of TinyNAS structures only.
        'onnx': ['onnx', 'onnxruntime', 'onnxscript'],
        'openvino': ['openvino', 'nncf', 'onnx'],  # nncf: int8
        'tracking': ['trackers>=2.6'],  # ids over the frames of videos, and MOT scores
    },
)
