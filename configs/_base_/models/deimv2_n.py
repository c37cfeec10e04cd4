# DEIMv2-N (arXiv 2509.20787): D-FINE-N with another decoder.
_base_ = './dfine_n.py'
model = dict(model=dict(model_type='deimv2', decoder_activation_function='silu'))
