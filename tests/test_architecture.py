"""docs/architecture.md shows the layers that the contracts in pyproject.toml check."""

import ast
import re


def test_the_picture_shows_the_layers(repository):
    layers = re.search(r'^layers = (\[.*?\])', (repository / 'pyproject.toml').read_text(encoding='utf-8'), re.M | re.S)
    expected = [set(layer.split(' | ')) for layer in ast.literal_eval(layers[1])]
    text = (repository / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    picture = re.split(r'^ +─+$', text, flags=re.M)[1]
    assert [set(line[:49].split()) for line in picture.strip('\n').splitlines()] == expected
    table = text.partition('## The packages')[2].partition('\n## ')[0]
    described = [name for row in re.findall(r'^\| (`.*?) \|', table, re.M) for name in re.findall(r'`(\w+)`', row)]
    assert sorted(described) == sorted(set().union(*expected)), 'each package has its line'
