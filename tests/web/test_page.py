"""The page in a real browser: drop, detect, filter, download."""

import json

import cv2
import numpy as np
import pytest

from tests.web.browser import Browser, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason='no Chromium is installed')

STATUS = 'document.querySelector("#status").textContent'
SUMMARIES = '[...document.querySelectorAll(".summary")].map((line) => line.textContent)'
# Whether the left edge of the first picture is red, as the box of the whole image is.
EDGE = '(([r, g]) => r - g > 150)(document.querySelector("canvas").getContext("2d").getImageData(0, document.querySelector("canvas").height - 40, 1, 1).data)'


@pytest.fixture(scope='module')
def browser(page, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp('browser')) as opened:
        opened.open(f'http://127.0.0.1:{page.port}/')
        opened.wait('document.querySelectorAll("#model option").length === 2')
        yield opened


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp('files') / 'street.png'
    cv2.imwrite(str(path), np.full((200, 300, 3), 220, np.uint8))
    return path


@pytest.fixture(scope='module')
def detected(browser, file):
    """The browser after the file was dropped and looked at, whole and packed."""
    assert browser.run('document.querySelector("#detect").disabled')
    browser.drop('#drop', file)
    browser.wait('!document.querySelector("#detect").disabled')
    browser.click('#looks input[value=packed]')
    browser.click('#looks input[value=tiled]')
    browser.click('#detect')
    browser.wait(f'{STATUS}.startsWith("Done")')
    return browser


def test_boxes_are_shown(detected):
    assert 'This model cannot be tiled' in detected.run(STATUS)
    assert detected.run(SUMMARIES) == ['2 of 3 boxes', '2 of 3 boxes, 1 region']
    assert detected.run(EDGE)
    assert detected.run('document.querySelector(".times").textContent').endswith('ms (network 250)')
    assert detected.run('[...document.querySelectorAll("#classes label")].map((row) => row.textContent)') == [
        'car1 / 1',
        '<script>x</script>1 / 1',
    ]
    assert detected.run('document.querySelectorAll("nav button").length') == 3
    assert detected.run('document.querySelector("canvas").ariaLabel') == 'whole, boxes: 1 car, 1 <script>x</script>'
    unnamed = '[...document.querySelectorAll("button, input, select")].filter((e) => !(e.ariaLabel ?? e.labels?.[0]?.innerText ?? e.innerText)).length'
    assert detected.run(unnamed) == 0


def test_filters_do_not_detect_again(detected):
    before = len(detected.requests)
    detected.press('#score', 'ArrowRight', 11)  # 0.30 to 0.41
    assert detected.run(SUMMARIES)[0] == '1 of 3 boxes'
    detected.press('#score', 'Home')
    assert detected.run(SUMMARIES)[0] == '3 of 3 boxes'
    detected.click('#classes input[value="0"]')
    assert detected.run(SUMMARIES)[0] == '1 of 3 boxes' and not detected.run(EDGE)
    detected.click('#all')
    assert detected.run(SUMMARIES)[0] == '3 of 3 boxes' and len(detected.requests) == before


def test_regions_and_mosaic(detected):
    height = 'document.querySelectorAll("canvas")[1].height'
    for view in ('regions', 'mosaic', 'boxes'):
        detected.run(
            f'[...document.querySelectorAll("nav button")].find((button) => button.textContent === "{view}").click()'
        )
        assert (
            detected.run('document.querySelector("nav [aria-pressed=true]").textContent') == view
            and detected.run(height) > 100
        )


def test_downloads(detected):
    detected.press('#score', 'Home')
    detected.press('#score', 'ArrowRight', 30)
    for kind in ('json', 'coco', 'picture'):
        detected.click(f'[data-look=whole] [data-save={kind}]')
    found = json.loads(detected.downloaded('street_whole.json'))
    assert (
        found['bboxes'] == [[0, 0, 300, 200], [0, 0, 150, 100]]
        and found['labels'] == [0, 1]
        and found['scores'] == [0.9, 0.4]
    )
    assert (found['file'], found['model'], found['look'], found['score_thr']) == ('street.png', 'known', 'whole', 0.3)
    picture = cv2.imdecode(np.frombuffer(detected.downloaded('street_whole_boxes.png'), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] == 640 and int(picture[-40, 0, 2]) - int(picture[-40, 0, 1]) > 150
    detected.downloaded('street_whole_coco.json')
    from mmdet.formats.coco import read_coco

    table = read_coco(detected.downloads / 'street_whole_coco.json')
    assert table.require_file_names() == ['street.png']
    document = json.loads((detected.downloads / 'street_whole_coco.json').read_text())
    assert document['annotations'][1] == dict(
        id=2, image_id=1, category_id=2, bbox=[0, 0, 150, 100], area=15000, iscrowd=0, score=0.4
    )  # fmt: skip


def test_wrong_files_and_models(detected, tmp_path):
    (tmp_path / 'notes.jpg').write_text('no image')
    (tmp_path / 'large.png').write_bytes(b'x' * 600_000)
    detected.drop('#drop', tmp_path / 'large.png')
    assert 'the limit of this page is 0.5 MB' in detected.wait('document.querySelector("#status.bad")?.textContent')
    detected.drop('#drop', tmp_path / 'notes.jpg')
    detected.wait('document.querySelector("#name").textContent.startsWith("notes")')
    detected.click('#detect')
    assert 'notes.jpg: not a complete image' in detected.wait('document.querySelector("#status.bad")?.textContent')
    assert detected.run('document.querySelector("#filters").hidden && !document.querySelector("article")')
    detected.run('document.querySelector("#model").value = "missing"')
    detected.click('#detect')
    assert detected.wait('document.querySelector("#status.bad")?.textContent.includes("no such checkpoint")')
    detected.run('document.querySelector("#model").value = "known"')


def test_a_tall_picture_stays_within_the_page(detected, tmp_path):
    cv2.imwrite(str(tmp_path / 'tall.png'), np.zeros((9000, 1, 3), np.uint8))
    detected.drop('#drop', tmp_path / 'tall.png')
    detected.wait('document.querySelector("#name").textContent.startsWith("tall")')
    detected.click('#detect')
    detected.wait(f'{STATUS}.startsWith("Done")')
    before = detected.run('document.querySelector("canvas").offsetHeight')
    detected.click('[data-look=whole] .enlarge')
    after = detected.run('document.querySelector("canvas").offsetHeight')
    detected.click('[data-look=whole] .enlarge')
    assert 400 < before < after < 4000


def test_a_video(detected, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / 'clip.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 4, (64, 48))
    for number in range(6):
        writer.write(np.full((48, 64, 3), 40 * number, np.uint8))
    writer.release()
    detected.drop('#drop', tmp_path / 'clip.avi')
    detected.wait('document.querySelector("#name").textContent.startsWith("clip")')
    detected.click('#detect')
    detected.wait(f'{STATUS}.startsWith("Done")')
    assert detected.run('document.querySelector("#frame-value").textContent') == '4 (1.00 s), 3 of 3'
    detected.press('#frame', 'Home')
    assert detected.run('document.querySelector("#frame-value").textContent') == '0 (0.00 s), 1 of 3'
    detected.click('[data-look=whole] [data-save=json]')
    assert [frame['frame'] for frame in json.loads(detected.downloaded('clip_whole.json'))['frames']] == [0, 2, 4]
    pytest.importorskip('trackers', reason='ids need the extra tracking')
    detected.click('#track')
    detected.click('#detect')
    detected.wait(f'{STATUS}.startsWith("Done")')
    assert detected.run(SUMMARIES)[0] == '2 of 2 boxes, 2 tracks'  # the third is too unsure to start one


def test_a_phone(detected):
    detected.resize(360, 740, phone=True)
    assert detected.run('document.documentElement.scrollWidth') == 360
    assert (
        detected.run(
            'Math.min(...[...document.querySelectorAll("#detect, #model, footer button")].map((e) => e.offsetHeight))'
        )
        >= 40
    )
    detected.resize(1280, 900)


def test_nothing_goes_elsewhere(detected, page):
    assert detected.errors == []
    assert all(url.startswith((f'http://127.0.0.1:{page.port}/', 'data:', 'blob:')) for url in detected.requests)
