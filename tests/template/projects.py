"""Kedro projects of the kinds that people have, as small as they can be while real.

Each is a dictionary of its files' texts, by their paths. Its default pipeline leaves results in
data/08_reporting, and passes data from node to node on the way.
"""

import json

KEDRO = ["kedro~=1.7", "kedro-datasets[pandas-csvdataset]~=9.6"]
REGISTRY = """from kedro.framework.project import find_pipelines


def register_pipelines():
    pipelines = find_pipelines()
    pipelines["__default__"] = sum(pipelines.values())
    return pipelines
"""
COUNT = """from kedro.pipeline import Node, Pipeline


def count(words: str) -> int:
    return len(words.split())


def double(number: int) -> int:
    return 2 * number


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(count, "params:words", "number", name="count_node"),
            Node(double, "number", "result", name="double_node"),
        ]
    )
"""
RESULT = "result:\n  type: json.JSONDataset\n  filepath: data/08_reporting/result.json\n"
GITIGNORE = """conf/local/**
!.gitkeep
conf/**/*credentials*
data/**
!data/01_raw/**
.env
__pycache__/
.airflow/
"""


def pyproject(package: str, more: str = "", dependencies: list[str] = KEDRO) -> str:
    """Write what Kedro, and a tool that builds packages, need to know."""
    listed = (
        f"dependencies = {json.dumps(dependencies)}\n"
        if dependencies
        else 'dynamic = ["dependencies"]\n'
    )
    return f"""[project]
name = "{package}"
version = "0.1"
{listed}
[tool.kedro]
package_name = "{package}"
project_name = "The {package.title()}"
kedro_init_version = "1.7.0"
{more}"""


def project(
    package: str,
    pipeline: str = COUNT,
    catalog: str = RESULT,
    parameters: str = "words: to be or not to be\n",
    settings: str = "",
    source: str = "src/",
    more: str = "",
    **files: str,
) -> dict[str, str]:
    """Write a project with one pipeline."""
    folder = f"{source}{package}"
    return {
        "pyproject.toml": pyproject(package, more),
        "conf/base/catalog.yml": catalog,
        "conf/base/parameters.yml": parameters,
        "conf/local/.gitkeep": "",
        ".gitignore": GITIGNORE,
        f"{folder}/__init__.py": "",
        f"{folder}/settings.py": settings,
        f"{folder}/pipeline_registry.py": REGISTRY,
        f"{folder}/pipelines/__init__.py": "",
        f"{folder}/pipelines/words/__init__.py": "from .pipeline import create_pipeline\n",
        f"{folder}/pipelines/words/pipeline.py": pipeline,
    } | files


NAMESPACES = """from kedro.pipeline import Node, Pipeline


def split(words: str) -> list[str]:
    return words.split()


def count(words: list[str]) -> dict[str, int]:
    return {"words": len(words)}


def create_pipeline(**kwargs) -> Pipeline:
    part = Pipeline(
        [
            Node(split, "params:text", "words", name="split"),
            Node(count, "words", "count", name="count"),
        ]
    )
    return Pipeline(part, namespace="one") + Pipeline(part, namespace="two.deep")
"""
FACTORIES = """"{namespace}.count":
  type: json.JSONDataset
  filepath: data/08_reporting/{namespace}.json

"{default_dataset}":
  type: pickle.PickleDataset
  filepath: data/02_intermediate/{default_dataset}.pickle
"""
HOOKS = """import json
from pathlib import Path

from kedro.framework.hooks import hook_impl


class Report:
    def __init__(self):
        self.saved = []

    @hook_impl
    def after_context_created(self, context):
        context.config_loader.config_patterns.setdefault("report", ["report*"])
        self.folder = Path(context.project_path, context.config_loader["report"]["folder"])

    @hook_impl
    def after_catalog_created(self, catalog):
        catalog["limit"] = 3

    @hook_impl
    def before_dataset_saved(self, dataset_name):
        self.saved.append(dataset_name)

    @hook_impl
    def after_node_run(self, node, outputs):
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{node.name}.json").write_text(json.dumps(outputs))
"""
LIMITED = COUNT.replace("count(words: str)", "count(words: str, limit: int)").replace(
    '"params:words", "number"', '["params:words", "limit"], "number"'
)
TRANSCODED = """import pandas as pd
from kedro.pipeline import Node, Pipeline
from matplotlib.figure import Figure


def rows(words: str) -> pd.DataFrame:
    return pd.DataFrame({"word": words.split()})


def lines(text: str) -> dict[str, int]:
    return {"lines": len(text.splitlines())}


def plot(table: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot(table["word"].str.len())
    return figure


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(rows, "params:words", "rows@pandas"),
            Node(lines, "rows@text", "result"),
            Node(plot, "rows@pandas", "plot"),
        ]
    )
"""
TWO_FORMATS = (
    RESULT
    + """
rows@pandas:
  type: pandas.CSVDataset
  filepath: data/02_intermediate/rows.csv

rows@text:
  type: text.TextDataset
  filepath: data/02_intermediate/rows.csv

plot:
  type: matplotlib.MatplotlibDataset
  filepath: data/08_reporting/plot.png
  metadata:
    kedro-viz:
      layer: reporting
"""
)
RESOLVERS = """from omegaconf.resolvers import oc

CONFIG_LOADER_ARGS = {
    "custom_resolvers": {"oc.env": oc.env, "joined": lambda *words: " ".join(words)}
}
"""
ENVIRONMENTS = """from kedro.config import OmegaConfigLoader

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "common",
    "default_run_env": "dev",
    "config_patterns": {"globals": ["globals*", "globals/**"], "parameters": ["params*/**"]},
    "merge_strategy": {"parameters": "soft"},
}
"""
PARTITIONED = """from kedro.pipeline import Node, Pipeline


def split(words: str) -> dict:
    return {str(number): lambda word=word: word for number, word in enumerate(words.split())}


def count(parts: dict) -> int:
    return sum(len(load()) for load in parts.values())


def add(increment: dict, letters: int) -> dict[str, int]:
    return {"new": len(increment), "letters": letters}


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(split, "params:words", "parts", name="split"),
            Node(count, "parts", "letters", name="count"),
            Node(add, ["mail", "letters"], "result", name="add", confirms="mail"),
        ]
    )
"""
PARTITIONS = (
    RESULT
    + """
parts:
  type: partitions.PartitionedDataset
  path: data/02_intermediate/parts
  dataset: text.TextDataset
  filename_suffix: .txt

mail:
  type: partitions.IncrementalDataset
  path: data/01_raw/mail
  dataset: text.TextDataset
"""
)
MODELS = """import pandas as pd
from kedro.pipeline import Node, Pipeline
from sklearn.linear_model import LinearRegression


def train(rows: pd.DataFrame, options: dict) -> LinearRegression:
    return LinearRegression(**options).fit(rows[["x"]], rows["y"])


def evaluate(model: LinearRegression, rows: pd.DataFrame) -> dict[str, float]:
    return {"score": round(model.score(rows[["x"]], rows["y"]), 6)}


def create_pipeline(**kwargs) -> Pipeline:
    return Pipeline(
        [
            Node(train, ["rows", "params:model.options"], "model", tags="training"),
            Node(evaluate, ["model", "rows"], "metrics"),
        ]
    )
"""
VERSIONED = """_folder: data

rows:
  type: pandas.CSVDataset
  filepath: ${_folder}/01_raw/rows.csv

model:
  type: CachedDataset
  versioned: true
  dataset:
    type: pickle.PickleDataset
    filepath: ${_folder}/06_models/model.pickle

metrics:
  type: json.JSONDataset
  filepath: ${_folder}/08_reporting/metrics.json
  versioned: true
"""
CLI = '''"""Our own `kedro run`."""

import click
from kedro.framework.cli.project import project_group
from kedro.framework.cli.project import run as kedro_run


@click.group(name="ours")
def cli():
    """Our commands."""


@cli.command()
@click.pass_context
def run(context):
    """Run, and say so."""
    context.invoke(kedro_run)
    click.echo("We have run.")
'''
# As kedro-airflow 0.9 has written it.
OLD_DAG = """from airflow import DAG
from airflow.models import BaseOperator


class KedroOperator(BaseOperator):
    pass


with DAG(dag_id="before-airflow") as dag:
    tasks = {}
"""

BLANK = project("shop")
OWN = project(
    "own",
    settings="# Ours\nHOOKS = ()\n",
    **{
        ".vscode/extensions.json": '{"recommendations": ["theirs"]}',
        ".dockerignore": "data\n",
        "Dockerfile": "FROM python:3.12-slim\nCOPY . .\nRUN pip install .\n",
        "makefile": "help:\n\techo help\n\ntest: lint\n\tpytest",
        "README.md": "Caf\u00e9\r\n",
        "requirements.txt": "# caf\u00e9\r\nkedro[a]~=1.7\r\nKedro_Datasets\npandas",
        "src/own/cli.py": CLI,
        "tests/conftest.py": "import os\n",
        "tests/test_run.py": "def test_run():\n    assert True\n",
    },
)
OF_KEDRO_AIRFLOW = project(
    "before",
    settings="CONFIG_LOADER_ARGS = {'base_env': 'base', 'default_run_env': 'base'}\n",
    **{
        "conf/airflow/airflow.yml": "default:\n  owner: us\n  schedule: '@daily'\n  retries: 1\n",
        "conf/airflow/catalog.yml": (
            "number:\n  type: json.JSONDataset\n  filepath: data/02_intermediate/number.json\n"
        ),
        "dags/__init__.py": "",
        "dags/before_airflow_dag.py": OLD_DAG,
        "dags/other/daily.py": "from airflow.sdk import DAG\n\nDAG('other')\n",
        "plugins/ours.py": "",
        "deploy/run.sh": "echo Ours\n",
    },
)
SEVERAL = project(
    "staged",
    settings=ENVIRONMENTS,
    **{
        "conf/common/catalog_results.yml": RESULT,
        "conf/common/params/words.yml": "words: to be\n",
        "conf/prod/catalog/numbers.yml": (
            "number:\n  type: json.JSONDataset\n  filepath: data/02_intermediate/number.json\n"
        ),
        "conf/prod/params/words.yml": "words: ${globals:text}\n",
        "conf/prod/globals.yml": "text: or not to be\n",
        "conf/dev/params/words.yml": "words: that\n",
    },
)
for name in [name for name in SEVERAL if name.startswith("conf/base/")]:
    del SEVERAL[name]

IGNORING = project("ignoring", **{".gitignore": f"{GITIGNORE}dags/\ndeploy\ntests/*\n*.yaml\n"})


def in_folder(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


KINDS = {
    "blank": BLANK,
    "namespaces and factories": project(
        "spaces", NAMESPACES, FACTORIES, "one:\n  text: to be\ntwo:\n  deep: {text: or not to be}\n"
    ),
    "hooks": project(
        "hooked",
        LIMITED,
        settings="from hooked.hooks import Report\n\nHOOKS = (Report(),)\n",
        **{"src/hooked/hooks.py": HOOKS, "conf/base/report.yml": "folder: data/08_reporting\n"},
    ),
    "transcoding and plots": project("plotted", TRANSCODED, TWO_FORMATS),
    "resolvers": project(
        "resolved",
        parameters="words: ${joined:${oc.env:HOME},be,or,not}\n",
        settings=RESOLVERS,
    ),
    "environments": SEVERAL,
    "partitions": project(
        "parted",
        PARTITIONED,
        PARTITIONS,
        **{f"data/01_raw/mail/{day}": f"{day}\n" for day in ("2024-01-01", "2024-01-02")},
    ),
    "versioned models": project(
        "modelled",
        MODELS,
        VERSIONED,
        "model:\n  options:\n    fit_intercept: true\n",
        **{"data/01_raw/rows.csv": "x,y\n1,2\n2,3\n3,5\n"},
    ),
    "own files": OWN,
    "monorepo": in_folder("services/mall", project("mall"))
    | in_folder("services/mill", project("mill")),
    "source_dir": project("elsewhere", source="lib/", more='source_dir = "lib"\n'),
    "at the top": project("topmost", source="", more='source_dir = "."\n'),
    "of kedro-airflow": OF_KEDRO_AIRFLOW,
    "ignoring": IGNORING,
}
FOLDERS = {"monorepo": ["services/mall", "services/mill"]}
ENVS = {"environments": "prod"}
