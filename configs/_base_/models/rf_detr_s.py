# RF-DETR-S: 512 pixels, 3 decoder layers.
_base_ = './rf_detr_n.py'
model = dict(model=dict(backbone_config=dict(image_size=512), decoder_layers=3))
