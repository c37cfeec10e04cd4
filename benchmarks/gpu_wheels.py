"""The wheels and images that travel to a GPU machine without network: collected and checked here, unpacked there.

A wheel is a zip archive of what goes into a folder of modules, so the machine needs no pip: the folder is unpacked and put on PYTHONPATH.
"""

import importlib.util
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LIST = Path(__file__).with_name('gpu_wheels.txt')
LIMIT_MIB = 64
# On the machine already, or brought by what is (opencv-python is there under its headless name).
PRESENT = {
    'torch', 'torchvision', 'numpy', 'scipy', 'opencv-python', 'opencv-python-headless', 'pillow', 'safetensors', 'tensorboard', 'pytest',
    'absl-py', 'filelock', 'fsspec', 'grpcio', 'iniconfig', 'jinja2', 'markdown', 'markupsafe', 'networkx', 'packaging', 'pluggy',
    'protobuf', 'sympy', 'tensorboard-data-server', 'werkzeug',
}  # fmt: skip
# In the metadata of mmengine, mmdetection and pycocotools for drawings that nothing here makes; it would be 17 MiB with its own needs.
UNUSED = {'matplotlib'}
PLATFORMS = ('manylinux_2_28_x86_64', 'manylinux_2_27_x86_64', 'manylinux_2_17_x86_64', 'manylinux2014_x86_64', 'manylinux1_x86_64')  # fmt: skip


def pins() -> dict[str, list[str]]:
    """``name==version`` of gpu_wheels.txt for the two folders, ``site`` and ``peer``."""
    found: dict[str, list[str]] = {'site': [], 'peer': []}
    for line in LIST.read_text(encoding='utf-8').splitlines():
        line = line.partition('#')[0].strip()
        if line:
            found['peer' if line.startswith('peer ') else 'site'].append(line.removeprefix('peer '))
    return found


def prepare(folder: Path, visdrone: Path | None, python: str) -> int:
    """Collect wheels and images into ``folder``, print names and sizes, check them; the number of faults found."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, wanted in pins().items():
        command = [
            sys.executable,
            '-m',
            'pip',
            'download',
            '-q',
            '--disable-pip-version-check',
            '--no-deps',
            '--only-binary=:all:',
        ]
        command += ['--python-version', python, '--implementation', 'cp', '-d', str(folder / name), *wanted]
        for tag in PLATFORMS:
            command += ['--platform', tag]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    (folder / 'python.json').write_text(json.dumps(python), encoding='utf-8')
    if visdrone:
        for split in ('VisDrone2019-DET-train', 'VisDrone2019-DET-val'):
            shutil.copytree(visdrone / split, folder / 'visdrone' / split)
    faults = check(folder, python)
    files = sorted(path for path in folder.rglob('*.whl'))
    for path in files:
        print(f'{path.stat().st_size / 2**20:8.2f} MiB  {path.relative_to(folder)}')
    images = size_mib(folder / 'visdrone') if visdrone else 0
    print(
        f'{sum(path.stat().st_size for path in files) / 2**20:8.2f} MiB  {len(files)} wheels; images {images:.2f} MiB'
    )
    total = size_mib(folder)
    tree = tree_mib()
    print(f'{total:8.2f} MiB  in {folder}; {tree:.2f} MiB the tree; {total + tree:.2f} of {LIMIT_MIB} MiB')
    if total + tree > LIMIT_MIB:
        faults.append(f'{total + tree:.2f} MiB travel; {LIMIT_MIB} are allowed')
    for fault in faults:
        print(f'FAULT: {fault}')
    return len(faults)


def size_mib(folder: Path) -> float:
    """Size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 2**20


def tree_mib() -> float:
    """Size of the files that git tracks."""
    root = LIST.parents[1]
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=root, capture_output=True, check=True).stdout.decode()
    return sum((root / name).stat().st_size for name in listed.split('\0') if name and (root / name).is_file()) / 2**20


def check(folder: Path, python: str) -> list[str]:
    """Wheels of another Python, wheels that must be installed rather than unpacked, requirements that nothing satisfies."""
    from packaging.metadata import Metadata
    from packaging.requirements import Requirement
    from packaging.tags import compatible_tags, cpython_tags
    from packaging.utils import canonicalize_name, parse_wheel_filename

    version = tuple(int(part) for part in python.split('.'))
    tags = {*cpython_tags(version, platforms=PLATFORMS), *compatible_tags(version, f'cp{"".join(python.split("."))}', PLATFORMS)}  # fmt: skip
    faults, versions, requirements = [], {}, []
    for path in sorted(folder.rglob('*.whl')):
        name, release, _, wheel_tags = parse_wheel_filename(path.name)
        versions[name] = release
        if not wheel_tags & tags:
            faults.append(f'{path.name} does not fit Python {python}')
        with zipfile.ZipFile(path) as archive:
            if any('.data/purelib/' in entry or '.data/platlib/' in entry for entry in archive.namelist()):
                faults.append(f'{path.name} cannot be unpacked: it keeps modules in its .data folder')
            metadata = next(entry for entry in archive.namelist() if entry.endswith('.dist-info/METADATA'))
            wanted = Metadata.from_email(archive.read(metadata), validate=False).requires_dist or []
            requirements += [(name, Requirement(str(line))) for line in wanted]
    environment = dict(
        python_version=python, python_full_version=f'{python}.0', sys_platform='linux', platform_system='Linux',
        os_name='posix', platform_machine='x86_64', implementation_name='cpython', platform_python_implementation='CPython', extra='',
    )  # fmt: skip
    for name, requirement in requirements:
        if requirement.marker is not None and not requirement.marker.evaluate(environment):
            continue
        needed = canonicalize_name(requirement.name)
        if needed not in versions and needed not in PRESENT | UNUSED:
            faults.append(f'{name} needs {requirement}, which neither travels nor is on the machine')
        elif needed in versions and not requirement.specifier.contains(versions[needed], prereleases=True):
            faults.append(f'{name} needs {requirement}; {versions[needed]} travels')
    return faults


def unpack(folder: Path) -> dict[str, Path]:
    """Unpack what was prepared for this Python into a temporary folder: ``site`` and ``peer`` where they are; empty otherwise."""
    described = folder / 'python.json'
    if not described.is_file():
        return {}
    python, here = json.loads(described.read_text(encoding='utf-8')), '.'.join(platform.python_version_tuple()[:2])
    if python != here:
        print(f'{folder} holds wheels of Python {python}, this is {here}: they are left aside')
        return {}
    target = Path(tempfile.mkdtemp(prefix='gpu_check_'))
    for name in ('site', 'peer'):
        for path in sorted((folder / name).glob('*.whl')):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(target / name)
    return {name: target / name for name in ('site', 'peer') if (target / name).is_dir()}


def missing_modules() -> list[str]:
    """Modules that neither the machine nor the wheels brought, of those that everything needs."""
    return [name for name in ('torch', 'numpy', 'cv2', 'mmengine', 'mmcv') if importlib.util.find_spec(name) is None]
