"""Raw data goes to where Airflow's storage is."""

import json
import subprocess
import sys
import tarfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

import yaml
from tools import NAME, NAMESPACE, RELEASE, Process, configuration, kubectl, require, scope, storage


def data(project_image: str | None = None) -> None:
    """Bring data/01_raw/ to where Airflow's storage is: a volume, or a URL."""
    raw = Path("data", "01_raw")
    paths = [path for path in sorted(raw.rglob("*")) if path.is_file() and path.name[0] != "."]
    files = {path.relative_to(raw).as_posix(): path for path in paths}
    if not files:
        sys.exit("data/01_raw/ has no files.")
    if "://" in storage():
        upload(files, f"{storage().rstrip('/')}/01_raw")
    else:
        require("kubectl")
        copy(files, project_image or deployed_image())


def deployed_image() -> str:
    """Find the project's image that Airflow has been told."""
    name = f"{RELEASE}-api-server"
    found = kubectl("get", "deployment", name, "--ignore-not-found", "--output=json")
    if not found:
        sys.exit(f"There is no Airflow {RELEASE} in the namespace {NAMESPACE}: run `make up`.")
    container = json.loads(found)["spec"]["template"]["spec"]["containers"][0]
    env = {each["name"]: each.get("value") for each in container["env"]}
    return str(env["KEDRO_IMAGE"])


def copy(files: dict[str, Path], project_image: str) -> None:
    """Copy files to the volume, through a pod that is there for it."""
    settings = configuration()["airflow"]["default"]
    volume = settings.get("volume", f"{NAME}-data")
    pod = yaml.safe_load(Path("dags/pod.yaml").read_text())
    pod["metadata"]["name"] = f"{NAME}-data"
    [container] = pod["spec"]["containers"]
    folder = PurePosixPath(container["workingDir"], storage())
    container |= {"image": project_image, "command": ["sleep", "3600"]}
    container["volumeMounts"].append({"name": "data", "mountPath": str(folder)})
    claim = {"claimName": volume}
    pod["spec"]["volumes"].append({"name": "data", "persistentVolumeClaim": claim})
    pod["spec"]["imagePullSecrets"] = [{"name": each} for each in settings.get("pull_secrets", ())]
    delete = ("delete", "pod", f"{NAME}-data", "--ignore-not-found", "--grace-period=1")
    print(f"Copying {len(files)} files of data/01_raw/ to the volume {volume}")
    kubectl(*delete)
    try:
        kubectl("create", "--filename", "-", input=json.dumps(pod))
        kubectl("wait", "--for=condition=Ready", f"pod/{NAME}-data", "--timeout=5m")
        command = ["exec", "--stdin", f"{NAME}-data", "--", "tar", "--extract", "--file=-"]
        process = Process("kubectl", *scope(), *command, "--directory=/", stdin=subprocess.PIPE)
        assert process.stdin
        with suppress(BrokenPipeError):  # kubectl says why
            with tarfile.open(fileobj=process.stdin, mode="w|", dereference=True) as tar:
                for name, path in files.items():
                    tar.add(path, str(folder / "01_raw" / name).lstrip("/"))
            process.stdin.close()
        if process.wait():
            sys.exit(process.failure())
    finally:
        kubectl(*delete, "--wait=false")


def upload(files: dict[str, Path], url: str) -> None:
    """Upload the files that the URL lacks, or has in another size or older."""
    from fsspec.core import url_to_fs

    try:
        fs, root = url_to_fs(url)
        for number, (name, path) in enumerate(files.items(), 1):
            target, here = f"{root}/{name}", path.stat()
            same = fs.exists(target) and fs.size(target) == here.st_size
            same = same and fs.modified(target).timestamp() >= here.st_mtime
            print(f"{number}/{len(files)} {'unchanged' if same else 'upload':9} {url}/{name}")
            if not same:
                fs.put_file(str(path), target)
    except Exception as error:  # of any kind of storage
        raise SystemExit(f"{url}: {error or type(error).__name__}") from error
