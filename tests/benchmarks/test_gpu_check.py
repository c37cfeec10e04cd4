"""The GPU check: every part runs, a part that fails or hangs harms no other, and what travels is checked."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from tests import processes


@pytest.fixture
def gpu_check(monkeypatch, repository):
    monkeypatch.syspath_prepend(str(repository / 'benchmarks'))
    import gpu_check

    return gpu_check


@pytest.fixture
def gpu_wheels(gpu_check):
    import gpu_wheels

    return gpu_wheels


def script(tmp_path, text: str) -> list[str]:
    path = tmp_path / 'part.py'
    path.write_text(text, encoding='utf-8')
    return ['-c', f'exec(open({str(path)!r}).read())']


def test_the_script_starts_the_check(repository):
    command = ['bash', str(repository / 'benchmarks' / 'gpu_check.sh'), '--help']
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, PYTHON=sys.executable))
    assert done.returncode == 0 and '--dry-run' in done.stdout, done.stderr


def start_warm(command, stdout, stderr, start_new_session, preexec_fn, **places):
    """What the check calls to start a part: fifteen times the imports would take a minute."""
    assert command[0] == sys.executable and stderr == subprocess.STDOUT and start_new_session
    return processes.start(command[1:], output=stdout, **places)


@pytest.mark.slow
def test_dry_run(gpu_check, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    monkeypatch.setattr(gpu_check.Check, 'popen', staticmethod(start_warm))
    # One part of each kind. Without a folder of wheels those of the peer are left out, and say so.
    parts = [
        'mosaics', 'tests', 'resume', 'GFL R50', 'GFL R50 of mmdetection', 'UFPMP-Det fp32', 'exports and runtime', 'operators',
        'operators of mmdetection', 'loading', 'GFL R50 compiled', 'coarse training',
    ]  # fmt: skip
    monkeypatch.setattr(
        sys, 'argv',
        ['gpu_check.py', '--dry-run', '--minutes', '30', '--out', str(tmp_path), '--wheels', str(tmp_path / 'none'), '--only', *parts],
    )  # fmt: skip
    code = gpu_check.main()
    assert code == 0, capsys.readouterr().out[-3000:]
    document = json.loads((tmp_path / 'gpu_check.json').read_text(encoding='utf-8'))
    parts = {part['part']: part for part in document['parts']}
    without_rows = {name for name, part in parts.items() if not part['rows']}
    assert without_rows == {'images', 'mosaics', 'GFL R50 of mmdetection', 'operators of mmdetection'}
    assert all('not at hand' in parts[name]['note'] for name in without_rows - {'images', 'mosaics'})
    assert parts['resume']['rows'][0]['equal_bit_by_bit'] is True
    assert parts['coarse training']['rows'][0]['loss_curve'][0][0] == 1
    assert {'coarse_ms', 'packing_ms', 'mosaic_ms', 'fine_ms', 'merge_ms', 'decode_ms'} <= set(
        parts['UFPMP-Det fp32']['rows'][0]
    )
    table = (tmp_path / 'gpu_check.md').read_text(encoding='utf-8')
    assert '**GFL R50**' in table and '| batch 2, bf16 channels_last compiled |' in table
    assert (tmp_path / 'gpu_check.log').stat().st_size > 0


def test_a_part_that_hangs_or_fails_is_reported_and_the_next_one_runs(gpu_check, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_check, 'WRITE_SECONDS', 0.1)
    check, written = gpu_check.Check(tmp_path / 'out', 60, {}, dry=True), []
    monkeypatch.setattr(
        check, 'write', lambda write=check.write: (written.append(list(check.parts[-1]['rows'])), write())
    )
    Part = gpu_check.Part
    check.run(
        Part('hangs', script(tmp_path, 'import time; print("begun", flush=True); time.sleep(60)'), 1, reports=None), 3
    )
    assert (
        check.parts[0]['errors'][0]['error'] == 'stopped after 3 s'
        and 'begun' in check.parts[0]['errors'][0]['traceback']
    )
    check.run(Part('fails', ['-c', 'raise ValueError("as it happens")'], 9, reports=None), 9)
    assert check.parts[1]['errors'][0]['error'] == 'ended with 1'
    assert 'as it happens' in check.parts[1]['errors'][0]['traceback']
    # Rows written before the failure stay; a row with an error is an error of the part; the last row of a name counts.
    rows = (
        "import sys, json, time; path = sys.argv[sys.argv.index('--rows') + 1]\n"
        "rows = [dict(table='t', name='a', ms=2.0), dict(table='t', name='a', ms=1.5), dict(table='t', name='b', error='no', traceback='T')]\n"
        "open(path, 'w').write('\\n'.join(map(json.dumps, rows)) + '\\n'); time.sleep(0.5); sys.exit(3)"
    )
    check.run(Part('rows', script(tmp_path, rows), 9), 9)
    assert check.parts[2]['rows'][0] == dict(table='t', name='a', ms=1.5) and len(check.parts[2]['rows']) == 2
    assert [error['error'] for error in check.parts[2]['errors']] == ['no']
    assert [len(rows) for rows in written[2:]] == [2, 2]  # while it ran, and at its end
    check.run(Part('late', ['-c', ''], 9), 1)
    assert check.parts[3]['errors'][0]['error'] == 'no time was left'
    assert check.failed
    document = json.loads((tmp_path / 'out' / 'gpu_check.json').read_text(encoding='utf-8'))
    assert [part['part'] for part in document['parts']] == ['hangs', 'fails', 'rows', 'late']
    text = (tmp_path / 'out' / 'gpu_check.md').read_text(encoding='utf-8')
    assert '| a | 1.5 |  |' in text and '| b |  | no |' in text


def test_limits_leave_time_for_the_trainings(gpu_check, tmp_path):
    parts = gpu_check.plan(False, tmp_path)
    assert [part.name for part in parts if part.seconds is None] == ['coarse training', 'MP-Det training']
    assert len(gpu_check.plan(False, tmp_path, long=True)) == len(parts) + 3
    check = gpu_check.Check(tmp_path, 480, {}, dry=True)
    Part = gpu_check.Part
    assert check.limit(Part('fixed', [], 45), waiting=2) == 45
    assert check.limit(Part('training', [], None), waiting=2) == pytest.approx(240, abs=1)
    check.seconds = 120  # 100 of them are the trainings'
    assert check.limit(Part('fixed', [], 45), waiting=2) == pytest.approx(20, abs=1)


def test_neighbours_that_time_nothing_run_beside_each_other(gpu_check, tmp_path):
    check = gpu_check.Check(tmp_path / 'out', 300, {}, dry=True)
    # Each waits for the other: one after the other, both would be stopped.
    wait = 'import os, sys, time; open({!r}, "w").close()\nwhile not os.path.exists({!r}): time.sleep(0.05)'
    one, two = str(tmp_path / 'one'), str(tmp_path / 'two')
    parts = [
        gpu_check.Part('one', ['-c', wait.format(one, two)], 60, reports=None, together=True),
        gpu_check.Part('two', ['-c', wait.format(two, one)], 60, reports=None, together=True),
        gpu_check.Part('three', ['-c', ''], 60, reports=None),
    ]
    check.run_all(parts)
    assert [part['errors'] for part in check.parts] == [[], [], []] and check.parts[2]['part'] == 'three'


def test_a_line_cut_off_by_the_kill_is_left_out(gpu_check, tmp_path):
    assert gpu_check.read_rows(tmp_path / 'none') == []
    (tmp_path / 'rows').write_text('{"table": "t", "name": "a"}\n{"table": "t", "na')
    assert gpu_check.read_rows(tmp_path / 'rows') == [dict(table='t', name='a')]


def test_failures_of_pytest_become_rows(gpu_check, tmp_path):
    path = tmp_path / 'junit.xml'
    path.write_text(
        '<testsuites><testsuite tests="2" failures="1" errors="0" skipped="0"><testcase classname="m" name="ok"/>'
        '<testcase classname="m" name="bad"><failure message="1 is not 2">Traceback</failure></testcase></testsuite></testsuites>'
    )
    rows = gpu_check.read_junit(path, 'tests')
    assert rows['tests', 'pytest'] == dict(table='tests', name='pytest', tests=2, failures=1, errors=0, skipped=0)
    assert rows['tests', 'm::bad']['error'] == '1 is not 2' and rows['tests', 'm::bad']['traceback'] == 'Traceback'
    path.write_text('<testsuites><testsuite tests="3" failures="0" errors="0" skipped="3"/></testsuites>')
    assert gpu_check.read_junit(path, 'tests')['tests', 'pytest']['error'] == 'no test ran'
    path.write_text('<testsuites><testsuite tests="0" failures="0" errors="0" skipped="0"/></testsuites>')
    assert gpu_check.read_junit(path, 'tests')['tests', 'pytest']['error'] == 'no test ran'


def make_wheel(folder, name: str, tag: str, requires: tuple[str, ...] = (), extra: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f'{name}-1.0-{tag}.whl', 'w') as archive:
        needs = ''.join(f'Requires-Dist: {need}\n' for need in requires)
        archive.writestr(
            f'{name}-1.0.dist-info/METADATA', f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}'
        )
        archive.writestr(f'{name}/__init__.py', '')
        if extra:
            archive.writestr(extra, '')


@pytest.mark.parametrize(
    ('wheels', 'faults'),
    [
        ([], []),
        ([('one', 'py3-none-any', ('numpy>=1', 'two>=1 ; python_version >= "3.9"')), ('two', 'cp312-cp312-manylinux_2_17_x86_64')], []),
        ([('one', 'py3-none-any', ('absent ; extra == "dev"', 'absent ; sys_platform == "win32"'))], []),
        ([('one', 'cp311-cp311-manylinux_2_17_x86_64')], ['does not fit Python 3.12']),
        ([('one', 'cp312-cp312-manylinux_2_39_x86_64')], ['does not fit Python 3.12']),
        ([('one', 'py3-none-any', ('absent',))], ['one needs absent, which neither travels']),
        ([('one', 'py3-none-any', ('two>=2',)), ('two', 'py3-none-any')], ['one needs two>=2; 1.0 travels']),
        ([('one', 'py3-none-any', (), 'one-1.0.data/purelib/one.py')], ['cannot be unpacked']),
    ],
)  # fmt: skip
def test_faults_of_what_travels(gpu_wheels, tmp_path, wheels, faults):
    for wheel in wheels:
        make_wheel(tmp_path / 'site', *wheel)
    found = gpu_wheels.check(tmp_path, '3.12')
    assert len(found) == len(faults) and all(part in text for part, text in zip(faults, found))


def test_unpacking(gpu_wheels, tmp_path):
    assert gpu_wheels.unpack(tmp_path) == {}
    make_wheel(tmp_path / 'site', 'one', 'py3-none-any')
    (tmp_path / 'python.json').write_text('"2.7"')
    assert gpu_wheels.unpack(tmp_path) == {}
    (tmp_path / 'python.json').write_text(f'"{sys.version_info[0]}.{sys.version_info[1]}"')
    folders = gpu_wheels.unpack(tmp_path)
    assert list(folders) == ['site'] and (folders['site'] / 'one' / '__init__.py').is_file()


def test_every_pin_is_one_version(gpu_wheels):
    for pins in gpu_wheels.pins().values():
        names = [pin.partition('==')[0].lower() for pin in pins]
        assert all('==' in pin for pin in pins) and len(set(names)) == len(names)
