"""`kedro airflow-init`: give an existing Kedro project what its pipelines need to run on Airflow.

It adds the files of the starter `airflow-PLATFORM` that the project does not have, and never
overwrites one. Nothing of the project is imported: what the command needs is in pyproject.toml.
"""

import ast
import difflib
import importlib.metadata
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import yaml
from packaging.requirements import InvalidRequirement, Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

STARTERS = Path(__file__).with_name("starters")
PLATFORMS = ("astro", "mwaa", "k8s")
ANSWERS = ".copier-answers.yml"
BEGIN, END = "# kedro airflow-init: begin", "# kedro airflow-init: end"

# What a Kedro project has itself, or keeps elsewhere; PACKAGE is the folder of its package.
NOT_ADDED = r"""README\.md|pyproject\.toml|\.gitignore|\.telemetry|data/.*
|conf/(base|local)/.*|conf/logging\.yml|tests/(__init__|test_pipelines|pipelines/__init__)\.py
|PACKAGE/(__init__|__main__|pipeline_registry|settings|pipelines/__init__)\.py"""
GITIGNORE = [".airflow/", ".env", "airflow_settings.yaml", "/build/", "/dist/"]
BY_HAND = {
    "cli.py": """from .airflow_dag.create import airflow

cli.add_command(airflow)  # `kedro airflow create` then writes this project's kind of DAG""",
    "settings.py": """from .airflow_credentials import AirflowConfigLoader

# Reads the references to Airflow's connections and variables in conf/airflow/credentials.yml.
CONFIG_LOADER_CLASS = AirflowConfigLoader""",
    "pyproject.toml": """[tool.pytest.ini_options]
pythonpath = [".", "SOURCE"]  # for `pytest` without make

[tool.ruff]
extend-exclude = ["dags", "PACKAGE/airflow_dag"]  # whose lines have up to 100 characters""",
}
UPGRADE = """This project is of Kedro {0}, and needs Kedro 1.7 to run on Airflow. Upgrade it first:

1. Where it lists its requirements: kedro~=1.7 and kedro-datasets~=9.6, and plugins for Kedro 1.
   Install them.
2. In pyproject.toml, under [tool.kedro]: kedro_init_version = "1.7.0".
3. In pipelines: import Node and Pipeline from kedro.pipeline, not from modular_pipeline, and
   pass nodes in place of pipe, as in Pipeline(nodes=[...], namespace="a").
4. In hooks: run_id in place of session_id, runtime_params in place of extra_params.
5. In catalogs: names of datasets end in Dataset, like pandas.CSVDataset.
6. In settings.py: no session store of kedro-viz, no config loader but OmegaConfigLoader.
7. Let `kedro run` and the tests pass, commit, and run this command again.

Kedro's own guide: https://docs.kedro.org/en/stable/about/migration/
Nothing has been written."""
OLDER = """This project requires {0}, and needs Kedro 1.7 to run on Airflow. Write kedro~=1.7,
install it, let `kedro run` and the tests pass, commit, and run this command again.
Nothing has been written."""
WITHOUT_BASE = """{0}: CONFIG_LOADER_ARGS has no base_env, so Kedro would read
conf/airflow in every environment. Add "base_env": "base" and "default_run_env": "local" to it, move
{1} to conf/base, commit, and run this command again. Nothing has been written."""
SETTINGS = """# Without base_env, Kedro would read conf/airflow in every environment.
CONFIG_LOADER_ARGS = {"base_env": "base", "default_run_env": "local", **CONFIG_LOADER_ARGS}"""
EXPORT = """# Images and MWAA install only what this file lists. Add what the project needs, like
#   poetry export --without-hashes >> requirements.txt
#   uv export --no-hashes --no-emit-project --no-dev >> requirements.txt"""


@dataclass
class Project:
    """A Kedro project, as its pyproject.toml describes it; ``package`` is a path in ``folder``."""

    folder: Path
    name: str
    package: Path
    dependencies: list[str]
    base_env: str | None = "base"

    def answers(self, platform: str) -> dict[str, str]:
        """The answers with which a generator would create it."""
        from slugify import slugify

        name = " ".join(re.findall(r"[\w-]+", self.name))  # what a template can quote
        name = re.sub(r"^[\W\d_]+|[\W_]+$", "", name)
        return {
            "project_name": name,
            "python_package": self.package.name,
            "repo_name": slugify(name),
            "starter": f"airflow-{platform}",
        }


@dataclass
class Plan:
    """What to do to a project: files by their path in it.

    ``add`` are new files with their modes, ``change`` the new text of files that get a block, and
    ``by_hand`` the lines that only a person can add. Files in ``theirs`` stay as they are.
    """

    add: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    change: dict[str, str] = field(default_factory=dict)
    by_hand: dict[str, str] = field(default_factory=dict)
    theirs: list[str] = field(default_factory=list)


@click.command("airflow-init")
@click.option(
    "--platform",
    type=click.Choice(PLATFORMS),
    help="Astro, Amazon MWAA or Kubernetes; asked for if not given.",
)
@click.option("--diff", is_flag=True, help="Show what would change, and write nothing.")
@click.option("--undo", is_flag=True, help="Remove what this command has added and is unchanged.")
def airflow_init(platform: str | None, diff: bool, undo: bool) -> None:
    """Add what this project needs to run on Airflow; existing files stay as they are."""
    project = find_project(Path.cwd())
    if undo:
        return remove(project)
    if (project.folder / ANSWERS).exists():
        return renew(project, diff)
    if changes := git(project, "status", "--porcelain", "."):
        listed = "".join(f"\n  {line}" for line in changes.splitlines()[:5])
        said = f"{project.folder} has changes that are not committed: commit it first.{listed}"
        raise click.ClickException(said)
    platform = platform or click.prompt("Platform", type=click.Choice(PLATFORMS))
    plan = make_plan(project, platform)
    show(project, plan, diff)
    if not diff:
        write(project, plan)
        write_dag(project)


commands = click.Group("kedro", commands=[airflow_init])


def before_kedro() -> None:
    """Run this command before Kedro imports the project, which may lack what it needs here."""
    if sys.argv[1:2] == ["airflow-init"]:
        airflow_init(sys.argv[2:], prog_name="kedro airflow-init")


def find_project(folder: Path) -> Project:
    """Read the project's pyproject.toml.

    Raises:
        click.ClickException: the folder has no Kedro project, or one of Kedro 0.
    """
    file = folder / "pyproject.toml"
    try:
        config = tomllib.loads(file.read_text(encoding="utf-8"))
        kedro = config["tool"]["kedro"]
        package, name = kedro["package_name"], kedro["project_name"]
    except (OSError, KeyError, TypeError, ValueError):
        what = "has no pyproject.toml with [tool.kedro], package_name and project_name"
        raise click.ClickException(f"{folder} is not a Kedro project: it {what}.") from None
    dependencies = dependencies_of(folder, config)
    required = [*lines_of(folder / "requirements.txt"), *dependencies]
    check_version(str(kedro.get("kedro_init_version", kedro.get("project_version"))), required)
    source = Path(kedro.get("source_dir", "src"))
    project = Project(folder, name, source / package, dependencies)
    rules = runpy.run_path(str(STARTERS / "airflow-astro" / "hooks" / "pre_gen_project.py"))
    answers = project.answers("astro")
    if wrong := rules["problem"](**{key: answers[key] for key in rules["RULES"]}):
        raise click.ClickException(f"pyproject.toml: {wrong}")
    if not (folder / source / package).is_dir():
        raise click.ClickException(f"pyproject.toml: there is no folder {source / package}.")
    check_settings(project)
    return project


def dependencies_of(folder: Path, config: dict[str, Any]) -> list[str]:
    """List what the package requires, or its files of requirements, if setuptools reads these."""
    dynamic = config["tool"].get("setuptools", {}).get("dynamic", {}).get("dependencies", {})
    files = dynamic.get("file", [])
    files = [files] if isinstance(files, str) else files
    others = [line for file in files for line in lines_of(folder / file)]
    return [*config.get("project", {}).get("dependencies", []), *others]


def lines_of(file: Path, within: tuple[Path, ...] = ()) -> list[str]:
    """Read a file of requirements, with the lines of those that it names in their places.

    Raises:
        click.ClickException: it is not UTF-8, or names itself, maybe by others.
    """
    if file.resolve() in within:
        raise click.ClickException(f"{file} names itself by -r: remove that line.")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines() if file.is_file() else []
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} is not UTF-8: save it as UTF-8.") from None
    found, within = [], (*within, file.resolve())
    for line in lines:
        named = re.match(r"(?:-r|--requirement)[ =]*([^\s#]+)", line)
        found += lines_of(file.parent / named[1], within) if named else [line]
    return found


def check_version(created: str, required: list[str]) -> None:
    """Refuse a project of a Kedro that is too old.

    Raises:
        click.ClickException: says how to upgrade.
    """
    if created.startswith("0."):
        raise click.ClickException(UPGRADE.format(created))
    for line in required:
        try:
            demand = Requirement(re.split(r"\s[#-]", line)[0])
        except InvalidRequirement:  # a comment, an option or a path
            continue
        if demand.name.lower() != "kedro" or allows(demand, range(7, 100)):
            continue
        if allows(demand, range(7)):
            raise click.ClickException(OLDER.format(demand))
        raise click.ClickException(UPGRADE.format(demand.specifier))


def allows(demand: Requirement, minors: range) -> bool:
    """Tell whether a requirement allows a release of Kedro 1 with one of these minor numbers."""
    releases = [f"1.{minor}.{patch}" for minor in minors for patch in range(10)]
    return any(map(demand.specifier.contains, releases))


def check_settings(project: Project) -> None:
    """Read in settings.py where the configuration is.

    Raises:
        click.ClickException: says what to change in it first.
    """
    file = project.package / "settings.py"
    try:
        tree = ast.parse((project.folder / file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    given = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    source = constant(given.get("CONF_SOURCE"), "conf")
    if Path(source) != Path("conf"):
        what = f"Rename the folder {source} to conf, remove CONF_SOURCE, commit"
        said = f"{file}: the configuration is in {source}, and images expect it in conf. {what}"
        raise click.ClickException(f"{said}, and run this command again.")
    arguments = given.get("CONFIG_LOADER_ARGS")
    if isinstance(arguments, ast.Dict) and None not in arguments.keys:
        values = {
            constant(key, ""): constant(value, "base")
            for key, value in zip(arguments.keys, arguments.values, strict=True)
        }
        project.base_env = values.get("base_env")
    files = sorted((project.folder / "conf").glob("*.y*ml"))
    elsewhere = [path.name for path in files if path.stem != "logging"]
    if not project.base_env and (elsewhere or not (project.folder / "conf" / "base").is_dir()):
        listed = ", ".join(f"conf/{name}" for name in elsewhere) or "the files in conf"
        raise click.ClickException(WITHOUT_BASE.format(file, listed))


def constant(node: ast.expr | None, default: str) -> str:
    """Read a constant in a syntax tree; ``default`` is for what only Python can tell."""
    return str(node.value) if isinstance(node, ast.Constant) else default


def git(project: Project, *command: str, input: str = "") -> str:
    """Run git in the project's folder, and return what it prints.

    Raises:
        click.ClickException: says why it cannot.
    """
    try:
        done = subprocess.run(
            ["git", *command], cwd=project.folder, input=input, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise click.ClickException("git is not installed.") from None
    if done.returncode > 1:
        said = done.stderr.strip().partition("\n")[0]
        what = "commit it first, so that you can take all back"
        raise click.ClickException(f"{project.folder} is not in git: {what}. ({said})")
    return done.stdout


def render(project: Project, platform: str) -> dict[str, tuple[int, bytes]]:
    """Render the starter for the project: mode and content of each file, by its path."""
    from cookiecutter.generate import generate_files  # slow, and every kedro command loads this

    answers = project.answers(platform) | {"__answers_file": ""}
    source, package = project.package.parent.as_posix(), project.package.name
    files = {}
    own = {path.name for path in project.folder.glob("*akefile")}
    with tempfile.TemporaryDirectory() as output:
        starter = STARTERS / answers["starter"]
        generate_files(starter, {"cookiecutter": answers}, output, accept_hooks=False)
        root = Path(output, answers["repo_name"])
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if not path.is_file() or "__pycache__" in name:
                continue
            content = path.read_bytes()
            if name == "Makefile":  # make reads the first of these
                name = next((each for each in ("GNUmakefile", "makefile") if each in own), name)
            if source != "src":
                ours, theirs = f"src/{package}/", f"{project.package.as_posix()}/"
                name = name.replace(ours, theirs)
                content = content.replace(ours.encode(), theirs.encode())
                engine = name.startswith("dags/")
                content = moved(content, package if source == "." and not engine else source)
            files[name] = (path.stat().st_mode & 0o777, content)
    return files


def moved(content: bytes, source: str) -> bytes:
    """Replace the folder src/ where a file of ours names it."""
    names = rb"(?<=[\"'^( /!|])src(?=[\"'/| :)]|$)|^src(?=/)"
    return re.sub(names, source.encode(), content, flags=re.MULTILINE)


def make_plan(project: Project, platform: str) -> Plan:
    """Compare the starter's files with the project's."""
    plan = Plan()
    not_added = NOT_ADDED.replace("\n", "").replace("PACKAGE", project.package.as_posix())
    for name, (mode, content) in render(project, platform).items():
        path = project.folder / name
        check_place(project, path)
        text, ours = read(path), content.decode(errors="surrogateescape")
        if name == "requirements.txt":
            theirs = lines_of(path) or project.dependencies
            lines = missing_requirements(theirs, ours)
            if text is None:  # images install this file
                lines = [*project.dependencies, *lines]
            join(plan, name, text, lines)
            if not theirs:
                plan.by_hand[name] = EXPORT
        elif name == "requirements-dev.txt" and text is not None:
            join(plan, name, text, missing_requirements(lines_of(path), ours))
        elif name.lower().endswith("makefile") and text is not None:
            join(plan, name, text, missing_targets(text, ours))
            plan.theirs += ["Makefile"] if name != "Makefile" else []
        elif re.fullmatch(not_added, name):
            plan.theirs.append(name)
        elif text is None:
            plan.add[name] = (mode, content)
        else:
            plan.theirs.append(name)
            if text != ours:
                plan.by_hand[name] = missing_lines(text, ours)
    plan.theirs += sorted(in_other_starters(project) - {*plan.theirs, *plan.add})
    if project.package.parent != Path("src"):
        plan.theirs.append("src")  # an update would not find its files elsewhere
    check_conf(project, plan)
    if not project.base_env:
        name = (project.package / "settings.py").as_posix()
        join(plan, name, read(project.folder / name), SETTINGS.splitlines())
    for file, lines in BY_HAND.items():
        name = file if file.endswith(".toml") else (project.package / file).as_posix()
        if name not in plan.add:
            words = lines.replace("SOURCE", project.package.parent.as_posix())
            plan.by_hand[name] = words.replace("PACKAGE", project.package.as_posix())
    check_gitignore(project, plan)
    answers = yaml.safe_dump(origin() | project.answers(platform) | {"theirs": plan.theirs})
    first = "# copier keeps this file for `copier update`. Do not edit it.\n"
    plan.add[ANSWERS] = (0o644, (first + answers).encode())
    return plan


def check_place(project: Project, path: Path) -> None:
    """Refuse to add a file where its name, or that of its folder, is taken.

    Raises:
        click.ClickException: names what has to be renamed.
    """
    folders = path.parents[: len(path.relative_to(project.folder).parents) - 1]
    taken = [folder for folder in folders if os.path.lexists(folder) and not folder.is_dir()]
    taken += [path] if os.path.lexists(path) and not path.is_file() else []
    for place in taken:
        name = place.relative_to(project.folder)
        said = f"{name} is in the way of {path.relative_to(project.folder)}: rename it"
        raise click.ClickException(f"{said}, commit, and run this command again.")


def in_other_starters(project: Project) -> set[str]:
    """Find the project's files that another platform has too, to which an update may move it."""
    found = set()
    for path in STARTERS.glob("airflow-*/{{*/**/*"):
        name = "/".join(path.relative_to(STARTERS).parts[2:])
        name = name.replace("{{ cookiecutter.python_package }}", project.package.name)
        if path.is_file() and (project.folder / name).is_file():
            found.add(name)
    return found


def join(plan: Plan, name: str, text: str | None, lines: list[str]) -> None:
    """Plan to append these lines to a file, as a block with marks."""
    if lines:
        before = f"{text}\n" if text else ""  # which --undo removes again
        plan.change[name] = before + "\n".join([BEGIN, *lines, END, ""])
    if name not in plan.theirs:
        plan.theirs.append(name)


def missing_requirements(theirs: list[str], ours: str) -> list[str]:
    """Find those of our requirements whose packages they do not require yet."""

    def package(line: str) -> str:
        found = re.match(r"\s*([\w.-]+)", line)
        return re.sub("[-_.]+", "-", found[1]).lower() if found else ""

    required = {package(line) for line in theirs}
    lines = [line for line in ours.splitlines() if package(line)]
    return [line for line in lines if package(line) not in required]


def missing_targets(theirs: str, ours: str) -> list[str]:
    """Find the parts of our Makefile without a target that theirs has."""
    own = set(re.findall(r"^([\w-]+)[^:=\n]*:(?!=)", theirs, re.MULTILINE))
    parts = []
    for part in ours.split("\n\n"):
        targets = re.findall(r"^([a-z][\w -]*):(?!=)", part, re.MULTILINE)
        if part.startswith((".PHONY", ".DEFAULT_GOAL")) or own & set(" ".join(targets).split()):
            continue
        parts.append(part.strip("\n"))
    return "\n\n".join(parts).splitlines()


def missing_lines(theirs: str, ours: str) -> str:
    """Find the lines of our file that theirs does not have."""
    own = set(theirs.splitlines())
    return "\n".join(line for line in ours.splitlines() if line not in own)


def check_conf(project: Project, plan: Plan) -> None:
    """Leave out what would beat what the project's own configuration says."""
    base = project.folder / "conf" / (project.base_env or "base")
    for file in sorted(path for end in ("yml", "yaml") for path in base.rglob(f"*.{end}")):
        try:
            config = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, yaml.YAMLError):
            continue
        keys = config if isinstance(config, dict) else {}
        name = file.relative_to(project.folder).as_posix()
        if "catalog" in name and any(re.fullmatch(r"(\{[^{}]*\})+", str(key)) for key in keys):
            said = "conf/airflow/catalog.yml"  # Kedro takes only one such factory
        elif file.name == "globals.yml" and "storage" in keys:
            said = "conf/airflow/globals.yml"
        else:
            continue
        if plan.add.pop(said, None):
            plan.theirs.append(said)


def check_gitignore(project: Project, plan: Plan) -> None:
    """Let git ignore what Airflow's tools write, and see the new files."""
    text = read(project.folder / ".gitignore") or ""
    dag = dag_of(project).relative_to(project.folder).as_posix()
    names = sorted(
        name
        for name in {*plan.add, dag} - set(GITIGNORE)
        if not any((project.folder / folder).is_symlink() for folder in Path(name).parents)
    )
    folders = {folder.as_posix() for name in names for folder in Path(name).parents} - {"."}
    hidden = ignored(project, [*names, *folders, *(f"{folder}/" for folder in folders)])
    tops = [
        folder
        for folder in sorted(folders & hidden)
        if not hidden & {parent.as_posix() for parent in Path(folder).parents}
    ]
    lines = [line for line in GITIGNORE if line not in text.splitlines()]
    lines += [line for folder in tops for line in (f"!/{folder}/", f"/{folder}/*")]
    lines += [f"!/{each}/" for each in sorted(folders & hidden - {*tops})]
    join(plan, ".gitignore", text, [*lines, *(f"!/{name}" for name in names if name in hidden)])


def ignored(project: Project, names: list[str]) -> set[str]:
    """Find those of these files, and of these folders with a slash, that git ignores."""
    command = ["check-ignore", "--verbose", "-z", "--stdin"]
    words = git(project, *command, input="\0".join(names)).split("\0")
    return {
        name.rstrip("/")
        for pattern, name in zip(words[2::4], words[3::4], strict=False)
        # `a/*` matches `a/` too, although git reads that folder
        if not pattern.startswith("!") and (not name.endswith("/") or pattern.endswith("/"))
    }


def dag_of(project: Project) -> Path:
    """Return the file of the default pipeline's DAG."""
    return project.folder / "dags" / f"{project.package.name}_airflow_dag.py"


def origin() -> dict[str, str]:
    """Say where the starters come from, as copier does.

    Installed from git, that is the repository and its commit. Otherwise the release counts, whose
    tag is the package's version; without a repository, the user has to name one.
    """
    package = importlib.metadata.distribution("kedro-airflow-starters")
    direct = json.loads(package.read_text("direct_url.json") or "{}")
    url = direct.get("url", "")
    if "vcs_info" in direct:
        return {"_commit": direct["vcs_info"]["commit_id"], "_src_path": f"git+{url}"}
    folder = {"_src_path": unquote(urlsplit(url).path)} if "dir_info" in direct else {}
    return {"_commit": f"v{package.version}"} | folder


def show(project: Project, plan: Plan, diff: bool) -> None:
    """Print the plan; with ``diff``, what files would get."""
    click.echo("To add:" if diff else "Added:")
    for name, (_, content) in sorted(plan.add.items()):
        count = len(content.splitlines())
        click.echo(f"  {name} ({count} lines)" if diff else f"  {name}")
    click.echo("To change, by a block that --undo removes:" if diff else "Changed:")
    for name, text in sorted(plan.change.items()):
        old = read(project.folder / name) or ""
        lines = difflib.unified_diff(old.splitlines(), text.splitlines(), name, name, lineterm="")
        for line in lines if diff else [name]:
            click.echo(f"  {line}")
    for name, words in sorted(plan.by_hand.items()):
        stays = f"{name} stays as it is. Add by hand:"
        click.echo(f"\n{f'Add by hand to {name}:' if name in plan.change else stays}\n")
        for line in words.splitlines():
            click.echo(f"    {line}".rstrip())
    if b"_src_path" not in plan.add[ANSWERS][1]:
        said = f"add the line `_src_path: URL` to {ANSWERS}, with the git URL of the starters"
        click.echo(f"\nBefore the first `copier update`, {said}.")


def write(project: Project, plan: Plan) -> None:
    """Write what is planned."""
    for name, (mode, content) in plan.add.items():
        path = project.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    for name, text in plan.change.items():
        (project.folder / name).write_bytes(text.encode(errors="surrogateescape"))


def read(path: Path) -> str | None:
    """Read a file as it is, whatever its encoding and line endings; None if there is none."""
    return path.read_bytes().decode(errors="surrogateescape") if path.is_file() else None


def write_dag(project: Project) -> None:
    """Write the DAG if what the project needs is installed here, or say how it is written."""
    if (dag := dag_of(project)).exists():
        name = dag.relative_to(project.folder)
        click.echo(f"\n{name} stays as it is. To replace it, run `kedro airflow create`.")
        return
    code = (
        "from importlib import import_module; from kedro.framework import startup;"
        "project = startup.bootstrap_project('.');"
        "create = import_module(f'{project.package_name}.airflow_dag.create').create;"
        "create.main([], obj=project, standalone_mode=False)"
    )
    quiet = {**os.environ, "DO_NOT_TRACK": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project.folder, env=quiet, capture_output=True, text=True)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1]
        click.echo(f"\nThe DAG has not been written yet: {why}")
        click.echo("In the project's environment, run")
        click.echo("    pip install -r requirements.txt -r requirements-dev.txt")
        click.echo("    kedro airflow create")
        click.echo("    make check   # would a deployment work?")
        return
    click.echo("\nThe Airflow DAG is in dags/. Would a deployment work?\n")
    quiet["PYTHONPATH"] = str(project.folder / project.package.parent)
    command = [sys.executable, "-m", f"{project.package.name}.airflow_dag.preflight"]
    subprocess.run(command, cwd=project.folder, env=quiet)


def renew(project: Project, diff: bool) -> None:
    """Renew the folder airflow_dag where `copier update` does not find it: elsewhere than in src/.

    Raises:
        click.ClickException: it has changes that are not committed.
    """
    given = yaml.safe_load((project.folder / ANSWERS).read_text(encoding="utf-8"))
    folder = (project.package / "airflow_dag").as_posix()
    new: dict[str, tuple[int, bytes]] = {}
    if "src" in given.get("theirs", []):
        files = render(project, given["starter"].removeprefix("airflow-"))
        new = {name: file for name, file in files.items() if name.startswith(f"{folder}/")}
    paths = [path for path in (project.folder / folder).glob("*.*") if new]
    old = {path.relative_to(project.folder).as_posix(): path.read_bytes() for path in paths}
    changed = {name: file for name, file in new.items() if file[1] != old.get(name)}
    removed = sorted(old.keys() - new.keys())
    if not changed and not removed:
        click.echo(f"Nothing to do: {ANSWERS} is here already. `copier update` brings what is new.")
        return
    if git(project, "status", "--porcelain", folder):
        raise click.ClickException(f"{folder} has changes that are not committed: commit it first.")
    click.echo("To renew:" if diff else "Renewed:")
    for name in sorted([*changed, *removed]):
        click.echo(f"  {name}")
    if not diff:
        write(project, Plan(add=changed))
        for name in removed:
            delete(project, project.folder / name)


def remove(project: Project) -> None:
    """Remove what has been added, unless it was changed since."""
    answers = project.folder / ANSWERS
    given = yaml.safe_load(answers.read_text(encoding="utf-8")) if answers.is_file() else {}
    if "theirs" not in given:
        raise click.ClickException(f"Nothing to undo: {ANSWERS} has nothing of airflow-init.")
    platform = given["starter"].removeprefix("airflow-")
    for name, (_, content) in render(project, platform).items():
        path = project.folder / name
        if not path.is_file():
            continue
        if name not in given["theirs"]:
            if path.read_bytes() == content:
                delete(project, path)
            else:
                click.echo(f"{name} has changed, and stays.")
            continue
        text = read(path) or ""
        without = re.sub(rf"(\A|\n){BEGIN}\r?\n.*?{END}\r?\n", "", text, flags=re.DOTALL)
        if text and not without:
            delete(project, path)
        elif without != text:
            path.write_bytes(without.encode(errors="surrogateescape"))
    for dag in project.folder.glob(f"dags/{project.package.name}*_dag.py"):
        if f"from {project.package.name}_airflow." in (read(dag) or ""):
            delete(project, dag)
    delete(project, answers)


def delete(project: Project, path: Path) -> None:
    """Remove a file, and the folders that it leaves empty."""
    path.unlink()
    for folder in path.parents[: len(path.relative_to(project.folder).parents) - 1]:
        if {each.name for each in folder.iterdir()} <= {"__pycache__"} and not folder.is_symlink():
            shutil.rmtree(folder)
