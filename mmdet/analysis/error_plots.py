"""Files of an error analysis: pictures of the nested curves, the table, and JSON."""

import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..utils.files import write_bytes, write_json, write_text
from ..utils.outputs import OutputNames
from .error_analysis import ALL_CLASSES, ErrorAnalysis

# White for detections that are right at the strictest threshold, then one hue per kind of mistake (Okabe-Ito, lightened).
_COLORS = {
    'C75': '#ffffff', 'C50': '#d9d9d9', 'Loc': '#56b4e9', 'Sim': '#f0a0a0', 'Oth': '#8fcf8f', 'BG': '#b79ad6', 'FN': '#f0b050',
}  # fmt: skip


def write_error_analysis(analysis: ErrorAnalysis, out_dir: str | Path) -> list[Path]:
    """Write ``error_analysis.json``, ``.txt`` (tables), ``bbox-allclass.png`` and ``bbox-<class>.png``; returns the files written.

    Every picture has one panel per area range; classes without ground truth get no picture.
    """
    out_dir = Path(out_dir)
    paths = [out_dir / 'error_analysis.json', out_dir / 'error_analysis.txt']
    write_json(paths[0], analysis.as_dict())
    tables = '\n\n'.join(f'area = {area}\n{analysis.table(area)}' for area in analysis.areas)
    write_text(paths[1], f'{tables}\n')
    names = (ALL_CLASSES, *analysis.classes)
    for name, stem in zip(names, _file_stems(names)):
        if analysis.curves(name) is not None:
            paths.append(out_dir / f'bbox-{stem}.png')
            write_bytes(paths[-1], draw_curves(analysis, name))
    return paths


def _file_stems(names: Iterable[str]) -> list[str]:
    """File names of the classes: characters other than letters, digits, '.', '-' and '_' become '_'; repeated names get a number."""
    return OutputNames().claim([(None, re.sub(r'[^\w.-]+', '_', name), ()) for name in names])


def draw_curves(analysis: ErrorAnalysis, class_name: str = ALL_CLASSES) -> bytes:
    """A PNG of one class: precision over recall, the area of each kind of mistake in its colour, one panel per area range."""
    from matplotlib.figure import Figure  # takes about a second, and only these pictures need it

    figure = Figure(figsize=(10, 8.4), dpi=90)
    recall = np.linspace(0, 1, analysis.precision.shape[1])
    for axes, area in zip(figure.subplots(2, 2).flat, analysis.areas):
        curves, values = analysis.curves(class_name, area), analysis.values(class_name, area)
        axes.set(title=f'{class_name}, {area}', xlim=(0, 1), ylim=(0, 1.005), xlabel='recall', ylabel='precision')
        if curves is None or values is None:
            axes.text(0.5, 0.5, 'no objects', ha='center', va='center')
            continue
        for stage, curve in reversed(list(zip(analysis.stages, curves))):
            label = f'{values[stage]:.3f} {stage}'
            axes.fill_between(recall, curve, facecolor=_COLORS[stage], edgecolor='black', lw=0.7, label=label)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc='lower left', fontsize=8)
    figure.tight_layout()
    data = io.BytesIO()
    figure.savefig(data, format='png')
    return data.getvalue()
