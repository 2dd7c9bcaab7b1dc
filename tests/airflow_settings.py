"""How a platform's project configures Airflow."""

import re
from importlib.util import find_spec
from pathlib import Path

import yaml

from tests.conftest import ROOT

PLATFORMS = ROOT / "layers" / "platforms"
VARIABLE = re.compile(r"^(?:ENV|export) (AIRFLOW__\w+)=(\S+)", re.MULTILINE)


def variable(section: str, option: str) -> str:
    """Return the environment variable of an option."""
    return f"AIRFLOW__{section}__{option}".upper()


def defaults() -> dict[str, str]:
    """Return the options that Airflow has without any configuration, as variables."""
    airflow = Path(find_spec("airflow").origin).parent
    sections = yaml.safe_load((airflow / "config_templates" / "config.yml").read_text())
    return {
        variable(section, option): details["default"]
        for section, content in sections.items()
        for option, details in content["options"].items()
    }


def of_platform(platform: str) -> dict[str, str]:
    """Return the options that a project sets, as variables: for `astro`, `mwaa` or `k8s`."""
    if platform == "k8s":
        text = (PLATFORMS / "k8s" / "deploy" / "values.yaml").read_text()
        sections = yaml.safe_load(re.sub("{{.*?}}", "name", text))["config"]
        return {
            variable(section, option): str(value)
            for section, options in sections.items()
            for option, value in options.items()
        }
    file = {"astro": "astro/Dockerfile", "mwaa": "mwaa/mwaa/startup.sh"}[platform]
    return dict(VARIABLE.findall((PLATFORMS / file).read_text()))
