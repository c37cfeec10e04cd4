"""The documentation names files, options and results that exist."""

import ast
import doctest
import importlib
import pkgutil
import re

import pytest
import yaml

import mmdet
from mmdet.commands import forms
from mmdet.commands.signature import parser_of

# What a command may make before a later one reads it, and stand-ins for the user's own files.
_MADE = ('work_dirs/', 'outputs/', 'data/', 'outputs', 'data')
_PATH = re.compile(
    r'(?<![\w/.<{*-])((?:configs|tools|docs|mmdet|benchmarks|tests)/[\w./-]+\.(?:py|sh|md|jpg|png|json|txt))\b'
)
_LINK = re.compile(r'\]\(([^)#\s:]+)(?:#[^)]*)?\)')
# A command goes on over escaped line ends.
_COMMAND = re.compile(
    r'(?:^|\s)(?:\./)?((?:tools|benchmarks|UFPMP-Det-Tools)/[\w/-]+\.(?:py|sh))((?:[^\n`]*\\\n)*[^\n`]*)'
)


def documents(repository):
    return sorted([repository / 'README.md', repository / 'CONTRIBUTING.md', *(repository / 'docs').rglob('*.md')])


def test_paths_and_links_exist(repository):
    missing = []
    for document in documents(repository):
        text = document.read_text(encoding='utf-8')
        missing += [f'{document.name}: {path}' for path in _PATH.findall(text) if not (repository / path).exists()]
        missing += [
            f'{document.name}: link {path}' for path in _LINK.findall(text)
            if not path.startswith(('http', 'mailto', *_MADE)) and not (document.parent / path).exists()
        ]  # fmt: skip
    assert not missing, '\n'.join(sorted(set(missing)))


def test_site_has_every_page_once(repository):
    settings = yaml.safe_load((repository / 'mkdocs.yml').read_text(encoding='utf-8'))

    def listed(entry):
        inner = entry.values() if isinstance(entry, dict) else entry
        return [entry] if isinstance(entry, str) else [page for part in inner for page in listed(part)]

    pages = sorted(path.relative_to(repository / 'docs').as_posix() for path in (repository / 'docs').rglob('*.md'))
    assert sorted(listed(settings['nav'])) == pages, 'nav of mkdocs.yml'


def test_an_installed_package_names_pages_by_title(repository):
    """It has no docs/; so what users read of it, help and messages, names pages as the site does: docstrings are for readers of the sources, but
    those of commands and tools are help."""
    titles = set()

    def add_titles(entries, section=''):
        for entry in entries:
            for title, inside in entry.items() if isinstance(entry, dict) else ():
                titles.update((title, f'{section}: {title}'))
                if isinstance(inside, list):
                    add_titles(inside, title)

    add_titles(yaml.safe_load((repository / 'mkdocs.yml').read_text(encoding='utf-8'))['nav'])
    wrong, named = [], set()
    for path in (
        path for folder in ('mmdet', 'mmdet_runtime', 'tools') for path in (repository / folder).rglob('*.py')
    ):
        name, text = path.relative_to(repository).as_posix(), path.read_text(encoding='utf-8')
        if '.mim' in name or name == 'tools/misc/make_model_zoo.py' or not re.search(r'docs/|page "', text):
            continue
        is_help = name.startswith(('mmdet/commands/', 'tools/'))
        tree = ast.parse(text)
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and (is_help or id(node) not in docstrings)
            ):
                words = ' '.join(node.value.split())
                named.update(re.findall('page "([^"]+)" of the documentation', words))
                wrong += [f'{name}: {each}' for each in re.findall(r'docs/\w+\.md', words)]
    assert not wrong and not named - titles and len(named) > 5, (wrong, named - titles)


def test_api_reference_names_what_exists(repository):
    names = [
        name
        for page in (repository / 'docs/reference').glob('*.md')
        for name in re.findall(r'^::: ([\w.]+)$', page.read_text(encoding='utf-8'), re.M)
    ]
    assert len(names) > 20
    for name in names:
        module, _, attribute = name.rpartition('.')
        assert hasattr(importlib.import_module(module), attribute) or importlib.import_module(name), name


def test_no_figure_is_still_to_be_filled_in(repository):
    left = [
        f'{d.name}: {word}'
        for d in documents(repository)
        for word in re.findall(r'\b[A-Z0-9]+_(?:RESULT|TABLE|SHORT)\b', d.read_text())
    ]
    assert not left


def options_of(repository, tool: str) -> set[str]:
    """Options that appear in a tool's source, with those of the tool that a shell script starts and the shared ones."""
    text = (repository / tool).read_text(encoding='utf-8')
    if tool.endswith('.sh'):
        text = ''.join(
            (repository / inner).read_text(encoding='utf-8') for inner in re.findall(r'\$root/([\w/]+\.py)', text)
        )
    if 'add_common_arguments' in text:
        text += (repository / 'mmdet/config/reading.py').read_text(encoding='utf-8')
    if 'add_backend_arguments' in text:
        text += (repository / 'mmdet/apis/backends.py').read_text(encoding='utf-8')
    if 'add_track_arguments' in text:
        text += (repository / 'mmdet_runtime/track_arguments.py').read_text(encoding='utf-8')
    if 'mosaic_parser' in text:
        text += (repository / 'mmdet/apis/build_mosaics.py').read_text(encoding='utf-8')
    if named := re.search(r"\brun(?:, |\()'(\w+)'", text):
        return {option for function in forms(named[1]) for option in parser_of(function)._option_string_actions}
    found = set(re.findall(r"'(--[\w-]+)'", text))
    if 'BooleanOptionalAction' in text:
        found |= {f'--no-{name[2:]}' for name in found}
    return found


def test_options_of_commands_exist(repository):
    unknown = []
    for document in documents(repository):
        for tool, arguments in _COMMAND.findall(document.read_text(encoding='utf-8')):
            if not (repository / tool).is_file():
                continue  # the other test's business
            known = options_of(repository, tool)
            arguments = arguments.split(' # ')[0].split(' | ')[0]
            unknown += [
                f'{document.name}: {tool} {option}'
                for option in re.findall(r'(?<=[\s\[])(--[a-z][\w-]*)', arguments)
                if option not in known
            ]
    assert not unknown, '\n'.join(sorted(set(unknown)))


@pytest.mark.filterwarnings('ignore')
def test_examples_of_docstrings():
    examples, failures = 0, []
    for module in pkgutil.walk_packages(mmdet.__path__, 'mmdet.'):
        found = importlib.import_module(module.name)
        import torch

        result = doctest.testmod(
            found, extraglobs=dict(torch=torch), optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
        )
        examples += result.attempted
        failures += [module.name] * bool(result.failed)
    assert examples >= 10 and not failures, failures
