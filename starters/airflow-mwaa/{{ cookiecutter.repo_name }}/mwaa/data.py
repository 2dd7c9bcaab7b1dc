"""Upload data/01_raw/ to the storage of conf/airflow/globals.yml: `make data`."""

import sys
from functools import partial

from rich.progress import Progress

from mwaa.bucket import Bucket, clear_errors, client
from mwaa.configuration import storage
from mwaa.sources import PROJECT, files, size


@clear_errors()
def main() -> None:
    name, prefix = storage()
    bucket = Bucket(name, client("s3"))
    bucket.require()
    found = list(files(PROJECT / "data" / "01_raw"))
    for number, (file, path) in enumerate(found, 1):
        key = f"{prefix}/01_raw/{file}".lstrip("/")
        action = bucket.compare(key, path)
        print(f"{number}/{len(found)} {action:9} {key} ({size(path.stat().st_size)})")
        if action != "unchanged":
            with Progress(disable=not sys.stdout.isatty()) as bar:
                sent = partial(bar.advance, bar.add_task(key, total=path.stat().st_size))
                bucket.upload(key, path, sent)


if __name__ == "__main__":
    main()
