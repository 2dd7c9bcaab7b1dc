"""The workshop: all that its text says works, on a machine without a network."""

import json
import os
import re
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("a workshop is for Python 3.11 or newer", allow_module_level=True)

from packaging.pylock import Pylock

import check
import exercises
import progress
from compose import PROJECT
from tests.conftest import ROOT, run
from workshop import board, room

NUMBERS = range(1, 9)
HOUR = range(1, 5)
TERMINAL, CHECK, S3 = "another terminal", "check", "S3"
TITLES = {None, TERMINAL, CHECK, S3, "Airflow", "fails", "fails with Airflow"}
PORTS = {2: 8080, 6: 9000}
# All that the shell starts ends with it, and nothing but the loopback interface is there.
ALONE = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
# What the last exercise says to do if the scheduler was writing at the same moment.
AGAIN = """
airflow() {
    local said
    said=$(command airflow "$@" 2>&1) && { echo "$said"; return; }
    echo "$said"
    [[ $said == *"database is locked"* ]] && command airflow "$@"
}
"""
WAIT = """
import sys, time, progress
deadline = time.monotonic() + 900
while time.monotonic() < deadline:
    time.sleep(1)
    try:
        token = progress.get("/auth/token")["access_token"]
        runs = progress.get("/api/v2/dags/space_flights/dagRuns?limit=100", token)["dag_runs"]
    except OSError:  # not yet there, or the DAG is not
        continue
    active = [run for run in runs if run["state"] in ("queued", "running")]
    tasks = "/api/v2/dags/space_flights/dagRuns/~/taskInstances?state=up_for_retry"
    if not active or sys.argv[1:] and progress.get(tasks, token)["task_instances"]:
        sys.exit()
sys.exit("Airflow has not ended all runs in 15 minutes")
"""


@pytest.fixture
def pages(monkeypatch):
    """The exercises where they are written."""
    monkeypatch.setattr(exercises, "ROOM", ROOT / "workshop")


@pytest.mark.parametrize("number", NUMBERS)
def test_exercise_has_a_start_an_end_and_blocks_that_can_be_done(number, pages):
    [page] = (ROOT / "workshop" / "exercises").glob(f"{number}-*.md")
    text = page.read_text()
    assert text.startswith(f"# {number}. ") and re.search(r"^Begin with ", text, re.M)
    assert "\n**Done when** " in text
    found = list(exercises.blocks(number))
    assert 2 * len(found) == text.count("```")
    assert {block.title for block in found} <= TITLES
    for block in found:
        if block.language == "bash":
            run("bash", "-n", cwd=ROOT, input=block.text)


def test_changes_in_the_exercises_fit_the_starter_one_after_the_other(pages, tmp_path):
    project = shutil.copytree(ROOT / "starters" / "spaceflights-astro" / PROJECT, tmp_path / "new")
    [package] = (project / "src").iterdir()
    package.rename(project / "src" / "space_flights")
    taken_back = []
    for number in NUMBERS:
        for block in exercises.blocks(number):
            if block.language == "diff":
                run("git", "apply", cwd=project, input=block.text)
                taken_back.append(block.text)
            elif block.text == "git restore .\n":
                run("git", "apply", "--reverse", cwd=project, input=taken_back.pop())
    assert "s3://flights" in (project / "conf" / "airflow" / "globals.yml").read_text()


@pytest.mark.parametrize(
    "system, python, machine, port, problem",
    [
        ("Windows", (3, 12), "AMD64", None, "Open WSL"),
        ("Linux", (3, 9), "x86_64", None, "make setup PYTHON=python3.13"),
        ("Linux", (3, 12), "aarch64", None, "Linux on aarch64"),
        ("Darwin", (3, 12), "x86_64", None, "Darwin on x86_64"),
        ("Darwin", (3, 12), "arm64", 8080, "Port 8080 is taken, which Airflow needs"),
        ("Linux", (3, 12), "x86_64", 9000, "Port 9000 is taken"),
        ("Linux", (3, 12), "x86_64", None, None),
    ],
)
def test_check_says_what_is_wrong_and_what_to_do(
    system, python, machine, port, problem, monkeypatch
):
    monkeypatch.setattr(check.platform, "system", lambda: system)
    monkeypatch.setattr(check.platform, "machine", lambda: machine)
    monkeypatch.setattr(check.sys, "version_info", (*python, 0))
    monkeypatch.setattr(check, "taken", lambda number: number == port)
    monkeypatch.setattr(check, "FOLDER", "/")
    found = check.problems(["3.11", "3.12", "3.13"])
    assert [problem for _ in found] == ([problem] if problem else [])
    assert all(problem in sentence for sentence in found)


def test_check_finds_a_full_disk_and_a_path_with_a_space(monkeypatch, tmp_path):
    folder = tmp_path / "my workshop"
    folder.mkdir()
    monkeypatch.setattr(check, "FOLDER", str(folder))
    monkeypatch.setattr(check, "GIGABYTES", 10**9)
    monkeypatch.setattr(check, "taken", lambda _: False)
    disk, path = check.problems(["{}.{}".format(*sys.version_info)])
    assert "are needed" in disk and "my workshop has a space" in path


def wheel(name):
    return {"url": f"https://example.org/{name}", "size": 1, "hashes": {"sha256": "0"}}


def test_room_gets_the_wheels_of_its_systems_and_a_source_only_where_there_is_none():
    names = ["both-1-py3-none-any.whl"]
    names += [f"fast-1-cp312-cp312-{tag}.whl" for tag in ("macosx_11_0_arm64", "win_amd64")]
    names += ["fast-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"]
    names += ["fast-1-cp313-cp313-manylinux_2_28_x86_64.whl"]
    source = wheel("old-1.tar.gz")
    locked = Pylock.from_dict(
        {
            "lock-version": "1.0",
            "created-by": "uv",
            "packages": [
                {"name": "both", "version": "1", "wheels": [wheel(names[0])]},
                {"name": "fast", "version": "1", "wheels": [wheel(name) for name in names[1:]]},
                {"name": "old", "version": "1", "sdist": source},
                {
                    "name": "windows",
                    "version": "1",
                    "marker": "sys_platform == 'win32'",
                    "wheels": [wheel("windows-1-py3-none-any.whl")],
                },
            ],
        }
    )
    chosen = room.needed(locked, list(room.SYSTEMS), ["3.12"])
    assert set(chosen) == {names[0], names[1], names[3], "old-1.tar.gz"}


@pytest.fixture
def served():
    """The teacher's page, on a free port."""
    server = board.Board(0)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_page_shows_what_participants_have_sent(served, capsys):
    _, url = served
    progress.send("Ada & <Bob>", [1, 2], url)
    assert json.loads(capsys.readouterr().out.partition(": ")[2]) == {
        "name": "Ada & <Bob>",
        "done": [1, 2],
    }
    with progress.OPEN(url) as response:
        page = response.read().decode()
    assert "<td>Ada &amp; &lt;Bob&gt;<td class=done>1<td class=done>2<td>3" in page


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"name": "Ada"}',
        b'{"name": " ", "done": [1]}',
        b'{"name": "Ada", "done": [9]}',
        b'{"name": "Ada", "done": [[1]]}',
        b'{"name": "Ada", "done": [1], "log": "..."}',
        b'{"name": "' + b"A" * 41 + b'", "done": [1]}',
        b'{"name": "Ada", "done": [' + b"1," * 600 + b"1]}",
    ],
)
def test_page_takes_nothing_but_names_and_numbers(served, body):
    server, url = served
    with pytest.raises(urllib.error.HTTPError, match="400"):
        progress.OPEN(urllib.request.Request(url, body, method="POST"))
    assert server.participants == {}


def test_progress_says_whom_to_ask_if_the_page_does_not_answer(served):
    server, url = served
    server.shutdown()
    server.server_close()
    with pytest.raises(SystemExit, match="Ask your teacher for the page's address"):
        progress.send("Ada", [1], url)


def do(shell, number, block):
    """Do a block as a participant would, and return what it printed."""
    title = block.title or ""
    if title == TERMINAL:
        server = f'(cd "$WORKSHOP"\n{block.text}) > "$WORKSHOP/{number}.log" 2>&1 &'
        port = f"/dev/tcp/127.0.0.1/{PORTS[number]}"
        listens = f"until (echo > {port}) 2> /dev/null; do sleep 1; done"
        block = block._replace(text=f"{server}\n{listens}\n")
    well, printed = shell.run(block)
    assert well != title.startswith("fails"), f"exercise {number}:\n{block.text}\n{printed}"
    if "Airflow" in title or (title == TERMINAL and PORTS[number] == 8080):
        wait(shell, "or-for-a-retry")
    return printed


def wait(shell, words=""):
    """Wait until all runs have ended, or until a task waits for its retry."""
    ask(shell, f'cd "$WORKSHOP"\npython - {words} <<\'END\'\n{WAIT}END\ncd "$PROJECT"\n')


def ask(shell, command):
    well, printed = shell.run(exercises.Block("bash", None, command))
    assert well, printed
    return printed


def assert_printed(expected, printed):
    """Each line of a text block is in a line of the output, in this order."""
    lines = iter(printed.splitlines())
    for line in expected.splitlines():
        assert line == "..." or any(line in found for found in lines), f"{line}\n{printed}"


@pytest.fixture(scope="module")
def prepared(template, tmp_path_factory):
    """The folder that `make workshop` writes, for this system and Python only."""
    folder = tmp_path_factory.mktemp("room") / "workshop"
    for script, *words in (["room.py", "--here"], ["pages.py"]):
        command = [sys.executable, script]
        if script == "pages.py":
            command = ["uv", "run", "--no-project", "--with", "pypandoc-binary==1.17", script]
        run(*command, *words, f"--into={folder}", cwd=template / "workshop")
    return folder


@pytest.mark.slow
def test_slides_and_exercises_are_pages_that_need_no_network(prepared, pages):
    for name, title in {"slides.html": "Kedro on Airflow", "exercises.html": "8. Backfill"}.items():
        text = (prepared / name).read_text()
        assert title in text and "title=" not in text
        assert re.findall(r'(?:<link[^>]*href|src)="?(?!data:)[^>]*|@import[^;]*', text) == []
    blocks = [block for number in NUMBERS for block in exercises.blocks(number)]
    assert (prepared / "exercises.html").read_text().count("<pre") == len(blocks)


@pytest.mark.slow
def test_all_exercises_work_without_a_network_and_a_checkpoint_is_the_same(
    prepared, monkeypatch, record_property, tmp_path
):
    monkeypatch.setattr(exercises, "ROOM", prepared)
    variables = [f"{name}={os.environ[name]}" for name in ("LANG", "PATH") if name in os.environ]
    participant = ["env", "--ignore-environment", f"HOME={tmp_path}", *variables]
    shell = exercises.Shell(*participant, *ALONE)
    try:
        ask(shell, "ip link set lo up\n! (echo > /dev/tcp/192.0.2.1/80) 2> /dev/null")
        ask(shell, AGAIN)
        seconds = {}
        started = time.monotonic()
        ask(shell, f"make setup PYTHON={Path(sys.executable).resolve()}")
        seconds["setup"] = time.monotonic() - started
        for number in NUMBERS:
            started = time.monotonic()
            printed = ""
            for block in exercises.blocks(number):
                if block.language == "text":
                    assert_printed(block.text, printed)
                else:
                    printed = do(shell, number, block)
            if number > 1:
                wait(shell)
            seconds[number] = time.monotonic() - started
            told = ask(shell, 'make -C "$WORKSHOP" progress')
            done = [int(n) for n in re.findall(r"^done  (\d)", told, re.M)]
            assert done == list(range(1, number + 1)), told
        hour = seconds["setup"] + sum(seconds[number] for number in HOUR)
        each = ", ".join(f"{name} {spent:.0f} s" for name, spent in seconds.items())
        record_property("workshop", f"{each}; the hour's version {hour / 60:.1f} minutes")

        tree = "git log -1 --format=%T --grep='^Exercise 4'"
        expected = ask(shell, tree).strip()
        refused = exercises.Block("bash", "fails", 'make -C "$WORKSHOP" checkpoint N=5')
        well, printed = shell.run(refused)
        assert not well and "Airflow runs: stop it first" in printed
        ask(shell, 'kill $(jobs -p); pkill airflow; wait; cd "$WORKSHOP"; make checkpoint N=5')
        assert ask(shell, f'cd "$PROJECT"; {tree}; git status --short').strip() == expected
        ask(shell, 'test -f .airflow/airflow.db; test -d "$WORKSHOP"/space-flights-*/mwaa')
    finally:
        shell.process.kill()
        shell.process.wait()
        shutil.rmtree(prepared)  # 1.3 GB
