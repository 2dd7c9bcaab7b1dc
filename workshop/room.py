"""Put all that participants need into one folder, for a USB stick: `make workshop`.

It has wheels for each system and Python, and needs no network from then on.
"""

import argparse
import hashlib
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import tomllib
from packaging import tags
from packaging.markers import Environment
from packaging.pylock import Package, PackageSdist, PackageWheel, Pylock
from packaging.utils import parse_wheel_filename

WORKSHOP = Path(__file__).resolve().parent
ROOT = WORKSHOP.parent
UV = Path(sysconfig.get_path("scripts")) / "uv"
# What the exercises install: the project before and after its move, and a stand-in for S3.
STARTERS = ("spaceflights-astro", "spaceflights-mwaa")
TOOLS = ("copier>=9.15", "moto[server]", "pip")
PYTHONS = ("3.11", "3.12", "3.13")
LINUX = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 4, -1)]  # Debian 10, Ubuntu 20.04
SYSTEMS = {
    "Linux": ("linux", "x86_64", [*LINUX, "manylinux2014_x86_64"]),
    "Darwin": ("darwin", "arm64", [*tags.mac_platforms((14, 0), "arm64")]),
}
Files = dict[str, tuple[Package, PackageWheel | PackageSdist]]


def main() -> None:
    """Write the folder anew, and print its size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--here", action="store_true", help="only for this system and Python")
    parser.add_argument("--into", type=Path, default=ROOT / "build" / "workshop")
    options = parser.parse_args()
    systems, pythons = list(SYSTEMS), list(PYTHONS)
    if options.here:
        systems, pythons = [platform.system()], ["{}.{}".format(*sys.version_info)]

    print("1. The starters and the exercises", flush=True)
    shutil.rmtree(options.into, ignore_errors=True)
    shutil.copytree(WORKSHOP / "participant", options.into)
    shutil.copytree(WORKSHOP / "exercises", options.into / "exercises")
    copy_starters(options.into / "starters")
    print(f"2. The versions for {', '.join(systems)}, Python {', '.join(pythons)}", flush=True)
    locked = lock()
    files = needed(locked, systems, pythons)
    print("3. Their wheels", flush=True)
    wheels = download(files, options.into / "wheels")
    (options.into / "requirements.txt").write_text("".join(requirements(files, wheels)))
    (options.into / "pythons.txt").write_text("\n".join(pythons) + "\n")
    size = sum(path.stat().st_size for path in options.into.rglob("*") if path.is_file())
    print(f"{options.into}: {len(wheels)} wheels, {size / 1e6:.0f} MB", flush=True)


def copy_starters(folder: Path) -> None:
    """Commit the files of this repository's last commit to a repository without its history."""
    folder.mkdir()
    git = ["git", "-C", folder, "-c", "user.name=Workshop", "-c", "user.email=workshop@localhost"]
    with tempfile.TemporaryFile() as file:
        subprocess.run(["git", "-C", ROOT, "archive", "HEAD"], stdout=file, check=True)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            archive.extractall(folder, filter="data")
    subprocess.run([*git, "init", "--quiet", "--initial-branch=main"], check=True)
    subprocess.run([*git, "add", "--force", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message=Starters"], check=True)


def lock() -> Pylock:
    """Resolve what the exercises install, to the same versions on every system."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tools.txt").write_text("\n".join(TOOLS))
        projects = [f"{name}/{{{{ cookiecutter.repo_name }}}}" for name in STARTERS]
        paths = [ROOT / "starters" / project / "requirements.txt" for project in projects]
        paths += [path.with_name("requirements-dev.txt") for path in paths]
        command = [UV, "pip", "compile", "--quiet", "--universal", "--python-version", PYTHONS[0]]
        command += ["--output-file", "pylock.toml", "tools.txt", *paths]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        return Pylock.from_dict(tomllib.loads((Path(folder) / "pylock.toml").read_text()))


def needed(locked: Pylock, systems: list[str], pythons: list[str]) -> Files:
    """Select a wheel of each package for each system and Python, or its source if it has none."""
    files = {}
    for system in systems:
        sys_platform, machine, platforms = SYSTEMS[system]
        for python in pythons:
            environment = Environment(
                implementation_name="cpython",
                implementation_version=f"{python}.0",
                os_name="posix",
                platform_machine=machine,
                platform_python_implementation="CPython",
                platform_release="",
                platform_system=system,
                platform_version="",
                python_full_version=f"{python}.0",
                python_version=python,
                sys_platform=sys_platform,
            )
            version = [int(part) for part in python.split(".")]
            abi = "cp" + python.replace(".", "")
            accepted = [*tags.cpython_tags(version, [abi], platforms)]
            accepted += tags.compatible_tags(version, abi, platforms)
            for package, file in locked.select(environment=environment, tags=accepted):
                files[unquote(file.url.rpartition("/")[2])] = package, file
    return files


def download(files: Files, folder: Path) -> dict[str, Path]:
    """Download these files, and make wheels of the sources.

    Returns:
        The wheel of each file.
    """
    folder.mkdir()

    def fetch(name: str) -> Path:
        _, file = files[name]
        for attempt in range(3):
            try:
                with urllib.request.urlopen(file.url, timeout=60) as response:
                    content = response.read()
                break
            except OSError as error:
                if attempt == 2:
                    sys.exit(f"{name}: {error}. Is there a network, or a proxy to be set?")
        if hashlib.sha256(content).hexdigest() != file.hashes["sha256"]:
            sys.exit(f"{name}: the download is damaged, or was changed on its way. Try again.")
        path = folder / name
        path.write_bytes(content)
        return path if name.endswith(".whl") else built(path)

    wheels = {}
    with ThreadPoolExecutor(8) as pool:
        for number, (name, path) in enumerate(zip(files, pool.map(fetch, files), strict=True), 1):
            wheels[name] = path
            if number % 50 == 0:
                print(f"   {number} of {len(files)}", flush=True)
    return wheels


def built(source: Path) -> Path:
    """Build the wheel of a source, which has to fit every system, and remove the source."""
    before = set(source.parent.iterdir())
    command = [UV, "build", "--quiet", "--wheel", "--out-dir", source.parent, source]
    subprocess.run(command, check=True)
    version = source.name.removesuffix(".tar.gz").rpartition("-")[0].replace("-", "_")
    [wheel] = [path for path in source.parent.glob(f"{version}-*.whl") if path not in before]
    if {tag.platform for tag in parse_wheel_filename(wheel.name)[3]} != {"any"}:
        sys.exit(f"{source.name} has no wheel for every system: {wheel.name} is only for this one.")
    source.unlink()
    return wheel


def requirements(files: Files, wheels: dict[str, Path]) -> list[str]:
    """Pin each package to its wheels, with their hashes: a damaged copy is noticed."""
    lines: dict[str, list[str]] = {}
    for name, (package, _) in files.items():
        condition = f" ; {package.marker}" if package.marker else ""
        digest = hashlib.sha256(wheels[name].read_bytes()).hexdigest()
        line = f"{package.name}=={package.version}{condition}"
        lines.setdefault(line, []).append(f" \\\n    --hash=sha256:{digest}")
    return [line + "".join(lines[line]) + "\n" for line in sorted(lines)]


if __name__ == "__main__":
    main()
