"""Write starters/, and the lists of starters and the rules for names: `python compose.py`.

A starter is a base, an example and a platform. `--check` writes nothing, and lists the files that
are out of date.
"""

import json
import re
import runpy
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent
EXAMPLES = {
    "iris": "Classify iris flowers",
    "spaceflights": "Predict the price of spaceflights, with plots",
    "empty": "Your own pipelines, without an example",
}
PLATFORMS = {"astro": "Astro (Astronomer)", "mwaa": "Amazon MWAA", "k8s": "Kubernetes"}
STARTERS = {
    "astro-airflow-iris": ("iris", "astro"),
    "spaceflights-astro": ("spaceflights", "astro"),
    "spaceflights-mwaa": ("spaceflights", "mwaa"),
    "spaceflights-k8s": ("spaceflights", "k8s"),
    "airflow-astro": ("empty", "astro"),
    "airflow-mwaa": ("empty", "mwaa"),
    "airflow-k8s": ("empty", "k8s"),
}
SOME_TASKS, FORM = "settings for some tasks", "fields of the trigger form"
PROJECT = "{{ cookiecutter.repo_name }}"
CACHES = {"__pycache__", ".ruff_cache"}

# Files with these names are concatenated. Any other file belongs to one layer, or replaces the
# base's if it is listed in REPLACING.
JOINED = {
    ".airflowignore",
    ".dockerignore",
    ".gitignore",
    "Makefile",
    "README.md",
    "requirements-dev.txt",
    "requirements.txt",
}
REPLACING = {"platforms/k8s/.github/dependabot.yml", "platforms/k8s/conf/airflow/airflow.yml"}


def compose(example: str, platform: str) -> dict[str, bytes]:
    """Put the layers of one starter together.

    Returns:
        The content of each file, by its path in the starter's folder.
    """
    layers = ROOT / "layers"
    files = {name: (layers / name).read_bytes() for name in ("cookiecutter.json", "prompts.yml")}
    for hook in sorted((ROOT / "hooks").glob("*.py")):
        files[f"hooks/{hook.name}"] = hook.read_bytes()
    for layer in ("base", f"examples/{example}", f"platforms/{platform}"):
        for path in sorted((layers / layer).rglob("*")):
            if not path.is_file() or CACHES & set(path.parts):
                continue
            source = path.relative_to(layers).as_posix()
            name = f"{PROJECT}/{path.relative_to(layers / layer).as_posix()}"
            if name not in files or source in REPLACING:
                files[name] = path.read_bytes()
            elif path.name in JOINED:
                files[name] += path.read_bytes()
            else:
                sys.exit(f"layers/{source}: a lower layer has this file; choose another name")
    if example == "empty":  # without parameters
        name = f"{PROJECT}/conf/airflow/airflow.yml"
        files[name] = commented_out(files[name].decode(), "params").encode()
    schema = json.dumps(json_schema(settings(files))) + "\n"
    files[f"{PROJECT}/conf/airflow/schema.json"] = schema.encode()
    return files


def commented_out(text: str, key: str) -> str:
    """Turn one of the settings in an airflow.yml, with all below it, into an example."""
    block = re.compile(rf"^  {key}:\n(    .*\n)+", re.M)
    return block.sub(lambda found: re.sub("^  ", "  # ", found[0], flags=re.M), text)


def settings(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Merge the tables of settings that a starter's airflow.yml may have."""
    tables: dict[str, dict[str, Any]] = {}
    for name in sorted(files):
        if re.search(r"/airflow_dag/settings\w*\.yml$", name):
            for table, rows in yaml.safe_load(files[name]).items():
                tables.setdefault(table, {}).update(rows)
    return tables


def json_schema(tables: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe airflow.yml for editors, from the tables of its settings."""

    def described(*names: str) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        shown = ""
        for key, (kind, meaning, *_) in [row for name in names for row in tables[name].items()]:
            schema = dict(tables["kinds"][kind.removesuffix(" or null")])
            if accepts := schema.pop("accepts", None):
                schema = refusing(schema, f"Expected {accepts}.")
            if kind.endswith(" or null"):
                schema = {"anyOf": [schema, {"type": "null"}]}
            shown = shown if meaning == "the same" else meaning.replace("`", "")
            properties[key] = {"description": shown, **schema}
        return {"type": ["object", "null"], "properties": properties, "additionalProperties": False}

    def refusing(schema: dict[str, Any], message: str) -> dict[str, Any]:
        if "anyOf" in schema:
            return schema | {"anyOf": [refusing(each, message) for each in schema["anyOf"]]}
        return schema | {"errorMessage": message}

    def mapping(values: dict[str, Any]) -> dict[str, Any]:
        return {"type": ["object", "null"], "additionalProperties": values}

    section = described("dag", "graph", "task")
    of_tasks = {"description": SOME_TASKS, **mapping(described("task"))}
    of_form = {"description": FORM, **mapping(described("param"))}
    section["properties"] |= {"tasks": of_tasks, "params": of_form}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **mapping(section)}


def documented(starter: str, *names: str, without: set[str] = frozenset()) -> list[str]:
    """Format these tables of settings for the documentation, with the values in a new project."""
    files = compose(*STARTERS[starter])
    text = files[f"{PROJECT}/conf/airflow/airflow.yml"].decode()
    created = dict(
        re.findall(r"^  (\w+): (.+?)(?:  #.*)?$", re.sub(r"{{.*?}}", "my-project", text), re.M)
    )
    rows = ["| key | value | in a new project |", "|---|---|---|"]
    for key, (_, meaning, *default) in [
        row for name in names for row in settings(files)[name].items()
    ]:
        if key not in without:
            value = created.get(key, *default or [""]).strip('"')
            rows.append(f"| `{key}` | {meaning} | {f'`{value}` ' if value else ''}|")
    return rows


def stale(starter: Path, files: dict[str, bytes]) -> list[str]:
    """List the files in ``starter`` that are not as composed: changed, missing or left over."""
    found = {
        path.relative_to(starter).as_posix(): path.read_bytes()
        for path in starter.rglob("*")
        if path.is_file() and not CACHES & set(path.parts)
    }
    return sorted(name for name in files | found if files.get(name) != found.get(name))


def lists() -> dict[str, str]:
    """Write the lists of starters, the rules for names and the tables of settings into their files.

    Returns:
        The new text of each file, by its path.
    """
    starters = {
        name: (EXAMPLES[example], PLATFORMS[platform])
        for name, (example, platform) in STARTERS.items()
    }
    base = settings(compose(*STARTERS["spaceflights-astro"]))
    everywhere = {key for name in ("dag", "graph", "task") for key in base[name]}
    templates = {
        name: {"path": f"./starters/{name}", "title": name, "description": f"{example}, on {where}"}
        for name, (example, where) in starters.items()
    }
    hook = runpy.run_path(str(ROOT / "hooks" / "pre_gen_project.py"))
    rules = {name: json.dumps(rule) for name, rule in hook["RULES"].items()}
    pattern, words = map(json.dumps, hook["RULES"]["project_name"])
    refused = (ROOT / "layers" / "refused_names.txt").read_text(encoding="utf-8")
    parts = {
        "README.md": [
            "| starter | example | platform |",
            "|---|---|---|",
            *(f"| `{name}` | {example} | {where} |" for name, (example, where) in starters.items()),
        ],
        "copier.yml": [
            "# Git ignores these two, so an update cannot know what the user wrote there.",
            "_exclude:",
            *excluded("_copier_operation == 'update'", ["'.env'", "'airflow_settings.yaml'"]),
            "  # Files of an existing project that `kedro airflow-init` left as they were.",
            *excluded("{} in theirs | default([])", adopted()),
            "starter:",
            "  type: str",
            "  help: Which starter?",
            f"  choices: [{', '.join(STARTERS)}]",
            "rules:",
            "  type: yaml",
            "  when: false",
            "  default:",
            *(f"    {name}: {rule}" for name, rule in rules.items()),
            f"    taken: {json.dumps(hook['TAKEN'])}",
        ],
        "docs/change.md": [
            "Of the DAG:",
            "",
            *documented("spaceflights-astro", "dag", "graph"),
            "",
            "Of its tasks:",
            "",
            *documented("spaceflights-astro", "task"),
            f"| `tasks` | {SOME_TASKS}, see below | |",
            f"| `params` | {FORM}, see below | |",
            "",
        ],
        "docs/kubernetes.md": documented("spaceflights-k8s", "dag", "task", without=everywhere),
        "hooks/pre_gen_project.py": ['REFUSED = """', textwrap.fill(refused, 99), '""".split()'],
        "layers/prompts.yml": [f"  regex_validator: {pattern}", f"  error_message: {words}"],
    }
    texts = {"cookiecutter.json": json.dumps({"templates": templates}, indent=4) + "\n"}
    for file, lines in parts.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        [(before, after)] = re.findall(
            r"(?s)(.*compose\.py begin.*?\n).*?(\S+ compose\.py end.*)", text
        )
        texts[file] = before + "\n".join(lines) + "\n" + after
    return texts


def adopted() -> list[str]:
    """List what an existing project may have itself, as paths in Jinja: not the engine."""
    package = "{{ cookiecutter.python_package }}"
    composed = [compose(*layers) for layers in STARTERS.values() if layers[0] == "empty"]
    names = {name.removeprefix(f"{PROJECT}/") for files in composed for name in files}
    engine = re.compile("hooks/|prompts.yml|cookiecutter|mwaa/|deploy/|dags/{{|.*/airflow_dag/|{{")
    own = sorted(name for name in names if not engine.match(name))
    return [f"'{name}'".replace(package, "' ~ python_package ~ '") for name in ["src", *own]]


def excluded(condition: str, names: list[str]) -> list[str]:
    """Write patterns of copier for these paths, each in force if the condition is true."""
    return [
        f'  - "{{% if {condition.format(f"({name})")} %}}/{{{{ {name} }}}}{{% endif %}}"'
        for name in names
    ]


def main() -> int:
    """Write what is out of date, or with ``--check`` only list it and return 1."""
    if sys.argv[1:] not in ([], ["--check"]):
        print("usage: python compose.py [--check]", file=sys.stderr)
        return 2
    check = "--check" in sys.argv
    changed = []
    for file, text in lists().items():
        path = ROOT / file
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            changed.append(file)
            if not check:
                path.write_text(text, encoding="utf-8", newline="\n")
    for name, layers in STARTERS.items():
        starter = ROOT / "starters" / name
        files = compose(*layers)
        changed += [f"starters/{name}/{file}" for file in stale(starter, files)]
        if not check:
            shutil.rmtree(starter, ignore_errors=True)
            for file, content in files.items():
                path = starter / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    print("".join(f"{file}\n" for file in changed), end="")
    if changed and check:
        print("Out of date: run `python compose.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
