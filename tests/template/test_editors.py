"""What an editor shows of airflow.yml, and the container that it opens a project in.

VS Code's YAML extension runs the same language server, and its Dev Containers the same tool.
"""

import itertools
import json
import re
import shutil
import subprocess

import pytest

from compose import STARTERS
from tests.conftest import ENVIRONMENT, ROOT, run

pytestmark = pytest.mark.slow


class LanguageServer:
    """A language server on standard input and output, as a context manager."""

    def __init__(self, *command, **options):
        self.command, self.options, self.numbers = command, options, itertools.count(1)

    def __enter__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(self.command, **pipes, **self.options)
        self.ask("initialize", processId=None, rootUri=None, capabilities={})
        self.tell("initialized")
        return self

    def __exit__(self, *_):
        self.ask("shutdown")
        self.tell("exit")
        self.process.communicate(timeout=60)

    def send(self, **message):
        content = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
        self.process.stdin.flush()

    def read(self):
        headers = iter(lambda: self.process.stdout.readline().strip(), b"")
        [length] = [int(line.split()[1]) for line in headers if line.startswith(b"Content-Length")]
        return json.loads(self.process.stdout.read(length))

    def wait(self, wanted):
        """Read until there is the wanted message, and answer the server's own questions."""
        while not wanted(message := self.read()):
            if message.get("method") == "workspace/configuration":
                defaults = [{} for _ in message["params"]["items"]]
                self.send(id=message["id"], result=defaults)
        return message

    def tell(self, method, **params):
        self.send(method=method, params=params)

    def ask(self, method, **params):
        number = next(self.numbers)
        self.send(id=number, method=method, params=params)
        done = self.wait(lambda message: message.get("id") == number and "method" not in message)
        return done["result"]

    def open(self, uri, text):
        """Open a YAML file, and return what the server says about it."""
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self.tell("textDocument/didOpen", textDocument=document)
        published = self.wait(lambda message: message.get("params", {}).get("uri") == uri)
        return published["params"]["diagnostics"]


@pytest.fixture(scope="module")
def server(node_tools):
    path = {"PATH": f"{node_tools}:{ENVIRONMENT['PATH']}"}
    command = (node_tools / "yaml-language-server", "--stdio")
    with LanguageServer(*command, env=ENVIRONMENT | path) as server:
        yield server


@pytest.fixture
def project(tmp_path):
    """A function that returns the URI and the text of a starter's airflow.yml, beside a schema."""

    def create(starter):
        conf = ROOT / "starters" / starter / "{{ cookiecutter.repo_name }}" / "conf" / "airflow"
        (tmp_path / "schema.json").write_bytes((conf / "schema.json").read_bytes())
        text = re.sub(r"\{\{.*?\}\}", "x", (conf / "airflow.yml").read_text())
        return (tmp_path / "airflow.yml").as_uri(), text

    return create


def place(text, word):
    """Where a word begins: the line and the character."""
    before = text[: text.index(word)]
    return {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}


@pytest.mark.parametrize("starter", STARTERS)
def test_editor_has_nothing_to_say_about_a_new_project(server, project, starter):
    assert server.open(*project(starter)) == []


@pytest.mark.parametrize(
    "new, wrong, message",
    [
        ("retires: 2", "retires", "Property retires is not allowed."),
        ("retries: two", "two", "Expected a whole number from 0 to 1000000."),
        ("owner: [me]", "[me]", "Expected a string of at most 256 characters."),
        ("schedule: 6 am", "6 am", "Expected a cron expression of five fields that fires"),
        ("group_by: nodes", "nodes", "Expected one of none, pipeline, namespace, tag:PREFIX."),
        ("trigger_rule: all_don", "all_don", 'Value is not accepted. Valid values: "all_success"'),
        ("tasks: {train_model_node: {pol: gpu}}", "pol", "Property pol is not allowed."),
        ("cpu: [1, 2, 3]", "[1, 2, 3]", "Array has too many items. Expected 2 or fewer."),
    ],
)
def test_editor_underlines_what_is_wrong_and_says_what_is_accepted(
    server, project, new, wrong, message
):
    uri, text = project("spaceflights-k8s")
    key = new.partition(":")[0]
    key = key if f"\n  {key}: " in text else "retries"
    text = re.sub(rf"(?m)^  {key}: .*$", f"  {new}", text)
    [found] = server.open(uri, text)
    assert found["message"].startswith(message)
    assert found["range"]["start"] == place(text, wrong)


def test_editor_offers_the_settings_that_are_not_there_yet_and_describes_them(server, project):
    uri, text = project("spaceflights-k8s")
    text = text.replace("  retries: 2\n", "  \n")
    server.open(uri, text)
    where = {"line": place(text, "  \n")["line"], "character": 2}
    found = server.ask("textDocument/completion", textDocument={"uri": uri}, position=where)
    described = {item["label"]: item["documentation"] for item in found["items"]}
    assert described["retries"] == "a whole number"
    assert {"assets", "queue", "on_failure_callback", "gpu", "tasks"} <= described.keys()
    assert not {"schedule", "params", "cpu"} & described.keys()  # they are there
    assert [key for key, words in described.items() if not words or words == "the same"] == []


def test_editor_explains_a_setting_under_the_pointer(server, project):
    uri, text = project("spaceflights-astro")
    server.open(uri, text)
    where = place(text, "catchup")
    found = server.ask("textDocument/hover", textDocument={"uri": uri}, position=where)
    said = found["contents"]["value"].replace("\\", "")
    assert said.startswith("true: also runs the intervals missed since start_date; false\n")


def test_dev_container_installs_the_project_and_shows_airflow(node_tools, tmp_path):
    """Read by the tool that starts it: there is no image to start here."""
    template = ROOT / "layers" / "base"
    shutil.copytree(template / ".devcontainer", tmp_path / ".devcontainer")
    path = {"PATH": f"{node_tools}:{ENVIRONMENT['PATH']}"}
    command = ("devcontainer", "read-configuration", "--docker-path", "true", "--workspace-folder")
    read = run(*command, tmp_path, cwd=tmp_path, env=ENVIRONMENT | path)
    found = json.loads(read.stdout)["configuration"]
    assert found["image"] == "mcr.microsoft.com/devcontainers/python:2-3.12-bookworm"
    assert (found["postCreateCommand"], found["forwardPorts"]) == ("make install", [8080])
    recommended = json.loads((template / ".vscode" / "extensions.json").read_text())
    assert found["customizations"]["vscode"]["extensions"] == recommended["recommendations"]
