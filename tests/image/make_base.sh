#!/usr/bin/env bash
# Make the stand-in for an Astro Runtime image, unless podman has it: make_base.sh NAME:TAG
# It reaches the registries of packages the way this machine does: apt's mirror, pip's index, the
# CA bundle, and the proxies of the environment (which podman hands on).
set -euo pipefail
name=$1
image=$(dirname "$(realpath "$0")")
airflow_version=${name##*:}        # 3.3-2
airflow_version=${airflow_version%%-*}.0
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

cp "$image/Dockerfile.base" "$context/Dockerfile"
cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$context/ca-certificates.crt"
{
    echo "[global]"
    { python3 -m pip config list 2>/dev/null || true; } |
        sed -nE "s/^[^.]*\.(index-url|extra-index-url)='(http[^']*)'$/\1 = \2/p
                 s/^[^.]*\.(trusted-host)='([^']*)'$/\1 = \2/p" |
        awk '!seen[$1]++'
} >"$context/pip.conf"

recipe=$(cat "$0" "$context"/* | sha256sum | cut -d " " -f 1)
made=$(podman image inspect --format '{{ index .Labels "recipe" }}' "$name" 2>/dev/null || true)
if [ "$made" = "$recipe" ]; then
    exit
fi

. /etc/os-release
mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $VERSION_CODENAME" | sed -n 1p)
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv \
    "$VERSION_CODENAME" "$context/root" ${mirror:+"$mirror"}
tar -C "$context/root" --exclude='./var/cache/apt/archives/*.deb' --exclude='./var/lib/apt/lists/*' \
    --create --file "$context/rootfs.tar" .
rm -rf "$context/root"
podman build --network=host --pull=never --format docker --tag "$name" --label "recipe=$recipe" \
    --build-arg "AIRFLOW_VERSION=$airflow_version" "$context"
