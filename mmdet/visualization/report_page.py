"""The parts of HTML pages: tables, cards, pictures, and the page around them. No script, no network, one file."""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError
from ..utils.files import write_text
from ..version import release
from .charts import escaped
from .report_style import STYLE

# A page of at most 5 MB opens at once and can be mailed; base64 makes 4 bytes of 3, and text and curves take some 100 KB.
PICTURE_BYTES = 3_500_000


def check_page_name(path: str | Path) -> None:
    """Raise a ConfigError unless a path has the name of a page."""
    if Path(path).suffix not in ('.html', '.htm'):
        raise ConfigError('must end in .html or .htm', field='out_html', received=str(path))


def write_page(path: str | Path, title: str, facts: Mapping[str, object], body: Sequence[str]) -> Path:
    """Write a page with a heading, a line of facts (the date and the version come first) and the ``body`` as HTML; returns its path."""
    facts = {'written': datetime.now().strftime('%Y-%m-%d %H:%M'), 'mmdet': release, **facts}
    shown = ' &middot; '.join(f'{cell_text(key)} <b>{cell_text(value)}</b>' for key, value in facts.items())
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escaped(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{STYLE}</style></head><body><main><h1>{escaped(title)}</h1><p class="facts">{shown}</p>{"".join(body)}</main></body></html>\n'
    )
    write_text(path, page)
    return Path(path)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """An HTML table whose first column is text; the others are numbers."""

    def cells(row: Sequence[object], tag: str) -> str:
        kinds = ['', *[' class="number"'] * (len(row) - 1)]
        return ''.join(f'<{tag}{kind}>{cell_text(value)}</{tag}>' for kind, value in zip(kinds, row))

    lines = ''.join(f'<tr>{cells(row, "td")}</tr>' for row in rows)
    return f'<table><thead><tr>{cells(head, "th")}</tr></thead><tbody>{lines}</tbody></table>'


def section(heading: str, parts: Sequence[str], layout: str) -> str:
    """A heading and the parts that are not empty, each as a card, in a ``layout`` of the style sheet ('two', 'wide', 'half'); '' without parts."""
    cells = ''.join(f'<div class="card">{part}</div>' for part in parts if part)
    return f'<h2>{cell_text(heading)}</h2><div class="{layout}">{cells}</div>' if cells else ''


def figure(picture: tuple[np.ndarray, str], max_bytes: float, max_width: int) -> str:
    """An RGB picture and the text below it as an element, see :func:`jpeg_bytes`; a click enlarges it."""
    data = base64.b64encode(jpeg_bytes(picture[0], max_bytes, max_width)).decode()
    caption = cell_text(picture[1])
    text = f'<figcaption>{caption}</figcaption>' if caption else ''
    # A click on the picture shows it in its stored size; the checkbox makes that work without a script.
    image = f'<img alt="{caption}" src="data:image/jpeg;base64,{data}">'
    return f'<figure><label title="click to enlarge"><input type="checkbox">{image}</label>{text}</figure>'


def jpeg_bytes(image: np.ndarray, max_bytes: float, max_width: int) -> bytes:
    """JPEG of an RGB picture, narrowed until it takes at most ``max_bytes``, but not below a width of 320 pixels."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    width = min(max_width, bgr.shape[1])
    while True:
        height = max(1, round(bgr.shape[0] * width / bgr.shape[1]))
        small = bgr if width == bgr.shape[1] else cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
        data = cv2.imencode('.jpg', small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
        if len(data) <= max_bytes or width <= 320:
            return data
        width = max(320, int(width * 0.85))


def cell_text(value: object) -> str:
    """A value as HTML text; floats with four significant digits."""
    if isinstance(value, float):
        value = f'{value:.4g}' if abs(value) < 1000 else f'{value:,.0f}'
    return escaped(value)
