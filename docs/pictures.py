"""Take the pictures of the documentation from real runs: `make pictures`.

One Airflow runs the DAGs of all starters with an example, and a new clone runs `make demo`. What is
drawn, in the other files in `docs/pictures/`, is written by hand.
"""

import io
import json
import shutil
import time
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

from demo import ROOT, STARTERS, create_project
from docs import terminal
from local_airflow import LocalAirflow
from steps import step

PICTURES = ROOT / "docs" / "pictures"
BUILD = ROOT / "build" / "pictures"
SIZE = {"width": 1200, "height": 640}
PATIENCE = 300_000  # milliseconds, for a loaded machine
CHROMIUM = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]

# In a log: the path where the projects are says nothing to others.
SHORTEN = """folder => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
        texts.currentNode.data = texts.currentNode.data.replaceAll(folder, "~");
}"""


def serve(projects: dict[str, Path]) -> LocalAirflow:
    """Make an Airflow that reads the DAGs of all projects, given by the ids of their DAGs."""
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    bundles = [
        {"name": dag_id, "classpath": kind, "kwargs": {"path": str(project / "dags")}}
        for dag_id, project in projects.items()
    ]
    settings = {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(BUILD / "spaceflights-astro" / "plugins"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(bundles),
        "KEDRO_RUNNER": "executor",  # there is no cluster for pods
    }
    return LocalAirflow(BUILD / "airflow", BUILD, environment=settings)


def run_dags(airflow: LocalAirflow, dag_ids: list[str]) -> dict[str, str]:
    """Run each DAG twice, and return its last run."""
    runs = {}
    for _ in range(2):
        runs = {dag_id: airflow.trigger(dag_id) for dag_id in dag_ids}
        for dag_id, run_id in runs.items():
            state = airflow.wait(dag_id, run_id, seconds=1800)
            if state != "success":
                raise RuntimeError(f"{run_id} of {dag_id}: {state}")
    return runs


def take(page: Page, scheme: str, dag_id: str, run_id: str) -> None:
    """Take the four pictures of a DAG."""
    name = dag_id.replace("_", "-")
    run = f"/dags/{dag_id}/runs/{run_id}"
    task = "data_science" if name == "spaceflights-k8s" else "train_model_node"

    open_page(page, f"/dags/{dag_id}")
    groups = page.get_by_role("button", name="Expand all task groups")
    if groups.count() and groups.is_enabled():
        groups.click()
    save(settled(page), f"{name}-grid-{scheme}")
    page.get_by_role("button", name="Trigger").first.click()
    save(settled(page.get_by_role("dialog")), f"{name}-form-{scheme}")
    open_page(page, f"{run}/tasks/{task}")
    page.get_by_text("INFO").first.wait_for()
    page.evaluate(SHORTEN, str(BUILD))
    save(settled(page), f"{name}-log-{scheme}")
    open_page(page, run)
    page.get_by_role("button", name="Show Graph").click()
    page.get_by_role("button", name="Collapse Details Panel").click()
    page.add_style_tag(content=".react-flow__minimap { display: none }")
    page.set_viewport_size(SIZE | {"height": 440})
    page.locator(".react-flow__node").first.wait_for()
    page.get_by_role("button", name="Fit View").click()
    save(settled(page), f"{name}-graph-{scheme}")


def open_page(page: Page, path: str) -> None:
    """Open a page of Airflow's UI, and wait until it has what it shows."""
    page.goto(path)
    page.wait_for_load_state("networkidle")


def settled(shown: Page | Locator) -> bytes:
    """Take a picture as soon as two in a row are the same."""
    last, now = b"", shown.screenshot()
    while now != last:
        time.sleep(1)
        last, now = now, shown.screenshot()
    return now


def save(png: bytes, name: str) -> None:
    """Save a picture with 256 colours, which is enough for a page."""
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(dither=Image.Dither.NONE)
    image.save(PICTURES / f"{name}.webp", lossless=True)


def main() -> None:
    """Take all pictures."""
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    clone = f"cd {BUILD} && git clone --quiet --depth=1 file://{ROOT} clone && cd clone"
    recorded = terminal.record(f"{clone} && make --no-print-directory demo")
    (PICTURES / "demo.svg").write_text(terminal.animate("make demo", recorded))
    projects = {name.replace("-", "_"): create_project(name, BUILD, name) for name in STARTERS}
    with ExitStack() as stack:
        with step("Start Airflow"):
            airflow = stack.enter_context(serve(projects))
        with step("Run the DAGs"):
            runs = run_dags(airflow, list(projects))
        chromium = stack.enter_context(sync_playwright()).chromium
        browser = chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM)
        for scheme, (dag_id, run_id) in product(("light", "dark"), runs.items()):
            with step(f"Take the pictures of {dag_id}, {scheme}"):
                page = browser.new_page(
                    base_url=airflow.url,
                    color_scheme=scheme,
                    device_scale_factor=1.5,
                    viewport=SIZE,
                )
                page.set_default_timeout(PATIENCE)
                take(page, scheme, dag_id, run_id)
                page.close()


if __name__ == "__main__":
    main()
