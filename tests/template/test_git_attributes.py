"""Git checks out text with LF everywhere, and GitHub hides the diffs of starters/."""

from tests.conftest import ROOT, run


def test_text_has_unix_line_endings_on_every_system():
    lines = run("git", "ls-files", "--eol", cwd=ROOT).stdout.splitlines()
    found = {tuple(line.split("\t")[0].split()) for line in lines}
    as_lf = ("attr/text=auto", "eol=lf")
    assert found == {
        ("i/lf", "w/lf", *as_lf),
        ("i/none", "w/none", *as_lf),  # empty files
        ("i/-text", "w/-text", *as_lf),  # Excel's
    }


def test_only_starters_are_marked_as_generated():
    command = ["git", "ls-files", ":(attr:linguist-generated)"]
    generated = run(*command, cwd=ROOT).stdout.splitlines()
    assert generated == run("git", "ls-files", "starters", cwd=ROOT).stdout.splitlines()
