# What the scripts share: where the tree is, and how a step is run and told about. To be sourced.
#
# A step's output goes to build/log/STEP.log; the terminal gets one line, and the end of that log if
# the step fails.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
logs=$root/build/log
mkdir -p "$logs"

# A root shell made by su has no sbin in its path; ip, nginx and setpriv's friends live there.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
# Lets clones in different folders share what was compiled.
export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=include_file_mtime

# seconds_between START END: both as $EPOCHREALTIME gives them.
seconds_between() {
    local us=$((${2/[.,]/} - ${1/[.,]/}))
    printf '%d.%d s' $((us / 1000000)) $((us % 1000000 / 100000))
}

# tell LABEL TEXT: one line of what is told, in two columns.
tell() { printf '%-10s %s\n' "$1" "$2"; }

fail() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit 1
}

# step LABEL TEXT COMMAND…: runs the command quietly; false if it failed, after showing why.
step() {
    local label=$1 text=$2 log=$logs/$1.log start=$EPOCHREALTIME
    shift 2
    if [ -t 1 ]; then printf '%-10s %s …\r' "$label" "$text"; fi
    if "$@" >"$log" 2>&1; then
        printf '%-10s %-44s %10s\n' "$label" "$text" "$(seconds_between "$start" "$EPOCHREALTIME")"
        return 0
    fi
    printf '%-10s %-44s %10s\n' "$label" "$text: FAILED" "$(seconds_between "$start" "$EPOCHREALTIME")"
    printf '\n--- %s\n' "$log"
    # A build says in the middle what failed first; other programs say last what ended them.
    if grep -q '^FAILED: ' "$log"; then
        sed -n '/^FAILED: /,$p' "$log" | head -n 40
    else
        tail -n 40 "$log"
    fi
    printf -- '---\n'
    return 1
}

# build_preset PRESET [TARGET…]: configures and builds; one at a time in each build folder.
build_preset() {
    local preset=$1
    shift
    mkdir -p "$root/build/$preset"
    (
        cd "$root"
        flock 9
        cmake --preset "$preset"
        ninja -C "build/$preset" "$@"
    ) 9>"$root/build/$preset/.lock"
}
