"""Public functions and methods have annotated parameters and results."""

import ast

import pytest


def unannotated(node: ast.AST, owner: str = '') -> list[str]:
    """``Class.function: what lacks an annotation`` of the public functions of a module, and of the public classes in it.

    The first parameter of a method, and the result of ``__init__``, need none.
    """
    found = []
    for child in ast.iter_child_nodes(node):
        name = getattr(child, 'name', '')
        if isinstance(child, ast.ClassDef) and not name.startswith('_'):
            found += unannotated(child, f'{owner}{name}.')
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if name.startswith('_') and name not in ('__init__', '__call__'):
                continue
            static = any(isinstance(mark, ast.Name) and mark.id == 'staticmethod' for mark in child.decorator_list)
            arguments = child.args
            positional = [*arguments.posonlyargs, *arguments.args][bool(owner) and not static :]
            every = [*positional, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            lacking = [argument.arg for argument in every if argument is not None and argument.annotation is None]
            lacking += ['the result'] * (child.returns is None and name != '__init__')
            found += [f'{owner}{name}: {", ".join(lacking)}'] * bool(lacking)
        elif isinstance(child, (ast.If, ast.Try, ast.With)):
            found += unannotated(child, owner)
    return found


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('', []),
        ('def f(a: int, *b: int, c: int = 1, **d: int) -> None: ...', []),
        ('def f(a, *b, c=1, **d): ...', ['f: a, c, b, d, the result']),
        ('def f(a: int, /, b): ...', ['f: b, the result']),
        ('def _f(a): ...', []),
        ('def f() -> int:\n    def inner(a): ...', []),
        ('class A:\n    def __init__(self, a): ...\n    def __len__(self): ...', ['A.__init__: a']),
        ('class A:\n    def __init__(self): ...\n    def f(self): ...', ['A.f: the result']),
        (
            'class A:\n    @staticmethod\n    def f(a) -> int: ...\n    @classmethod\n    def g(cls) -> int: ...',
            ['A.f: a'],
        ),
        ('class A:\n    class B:\n        @property\n        def f(self): ...', ['A.B.f: the result']),
        ('class _A:\n    def f(self): ...', []),
        ('if True:\n    async def f(): ...', ['f: the result']),
    ],
)
def test_what_counts_as_unannotated(source, expected):
    assert unannotated(ast.parse(source)) == expected


def test_public_functions_are_annotated(repository):
    paths = [path for package in ('mmdet', 'mmdet_runtime') for path in (repository / package).rglob('*.py')]
    assert len(paths) > 200
    faults = [
        f'{path.relative_to(repository)}: {fault}'
        for path in sorted(paths)
        for fault in unannotated(ast.parse(path.read_text(encoding='utf-8')))
    ]
    assert not faults, '\n'.join(faults)
