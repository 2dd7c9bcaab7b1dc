"""Upload data/01_raw/ to the storage of conf/airflow/globals.yml: `make data`."""

from mwaa.bucket import PROJECT, Bucket, clear_errors, client, size, storage


def main() -> None:
    name, prefix = storage()
    with clear_errors():
        bucket = Bucket(name, client("s3"))
        bucket.require()
        raw = PROJECT / "data" / "01_raw"
        paths = [path for path in sorted(raw.rglob("*")) if path.is_file()]
        paths = [path for path in paths if not path.name.startswith(".")]
        for number, path in enumerate(paths, 1):
            key = "/".join(filter(None, [prefix, "01_raw", path.relative_to(raw).as_posix()]))
            action = bucket.compare(key, path)
            print(f"{number}/{len(paths)} {action:9} {key} ({size(path.stat().st_size)})")
            if action != "unchanged":
                bucket.upload(key, path)


if __name__ == "__main__":
    main()
