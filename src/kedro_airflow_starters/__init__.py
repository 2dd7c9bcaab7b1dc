"""Kedro starters for Apache Airflow, offered to `kedro new` by the entry point kedro.starters."""

from pathlib import Path

from kedro.framework.cli import starters as kedro_starters

FOLDER = Path(__file__).parent / "starters"

# Kedro lists an archived starter of the same name, for Airflow 1.10, and would ignore ours.
_official = getattr(kedro_starters, "_OFFICIAL_STARTER_SPECS_DICT", {})
if getattr(_official.get("astro-airflow-iris"), "origin", None) == "kedro":
    del _official["astro-airflow-iris"]

STARTERS = [
    kedro_starters.KedroStarterSpec(alias=path.name, template_path=str(path))
    for path in sorted(FOLDER.iterdir())
    if path.is_dir() and path.name != "__pycache__"
]
