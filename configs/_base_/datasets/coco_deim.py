# COCO as DEIM sees it: that of RT-DETR and D-FINE, and between the first epochs and the middle of the training mosaics of four images (in half of the
# samples, in place of zoom-out and crop) and mixtures of two. More objects in an image are more matches for the queries.
_base_ = './coco_detr.py'

load, annotations, photometric, zoom_out, crop, *last_steps, pack = _base_.train_pipeline
width, height = _base_.image_size
mosaic = [
    dict(type='CachedMosaic', img_scale=(width // 2, height // 2), pad_val=0.0, max_cached_images=50),
    dict(type='RandomAffine', max_shear_degree=0.0, border_val=(0, 0, 0)),
]
train_pipeline_mixed = [
    load,
    annotations,
    photometric,
    dict(type='RandomChoice', transforms=[mosaic, [zoom_out, crop]], prob=[0.5, 0.5]),
    *last_steps,
    dict(
        type='CachedMixUp',
        img_scale=_base_.image_size,
        ratio_range=(1.0, 1.0),
        pad_val=0.0,
        max_cached_images=20,
        prob=0.5,
    ),
    pack,
]
del load, annotations, photometric, zoom_out, crop, last_steps, pack, width, height, mosaic
