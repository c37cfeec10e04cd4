# UFPMP-Det on VisDrone, both stages, for testing; the checkpoint is made by tools/model_converters/join_ufpmp.py.
_base_ = [
    '../_base_/models/ufpmp_det_r50.py',
    '../_base_/datasets/visdrone_full_resolution.py',
    '../_base_/default_runtime.py',
]
