#!/bin/sh
# Asks the nodes of this user on this machine to stop (SIGTERM):
#   kafka-server-stop.sh [--node-id N | --process-role broker|controller]
node_id= role=
while [ $# -gt 0 ]; do
    case $1 in
    --node-id) node_id=${2:-} ;;
    --node-id=*) node_id=${1#*=} ;;
    --process-role) role=${2:-} ;;
    --process-role=*) role=${1#*=} ;;
    *)
        echo "USAGE: $0 [--node-id N | --process-role broker|controller]" >&2
        exit 1
        ;;
    esac
    case $1 in *=*) shift ;; *) shift $(($# > 1 ? 2 : 1)) ;; esac
done

# The properties file of a process: its first argument that is a file.
config_of() {
    tr '\0' '\n' <"/proc/$1/cmdline" | sed 1d | while IFS= read -r word; do
        case $word in /*) path=$word ;; *) path=/proc/$1/cwd/$word ;; esac
        if [ -f "$path" ]; then
            echo "$path"
            break
        fi
    done
}

# The value of a key for a process: --override, else its file.
value_of() {
    found=$(tr '\0' '\n' <"/proc/$1/cmdline" | sed -n "s/^$2=//p" | tail -n 1)
    if [ -z "$found" ]; then
        file=$(config_of "$1")
        [ -n "$file" ] && found=$(
            sed -n "s/^[[:space:]]*$2[[:space:]]*[=:][[:space:]]*//p" "$file" |
                tail -n 1 | tr -d '[:space:]')
    fi
    echo "$found"
}

wanted() {
    if [ -n "$node_id" ]; then
        [ "$(value_of "$1" 'node\.id')" = "$node_id" ]
    elif [ -n "$role" ]; then
        [ "$(value_of "$1" 'process\.roles')" = "$role" ]
    fi
}

pids=
for process in /proc/[0-9]*; do
    [ -O "$process" ] || continue
    [ "$(cat "$process/comm" 2>/dev/null)" = leatd ] || continue
    wanted "${process#/proc/}" && pids="$pids ${process#/proc/}"
done
if [ -z "$pids" ]; then
    if [ -n "$node_id$role" ]; then
        echo "No kafka server found with ${node_id:+node.id '$node_id'}${role:+process role '$role'}"
    else
        echo "No kafka server to stop"
    fi
    exit 1
fi
# shellcheck disable=SC2086
kill -s TERM $pids
