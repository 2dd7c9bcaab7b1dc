"""Upload data/01_raw/ to the storage of conf/airflow/globals.yml: `make data`."""

from mwaa.bucket import PROJECT, Bucket, clear_errors, client, size, storage
from mwaa.bundle import files


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
            bucket.upload(key, path)


if __name__ == "__main__":
    main()
