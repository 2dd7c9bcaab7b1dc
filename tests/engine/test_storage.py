"""What a task has not finished saving is never read, whatever the dataset, fault and storage."""

import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from kedro.io import DatasetError

from tests.engine.kinds import KINDS, in_a_process, in_turn, save, without_airflow
from tests.standins.servers import S3Server

pytestmark = pytest.mark.slow
PLACES = [
    (name, place) for name in KINDS for place in ("disk", "s3")[: 1 if KINDS[name].only_disk else 2]
]
on_all = pytest.mark.parametrize("name, place", PLACES, indirect=["place"])


class Place:
    """A root for data, and the tasks that save and load it there."""

    def __init__(self, root: str, environment: dict[str, str], note: Path) -> None:
        self.root, self.environment, self.note = root, environment, note

    def save(self, name, seed, fault=None, size=0):
        given = (name, self.root, seed, fault, size, self.note)
        return in_a_process(self.environment, save, *given)

    def in_turn(self, name, *steps):
        return in_a_process(self.environment, in_turn, name, self.root, *steps)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("data")
        yield server


@pytest.fixture
def place(request, tmp_path):
    if request.param == "disk":
        return Place(str(tmp_path), {}, tmp_path / "note")
    environment = request.getfixturevalue("server").environment | {"AWS_MAX_ATTEMPTS": "1"}
    return Place(f"s3://data/{uuid4().hex}", environment, tmp_path / "note")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What a dataset holds once these seeds have been saved in turn, without Airflow."""
    found = {}

    def holds(name, *seeds):
        if KINDS[name].adds is False:
            seeds = seeds[-1:]
        if (name, seeds) not in found:
            root = str(tmp_path_factory.mktemp("expected"))
            found[name, seeds] = in_a_process({}, without_airflow, name, root, seeds)
        return found[name, seeds]

    return holds


@on_all
def test_second_run_or_cleared_task_replaces_what_the_first_saved(name, place, expected):
    _, first, _, second = place.in_turn(name, 1, "load", 2, "load")
    assert (first, second) == (expected(name, 1), expected(name, 1, 2))


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    """How many bytes a node writes, by the name of the dataset."""
    found = {}

    def size(name):
        if name not in found:
            found[name] = in_a_process({}, save, name, str(tmp_path_factory.mktemp("size")), 2)
        return found[name]

    return size


def is_none(found):
    """Whether nothing was loaded; an IncrementalDataset then has no new partitions."""
    return isinstance(found, DatasetError) or found == {}


@on_all
@pytest.mark.parametrize("fault", ["killed", "error"])
def test_dataset_of_a_task_that_ends_halfway_is_the_old_one_or_none(
    name, place, expected, sizes, fault
):
    bytes_in_all = sizes(name)
    shared = KINDS[name].shared
    if shared:
        place.save(name, 1)
    ended = place.save(name, 2, fault, bytes_in_all)
    assert ended == "killed" if fault == "killed" else "halfway" in str(ended)
    left, _, retried = place.in_turn(name, "load", 3, "load")
    assert left == expected(name, 1) if shared else is_none(left)
    assert retried == expected(name, *[1, 3] if shared else [3])


FOLDERS = [case for case in PLACES if {"plots", "partitions", "incremental"} & set(case[0].split())]


@pytest.mark.parametrize("name, place", FOLDERS, indirect=["place"])
def test_folder_of_a_task_that_is_killed_between_two_files_is_refused_until_it_is_saved(
    name, place, expected
):
    place.save(name, 1)
    assert place.save(name, 2, "killed between two files") == "killed"
    refused, _, found = place.in_turn(name, "load", 3, "load")
    assert "is not complete: the task that saves it" in str(refused)
    of_2 = {
        key: found.pop(key)
        for key in expected(name, 2).keys() - expected(name, 1, 3).keys()
        if key in found
    }
    assert found == expected(name, 1, 3)
    assert len(of_2) <= KINDS[name].adds and of_2.items() <= expected(name, 2).items()


@pytest.mark.parametrize("name", KINDS)
def test_dataset_on_a_full_disk_is_the_old_one_or_none_until_there_is_room(
    name, small_disk, expected, sizes
):
    place = Place(str(small_disk), {}, small_disk / "note")
    shared = KINDS[name].shared
    bytes_in_all = sizes(name)
    if shared:
        place.save(name, 1)
    filler = small_disk / "filler"
    free = shutil.disk_usage(small_disk).free
    filler.write_bytes(bytes(free - bytes_in_all // 2))
    full, left = place.in_turn(name, 2, "load")
    assert "No space left" in str(full)
    assert left == expected(name, 1) if shared else is_none(left)
    filler.unlink()
    _, retried = place.in_turn(name, 3, "load")
    assert retried == expected(name, *[1, 3] if shared else [3])


ON_S3 = [name for name, place in PLACES if place == "s3"]


@pytest.fixture(scope="module")
def outage(server, tmp_path_factory, sizes):
    """Where each dataset is saved, and how its task ended when the store went away halfway."""
    environment = server.environment | {"AWS_MAX_ATTEMPTS": "1"}
    notes = tmp_path_factory.mktemp("notes")
    places = {name: Place(f"s3://data/{uuid4().hex}", environment, notes / name) for name in ON_S3}
    for name, place in places.items():
        if KINDS[name].shared:
            place.save(name, 1)
    with ThreadPoolExecutor(len(places)) as threads:
        saved = {
            name: threads.submit(place.save, name, 2, "waits", sizes(name))
            for name, place in places.items()
        }
        while not all(places[name].note.exists() or saved[name].done() for name in ON_S3):
            time.sleep(0.01)
        server.__exit__()
        for place in places.values():
            place.note.unlink(missing_ok=True)
    server.__enter__()
    return {name: (places[name], saved[name].exception() or saved[name].result()) for name in ON_S3}


@pytest.mark.parametrize("name", ON_S3)
def test_dataset_whose_store_goes_away_is_the_old_one_or_none_until_it_comes_back(
    name, outage, expected
):
    place, ended = outage[name]
    assert isinstance(ended, Exception)
    shared = KINDS[name].shared
    left, _, retried = place.in_turn(name, "load", 3, "load")
    assert left == expected(name, 1) if shared else is_none(left)
    assert retried == expected(name, *[1, 3] if shared else [3])


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 200 MB; in memory, for root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)
