import numpy as np
import pytest

from mmdet.datasets.transforms.color import distort_float32, distort_uint8
from mmdet.registry import TRANSFORMS
from mmdet.utils import ConfigError, DataError

from .helpers import make_sample

NOTHING = dict(brightness=None, contrast=None, contrast_first=False, saturation=None, hue=None, channels=None)


def build(kind, **arguments):
    return TRANSFORMS.build(dict(type=kind, **arguments))


def test_nothing_returns_the_same_image():
    image = make_sample()['img']
    assert distort_uint8(image, **NOTHING) is image
    floats = image.astype(np.float32)
    assert distort_float32(floats, **NOTHING) is floats


@pytest.mark.parametrize(
    ('step', 'expected'),
    [
        (dict(brightness=20.0), [[30, 120, 255]]),
        (dict(brightness=-20.4), [[0, 80, 230]]),
        (dict(contrast=1.5), [[15, 150, 255]]),
        (dict(contrast=0.5), [[5, 50, 125]]),
        (dict(brightness=20.0, contrast=0.5, contrast_first=True), [[15, 60, 135]]),
        (dict(channels=[2, 0, 1]), [[250, 10, 100]]),
        (dict(saturation=0.0), [[250, 250, 250]]),
    ],
)
def test_steps_by_hand(step, expected):
    image = np.array([[[10, 100, 250]]], np.uint8)
    assert distort_uint8(image, **{**NOTHING, **step})[0].tolist() == expected
    floats = distort_float32(image.astype(np.float32), **{**NOTHING, **step})
    np.testing.assert_allclose(np.clip(floats[0], 0, 255), expected, atol=0.6)


def test_hue_turns_the_colours():
    red, green, blue = [0, 0, 200], [0, 200, 0], [200, 0, 0]  # BGR
    image = np.array([[red, green, blue]], np.uint8)
    turned = distort_uint8(image, **{**NOTHING, 'hue': 120.0})
    assert turned[0].tolist() == [green, blue, red]
    turned = distort_float32(image.astype(np.float32), **{**NOTHING, 'hue': -120.0})
    np.testing.assert_allclose(turned[0], [blue, red, green], atol=1e-3)


def test_uint8_is_near_float():
    image = make_sample(64, 48)['img']
    transform = build('PhotoMetricDistortion')
    np.random.seed(0)
    for _ in range(40):
        parameters = transform.draw()
        exact = np.clip(distort_float32(image.astype(np.float32), **parameters), 0, 255)
        assert np.abs(distort_uint8(image, **parameters) - exact).mean() < 12  # saturated in between where float is not


def test_draws():
    transform = build('PhotoMetricDistortion')
    np.random.seed(0)
    draws = [transform.draw() for _ in range(2000)]
    for name, low, high in (
        ('brightness', -32, 32),
        ('contrast', 0.5, 1.5),
        ('saturation', 0.5, 1.5),
        ('hue', -18, 18),
    ):
        values = [draw[name] for draw in draws if draw[name] is not None]
        assert abs(len(values) / 2000 - 0.5) < 0.045  # 4 standard deviations
        assert low <= min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) <= high
    assert abs(np.mean([draw['contrast_first'] for draw in draws]) - 0.5) < 0.045


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('size', [(1, 1), (64, 48)])
def test_types_and_input_kept(dtype, size):
    np.random.seed(0)
    sample = make_sample(*size)
    image = sample['img'].astype(dtype)
    before = image.copy()
    for _ in range(10):
        results = build('PhotoMetricDistortion')(dict(sample, img=image[:, ::-1]))
        assert results['img'].dtype == dtype and results['img'].shape == image.shape
    assert np.array_equal(image, before)


def test_grey_image_is_refused():
    with pytest.raises(DataError, match='BGR image'):
        build('PhotoMetricDistortion')(dict(img=np.zeros((4, 5), np.uint8)))


def test_normalize():
    image = np.array([[[1, 2, 3]]], np.uint8)
    results = build('Normalize', mean=[1, 1, 1], std=[2, 4, 5], to_rgb=True)(dict(img=image))
    assert results['img'].dtype == np.float32 and results['img'][0].tolist() == [[1, 0.25, 0]]
    assert results['img_norm_cfg']['to_rgb'] is True
    results = build('Normalize', mean=[1, 1, 1], std=[2, 4, 5], to_rgb=False)(dict(img=image))
    np.testing.assert_allclose(results['img'][0], [[0, 0.25, 0.4]])
    assert image.tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(
    ('kind', 'arguments', 'field'),
    [
        ('PhotoMetricDistortion', dict(brightness_delta=-1), 'brightness_delta'),
        ('PhotoMetricDistortion', dict(hue_delta=400), 'hue_delta'),
        ('PhotoMetricDistortion', dict(contrast_range=(1.5, 0.5)), 'contrast_range'),
        ('PhotoMetricDistortion', dict(saturation_range=(-0.5, 1.5)), 'saturation_range'),
        ('Normalize', dict(mean=[1, 2], std=[1, 1, 1]), 'mean'),
        ('Normalize', dict(mean=[1, 2, 3], std=[1, 0, 1]), 'std'),
    ],
)
def test_bad_arguments(kind, arguments, field):
    with pytest.raises(ConfigError, match=field):
        build(kind, **arguments)


def test_strips_join_without_seams():
    image = make_sample(8, 200)['img']  # more than one strip
    step = {**NOTHING, 'hue': 10.0, 'saturation': 1.3}
    rows = [distort_uint8(image[row : row + 1], **step) for row in range(200)]
    assert np.array_equal(distort_uint8(image, **step), np.concatenate(rows))


def test_draws_come_in_this_order():
    transform = build(
        'PhotoMetricDistortion',
        brightness_delta=10,
        contrast_range=(0.6, 1.2),
        saturation_range=(0.7, 1.1),
        hue_delta=9,
    )
    for seed in range(12):
        np.random.seed(seed)
        draw = np.random.RandomState(seed)

        def half(low, high, draw=draw):
            return draw.uniform(low, high) if draw.rand() < 0.5 else None

        drawn = transform.draw()
        assert drawn['brightness'] == half(-10, 10)
        assert drawn['contrast'] == half(0.6, 1.2)
        assert drawn['contrast_first'] is bool(draw.randint(2))
        assert drawn['saturation'] == half(0.7, 1.1)
        assert drawn['hue'] == half(-9, 9)
        swapped = draw.rand() < 0.5
        assert (drawn['channels'] is not None) == swapped
        if swapped:
            assert drawn['channels'].tolist() == draw.permutation(3).tolist()


@pytest.mark.parametrize(
    ('step', 'pixel', 'expected'),
    [
        (dict(brightness=20.0, contrast=0.5), [10, 100, 250], [15, 60, 128]),  # saturated at 255 before the contrast
        (dict(brightness=-20.0, contrast=2.0), [10, 100, 200], [0, 160, 255]),
        (dict(brightness=-20.0, contrast=2.0, contrast_first=True), [10, 100, 200], [0, 160, 255]),
        (dict(contrast=1.0), [10, 100, 250], [10, 100, 250]),
        (dict(contrast=0.5, channels=[1, 2, 0]), [10, 100, 250], [50, 125, 5]),
        (dict(saturation=0.5), [0, 0, 200], [100, 100, 200]),  # S from 255 to 128
        (dict(saturation=2.0), [100, 100, 200], [0, 0, 200]),  # S from 128 to 256, saturated
        (dict(saturation=0.0, contrast=2.0, contrast_first=True), [0, 0, 100], [200, 200, 200]),
        (dict(saturation=0.0, contrast=2.0), [0, 0, 200], [255, 255, 255]),
        (dict(hue=60.0), [0, 0, 200], [0, 200, 200]),  # red, yellow
        (dict(hue=-60.0), [0, 0, 200], [200, 0, 200]),  # red, magenta: below 0 the hue starts again at 360
        (dict(hue=0.9), [0, 0, 200], [0, 0, 200]),  # less than half a step of two degrees
        (dict(hue=1.1), [0, 0, 255], [0, 8, 255]),  # a step of two degrees: 255 / 60 * 2 = 8.5
    ],
)
def test_uint8_steps_by_hand(step, pixel, expected):
    result = distort_uint8(np.array([[pixel]], np.uint8), **{**NOTHING, **step})
    assert result.dtype == np.uint8
    np.testing.assert_allclose(result[0, 0].astype(int), expected, atol=1)
    if step.keys() <= {'brightness', 'contrast', 'contrast_first', 'channels'}:
        assert result[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ('step', 'expected'),
    [
        (dict(brightness=-20.5), [-10.5, 79.5, 229.5]),  # neither rounded nor clipped
        (dict(brightness=20.0, contrast=2.0, contrast_first=True), [60, 240, 540]),
        (dict(brightness=20.0, contrast=2.0, contrast_first=False), [60, 240, 540]),
        (dict(contrast=2.0, saturation=0.0, contrast_first=True), [500, 500, 500]),
        (dict(contrast=2.0, saturation=0.0), [500, 500, 500]),
        (dict(saturation=0.5), [130, 175, 250]),
        (dict(channels=[2, 0, 1], contrast=0.5), [125, 5, 50]),
    ],
)
def test_float_steps_by_hand(step, expected):
    image = np.array([[[10, 100, 250]]], np.float32)
    result = distort_float32(image, **{**NOTHING, **step})
    np.testing.assert_allclose(result[0, 0], expected, atol=1e-3)
    assert result.dtype == np.float32 and image.tolist() == [[[10, 100, 250]]]


def test_half_a_hue_turn_wraps_in_float():
    blue = np.array([[[200, 0, 0]]], np.float32)  # 240 degrees
    np.testing.assert_allclose(distort_float32(blue, **{**NOTHING, 'hue': 180.0})[0, 0], [0, 200, 200], atol=1e-3)


@pytest.mark.parametrize('image', [np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 3)), np.zeros((4, 5, 3), np.int32)])
def test_other_images_are_refused(image):
    with pytest.raises(DataError, match=r'a\.jpg: img: needs a BGR image \(H, W, 3\), uint8 or float32'):
        build('PhotoMetricDistortion')(dict(img=image, img_path='a.jpg'))


def test_limits_are_inclusive_and_normalised_images_contiguous():
    build('PhotoMetricDistortion', brightness_delta=255, hue_delta=360)
    build('PhotoMetricDistortion', brightness_delta=0, contrast_range=(0, 0), hue_delta=0)
    for wrong in (dict(brightness_delta=255.1), dict(hue_delta=-0.1), dict(hue_delta=360.5), dict(hue_delta='x')):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            build('PhotoMetricDistortion', **wrong)
    with pytest.raises(ConfigError, match='std: must be > 0'):
        build('Normalize', mean=[0, 0, 0], std=[1, 1, -1])
    result = build('Normalize', mean=[1, 2, 3], std=[2, 2, 2])(dict(img=make_sample()['img'][:, ::-1]))
    assert result['img'].flags.c_contiguous
    assert result['img_norm_cfg']['mean'].tolist() == [1, 2, 3] and result['img_norm_cfg']['std'].tolist() == [2, 2, 2]
