#!/bin/sh
# Options or a configuration file go to redis-server; it never runs as root.
set -eu
case "${1:-}" in
  -*|*.conf) set -- redis-server "$@" ;;
esac
if [ "${1:-redis-server}" = redis-server ]; then
  if [ "$(id -u)" = 0 ]; then
    chown redis:redis .
    exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
  fi
  # Without a configuration file others may connect: that is what the port is for.
  if [ "$#" -le 1 ]; then
    set -- redis-server --bind '*' '-::*' --protected-mode no --dir /data
  fi
fi
exec "$@"
