#!/usr/bin/env bash
# Build the stand-in for an upstream image, unless podman has it: make_base.sh NAME:TAG
# It reaches package registries the way this machine does: with apt's mirror, pip's index, the CA
# bundle, and the proxies in the environment (which podman passes on).
set -euo pipefail
name=$1
tag=${name##*:}
case $name in
    python:*) target=python ;;
    apache/airflow:slim-*) target=apache-airflow ;;
    astrocrpublic.azurecr.io/runtime:*) target=astro ;;
    postgres:* | rabbitmq:* | redis:*) target=${name%%:*} ;;
    *) echo "make_base.sh: $name has no stand-in" >&2 && exit 2 ;;
esac
version=$(grep -oE '[0-9]+(\.[0-9]+)*' <<<"$tag" | head -1) # slim-3.3.2-python3.12: 3.3.2
airflow=$(cut -d. -f1-2 <<<"$version")                      # 3.3
image=$(dirname "$(realpath "$0")")
debian=localhost/image-test-debian
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

if ! podman image exists "$debian"; then
    . /etc/os-release
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $VERSION_CODENAME" | sed -n 1p)
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
        "$VERSION_CODENAME" "$context/root" ${mirror:+"$mirror"}
    tar -C "$context/root" --exclude='./var/cache/apt/archives/*.deb' \
        --exclude='./var/lib/apt/lists/*' --create . | podman import - "$debian"
    rm -rf "$context/root"
fi

cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$context/ca-certificates.crt"
{ python3 -m pip config list 2>/dev/null || true; } |
    sed -nE "s/^[^.]*\.(index-url|extra-index-url)='(http[^']*)'$/\1 = \2/p
             s/^[^.]*\.(trusted-host)='([^']*)'$/\1 = \2/p" |
    awk 'BEGIN { print "[global]" } !seen[$1]++' >"$context/pip.conf"
sed -nE 's/^index-url = (.*)/index-url = "\1"/p' "$context/pip.conf" >"$context/uv.toml"
cp "$image"/*.sh "$context"
podman build --network=host --pull=never --format docker --tag "$name" --target "$target" \
    --build-arg "AIRFLOW=$airflow" --build-arg "VERSION=$version" \
    --file "$image/Dockerfile.base" "$context"
