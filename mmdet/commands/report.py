"""``mmdet report``."""

from pathlib import Path


def report(
    work_dir: str,
    *,
    out: str | None = None,
    title: str | None = None,
    metrics: str | None = None,
    benchmark: str | None = None,
    comparisons: str | None = None,
    pictures: str | None = None,
    max_pictures: int = 8,
) -> None:
    """Write a one-page HTML report about a training run.

    Curves come from WORK_DIR/<timestamp>/vis_data/scalars.json; metrics default to the last validation.

    Args:
        work_dir: folder of the run.
        out: HTML file to write; default: WORK_DIR/report.html.
        title: title of the page; default: the name of the folder.
        metrics: JSON object of results, e.g. {"coco/bbox_mAP": 0.41}.
        benchmark: JSON object of speed figures.
        comparisons: folder of pictures that show ground truth beside predictions.
        pictures: folder of further pictures.
        max_pictures: largest number of pictures of each folder.
    """
    from ..utils import DataError
    from ..utils.outputs import refuse_inputs
    from ..visualization.report import pictures_in, read_figures, read_scalars, write_report

    folder = Path(work_dir)
    if not folder.is_dir():
        raise DataError('no such folder', file=folder)
    if not any([metrics, benchmark, comparisons, pictures, *read_scalars(folder).values()]):
        raise DataError(
            'nothing to report: no <timestamp>/vis_data/scalars.json in it, and no other option given', file=folder
        )
    refuse_inputs([out], [metrics, benchmark], field='--out')
    path = write_report(
        folder,
        out or folder / 'report.html',
        title=title or folder.resolve().name,
        metrics=read_figures(metrics),
        benchmark=read_figures(benchmark),
        comparisons=pictures_in(comparisons, max_pictures),
        pictures=pictures_in(pictures, max_pictures),
    )
    print(path)
