"""Tell whether a deployment would work: `make check`.

`make test` checks the same, except for what only matters on the platform.
"""

import ast
import logging
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout, suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from os.path import normpath
from pathlib import Path, PurePath
from typing import Any
from xml.etree import ElementTree

import click
import yaml
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.project import settings as kedro_settings
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import AbstractDataset, DatasetError
from omegaconf import OmegaConf
from packaging.requirements import InvalidRequirement, Requirement

from . import source
from .create import check_pipeline
from .finding import Finding, errors, show
from .graph import passed_on, tasks_of
from .shared import (
    catalog,
    catalog_files,
    credentials,
    in_memory,
    is_shared,
    path_of,
    stored,
    without_credentials,
)

PACKAGE = Path(__file__).resolve().parents[1]
PLATFORMS = [path.stem for path in sorted(Path(__file__).parent.glob("platform_*.py"))]


def main() -> None:
    """Print what was found, and exit with status 1 if a deployment would not work."""
    if sys.argv[1:] not in ([], ["--json"]):
        sys.exit("usage: python -m PACKAGE.airflow_dag.preflight [--json]")
    os.environ["DO_NOT_TRACK"] = "1"
    logging.disable()
    warnings.simplefilter("ignore")
    with redirect_stdout(sys.stderr):  # what the project's code prints
        found = [*findings(Path.cwd(), deployed=True), *of_tests(Path.cwd())]
    show(found, as_json="--json" in sys.argv)
    sys.exit(bool(errors(found)))


def findings(project: Path, deployed: bool = False) -> list[Finding]:
    """Find what would go wrong with the project in this folder under Airflow.

    Args:
        deployed: also find what would go wrong on its platform.
    """
    found = [*of_secrets(), *of_requirements(project), *source.in_code(PACKAGE)]
    platforms = [import_module(f"{__package__}.{name}") for name in PLATFORMS if deployed]
    for platform in platforms:
        found += [Finding("error", *problem) for problem in platform.problems(project)]
    sys.path.append(str(project / "dags"))  # as Airflow does
    try:
        bootstrap_project(project)
        for hook in kedro_settings.HOOKS:
            found += source.in_hook(hook, PACKAGE.name)
        dags = written_dags(project).values() or [("__default__", "airflow")]
        for pipeline, env in dags:
            context = KedroSession.create(project_path=project, env=env).load_context()
            found += of_dag(context, pipeline, platforms)
    except Exception as error:  # in any of the project's files
        why = f"Kedro cannot load it: {sentence(error)}"
        found.append(Finding("error", "the project", why, "Make `kedro registry list` work."))
    return found


def of_secrets() -> Iterator[Finding]:
    """Find secrets in what leaves this machine."""
    what = "Move it to conf/local, and refer to the environment or Airflow instead."
    for problem in import_module("check_secrets").problems():
        where, _, why = problem.partition(": ")
        yield Finding("error", where, sentence(why), what)


def of_requirements(project: Path) -> Iterator[Finding]:
    """Find requirements that are not installed here, so that no test can have used them."""
    for line in (project / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if re.match(r"(-[cer]|--(constraint|editable|requirement))(?![ =]*\S*://)|\.", line):
            why = f"`{line}` names files that images do not have yet when they install this one."
            yield Finding("error", "requirements.txt", why, "Write what it requires in its place.")
        with suppress(InvalidRequirement):  # a comment, an option or a URL
            demand = Requirement(line.partition(" #")[0])
            try:
                met = demand.specifier.contains(version(demand.name), prereleases=True)
            except PackageNotFoundError:
                met = False
            if not met and (not demand.marker or demand.marker.evaluate()):
                why = f"{demand} is not what is installed here, so no test has used it."
                yield Finding("error", "requirements.txt", why, "Run `make install test`.")


def written_dags(project: Path) -> dict[Path, tuple[str, str]]:
    """Read the pipeline and the environment of each file of the project's DAGs in dags/."""
    calls = {
        path: {str(word.arg): str(getattr(word.value, "value", "")) for word in node.keywords}
        for path in sorted(project.glob("dags/*_dag.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and source.named(node.func) == "create_dag"
    }
    own = {path: call for path, call in calls.items() if call.get("package") == PACKAGE.name}
    return {path: (call["pipeline"], call["env"]) for path, call in own.items()}


def of_dag(context: KedroContext, name: str, platforms: list[Any]) -> Iterator[Finding]:
    """Find what would go wrong in the runs of a pipeline's DAG."""
    pipeline = pipelines[name]
    try:
        settings = check_pipeline(context, name, {}, PACKAGE.name)
        group_by = settings.graph.get("group_by", "none")
        tasks = tasks_of(pipeline, PACKAGE.name, group_by, settings.tasks)
    except click.ClickException as refused:
        why, _, what = refused.message.partition(". ")
        yield Finding("error", f"pipeline {name}", sentence(why), what or "Correct it.")
        return
    yield from of_credentials(context)
    entries, crossing = stored(context, pipeline), passed_on(tasks)
    found = catalog_files(context, str(context.env)).items()
    files = {f"conf/{context.env}/{file}": text for file, text in found}
    folder = run_folder(context, files)
    for dataset in sorted(entries):
        key = re.compile(rf"^([\"']?){re.escape(dataset)}\1:", re.MULTILINE)
        where = [f"change in {file}" for file, text in files.items() if key.search(text)]
        where += [f"add to conf/{context.env}/catalog.yml"]
        yield from of_dataset(dataset, entries[dataset], dataset in crossing, where[0], folder)
    for platform in platforms:
        yield from of_paths(context, entries, platform.WHY, platform.folders(settings))


def of_credentials(context: KedroContext) -> Iterator[Finding]:
    """Find credentials that the catalog names, and that tasks would look for in vain."""
    loader: Any = context.config_loader
    known: set[Any] = set()
    for env in (loader.base_env, loader.env):
        for path in Path(loader.conf_source, env).glob("**/credentials*.y*ml"):
            known |= set(OmegaConf.load(path))
    for name in sorted(set(credentials(catalog(context))) - known):
        yield Finding(
            "error",
            f"conf/{context.env}/credentials.yml",
            f"The catalog names the credentials {name}, which tasks do not find in conf/local.",
            f"Add a block {name} here, with references to the environment or to Airflow.",
        )


def run_folder(context: KedroContext, files: Mapping[str, str]) -> str:
    """Return what an environment's catalog, in these files, can call the folder of a DAG run."""
    if any(re.search("^_run:", text, re.MULTILINE) for text in files.values()):
        return "${_run}"
    loader: Any = context.config_loader
    storage = "${globals:storage}" if "storage" in loader["globals"] else "data"
    return storage + "/02_intermediate/${runtime_params:airflow.folder,kedro}"


def of_dataset(
    name: str, entry: dict[str, Any], crosses: bool, write: str, folder: str
) -> Iterator[Finding]:
    """Find what would go wrong with a dataset, which may cross from one task to another.

    Args:
        write: where it gets an entry, as "add to FILE" or "change in FILE".
        folder: what the catalog can call the folder of a DAG run.
    """
    where = f"dataset {name}"
    if crosses and in_memory(entry):
        why = "A task passes it on to another one, but it is kept in memory."
        yield Finding(
            "error", where, why, f"Add an entry or a factory for it to {write.rpartition(' ')[2]}."
        )
        return
    if crosses and is_shared(entry):
        what = f"To give each run its own, pass it on in a file in `{folder}`."
        for key in {"filepath", "path"} & {*entry}:
            own = without_credentials(entry) | {key: f"{folder}/{PurePath(entry[key]).name}"}
            what = f"To give each run its own, {write}, and run `make dag`:\n"
            what += yaml.safe_dump({name: own}, sort_keys=False, width=1000).rstrip()
        why = "All runs pass it on in one place, so they wait for each other (max_active_runs=1)."
        yield Finding("warning", where, why, what)
    saved_whole = None
    try:
        dataset = AbstractDataset.from_config(name, without_credentials(entry))
        storage = import_module(f"{PACKAGE.name}_airflow.storage")
        saved_whole = storage.output(dataset, "", own=not is_shared(entry))
    except DatasetError as error:
        if "credentials" not in entry:  # without which it may not exist
            what = "Correct its entry in the catalog, or add what it needs to requirements.txt."
            if str(entry["type"]).endswith("DataSet"):
                what = f"Write {str(entry['type'])[:-3]}set in the catalog."
            yield Finding("error", where, sentence(error.__cause__ or error), what)
            return
    if crosses and not saved_whole:
        yield Finding(
            "warning",
            where,
            "A killed task may leave half of what it saves here, for the next task to load.",
            f"Pass it on in a file in `{folder}`, or let the node that saves it clean up first.",
        )


def of_paths(
    context: KedroContext, entries: Mapping[str, Any], why: str, folders: list[str]
) -> Iterator[Finding]:
    """Find data on the disk of a worker, except in folders that all workers have."""
    loader: Any = context.config_loader
    storage = str(loader["globals"].get("storage", "://"))
    local = {name: path for name, entry in entries.items() if (path := path_of(entry))}
    if "://" not in storage and storage not in folders:
        where = f"conf/{context.env}/globals.yml"
        what = "Set it to a bucket, like s3://BUCKET/PREFIX."
        yield Finding("error", where, f"The storage is {storage!r}. {why}", what)
        folders = [*folders, storage]
    for name, path in sorted(local.items()):
        if not any(PurePath(normpath(path)).is_relative_to(folder) for folder in folders):
            what = "Store it below `${globals:storage}`."
            yield Finding("error", f"dataset {name}", f"It is on a disk, at {path}. {why}", what)


def of_tests(project: Path) -> Iterator[Finding]:
    """Find what the project's tests of its DAG say."""
    if not find_spec("airflow"):
        why = "Airflow is not installed here, so no test has loaded the DAG."
        yield Finding("error", "tests/dags", why, "Run `make install`.")
        return
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "tests/dags", f"--junitxml={report}"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True)
        if not report.exists():
            why = f"pytest does not start: {done.stderr.strip().rpartition(chr(10))[2]}"
            yield Finding("error", "tests/dags", why, "Make `make test` work.")
            return
        cases = ElementTree.parse(report).iter("testcase")
    for case in cases:
        for problem in [*case.iter("failure"), *case.iter("error")]:
            why = sentence(problem.get("message", "").partition(": ")[2])
            yield Finding("error", f"tests/dags: {case.get('name')}", why, "See `make test`.")


def sentence(said: object) -> str:
    """Return the first line of what an error or a test says, with a full stop."""
    line = str(said).strip().partition("\n")[0] or repr(said)
    return line if line.endswith((".", "?")) else f"{line}."


if __name__ == "__main__":
    main()
