#!/bin/sh
# Options alone are HAProxy's; it runs as a master in the foreground, which drains on SIGUSR1.
set -e
case "${1:-}" in -*) set -- haproxy "$@" ;; esac
if [ "${1:-}" = haproxy ]; then
    shift
    set -- haproxy -W -db "$@"
fi
exec "$@"
