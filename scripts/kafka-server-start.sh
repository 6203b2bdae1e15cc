#!/bin/sh
# Starts a node:
#   kafka-server-start.sh [-daemon] FILE.properties [--override KEY=VALUE]...
# With -daemon it runs in the background and writes to $LOG_DIR/kafkaServer.out
# (LOG_DIR: logs/ beside this folder).
. "$(dirname "$(readlink -f "$0")")/find-binary.sh"

usage() {
    echo "USAGE: $0 [-daemon] server.properties [--override property=value]*"
    exit 1
}

daemon=no
if [ "${1:-}" = "-daemon" ]; then
    daemon=yes
    shift
fi
[ $# -gt 0 ] || usage
leatd=$(find_binary leatd) || exit 1
if [ $daemon = no ]; then
    exec "$leatd" "$@"
fi
LOG_DIR=${LOG_DIR:-$(dirname "$(dirname "$(readlink -f "$0")")")/logs}
mkdir -p "$LOG_DIR" || exit 1
nohup setsid "$leatd" "$@" >>"$LOG_DIR/kafkaServer.out" 2>&1 </dev/null &
