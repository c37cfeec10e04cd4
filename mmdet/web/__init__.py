"""The page of ``mmdet web``: drop an image or a video, choose a model, and see what it finds, whole, tiled and packed side by side.

``looks`` runs a model on an image, ``models`` holds the models, ``media`` reads what was sent, ``server`` answers the page, which lies in ``page/``
and asks nothing of other hosts.
"""
