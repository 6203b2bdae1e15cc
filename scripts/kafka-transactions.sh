#!/bin/sh
# Kafka's tool of this name, by ours.
. "$(dirname "$(readlink -f "$0")")/find-binary.sh"
leat=$(find_binary leat) || exit 1
exec "$leat" kafka-transactions "$@"
