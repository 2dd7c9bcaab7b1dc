"""Refuse answers that would give a project that cannot be imported, built or run."""

import keyword
import re
import sys

# Packages that the project itself imports, and folders beside src/ that would hide it.
NEEDED = {
    *("airflow", "kedro", "kedro_airflow", "kedro_dag", "kedro_datasets", "kedro_pod"),
    *("kedro_run", "kedro_telemetry", "run_in_pod"),
    *("fsspec", "matplotlib", "numpy", "omegaconf", "openpyxl", "pandas", "pyarrow", "sklearn"),
    *("boto3", "pip", "pytest", "s3fs", "setuptools", "wheel"),
    *("conf", "dags", "data", "deploy", "include", "mwaa", "plugins", "src", "test", "tests"),
}


def problem(project_name: str, repo_name: str, python_package: str) -> str | None:
    """Say in one sentence what is wrong with the answers, None if nothing is."""
    if not re.fullmatch(r"[^\W\d_][\w -]*[^\W_]", project_name):
        return (
            f"project_name {project_name!a}: use at least two letters, digits, spaces, hyphens or "
            "underscores, with a letter first and a letter or digit last."
        )
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", repo_name):
        return (
            f"repo_name {repo_name!a}: use lower-case ASCII letters, digits, hyphens, dots and "
            "underscores."
        )
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", python_package):
        return (
            f"python_package {python_package!a}: use at least two lower-case ASCII letters, digits "
            "or underscores, with a letter first and a letter or digit last."
        )
    if keyword.iskeyword(python_package) or python_package in sys.stdlib_module_names | NEEDED:
        return (
            f"python_package {python_package!a} is the name of a Python keyword or of a module "
            "that the project needs. Choose another name."
        )
    return None


if __name__ == "__main__":
    error = problem(
        project_name={{cookiecutter.project_name | jsonify}},
        repo_name={{cookiecutter.repo_name | jsonify}},
        python_package={{cookiecutter.python_package | jsonify}},
    )
    if error:
        print(f"Project not created. {error}", file=sys.stderr)
        sys.exit(1)
