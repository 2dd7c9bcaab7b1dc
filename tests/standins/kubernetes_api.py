"""Kubernetes without a cluster: the API that Airflow uses to run pods, on top of podman.

A stand-in for the API server, the scheduler and the kubelet of a cluster with one node. What it
reports of pods is modelled on the real ones: phases, conditions, reasons, events. Airflow's
services have the roles of its chart, and tokens that can be renewed; `disturbances` are what an API
server that is upgraded or has too much to do does to its clients. It lacks namespaces, taints,
affinity, devices, restarts, image pulls, `exec` and thus the sidecar for XComs, and the states and
logs of init containers. The containers are real: `podman kube play` gets the pod as it was sent,
except for what `for_podman` lists. Podman ignores `runAsNonRoot` and `activeDeadlineSeconds`, which
are enforced here, and does not always report OOMKilled, which is inferred. Needs root, podman and
catatonit.
"""

import itertools
import json
import math
import os
import re
import shutil
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_hex
from select import select
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

import kubernetes_validate
import trustme
import yaml

from local_airflow import BIN

CONTAINERS_CONF = Path(__file__).parent / "image" / "containers.conf"
VERSION = "1.36"
ROUTE = re.compile(r"/api/v1/namespaces/([^/]+)/(pods|events)(?:/([^/]+))?(?:/(status|log))?")
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
QUANTITY = re.compile(r"(\d+\.?\d*|\.\d+)(m|u|n|k|M|G|T|P|E|[KMGTPE]i|[eE][+-]?\d+)?")
TERM = re.compile(r"(!?)([^\s=!,()]+) *(==?|!=|notin|in|) *(\([^)]*\)|[^,]*)")  # of a selector
VARIABLE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
LAUNCHER = {
    "pods": {"create", "delete", "get", "list", "patch", "watch"},
    "pods/log": {"get"},
    "pods/exec": {"create", "get"},
    "events": {"list", "watch"},
}
ROLES: dict[str, dict[str, set[str]]] = {  # of the service accounts, in Airflow's chart 1.22
    "scheduler": LAUNCHER,
    "triggerer": LAUNCHER,
    "worker": LAUNCHER,
    "api-server": {"pods": {"get", "list", "watch"}, "pods/log": {"get", "list"}},
    "dag-processor": {},
}
VERBS = {"DELETE": "delete", "PATCH": "patch", "POST": "create"}
BUSY = {  # what an API server says that cannot answer now
    429: ("TooManyRequests", "The server has received too many requests, please try again later."),
    500: ("InternalError", "Internal error occurred: etcdserver: request timed out"),
}
ENDED = ("exited", "stopped")  # of podman's states
DISCOVERY = {  # what a client asks for before it lists pods
    "/version": {"major": "1", "minor": VERSION.partition(".")[2]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [{"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["list"]}],
    },
}


class Refused(Exception):
    """A failed request: the HTTP code, and the reason and message of its `Status`."""

    def status(self) -> dict:
        """Make the object that the client gets."""
        code, reason, message = self.args
        status = {"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure"}
        return status | {"code": code, "reason": reason, "message": message}


class NotStarted(Exception):
    """A container that waits forever: the reason and the message of its state."""


def podman(
    *arguments: str | Path, check: bool = True, cwd: Path | None = None
) -> subprocess.CompletedProcess:
    """Run podman.

    Raises:
        RuntimeError: it failed, unless `check` is false.
    """
    environment = {**os.environ, "CONTAINERS_CONF": str(CONTAINERS_CONF)}
    command = ["podman", *arguments]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"podman {' '.join(map(str, arguments))}\n{done.stderr}")
    return done


def timestamp(ago: float = 0) -> str:
    """The time as Kubernetes writes it."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=ago)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def copied(document: dict) -> dict:
    """Copy a document without its nulls."""

    def nulls_out(found: dict) -> dict:
        return {key: found[key] for key in found if found[key] is not None}

    return json.loads(json.dumps(document), object_hook=nulls_out)


def containers(spec: dict) -> list[dict]:
    """All containers of a pod."""
    return [*spec["containers"], *spec.get("initContainers", [])]


def mistakes(pod: dict) -> Iterator[str]:
    """Find what an API server would refuse: strictly by its schema, and by some other rules."""
    try:
        kubernetes_validate.validate(pod, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
        return
    if not NAME.fullmatch(name := pod["metadata"].get("name", "")):
        yield f'metadata.name: Invalid value: "{name}"'
    for value in pod["metadata"].get("labels", {}).values():
        if not LABEL.fullmatch(value):
            yield f'metadata.labels: Invalid value: "{value}"'
    volumes = [volume["name"] for volume in pod["spec"].get("volumes", [])]
    for container in containers(pod["spec"]):
        where = f"spec.containers[{container['name']}]"
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f'{where}.volumeMounts: Not found: "{mount["name"]}"'
        for part in ("limits", "requests"):
            for amount in container.get("resources", {}).get(part, {}).values():
                if not QUANTITY.fullmatch(str(amount)):
                    yield f'{where}.resources.{part}: unable to parse quantity "{amount}"'


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Return whether a selector of labels or fields matches these."""
    for negation, key, operator, value in TERM.findall(selector):
        found = labels.get(key)
        holds = found in re.split(", *", value.strip("()")) if operator else found is not None
        if holds is bool(negation or operator in ("!=", "notin")):
            return False
    return True


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace `$(NAME)` if there is such a variable, and `$$` with `$`."""
    return VARIABLE.sub(lambda found: values.get(found[1], found[0]) if found[1] else "$", text)


class Pod:
    """A pod, from its creation to its removal."""

    def __init__(self, api: "KubernetesApi", manifest: dict, namespace: str) -> None:
        self.api, self.manifest = api, copied(manifest)
        self.spec, self.metadata = self.manifest["spec"], self.manifest["metadata"]
        self.metadata |= {"namespace": namespace, "uid": str(uuid4())}
        self.metadata |= {"creationTimestamp": timestamp(), "resourceVersion": str(api.version())}
        self.name, self.key = self.metadata["name"], (namespace, self.metadata["name"])
        self.folder = api.folder / self.metadata["uid"]
        self.podman_name = f"{api.prefix}-{self.metadata['uid'][:8]}-{self.name}"
        names = [container["name"] for container in self.spec["containers"]]
        self.containers = {f"{self.podman_name}-{name}": name for name in names}
        self.scheduled = {"type": "PodScheduled", "status": "False"}
        self.waiting = {"reason": "ContainerCreating"}
        self.failure = ""  # of podman
        self.reason = self.message = ""  # of the pod
        self.disruption: dict[str, str] = {}  # its reason and message
        self.killed = False
        self.inspected: dict[str, dict] = {}
        self.inspected_at = 0.0
        self.last_status: dict = {}
        self.lock, self.deleted = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """Do what the scheduler and the kubelet do with a pod."""
        if message := self.unschedulable():
            message = f"0/1 nodes are available: {message}. preemption: 0/1 nodes are available: "
            message += "1 Preemption is not helpful for scheduling."
            self.scheduled |= {"reason": "Unschedulable", "message": message}
            self.record("FailedScheduling", message)
            return
        self.spec["nodeName"] = "node-1"
        self.record("Scheduled", f"Successfully assigned {'/'.join(self.key)} to node-1")
        self.scheduled |= {"status": "True", "lastTransitionTime": timestamp()}
        try:
            for container in self.spec["containers"]:
                self.check_image(container)
            manifest = for_podman(self)
        except NotStarted as error:
            self.wait_for_nothing(*error.args)
            return
        path = self.folder / "pod.yaml"
        path.write_text(yaml.safe_dump(manifest))
        address = self.api.addresses.get(self.name)
        network = f"{self.api.network}:ip={address}" if address else self.api.network
        options = [] if network == "host" else [f"--network={network}"]
        command = ["kube", "play", "--log-driver=k8s-file", *options, path]
        play = podman(*command, check=False, cwd=self.folder)  # where conmon may leave a file
        if play.returncode:
            self.failure = play.stderr.strip()
            self.wait_for_nothing("CreateContainerError", self.failure)
        for name in self.containers.values() if not self.failure else ():
            self.record("Started", f"Started container {name}", name)
        seconds = self.spec.get("activeDeadlineSeconds")
        if seconds and not self.deleted.wait(seconds) and self.status()["phase"] == "Running":
            self.killed, self.reason = True, "DeadlineExceeded"
            self.message = "Pod was active on the node longer than the specified deadline"
            podman("stop", *self.containers, check=False)

    def unschedulable(self) -> str | None:
        """Say why the node cannot take the pod."""
        for volume in self.spec.get("volumes", []):
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            if claim and claim not in self.api.volumes:
                return f'persistentvolumeclaim "{claim}" not found'
        if not self.spec.get("nodeSelector", {}).items() <= self.api.node_labels.items():
            return "1 node(s) didn't match Pod's node affinity/selector"
        for container in containers(self.spec):
            for name in container.get("resources", {}).get("limits", {}):
                if "/" in name:  # a device
                    return f"1 Insufficient {name}"
        return None

    def check_image(self, container: dict) -> None:
        """Refuse an image that podman does not have, and root if `runAsNonRoot` forbids it."""
        name, image = container["name"], container["image"]
        if podman("image", "exists", image, check=False).returncode:
            if container.get("imagePullPolicy") == "Never":
                text = f'Container image "{image}" is not present with pull policy of Never'
                raise NotStarted("ErrImageNeverPull", text)
            reason = f'failed to resolve reference "{image}": {image}: not found'
            text = f'Back-off pulling image "{image}": ErrImagePull: {reason}'
            while not self.deleted.is_set():
                self.wait_for_nothing("ErrImagePull", f'failed to pull image "{image}": {reason}')
                self.deleted.wait(2)
                self.wait_for_nothing("ImagePullBackOff", text)
                self.deleted.wait(8)
            raise NotStarted("ImagePullBackOff", text)
        self.record("Pulled", f'Container image "{image}" already present on machine', name)
        context = {**self.spec.get("securityContext", {}), **container.get("securityContext", {})}
        if context.get("runAsNonRoot"):
            of_image = podman("image", "inspect", "--format={{.Config.User}}", image).stdout
            user = str(context.get("runAsUser", of_image.strip().partition(":")[0] or "0"))
            text = "container has runAsNonRoot and image "
            if user == "0":
                text += "will run as root"
            elif not user.isdigit():
                text += f"has non-numeric user ({user}), cannot verify user is non-root"
            else:
                return
            raise NotStarted("CreateContainerConfigError", f"{text} (container: {name})")

    def wait_for_nothing(self, reason: str, message: str) -> None:
        """Let the containers wait forever."""
        self.waiting = {"reason": reason, "message": message}
        self.record("Failed", f"Error: {reason}: {message}")

    def record(self, reason: str, message: str, container: str = "") -> None:
        """Add an event."""
        version = str(self.api.version())
        where = {"fieldPath": f"spec.containers{{{container}}}"} if container else {}
        metadata = {"uid": str(uuid4()), "resourceVersion": version}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{self.name}.{version}", "namespace": self.key[0], **metadata},
            "involvedObject": {"kind": "Pod", "name": self.name, "namespace": self.key[0], **where},
            "type": "Warning" if reason.startswith(("Evicted", "Failed")) else "Normal",
            "reason": reason,
            "message": message,
            "firstTimestamp": timestamp(),
            "lastTimestamp": timestamp(),
        }
        self.api.events.append(event)

    def inspect(self) -> dict[str, dict]:
        """What podman knows about the existing containers, at most half a second old."""
        with self.lock:
            if time.monotonic() > self.inspected_at + 0.5:
                found = podman("container", "inspect", *self.containers, check=False).stdout
                entries = json.loads(found or "[]")
                self.inspected |= {self.containers[entry["Name"]]: entry for entry in entries}
                self.inspected_at = time.monotonic()
            return self.inspected

    def state(self, container: dict, inspected: dict | None) -> dict:
        """The state of a container: waiting, running or terminated."""
        status = inspected["State"]["Status"] if inspected else ""
        if status in ENDED:
            code = inspected["State"]["ExitCode"]
            reason, message = "Error" if code else "Completed", self.last_words(container, code)
            if code == 137 and not self.killed and inspected["HostConfig"]["Memory"]:
                reason = "OOMKilled"  # which podman knows only with cgroups v2
            times = {key: inspected["State"][key] for key in ("StartedAt", "FinishedAt")}
        elif status in ("configured", "created", "initialized") and self.failure:
            code, reason, message = 128, "StartError", self.failure
            times = dict.fromkeys(("StartedAt", "FinishedAt"), "1970-01-01T00:00:00Z")
        elif status in ("", "configured", "created", "initialized"):
            return {"waiting": self.waiting}
        else:
            return {"running": {"startedAt": f"{inspected['State']['StartedAt'][:19]}Z"}}
        times = {f"{key[0].lower()}{key[1:]}": f"{times[key][:19]}Z" for key in times}
        detail = {"message": message} if message else {}
        return {"terminated": {"exitCode": code, "reason": reason, **times, **detail}}

    def last_words(self, container: dict, code: int) -> str:
        """The container's termination message, by its terminationMessagePolicy."""
        path = self.folder / f"{container['name']}.message"
        message = path.read_text(errors="replace")[:4096] if path.exists() else ""
        if message or not code or container.get("terminationMessagePolicy", "File") == "File":
            return message
        return "".join(self.log({"container": container["name"], "tailLines": "80"}))[-2048:]

    def status(self) -> dict:
        """The pod's status."""
        if self.scheduled["status"] == "False":
            return {"phase": "Pending", "conditions": [self.scheduled]}
        inspected, statuses = self.inspect(), []
        for container in self.spec["containers"]:
            found = inspected.get(container["name"])
            status = {key: container[key] for key in ("name", "image")} | {"restartCount": 0}
            status["state"] = self.state(container, found)
            status |= {
                "ready": "running" in status["state"],
                "imageID": (found or {}).get("Image", ""),
            }
            statuses.append(status)
        states = {key for status in statuses for key in status["state"]}
        if states == {"terminated"}:
            failed = any(status["state"]["terminated"]["exitCode"] for status in statuses)
            phase = "Failed" if failed else "Succeeded"
        else:
            phase = "Pending" if states == {"waiting"} else "Running"
        conditions = [self.scheduled, {"type": "Ready", "status": str(states == {"running"})}]
        if self.disruption:
            conditions.append({"type": "DisruptionTarget", "status": "True", **self.disruption})
        return {
            "phase": "Failed" if self.reason else phase,
            "conditions": conditions,
            "startTime": self.scheduled["lastTransitionTime"],
            "containerStatuses": statuses,
            **({"reason": self.reason, "message": self.message} if self.reason else {}),
            **({"hostIP": "127.0.0.1", "podIP": "127.0.0.1"} if inspected else {}),
        }

    def read(self) -> dict:
        """The pod as the API returns it, in a new version if its status has changed."""
        if (status := self.status()) != self.last_status:
            self.last_status = status
            self.metadata["resourceVersion"] = str(self.api.version())
        return {**self.manifest, "metadata": dict(self.metadata), "status": status}

    def log(self, query: Mapping[str, str]) -> Iterator[str]:
        """The lines of a container's log, with the options in the API's query.

        Raises:
            Refused: the container has not been started.
        """
        name = query.get("container") or self.spec["containers"][0]["name"]
        if self.scheduled["status"] == "False":
            raise Refused(400, "BadRequest", f"pod {self.name} does not have a host assigned")
        if not (found := self.inspect().get(name)):
            text = f'container "{name}" in pod "{self.name}" is waiting to start: '
            raise Refused(400, "BadRequest", text + self.waiting["reason"])
        since = query.get("sinceTime", "")
        if "sinceSeconds" in query:
            since = timestamp(int(query["sinceSeconds"]))
        path = Path(found["HostConfig"]["LogConfig"]["Path"])

        def lines() -> Iterator[str]:
            ended, partial = not path.exists(), False
            with (Path(os.devnull) if ended else path).open("rb") as log:
                if "tailLines" in query:
                    lines = sum(1 for _ in log)
                    log.seek(0)
                    for _ in range(lines - int(query["tailLines"])):
                        log.readline()
                while True:
                    while raw := log.readline():
                        if not raw.endswith(b"\n"):  # still being written
                            log.seek(-len(raw), os.SEEK_CUR)
                            break
                        stamp, _, flag, text = raw.decode(errors="replace").split(" ", 3)
                        moment = datetime.fromisoformat(f"{stamp[:19]}{stamp[29:]}")
                        if moment.astimezone(timezone.utc).isoformat() >= since[:19]:
                            stamped = query.get("timestamps") == "true" and not partial
                            text = text if flag == "F" else text[:-1]
                            yield f"{stamp} {text}" if stamped else text
                            partial = flag == "P"
                    if ended or query.get("follow") != "true" or self.api.closing.wait(0.2):
                        return
                    ended = self.inspect()[name]["State"]["Status"] in ENDED or not path.exists()

        return lines()

    def remove(self, grace: int) -> None:
        """Stop the containers, and forget the pod, in the background."""
        self.deleted.set()
        self.killed = True
        for name in self.containers.values():
            self.record("Killing", f"Stopping container {name}", name)
        self.metadata["deletionTimestamp"] = timestamp()
        self.metadata["resourceVersion"] = str(self.api.version())

        def stop() -> None:
            self.thread.join()
            podman("kill", "--signal=TERM", *self.containers, check=False)
            deadline = time.monotonic() + grace
            while self.status()["phase"] == "Running" and time.monotonic() < deadline:
                if self.api.closing.wait(0.2):
                    break
            podman("pod", "rm", "--force", "--time=0", self.podman_name, check=False)
            self.api.running.pop(self.key, None)
            shutil.rmtree(self.folder, ignore_errors=True)

        threading.Thread(target=stop, daemon=True).start()


def for_podman(pod: Pod) -> dict:
    """Write a pod in a way that makes podman 4.3.1 do what a kubelet does.

    What podman lacks or does differently is translated; it gets the rest as it was sent:

    - The name is unique on this machine; the hostname is Kubernetes' own.
    - Nothing is pulled: podman's images stand in for the registry's.
    - The pod has the machine's network, if the API was told so.
    - Volumes are folders: claims, Secrets, ConfigMaps, and emptyDir, which podman would share
      between pods by name, and fill from the image. Medium and sizeLimit have no effect.
    - subPath, which podman ignores, is a separate volume, and so is terminationMessagePath.
    - Variables have their values, whatever they refer to, and `$(NAME)` is expanded.
    - fsGroup, which podman ignores, is a supplementary group, and the group of the volumes' files.

    Raises:
        NotStarted: a Secret, a ConfigMap, or a key in one does not exist.
    """
    pod.folder.mkdir(parents=True)
    written = copied(pod.manifest)
    kept = {key: pod.metadata.get(key, {}) for key in ("annotations", "labels")}
    written["metadata"], spec = {"name": pod.podman_name, **kept}, written["spec"]
    spec.setdefault("hostname", pod.name[:63].strip("-."))
    spec["hostNetwork"] = pod.api.network == "host"
    folders = {volume["name"]: _folder(pod, volume) for volume in spec.pop("volumes", [])}
    security = spec.get("securityContext", {})
    if (group := security.get("fsGroup")) is not None:
        security.setdefault("supplementalGroups", []).append(group)
        for volume in pod.spec.get("volumes", []):
            if "hostPath" not in volume:
                give(folders[volume["name"]][0], group, security.get("fsGroupChangePolicy"))
    spec["volumes"] = []
    for container in containers(spec):
        container["imagePullPolicy"] = "Never"
        container["env"] = _variables(pod, container)
        values = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
        for part in ("command", "args"):
            container[part] = [expand(text, values) for text in container.get(part, [])]
        message = pod.folder / f"{container['name']}.message"
        message.touch()
        message.chmod(0o666)
        target = container.get("terminationMessagePath", "/dev/termination-log")
        mounts = [({"name": "message", "mountPath": target}, message, False)]
        for mount in container.get("volumeMounts", []):
            folder, read_only = folders[mount["name"]]
            path = folder / mount.pop("subPath", "")
            if not path.exists():
                path.mkdir(parents=True)
                path.chmod(folder.stat().st_mode)
            mounts.append((mount, path, read_only or mount.get("readOnly", False)))
        container["volumeMounts"] = []
        for number, (mount, path, read_only) in enumerate(mounts):
            named = {"name": f"{container['name']}-{number}-{mount['name']}"}
            container["volumeMounts"].append({**mount, **named, "readOnly": read_only})
            spec["volumes"].append({**named, "hostPath": {"path": str(path)}})
    return written


def give(folder: Path, group: int, policy: str | None) -> None:
    """Give a volume to the fsGroup, as fsGroupChangePolicy says."""
    now = folder.stat()
    if policy == "OnRootMismatch" and now.st_gid == group and now.st_mode & 0o2070 == 0o2070:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, -1, group, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o2070 if path.is_dir() else 0o060))


def _folder(pod: Pod, volume: dict) -> tuple[Path, bool]:
    """The folder or file of a volume, and whether it is read-only."""
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"]), False
    if claim := volume.get("persistentVolumeClaim"):
        return pod.api.volumes[claim["claimName"]].resolve(), claim.get("readOnly", False)
    folder = pod.folder / volume["name"]
    folder.mkdir()
    folder.chmod(0o777)
    if "emptyDir" in volume:
        return folder, False
    kind = "secret" if "secret" in volume else "configMap"
    if not (source := volume.get(kind)):
        raise NotStarted("CreateContainerError", f"the stand-in has no volume like {volume}")
    data = pod.api.data(kind, {"name": source.get("secretName"), **source})
    for item in source.get("items", [{"key": key, "path": key} for key in data]):
        (folder / item["path"]).parent.mkdir(parents=True, exist_ok=True)
        (folder / item["path"]).write_text(data[item["key"]])
    return folder, True


def _variables(pod: Pod, container: dict) -> list[dict]:
    """The variables of a container, with values."""
    found: dict[str, dict] = {}
    for source in container.pop("envFrom", []):
        kind = "secret" if "secretRef" in source else "configMap"
        for key, value in pod.api.data(kind, source[f"{kind}Ref"]).items():
            name = f"{source.get('prefix', '')}{key}"
            found[name] = {"name": name, "value": value}
    fields = {f"metadata.{key}": pod.metadata[key] for key in ("name", "namespace", "uid")}
    fields |= {"spec.nodeName": "node-1", "status.podIP": "127.0.0.1", "status.hostIP": "127.0.0.1"}
    for entry in container.get("env", []):
        name, origin = entry["name"], entry.get("valueFrom", {})
        values = {key: known["value"] for key, known in found.items() if "value" in known}
        for kind in {"secret", "configMap"} if origin else ():
            if ref := origin.get(f"{kind}KeyRef"):
                data = pod.api.data(kind, ref)
                if ref["key"] not in data and not ref.get("optional"):
                    where = f"{kind[0].upper()}{kind[1:]} {pod.key[0]}/{ref['name']}"
                    text = f"couldn't find key {ref['key']} in {where}"
                    raise NotStarted("CreateContainerConfigError", text)
                entry = {"name": name, "value": data[ref["key"]]} if ref["key"] in data else {}
        if (path := origin.get("fieldRef", {}).get("fieldPath")) in fields:
            entry = {"name": name, "value": fields[path]}
        elif not origin:
            entry = {"name": name, "value": expand(entry.get("value", ""), values)}
        if entry:
            found[name] = entry
    return list(found.values())


def cut(lines: Iterator[str]) -> Iterator[str]:
    """Break a connection after the first line."""
    yield next(lines)
    raise ConnectionResetError


def gone(lines: Iterator[str]) -> Iterator[str]:
    """Tell the client of a watch, whose answer has begun, what is wrong."""
    try:
        yield from lines
    except Refused as error:
        yield json.dumps({"type": "ERROR", "object": error.status()}) + "\n"


class Handler(BaseHTTPRequestHandler):
    """The requests of a Kubernetes client."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Give a request to the API, and send its answer."""
        url = urlsplit(self.path)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        query = {key: "true" if value == "True" else value for key, value in parse_qsl(url.query)}
        code = 201 if self.command == "POST" else 200
        try:
            user = self.server.api.user(token if scheme.lower() == "bearer" else "")
            result = self.server.api.answer(user, self.command, url.path, query, body)
        except Refused as error:
            code, result = error.args[0], error.status()
        content = json.dumps(result).encode() if isinstance(result, dict) else None
        length = ("Transfer-Encoding", "chunked")
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if content is None else "application/json")
        self.send_header(*(length if content is None else ("Content-Length", str(len(content)))))
        if code == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        if content is not None:
            self.wfile.write(content)
            return
        for line in map(str.encode, gone(result)):
            if select([self.connection], [], [], 0)[0]:
                raise ConnectionResetError  # the client has left
            if line:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def handle(self) -> None:
        """Serve a connection until the client leaves, whenever that is."""
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Keep silent."""


class KubernetesApi:
    """The API server of a cluster that runs pods with podman, as a context manager.

    Args:
        folder: created if missing; contains the pods' files while the pods exist.
        volumes: the folders that stand in for persistent volume claims.
        secrets: the data of Secrets, not encoded.
        config_maps: the data of ConfigMaps.
        node_labels: the only node's labels.
        network: the pods' network: `host`, to reach services on 127.0.0.1; `none`; or podman's.
        addresses: those that some pods have in podman's network, by the pods' names.
        address: where the API listens.

    Attributes:
        kubeconfig: the file that tells a client outside the cluster where the API is.
        environment: the variables that every container in a cluster has.
        quota: how many pods there may be at a time.
        disturbances: what happens to the next requests, by verb and resource, like `get pods`: 429
            or 500 instead of an answer; or `cut` in the middle of it. Watches, even those under
            way, may `end` too, as they do in a cluster once in a while.
        created: the pods as they were sent.
        deleted: the names of the pods that clients asked to delete.
        events: all events so far.
        unauthorized: how many requests came without a valid token.
    """

    def __init__(
        self,
        folder: Path,
        volumes: Mapping[str, Path] | None = None,
        secrets: Mapping[str, Mapping[str, str]] | None = None,
        config_maps: Mapping[str, Mapping[str, str]] | None = None,
        node_labels: Mapping[str, str] | None = None,
        network: str = "host",
        addresses: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.folder, self.network = folder.resolve(), network
        self.addresses, self.address = addresses or {}, address
        self.volumes, self.node_labels = volumes or {}, node_labels or {}
        self.known = {"secret": secrets or {}, "configMap": config_maps or {}}
        self.prefix = f"kube-{uuid4().hex[:12]}"
        self.kubeconfig = self.folder / "kubeconfig"
        self.tokens: dict[str, str] = {}  # the users
        self.expiry: dict[str, float] = {}  # of tokens that have been renewed
        self.unauthorized = 0
        self.oldest = 0  # the first resourceVersion from which a client may still watch
        self.quota = 100
        self.disturbances: dict[str, list[int | str]] = {}
        self.created: list[dict] = []
        self.deleted: list[str] = []
        self.events: list[dict] = []
        self.running: dict[tuple[str, str], Pod] = {}
        self.closing, self.lock = threading.Event(), threading.Lock()
        self.version = itertools.count(1).__next__

    def __enter__(self) -> "KubernetesApi":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.server = ThreadingHTTPServer((self.address, 0), Handler)
        self.server.api = self
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(self.address).configure_cert(context)
        options = {"server_side": True, "do_handshake_on_connect": False}  # in its own thread
        self.server.socket = context.wrap_socket(self.server.socket, **options)
        self.environment = {
            "KUBERNETES_SERVICE_HOST": self.address,
            "KUBERNETES_SERVICE_PORT": str(self.server.server_port),
            "NO_PROXY": self.address,
            "no_proxy": self.address,
        }
        for account in ROLES:
            (self.folder / account).mkdir()
            authority.cert_pem.write_to_path(self.folder / account / "ca.crt")
            (self.folder / account / "namespace").write_text("default")
        self.renew_tokens()
        url = f"https://{self.address}:{self.server.server_port}"
        trusted = b64encode(authority.cert_pem.bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": url, "certificate-authority-data": trusted}}
            ],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {"token": self.token("admin")}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        pods = list(self.running.values())
        for pod in pods:
            pod.deleted.set()
            pod.thread.join()
        for _ in range(3):  # some may be on their way out
            left = podman("pod", "ls", "--quiet", f"--filter=name={self.prefix}").stdout.split()
            if left:
                podman("pod", "rm", "--force", "--time=0", *left, check=False)
        for pod in pods:
            shutil.rmtree(pod.folder, ignore_errors=True)
        if left:
            raise RuntimeError(f"These pods may be left in podman: {' '.join(left)}")

    def inside(self, service: str) -> list[str]:
        """The command that runs a service of Airflow as in its pod, with its service account."""
        mount = 'mkdir --parents "$1" && mount --bind "$0" "$1" && shift && exec "$@"'
        inside = ["unshare", "--mount", "sh", "-c", mount, self.folder / service, SERVICE_ACCOUNT]
        return [str(part) for part in (*inside, BIN / "airflow", service)]

    def servers(self, *services: str) -> list[str]:
        """The command that runs Airflow in this cluster: the services as each in its own pod."""
        script = Path(__file__).with_name("services.py")
        return ["python", str(script), str(self.folder), SERVICE_ACCOUNT, *services]

    def token(self, user: str) -> str:
        """Make a token for a user."""
        token = token_hex()
        self.tokens[token] = user
        return token

    def renew_tokens(self, seconds: float = 0) -> None:
        """Renew the mounted tokens, as a kubelet does, and refuse the old ones after a while."""
        old = [token for token, user in self.tokens.items() if user in ROLES]
        for account in ROLES:
            (self.folder / account / "new").write_text(self.token(account))
            (self.folder / account / "new").replace(self.folder / account / "token")
        self.expiry |= dict.fromkeys(old, time.monotonic() + seconds)

    def compact(self) -> None:
        """Forget what has happened so far: a watch from there on is `410 Gone`."""
        self.oldest = self.version()

    def user(self, token: str) -> str:
        """The user whose token this is.

        Raises:
            Refused: it is unknown, or has been renewed too long ago.
        """
        if token not in self.tokens or time.monotonic() > self.expiry.get(token, math.inf):
            self.unauthorized += 1
            raise Refused(401, "Unauthorized", "Unauthorized")
        return self.tokens[token]

    def disturbance(self, verb: str, resource: str) -> int | str | None:
        """The next disturbance of such requests."""
        with self.lock:
            planned = self.disturbances.get(f"{verb} {resource}")
            return planned.pop(0) if planned else None

    def pods(self) -> list[dict]:
        """The current pods, with their status."""
        return [pod.read() for pod in list(self.running.values())]

    def kill(self, name: str) -> None:
        """Send SIGKILL to the containers of a pod."""
        self.running["default", name].killed = True
        self.send(name, "KILL")

    def kill_as_out_of_memory(self, name: str) -> None:
        """Do what the kernel does with a pod that needs more memory than its limit."""
        self.send(name, "KILL")

    def delete(self, name: str) -> None:
        """Do what `kubectl delete pod --now` does."""
        self.act("DELETE", "default", "pods", name, None, {}, {"gracePeriodSeconds": 1})

    def evict(self, name: str, message: str) -> None:
        """Do what a kubelet does with a pod when the node is short of something."""
        pod = self.running["default", name]
        pod.disruption = {"reason": "TerminationByKubelet", "message": message}
        pod.reason, pod.message = "Evicted", message
        pod.record("Evicted", message)
        self.kill(name)

    def send(self, name: str, signal: str) -> None:
        """Send a signal, like STOP or CONT, to the containers of a pod."""
        podman("kill", f"--signal={signal}", *self.running["default", name].containers)

    def data(self, kind: str, reference: Mapping[str, object]) -> Mapping[str, str]:
        """The data of a Secret or ConfigMap that a pod refers to.

        Raises:
            NotStarted: it does not exist and is not optional.
        """
        name = reference["name"]
        if name not in self.known[kind] and not reference.get("optional"):
            raise NotStarted("CreateContainerConfigError", f'{kind.lower()} "{name}" not found')
        return self.known[kind].get(name, {})

    def answer(
        self, user: str, method: str, path: str, query: dict, body: dict
    ) -> dict | Iterator[str]:
        """Answer a user's request with an object, or with lines as they come.

        Raises:
            Refused: what to tell the client if it fails.
        """
        if method == "GET" and path in DISCOVERY:
            return DISCOVERY[path]
        if not (route := ROUTE.fullmatch(path)):
            raise Refused(404, "NotFound", f"the stand-in lacks {path}")
        namespace, kind, name, part = route.groups()
        resource = f"{kind}/{part}" if part else kind
        watching = query.get("watch") == "true"
        verb = VERBS.get(method) or ("get" if name else "watch" if watching else "list")
        self.authorize(user, verb, resource, namespace)
        disturbance = None if watching else self.disturbance(verb, resource)
        if disturbance in BUSY:
            raise Refused(disturbance, *BUSY[disturbance])
        result = self.act(method, namespace, kind, name, part, query, body)
        if disturbance == "cut" and isinstance(result, dict):
            raise ConnectionResetError
        return cut(result) if disturbance == "cut" else result

    def authorize(self, user: str, verb: str, resource: str, namespace: str) -> None:
        """Allow what the chart's roles allow, and everything to whoever has the kubeconfig.

        Raises:
            Refused: the user may not do this.
        """
        allowed = ROLES[user].get(resource, ()) if user in ROLES else {verb}
        if verb not in allowed or (user in ROLES and namespace != "default"):
            who = f"system:serviceaccount:default:airflow-{user}"
            text = f'{resource} is forbidden: User "{who}" cannot {verb} resource "{resource}" '
            text += f'in API group "" in the namespace "{namespace}"'
            raise Refused(403, "Forbidden", text)

    def act(
        self,
        method: str,
        namespace: str,
        kind: str,
        name: str | None,
        part: str | None,
        query: dict,
        body: dict,
    ) -> dict | Iterator[str]:
        """Do what a request asks for, and answer it.

        Raises:
            Refused: what to tell the client if it fails.
        """
        pod = self.running.get((namespace, name))
        match method, kind, part or bool(name):
            case "POST", "pods", False:
                return self.create(namespace, body)
            case "GET", "pods", False:
                if query.get("watch") == "true":
                    return self.watch_pods(namespace, query)
                return self.listing("PodList", self.select(namespace, query))
            case "GET", "events", False:
                return self.list_events(namespace, query)
            case _ if kind == "pods" and name and not pod:
                raise Refused(404, "NotFound", f'pods "{name}" not found')
            case "GET", "pods", "log":
                return pod.log(query)
            case "GET", "pods", True | "status":
                return pod.read()
            case "PATCH", "pods", True:
                for key in {"labels", "annotations"} & body["metadata"].keys():
                    merged = {**pod.metadata.get(key, {}), **body["metadata"][key]}
                    pod.metadata[key] = copied(merged)
                pod.metadata["resourceVersion"] = str(self.version())
                return pod.read()
            case "DELETE", "pods", True:
                grace = pod.spec.get("terminationGracePeriodSeconds", 30)
                grace = query.get("gracePeriodSeconds", grace)
                if not pod.deleted.is_set():
                    self.deleted.append(name)
                    pod.remove(int(copied(body).get("gracePeriodSeconds", grace)))
                return pod.read()
        raise Refused(405, "MethodNotAllowed", f"the stand-in lacks {method} for {kind}/{part}")

    def create(self, namespace: str, body: dict) -> dict:
        """Create a pod, if it is valid."""
        name = body.get("metadata", {}).get("name")
        for mistake in mistakes(copied(body)):
            raise Refused(422, "Invalid", f'Pod "{name}" is invalid: {mistake}')
        with self.lock:
            if (namespace, name) in self.running:
                raise Refused(409, "AlreadyExists", f'pods "{name}" already exists')
            if (used := len(self.running)) >= self.quota:
                text = f'pods "{name}" is forbidden: exceeded quota: airflow, requested: pods=1, '
                raise Refused(
                    403, "Forbidden", f"{text}used: pods={used}, limited: pods={self.quota}"
                )
            self.created.append(body)
            pod = self.running[namespace, name] = Pod(self, body, namespace)
        answer = pod.read()
        pod.thread.start()
        return answer

    def select(self, namespace: str, query: Mapping[str, str]) -> list[dict]:
        """The pods in a namespace that a query selects by label and phase."""
        pods = [pod for pod in list(self.running.values()) if pod.key[0] == namespace]
        labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
        found = [pod.read() for pod in pods if selects(labels, pod.metadata.get("labels", {}))]
        return [pod for pod in found if selects(fields, {"status.phase": pod["status"]["phase"]})]

    def watching(self, kind: str, since: int, seconds: float) -> Iterator[str]:
        """Ask again and again whether there is something new, until the watch ends.

        Raises:
            Refused: the events since then are forgotten.
        """
        if 0 < since < self.oldest:
            text = f"too old resource version: {since} ({self.oldest})"
            raise Refused(410, "Expired", text)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.closing.wait(0.2):
            yield ""
            match self.disturbance("watch", kind):
                case "cut":
                    raise ConnectionResetError
                case "end":
                    return

    def watch_pods(self, namespace: str, query: Mapping[str, str]) -> Iterator[str]:
        """Report pods that come, change and go, starting from a resourceVersion."""
        since, seconds = (
            int(query.get("resourceVersion", 0)),
            float(query.get("timeoutSeconds", 300)),
        )
        known: dict[str, dict] = {}
        for nothing in self.watching("pods", since, seconds):
            yield nothing
            found = {pod["metadata"]["uid"]: pod for pod in self.select(namespace, query)}
            events = [("DELETED", known[uid]) for uid in known.keys() - found.keys()]
            for uid, pod in found.items():
                before = known.get(uid, {"metadata": {"resourceVersion": since}})
                version = int(pod["metadata"]["resourceVersion"])
                if version > int(before["metadata"]["resourceVersion"]):
                    events.append(("MODIFIED" if uid in known else "ADDED", pod))
            known = found
            for kind, pod in events:
                yield json.dumps({"type": kind, "object": pod}) + "\n"

    def listing(self, kind: str, items: list[dict]) -> dict:
        """Make a list of objects."""
        metadata = {"resourceVersion": str(self.version())}
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "items": items}

    def list_events(self, namespace: str, query: Mapping[str, str]) -> dict | Iterator[str]:
        """List the events of an object, or watch them."""
        wanted = re.findall(r"involvedObject\.(\w+)=([^,]+)", query.get("fieldSelector", ""))
        wanted.append(("namespace", namespace))

        def found(since: int = 0) -> Iterator[dict]:
            for event in list(self.events):
                new = int(event["metadata"]["resourceVersion"]) > since
                if new and set(wanted) <= event["involvedObject"].items():
                    yield event

        def watch() -> Iterator[str]:
            since = int(query.get("resourceVersion", 0))
            seconds = float(query.get("timeoutSeconds", 300))
            for nothing in self.watching("events", since, seconds):
                yield nothing
                for event in found(since):
                    since = int(event["metadata"]["resourceVersion"])
                    yield json.dumps({"type": "ADDED", "object": event}) + "\n"

        return watch() if query.get("watch") == "true" else self.listing("EventList", [*found()])
