# UFPMP-Det, second stage: MP-Det R50 on the mosaics that UFPMP-Det-Tools/build_dataset/UFP_VisDrone2COCO.py makes.
_base_ = [
    '../_base_/models/mp_det_r50_fpn.py',
    '../_base_/datasets/visdrone_mosaics.py',
    '../_base_/schedules/schedule_ufpmp.py',
    '../_base_/default_runtime.py',
]
default_hooks = dict(optimal_transport=dict(type='OptimalTransportHook', interval=2000, start_emb=2, end_estimating=8))
