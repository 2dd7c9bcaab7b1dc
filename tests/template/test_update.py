"""`copier update` brings what is new in the template and keeps what the user changed."""

import shutil

import pytest

from tests.conftest import NAME, answers, copier_copy, edit, files, run

STARTER = "spaceflights-astro"
IN_TEMPLATE = f"starters/{STARTER}/{{{{ cookiecutter.repo_name }}}}"
NODES = "src/space_flights/pipelines/data_science/nodes.py"
PIPELINE = "src/space_flights/pipelines/data_science/pipeline.py"
ENGINE = "dags/space_flights_airflow/dag.py"
DAG = "dags/space_flights_airflow_dag.py"


def commit(folder, message):
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", f"--message={message}", cwd=folder)


@pytest.fixture(scope="module")
def releases(template, tmp_path_factory):
    """The template with a second release, v0.2.0, that changes, adds and removes files."""
    folder = tmp_path_factory.mktemp("releases") / "template"
    shutil.copytree(template, folder)
    project = folder / IN_TEMPLATE
    edit(project / "README.md", "`make help` lists all targets.", "`make help` lists every target.")
    edit(project / "conf/airflow/airflow.yml", "max_active_runs: 3", "max_active_runs: 4")
    nodes = project / "src/{{ cookiecutter.python_package }}/pipelines/data_science/nodes.py"
    edit(nodes, "import logging\n", "# Release 2\nimport logging\n")
    edit(project / "docker-compose.override.yml", "services:", "# Release 2\nservices:")
    edit(
        project / "dags/{{ cookiecutter.python_package }}_airflow/dag.py",
        'ui_color = "#ffe36e"',
        'ui_color = "#abcdef"',
    )
    (project / "NEWS.md").write_text("News of {{ cookiecutter.project_name }}\n")
    (project / "packages.txt").unlink()
    commit(folder, "Release 2")
    run("git", "tag", "v0.2.0", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def project(releases, forks, tmp_path_factory):
    """A project from v0.1.0 with its user's changes, and a new DAG for a changed pipeline."""
    data = {"starter": STARTER, **answers()}
    command = ["copier", "copy", "--trust", "--skip-tasks", "--defaults", "--vcs-ref=v0.1.0"]
    command += [f"--data={key}={value}" for key, value in data.items()]
    folder = tmp_path_factory.mktemp("project") / "space-flights"
    forks.run(*command, releases, folder, cwd=folder.parent)
    run("git", "init", "--quiet", cwd=folder)
    commit(folder, "Create")
    edit(folder / NODES, "return LinearRegression()", "return LinearRegression(positive=True)")
    edit(folder / "README.md", "## Change", "Our words.\n\n## Change")
    edit(folder / "conf/airflow/airflow.yml", "schedule: null", 'schedule: "@daily"')
    edit(folder / PIPELINE, 'name="train_model_node"', 'name="fit_model_node"')
    (folder / "docker-compose.override.yml").unlink()
    forks.run("kedro", "airflow", "create", cwd=folder)
    (folder / ".env").write_text("TOKEN=mine\n")
    (folder / "airflow_settings.yaml").write_text("airflow: {variables: [mine]}\n")
    commit(folder, "Edit")
    return folder


@pytest.fixture(scope="module")
def updated(project, forks):
    """The project after `copier update`, and what copier printed."""
    before = (project / DAG).read_text()
    done = forks.run("copier", "update", "--trust", "--defaults", "--vcs-ref=v0.2.0", cwd=project)
    return project, before, done.stdout + done.stderr


@pytest.mark.slow
def test_update_keeps_edits_and_brings_changes(updated):
    project, _, _ = updated
    nodes = (project / NODES).read_text()
    assert "positive=True" in nodes and nodes.startswith("# Release 2\n")
    readme = (project / "README.md").read_text()
    assert "Our words." in readme and "lists every target" in readme
    settings = (project / "conf/airflow/airflow.yml").read_text()
    assert 'schedule: "@daily"' in settings and "max_active_runs: 4" in settings
    assert "#abcdef" in (project / ENGINE).read_text()
    assert (project / "NEWS.md").read_text() == f"News of {NAME}\n"
    assert not (project / "packages.txt").exists()
    assert "_commit: v0.2.0" in (project / ".copier-answers.yml").read_text()


@pytest.mark.slow
def test_update_leaves_no_conflicts_or_rejects(updated):
    project, _, _ = updated
    status = run("git", "status", "--porcelain", "--ignored", cwd=project).stdout.splitlines()
    assert [line for line in status if line.startswith("U") or line.endswith(".rej")] == []
    assert run("git", "grep", "-l", "<<<<<<< before", cwd=project, check=False).stdout == ""


@pytest.mark.slow
def test_files_that_git_ignores_stay_as_they_are(updated):
    project, _, _ = updated
    assert (project / ".env").read_text() == "TOKEN=mine\n"
    assert "mine" in (project / "airflow_settings.yaml").read_text()


@pytest.mark.slow
def test_deleted_file_stays_deleted(updated):
    project, _, _ = updated
    assert not (project / "docker-compose.override.yml").exists()


@pytest.mark.slow
def test_outdated_dag_stays_and_the_user_is_told(updated):
    project, before, output = updated
    assert "fit_model_node" in before
    assert (project / DAG).read_text() == before
    assert "make dag" in output and "stays as it is" not in output  # which the hook says


@pytest.mark.slow
def test_project_created_by_kedro_new_can_move_to_copier(releases, forks, tmp_path):
    run("git", "checkout", "--quiet", "v0.1.0", cwd=releases)
    command = ["kedro", "new", "--starter", releases, f"--directory=starters/{STARTER}"]
    forks.run(*command, "--name", NAME, cwd=tmp_path)
    run("git", "checkout", "--quiet", "main", cwd=releases)
    project = tmp_path / "space-flights"
    edit(project / "README.md", "## Change", "Our words.\n\n## Change")
    run("git", "init", "--quiet", cwd=project)
    commit(project, "Create")

    command = ["copier", "copy", "--trust", "--skip-tasks", "--defaults", "--vcs-ref=v0.1.0"]
    command += [f"--data=starter={STARTER}", f"--data=project_name={NAME}"]
    forks.run(*command, releases, tmp_path / "same", cwd=tmp_path)
    shutil.copy(tmp_path / "same" / ".copier-answers.yml", project)
    commit(project, "Move under copier")
    forks.run("copier", "update", "--trust", "--defaults", "--vcs-ref=v0.2.0", cwd=project)
    readme = (project / "README.md").read_text()
    assert "Our words." in readme and "lists every target" in readme
    assert (project / "NEWS.md").is_file() and (project / DAG).is_file()


def test_copy_into_a_fresh_git_repository_is_accepted(template, forks, tmp_path):
    folder = tmp_path / answers()["repo_name"]
    folder.mkdir()
    run("git", "init", "--quiet", cwd=folder)
    copier_copy(template, STARTER, tmp_path, answers(), run=forks.run)
    assert (folder / DAG).is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    "here, there, last_line",
    [
        ("astro", "mwaa", "s3fs>=2025\n"),
        ("astro", "k8s", "scikit-learn>=1.5\n"),
        ("mwaa", "k8s", "scikit-learn>=1.5\n"),
        ("k8s", "mwaa", "s3fs>=2025\n"),
    ],
)
def test_project_moves_between_platforms_with_its_edits(
    template, forks, tmp_path, here, there, last_line
):
    starter = f"spaceflights-{there}"
    copier_copy(template, f"spaceflights-{here}", tmp_path, answers(), run=forks.run)
    project = tmp_path / answers()["repo_name"]
    run("git", "init", "--quiet", cwd=project)
    commit(project, "Create")
    edit(project / NODES, "return LinearRegression()", "return LinearRegression(positive=True)")
    edit(project / "requirements.txt", "kedro~=1.7", "kedro~=1.7\npolars")
    edit(project / "conf/airflow/airflow.yml", "max_active_runs: 3", "max_active_runs: 5")
    (project / ".env").write_text("TOKEN=mine\n")
    (project / "airflow_settings.yaml").write_text("airflow: {variables: [mine]}\n")
    if here == "astro":
        (project / "packages.txt").write_text("libgomp1\n")
    commit(project, "Edit")

    move = ["copier", "update", "--trust", "--defaults", "--vcs-ref=v0.1.0"]
    forks.run(*move, f"--data=starter={starter}", cwd=project)
    (tmp_path / "other").mkdir()
    copier_copy(template, starter, tmp_path / "other", answers(), run=forks.run)
    fresh, moved = files(tmp_path / "other" / project.name), files(project)
    kept = {".env", "airflow_settings.yaml"}  # ignored by git
    names = {name for name in moved if not name.startswith(".git/")}
    assert names == fresh.keys() | kept
    changed = {name for name in fresh if fresh[name] != moved[name]}
    assert changed - {DAG} == {NODES, "requirements.txt", "conf/airflow/airflow.yml"}
    forks.run("kedro", "airflow", "create", cwd=project)
    expected = fresh[DAG][1].replace(b"max_active_runs=3", b"max_active_runs=5")
    assert (project / DAG).read_bytes() == expected
    assert (project / ".env").read_text() == "TOKEN=mine\n"
    assert "mine" in (project / "airflow_settings.yaml").read_text()
    assert "positive=True" in (project / NODES).read_text()
    requirements = (project / "requirements.txt").read_text()
    assert "polars\n" in requirements and requirements.endswith(last_line)
    assert f"starter: {starter}" in (project / ".copier-answers.yml").read_text()
