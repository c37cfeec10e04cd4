"""The result files of a search: the best structures, the Pareto fronts, the history, and a plot."""

from collections.abc import Sequence
from pathlib import Path

from mmdet.visualization.charts import escaped, line_chart

from ...archs import StructureEntry, save_structures
from ...utils.files import write_json, write_text
from .population import Member, diverse
from .settings import SearchSettings
from .state import STATE_FILE
from .strategies import Strategy

BEST_FILE, FRONT_FILE, LOG_FILE, PLOT_FILE = 'best_structure.json', 'pareto_front.json', 'search_log.json', 'search.svg'
OUTPUT_FILES = (BEST_FILE, FRONT_FILE, LOG_FILE, PLOT_FILE, STATE_FILE)
_STYLE = (
    'text{fill:#1d2126;font:12px system-ui,sans-serif}.chart-title{font-weight:600;font-size:14px}.tick{fill:#5b636d}'
    '.grid{stroke:#e3e6ea}.axis{stroke:#8a929c}'
)


def write_outputs(folder: Path, settings: SearchSettings, strategy: Strategy, history: Sequence[dict]) -> list[Member]:
    """Write ``best_structure.json``, ``pareto_front.json``, ``search_log.json`` and ``search.svg``.

    Args:
        strategy: the finished search, with its population and fronts.
        history: progress records, one dict for each report.

    Returns:
        The members written to ``best_structure.json``, best first.
    """
    run, facts = settings.run, settings.facts
    fronts = {name: front.members() for name, front in strategy.fronts.items()}
    pool = [*strategy.population, *(member for members in fronts.values() for member in members)]
    chosen = diverse(pool, run['num_network'], run['min_distance'])
    names = [budget.name for budget in settings.evaluator.budgets]

    def entry(name: str, member: Member) -> StructureEntry:
        info = dict(score=member.score, budgets=dict(zip(names, member.values)))
        return StructureEntry(name, member.structure, facts['image_size'], facts['frames'], facts['task'], info)

    save_structures(folder / BEST_FILE, [entry('best' if i == 0 else f'best_{i}', m) for i, m in enumerate(chosen)])
    points = [entry(f'{name}_{i}', m) for name, members in fronts.items() for i, m in enumerate(members)]
    if points:
        save_structures(folder / FRONT_FILE, points)
    write_json(folder / LOG_FILE, history)
    write_plot(folder / PLOT_FILE, history, fronts, names)
    return chosen


def write_plot(path: Path, history: Sequence[dict], fronts: dict[str, list[Member]], names: list[str]) -> None:
    """Plot the best score over evaluations and, below it, score over cost for each front.

    Args:
        path: SVG file to write.
        history: progress records, with ``evaluated`` and ``score``.
        fronts: members of each front, by the name of its budget.
        names: budgets, in the order of a member's values.
    """
    best = ('best score', [record['evaluated'] for record in history], [record['score'] for record in history])
    charts = [line_chart([best], title='Best score', x_label='evaluations')]
    for name, members in fronts.items():
        column = names.index(name)
        series = (f'best score within {name}', [m.values[column] for m in members], [m.score for m in members])
        charts.append(line_chart([series], title=f'Score against {name}', x_label=name))
    height, title = 310 * len(charts), escaped(path.parent.name)
    places = [f'<svg y="{310 * i}" width="620" height="300" ' for i in range(len(charts))]
    body = ''.join(chart.replace('<svg ', place, 1) for chart, place in zip(charts, places))
    write_text(
        path,
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 {height}" width="620" height="{height}">'
        f'<title>{title}</title><style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>{body}</svg>\n',
    )
