#!/bin/bash
# Makes the cluster on an empty PGDATA, then runs the server in its place.
#   POSTGRES_USER (postgres), POSTGRES_PASSWORD (needed), POSTGRES_DB (the user's name),
#   *_FILE for each, POSTGRES_HOST_AUTH_METHOD (scram-sha-256; "trust" needs no password);
#   /docker-entrypoint-initdb.d/*.{sql,sql.gz,sh} run once, in order.
set -euo pipefail

from_file() {
  local file="${1}_FILE"
  if [ -n "${!file:-}" ]; then
    export "$1"="$(cat "${!file}")"
  fi
}

# A server is asked for by name or by options; anything else runs as it is.
if [ "${1:0:1}" = '-' ]; then
  set -- postgres "$@"
fi
if [ "${1:-postgres}" != postgres ]; then
  exec "$@"
fi

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA"
  chown -R postgres:postgres "$PGDATA"
  chown postgres:postgres /var/run/postgresql
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

from_file POSTGRES_USER
from_file POSTGRES_PASSWORD
from_file POSTGRES_DB
user="${POSTGRES_USER:-postgres}"
database="${POSTGRES_DB:-$user}"
method="${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}"

if [ ! -s "$PGDATA/PG_VERSION" ] || [ -e "$PGDATA/unfinished" ]; then
  if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$method" != trust ]; then
    echo "POSTGRES_PASSWORD is not set; set it, or POSTGRES_HOST_AUTH_METHOD=trust" >&2
    exit 1
  fi
  mkdir -p "$PGDATA"
  chmod 700 "$PGDATA"
  # What a start left that was cut off is of no use.
  find "$PGDATA" -mindepth 1 -delete
  initdb --username="$user" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}") --encoding=UTF8 \
    --locale=C.UTF-8 --auth-local=trust --auth-host="$method" --no-instructions \
    ${POSTGRES_INITDB_ARGS:-} > /dev/null
  echo "host all all all $method" >> "$PGDATA/pg_hba.conf"
  # Only through the socket: nobody connects before the scripts ran. Until they did, the mark
  # says that the next start begins anew.
  touch "$PGDATA/unfinished"
  socket="$(mktemp -d)"
  pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -c unix_socket_directories='$socket'" -w -s start
  run() { psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc -h "$socket" -U "$user" "$@"; }
  if [ "$database" != postgres ]; then
    run -d postgres -v name="$database" <<< 'CREATE DATABASE :"name";' > /dev/null
  fi
  for script in /docker-entrypoint-initdb.d/*; do
    case "$script" in
      *.sql) echo "running $script"; run -d "$database" -f "$script" ;;
      *.sql.gz) echo "running $script"; gunzip -c "$script" | run -d "$database" ;;
      *.sh) echo "running $script"; PGHOST="$socket" PGUSER="$user" bash "$script" ;;
    esac
  done
  pg_ctl -D "$PGDATA" -m fast -w -s stop
  rm -rf "$socket" "$PGDATA/unfinished"
fi

shift || true
exec postgres -c listen_addresses='*' "$@"
