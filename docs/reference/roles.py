"""For the API reference: the roles of Sphinx in docstrings (``:func:`~a.b.name```) become plain code, since Markdown knows none; <names> in angles stay.

Of ``Annotated[type, ...]``, which the commands use for the names of their options, the type alone is shown.
"""

import re
from typing import Any

from griffe import Docstring, ExprSubscript, ExprTuple, Extension, Function, Object

# Markdown would take <config name> for a tag.
_CODE_OR_ANGLES = re.compile(r'(`+[^`]+`+)|<([\w .-]+)>')
_NAMES = re.compile(r'^ +\w+(?:, \w+)+(?=:)', re.MULTILINE)  # one entry of several names
_EXAMPLE = re.compile(r'^>>> .*(?:\n.+)*', re.MULTILINE)  # Markdown would take it for quotations
_ROLE = re.compile(r':(?:func|class|meth|mod|data|attr|exc|ref):`(~?)([^`]+)`')


def without_roles(text: str) -> str:
    """
    >>> without_roles('see :func:`~mmdet.apis.init_detector` and :class:`Runtime`')
    'see `init_detector` and `Runtime`'
    """
    text = _EXAMPLE.sub(lambda found: f'```pycon\n{found[0]}\n```', text)
    text = re.sub(r'(?<=\w)::$', ':', text, flags=re.MULTILINE)  # indented code needs no second colon in Markdown
    text = _NAMES.sub(
        lambda found: found[0].replace(', ', ',\u00a0'), text
    )  # at a blank the type of an attribute would begin
    text = _CODE_OR_ANGLES.sub(lambda found: found[1] or f'&lt;{found[2]}&gt;', text)
    return _ROLE.sub(lambda found: f'`{found[2].rpartition(".")[2] if found[1] else found[2]}`', text)


class WithoutRoles(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        if isinstance(obj.docstring, Docstring):
            obj.docstring.value = without_roles(obj.docstring.value)

    def on_function(self, *, func: Function, **_: Any) -> None:
        for parameter in func.parameters:
            whole = parameter.annotation
            if (
                isinstance(whole, ExprSubscript)
                and str(whole.left) == 'Annotated'
                and isinstance(whole.slice, ExprTuple)
            ):
                parameter.annotation = whole.slice.elements[0]
