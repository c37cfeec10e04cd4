"""What runs here: versions of the libraries and of the package."""

from mmengine.utils.dl_utils import collect_env as collect_base_env

from ..version import __version__, release


def collect_env() -> dict[str, str]:
    """The facts that mmengine collects; ``MMDetection`` is the version of mmdetection whose names work here, and this package's own."""
    facts = collect_base_env()
    facts['MMDetection'] = f'{__version__} (mmdet-dense {release})'
    return facts


if __name__ == '__main__':
    for name, value in collect_env().items():
        print(f'{name}: {value}')
