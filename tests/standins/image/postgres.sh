#!/bin/sh
# Start PostgreSQL, and create its user and database before the first start.
set -eu
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if ! [ -e "$PGDATA" ]; then
    initdb --auth=scram-sha-256 --encoding=UTF8 --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE"
    echo host all all all scram-sha-256 >>"$PGDATA/pg_hba.conf"
    echo "create database $POSTGRES_USER" | postgres --single postgres
fi
exec postgres -c listen_addresses='*' "$@"
