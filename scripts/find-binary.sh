# Sourced by the scripts beside it: find_binary leat|leatd prints the path of
# our program: LEAT_BIN_DIR if it is set, else the build tree next to this
# folder, else an installed one.
find_binary() {
    top=$(dirname "$(dirname "$(readlink -f "$0")")")
    for candidate in \
        "${LEAT_BIN_DIR:-/nonexistent}/$1" \
        "$top/build/cli/$1" "$top/build/broker/$1" \
        "$top/bin/$1" "$(dirname "$(readlink -f "$0")")/$1"; do
        if [ -x "$candidate" ] && [ ! -d "$candidate" ]; then
            echo "$candidate"
            return 0
        fi
    done
    if command -v "$1" >/dev/null 2>&1; then
        command -v "$1"
        return 0
    fi
    echo "$1 is not there: build it with 'meson setup build && ninja -C build'," \
        "or set LEAT_BIN_DIR to its folder" >&2
    return 1
}
