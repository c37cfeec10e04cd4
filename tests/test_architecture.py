"""docs/architecture.md shows the floors that the contracts in pyproject.toml check."""

import ast
import re


def test_the_picture_shows_the_floors(repository):
    layers = re.search(r'^layers = (\[.*?\])', (repository / 'pyproject.toml').read_text(encoding='utf-8'), re.M | re.S)
    floors = [set(layer.split(' | ')) for layer in ast.literal_eval(layers[1])]
    text = (repository / 'docs' / 'architecture.md').read_text(encoding='utf-8')
    picture = re.split(r'^ +─+$', text, flags=re.M)[1]
    assert [set(line[:49].split()) for line in picture.strip('\n').splitlines()] == floors
    rooms = text.partition('## The rooms')[2].partition('\n## ')[0]
    described = [name for row in re.findall(r'^\| (`.*?) \|', rooms, re.M) for name in re.findall(r'`(\w+)`', row)]
    assert sorted(described) == sorted(set().union(*floors)), 'each package has its line'
