"""`kedro package`, in place of Kedro's own, which takes secrets and most of conf/local along."""

import shutil
import subprocess
import sys
import tarfile

import click
from kedro.framework.startup import ProjectMetadata


@click.command()
@click.pass_obj
def package(project: ProjectMetadata) -> None:
    """Build a wheel and an archive of conf/ (without conf/local) into dist/."""
    folder = project.project_path
    shutil.rmtree(folder / "build", ignore_errors=True)  # or the wheel has what an older one had
    build = ["-m", "build", "--wheel", "--outdir", "dist"]
    for command in (["check_secrets.py"], build):
        done = subprocess.run([sys.executable, *command], cwd=folder)
        if done.returncode:
            sys.exit(done.returncode)
    with tarfile.open(folder / "dist" / f"conf-{project.package_name}.tar.gz", "w:gz") as archive:
        for path in sorted(folder.glob("conf/**/[!.]*.*")):
            name = path.relative_to(folder)
            if path.suffix in (".yml", ".yaml", ".json") and name.parts[1] != "local":
                archive.add(path, name)
