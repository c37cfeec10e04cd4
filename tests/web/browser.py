"""A headless Chromium that is driven by the DevTools protocol over a pair of pipes, which needs no library."""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome')


def find_browser() -> str | None:
    """Path of a Chromium."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser; a context manager.

    Args:
        folder: for its profile and its downloads.
        size: width and height of the window in CSS pixels.
    """

    def __init__(self, folder: Path, size: tuple[int, int] = (1280, 900)):
        self.downloads = folder / 'downloads'
        self.downloads.mkdir(parents=True, exist_ok=True)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._count, self._rest, self._session = 0, b'', None
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        options = [
            '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-background-networking',
            f'--user-data-dir={folder / "profile"}', '--remote-debugging-pipe',
        ]  # fmt: skip
        # The browser reads commands from descriptor 3 and writes answers to 4.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]
        code = f'import os, sys; os.dup2({ends[0]}, 3); os.dup2({ends[1]}, 4); os.execv(sys.argv[1], sys.argv[1:])'
        command = [sys.executable, '-S', '-c', code, find_browser() or NAMES[0], *options]
        self._process = subprocess.Popen(
            command, pass_fds=ends, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )  # fmt: skip
        for end in (to_read, to_write, *ends):
            os.close(end)
        self.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(self.downloads))
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self._session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Network'):
            self.call(f'{domain}.enable')
        self.resize(*size)

    def __enter__(self) -> 'Browser':
        return self

    def __exit__(self, *failure: Any) -> None:
        with contextlib.suppress(OSError, ConnectionError):  # it may have gone before it answers
            self._session = None
            self.call('Browser.close')
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, **parameters: Any) -> dict:
        """The result of a command of the protocol."""
        self._count += 1
        message = dict(id=self._count, method=method, params=parameters)
        if self._session:
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._next()
            if answer.get('id') == self._count:
                if 'error' in answer:
                    raise RuntimeError(f'{method}: {answer["error"]["message"]}')
                return answer['result']

    def _next(self) -> dict:
        while b'\0' not in self._rest:
            if not select.select([self._read], [], [], 60)[0]:
                raise ConnectionError('the browser does not answer')
            data = os.read(self._read, 1 << 16)
            if not data:
                raise ConnectionError('the browser has gone')
            self._rest += data
        line, _, self._rest = self._rest.partition(b'\0')
        message = json.loads(line)
        if message.get('method') == 'Network.requestWillBeSent':
            self.requests.append(message['params']['request']['url'])
        elif message.get('method') == 'Runtime.exceptionThrown':
            self.errors.append(str(message['params']['exceptionDetails']))
        return message

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Width and height of the page."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def open(self, address: str) -> None:
        """Go to an address, and wait until the page says that it is complete."""
        self.call('Page.navigate', url=address)
        self.wait('document.readyState === "complete"')

    def run(self, code: str) -> Any:
        """Value of a JavaScript expression, awaited."""
        result = self.call('Runtime.evaluate', expression=code, awaitPromise=True, returnByValue=True)
        if 'exceptionDetails' in result:
            raise RuntimeError(f'{code}: {result["exceptionDetails"]}')
        return result['result'].get('value')

    def wait(self, code: str, seconds: float = 60) -> Any:
        """The value of an expression as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.run(code)):
            if time.monotonic() > end:
                raise TimeoutError(f'{code} has not become true; the page says: {self.run("document.body.innerText")}')
            time.sleep(0.05)
        return value

    def place(self, selector: str) -> dict[str, float]:
        """x and y of the middle of an element, which is scrolled to."""
        self.run(f'document.querySelector({selector!r}).scrollIntoView({{block: "nearest"}})')
        code = f'(() => {{ const r = document.querySelector({selector!r}).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }})()'
        x, y = self.run(code)
        return dict(x=x, y=y)

    def click(self, selector: str) -> None:
        """Press and release the mouse on an element."""
        place = self.place(selector)
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, button='left', clickCount=1, **place)

    def press(self, selector: str, key: str, times: int = 1) -> None:
        """Press a key in an element."""
        self.run(f'document.querySelector({selector!r}).focus()')
        code = dict(ArrowLeft=37, ArrowRight=39, Home=36, End=35)[key]
        for _ in range(times):
            for kind in ('rawKeyDown', 'keyUp'):
                self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def drop(self, selector: str, file: Path) -> None:
        """Drag a file of this machine onto an element."""
        data = dict(items=[], files=[str(file)], dragOperationsMask=1)
        place = self.place(selector)
        for kind in ('dragEnter', 'dragOver', 'drop'):
            self.call('Input.dispatchDragEvent', type=kind, data=data, **place)

    def downloaded(self, name: str, seconds: float = 20) -> bytes:
        """Content of a file that the page has made."""
        path, end = self.downloads / name, time.monotonic() + seconds
        while not path.is_file() or path.with_name(name + '.crdownload').exists():
            if time.monotonic() > end:
                raise TimeoutError(f'{name} is not among {[each.name for each in self.downloads.iterdir()]}')
            self.run('0')
            time.sleep(0.05)
        return path.read_bytes()

    def screenshot(self, file: Path, *, whole: bool = True, quality: int = 80) -> None:
        """Write a JPEG of the page, also of what lies below the window."""
        shot = self.call('Page.captureScreenshot', format='jpeg', quality=quality, captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(shot['data']))
