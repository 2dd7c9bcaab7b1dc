"""What lints and checks types finds nothing, in templates as little as in the repository."""

import pytest

from tests.conftest import ROOT, run


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", "mypy"])
def test_nothing_is_found(command):
    run(*command.split(), cwd=ROOT)
