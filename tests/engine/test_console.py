"""The console shows what a person needs, the log file everything."""

import logging

import pytest
from mmengine.logging import MMLogger, print_log

from mmdet.engine.console import ConsoleFilter, quieten

from .toy import toy_runner


def passes(module: str, level: int = logging.INFO, text: str = 'text', *, printed: bool = False) -> bool:
    """Whether the filter lets a module's message through, logged directly or by ``print_log``."""
    logger, shown = logging.Logger('test'), []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())
    handler.addFilter(ConsoleFilter())
    logger.addHandler(handler)
    call = 'print_log(text, logger, level)' if printed else 'logger.log(level, text)'
    exec(call, dict(__name__=module, logger=logger, level=level, text=text, print_log=print_log))
    return shown == [text]


@pytest.mark.parametrize('printed', [False, True])
@pytest.mark.parametrize(
    ('module', 'shown'),
    [
        ('mmdet.evaluation.coco_metric', True),
        ('mmdet.engine.runner', True),
        ('my_project', True),
        ('mmengine.hooks.logger_hook', True),
        ('mmengine.runner.runner', False),
        ('mmengine.optim.optimizer.default_constructor', False),
        ('mmdet.engine.layer_decay', False),
    ],
)
def test_messages_by_origin(module, shown, printed):
    assert passes(module, printed=printed) == shown
    assert passes(module, logging.WARNING, printed=printed) and passes(module, logging.ERROR, printed=printed)
    assert not passes(module, logging.DEBUG, printed=printed)


def test_the_name_of_the_experiment_is_no_progress():
    assert not passes('mmengine.hooks.logger_hook', text='Exp name: gfl')


@pytest.mark.parametrize(('level', 'filters'), [('INFO', 1), ('ERROR', 1), ('DEBUG', 0)])
def test_the_filter_is_set_once_on_the_console_alone(tmp_path, level, filters):
    logger = MMLogger(f'console {level}', log_file=str(tmp_path / 'a.log'), log_level=level)
    for _ in range(2):
        quieten(logger, verbose=False)
    kinds = {type(handler): handler for handler in logger.handlers}
    own = [known for known in kinds[logging.StreamHandler].filters if isinstance(known, ConsoleFilter)]
    assert len(own) == filters
    assert not any(isinstance(known, ConsoleFilter) for known in kinds[logging.FileHandler].filters)
    quieten(logger, verbose=True)
    assert not any(isinstance(known, ConsoleFilter) for known in kinds[logging.StreamHandler].filters)
    kinds[logging.FileHandler].close()


@pytest.mark.parametrize('verbose', [False, True])
def test_a_training(tmp_path, capsys, verbose):
    options = dict(log_level='INFO', val=True, epochs=1, verbose=verbose)
    toy_runner(tmp_path, **options, **{'optim_wrapper.paramwise_cfg': dict(norm_decay_mult=0.0)}).train()
    shown = capsys.readouterr().out
    (log_file,) = tmp_path.glob('*/*.log')
    assert f'Training ToyDetector on cpu: 1 epochs, 5 iterations. Details are in {log_file}' in shown
    assert f'Checkpoints will be saved to {tmp_path}.' in shown
    assert 'Epoch(train) [1][4/5]' in shown and 'eta: ' in shown and 'loss_cls: ' in shown
    assert 'coco/bbox_mAP: 0.1' in shown
    details = ('System environment', 'Config:', 'Hooks will be executed', 'paramwise_options', 'Exp name')
    assert [detail in shown for detail in details] == [verbose] * len(details)
    written = log_file.read_text()
    assert all(detail in written for detail in (*details, 'Training ToyDetector', 'eta: ', 'coco/bbox_mAP: 0.1'))
    assert len(shown.splitlines()) < 10 or verbose


def test_evaluations_say_what_runs(tmp_path, capsys):
    toy_runner(tmp_path, log_level='INFO', val=True).val()
    assert 'Validating ToyDetector on cpu. Details' in capsys.readouterr().out
