"""Steps of `make` show their time: counted up in a terminal, in plain lines elsewhere."""

import re
import sys
import time
from types import SimpleNamespace

import pytest

import steps


def test_step_has_a_line_when_it_starts_and_one_when_it_ends(capsys):
    with steps.step("Install Airflow"):
        assert capsys.readouterr().out == "Install Airflow ...\n"
        steps.say("  success  split_data_node")
    shown = r"  success  split_data_node\nInstall Airflow +0\.0 s\n"
    assert re.fullmatch(shown, capsys.readouterr().out)


def test_step_that_fails_shows_its_time_too(capsys):
    with pytest.raises(KeyError), steps.step("Install Airflow"):
        raise KeyError
    assert re.search(r"\nInstall Airflow +0\.0 s\n$", capsys.readouterr().out)


def test_step_counts_up_in_a_terminal_below_what_is_said(capsys, monkeypatch):
    monkeypatch.setattr(steps, "TERMINAL", True)
    monkeypatch.setattr(steps, "CLEAR", "\r\033[K")
    with steps.step("Install Airflow"):
        time.sleep(0.15)
        steps.say("  success  split_data_node")
    lines = [line.split("\r\033[K") for line in capsys.readouterr().out.split("\n")]
    assert lines[0][-1] == "  success  split_data_node"
    counted = lines[0][1:-1] + lines[1][1:]
    assert len(counted) >= 2 and sorted(counted) == counted
    assert all(re.fullmatch(r"Install Airflow +0\.\d s", line) for line in counted)


def test_line_is_written_at_once_so_that_the_count_does_not_get_between(monkeypatch):
    written = []
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(write=written.append, flush=lambda: None))
    steps.say("  success  split_data_node")
    assert [text for text in written if text] == ["  success  split_data_node\n"]


@pytest.mark.slow
def test_command_that_fails_shows_what_it_printed_and_ends_with_its_status(capsys):
    with pytest.raises(SystemExit) as ended:
        steps.run("Install Airflow", "sh", "-c", "echo no disk; echo no space >&2; exit 3")
    assert ended.value.code == 3 and capsys.readouterr().err == "no disk\nno space\n\n"


@pytest.mark.slow
def test_command_that_succeeds_shows_nothing_but_its_step(capsys):
    steps.run("Install Airflow", "sh", "-c", "echo installed")
    assert re.fullmatch(
        r"Install Airflow \.\.\.\nInstall Airflow +\d\.\d s\n", capsys.readouterr().out
    )
