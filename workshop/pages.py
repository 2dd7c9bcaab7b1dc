"""Write the slides and the exercises as HTML files that need no network: `make slides`."""

import argparse
from pathlib import Path

import pypandoc

WORKSHOP = Path(__file__).resolve().parent
PAGES = {
    "slides.html": ("dzslides", [WORKSHOP / "slides.md"], "slides.css"),
    "exercises.html": ("html5", sorted((WORKSHOP / "exercises").glob("*.md")), "exercises.css"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=WORKSHOP.parent / "build" / "workshop")
    folder = parser.parse_args().into
    folder.mkdir(parents=True, exist_ok=True)
    for name, (kind, sources, style) in PAGES.items():
        options = ["--standalone", "--embed-resources", f"--css={WORKSHOP / style}"]
        options += ["--metadata=pagetitle:Kedro on Airflow", "--metadata=lang:en"]
        pypandoc.convert_file(
            sources, kind, format="gfm", outputfile=folder / name, extra_args=options
        )
        print(folder / name)
