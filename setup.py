"""What pyproject.toml cannot say: the files beside the packages, and where mmdet_runtime comes from.

Built in a source tree (a clone, an archive of it), mmdet-dense contains mmdet_runtime, so that ``pip install .`` needs nothing else of ours. The source
distribution and what is built from it do not: they depend on the distribution mmdet-dense-runtime of the same release, which then owns those files.
"""

import re
import shutil
import sys
import tomllib
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
RELEASE = 'sdist' in sys.argv or (ROOT / 'PKG-INFO').is_file()
# What mmengine, mim and mmdet look for in mmdet/.mim; a clone has links there.
SHIPPED = ('configs', 'tools', 'UFPMP-Det-Tools', 'model-index.yml')


class BuildPy(build_py):
    """Puts the configs, the tools and the model index into the package."""

    def run(self) -> None:
        if self.editable_mode:
            self.mend_links()
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # of an earlier build, whose modules may be gone by now
        super().run()
        inside = Path(self.build_lib, 'mmdet', '.mim')
        for name in SHIPPED:
            place = inside / name
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns('__pycache__', '*.py[co]', '.*'))
            else:
                shutil.copyfile(ROOT / name, place)

    @staticmethod
    def mend_links() -> None:
        """Links for the small text files that unpacking an archive, or git on Windows, leaves in their place; copies where no links can be made."""
        inside = ROOT / 'mmdet' / '.mim'
        inside.mkdir(exist_ok=True)
        for name in SHIPPED:
            link = inside / name
            if link.resolve() == ROOT / name:
                continue
            if link.is_dir() and not link.is_symlink():
                shutil.rmtree(link)  # copies that were made here, out of date by now
            else:
                link.unlink(missing_ok=True)
            try:
                link.symlink_to(Path('..', '..', name), target_is_directory=(ROOT / name).is_dir())
            except OSError:
                (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, link)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        shipped = Path(self.build_lib, 'mmdet', '.mim').rglob('*')
        return super().get_outputs(include_bytecode) + [str(path) for path in shipped if path.is_file()]


def version() -> str:
    """``__version__`` of mmdet_runtime, the release of both distributions, read without importing the package."""
    text = (ROOT / 'mmdet_runtime' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r"^__version__ = '(.+)'$", text, re.MULTILINE)[1]


def requirements() -> list[str]:
    """Requirement specifiers of requirements.txt, its comments left out."""
    lines = (ROOT / 'requirements.txt').read_text(encoding='utf-8').splitlines()
    return [line for line in (line.partition('#')[0].strip() for line in lines) if line]


def readme() -> str:
    """The README for the package index, which knows no files of the repository: links to them are addresses, or plain text while there are none."""
    source = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']['urls'].get('Source')

    def link(found: re.Match) -> str:
        image, text, path = found.groups()
        if source:
            return f'{image}[{text}]({source}/{"raw" if image else "blob"}/v{version()}/{path})'
        return '' if image else text

    return re.sub(
        r'(!?)\[([^]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)', link, (ROOT / 'README.md').read_text(encoding='utf-8')
    )


packages = ['mmdet', 'mmdet.*'] if RELEASE else ['mmdet', 'mmdet.*', 'mmdet_runtime', 'mmdet_runtime.*']
setup(
    version=version(),
    long_description=readme(),
    long_description_content_type='text/markdown',
    packages=find_packages(include=packages),
    package_data={'mmdet': ['py.typed', 'web/page/*'], **({} if RELEASE else {'mmdet_runtime': ['py.typed']})},
    install_requires=requirements() + ([f'mmdet-dense-runtime=={version()}'] if RELEASE else []),
    entry_points={
        'console_scripts': [
            'mmdet = mmdet.commands:main',
            *([] if RELEASE else ['mmdet-runtime = mmdet_runtime.cli:main']),
        ]
    },
    cmdclass={'build_py': BuildPy},
)
