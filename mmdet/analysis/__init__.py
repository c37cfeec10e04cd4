"""What the scripts in ``tools/analysis_tools`` do: cost of models, logs, and where predictions go wrong."""

from .browse import browse, draw_sample, has_display
from .confusion import confusion_matrix, normalized_rows, write_confusion_matrix
from .error_analysis import ErrorAnalysis, analyze_error_files, analyze_errors
from .error_plots import draw_curves, write_error_analysis
from .flops import FlopsReport, PartCost, count_dataset_flops, count_flops
from .log_curves import TrainTime, collect_curves, train_time, write_curves
from .logs import TrainingLog, find_log, read_log
from .predictions import ImagePredictions, PredictionSet, dataset_config, load_prediction_set, pair_with_dataset
from .ranking import ImageScore, best_and_worst, draw_comparison, score_images, write_ranking

__all__ = [
    'ErrorAnalysis', 'FlopsReport', 'ImagePredictions', 'ImageScore', 'PartCost', 'PredictionSet', 'TrainTime', 'TrainingLog',
    'analyze_error_files', 'analyze_errors', 'best_and_worst', 'browse', 'collect_curves', 'confusion_matrix', 'count_dataset_flops',
    'count_flops', 'dataset_config', 'draw_comparison', 'draw_curves', 'draw_sample', 'find_log', 'has_display', 'load_prediction_set',
    'normalized_rows', 'pair_with_dataset', 'read_log', 'score_images', 'train_time', 'write_confusion_matrix', 'write_curves',
    'write_error_analysis', 'write_ranking',
]  # fmt: skip
