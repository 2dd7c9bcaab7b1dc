"""Tell whether this machine is ready for the workshop: `make check`.

It runs before anything is installed, and on old Pythons too.
"""

import os
import platform
import shutil
import socket
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
GIGABYTES = 4  # the environment, and what the exercises write
PORTS = {8080: "Airflow", 9000: "the server of exercise 6"}
PROGRAMS = ("git", "make")


def taken(port):
    """Tell whether something on this machine listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def problems(pythons):
    """Find what is wrong and what to do, each as a sentence."""
    if platform.system() == "Windows":
        return ["Airflow does not run on Windows itself. Open WSL, and start again there."]
    found = []
    if (platform.system(), platform.machine()) not in (("Linux", "x86_64"), ("Darwin", "arm64")):
        found.append(
            "There are wheels for Linux on x86_64 and for Macs with Apple silicon, and this is "
            f"{platform.system()} on {platform.machine()}. Work with a neighbour."
        )
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if python not in pythons:
        found.append(
            f"This is Python {python}, and there are wheels for {', '.join(pythons)}. "
            f"Install one of them, and name it: make setup PYTHON=python{pythons[-1]}"
        )
    for program in PROGRAMS:
        if not shutil.which(program):
            found.append(f"{program} is missing. Install it with your system's packages.")
    free = shutil.disk_usage(FOLDER).free / 1e9
    if free < GIGABYTES:
        found.append(f"The disk has {free:.1f} GB left, and {GIGABYTES} are needed.")
    if " " in FOLDER:
        found.append(f"The path {FOLDER} has a space. Move the folder: make cannot.")
    for port, what in PORTS.items():
        if taken(port):
            found.append(
                f"Port {port} is taken, which {what} needs. Stop the program that listens there: "
                f"`lsof -i :{port}` names it."
            )
    return found


def main():
    with open(os.path.join(FOLDER, "pythons.txt")) as file:
        found = problems(file.read().split())
    proxies = [name for name in ("http_proxy", "HTTP_PROXY", "https_proxy") if os.environ.get(name)]
    if proxies:
        print(f"{proxies[0]} is set. `activate` excludes this machine from it.")
    for problem in found:
        print(f"- {problem}")
    if found:
        sys.exit(1)
    print("This machine is ready.")


if __name__ == "__main__":
    main()
