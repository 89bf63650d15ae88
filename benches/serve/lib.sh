# Sourced by benches/check-serve: figures, and processes that are started and ended.
# shellcheck shell=bash disable=SC2034

SHORT=0
readonly RUNS=${MELV_RUNS:-7}
readonly NAMES=(base nginx redis python nodejs postgresql apart-ext4 apart-xfs)
readonly MIB=$((1 << 20))
declare -a CHILDREN=()
# Set by `serve`: the server's process, and where its statistics go.
SERVER='' SERVER_LOG=''

# --- figures

figure() {
    echo "$1 $2 $3 $4"
    [[ $4 == ok ]] || SHORT=$((SHORT + 1))
}

shown() {
    figure "$1" "$2" - ok
}

equal() {
    local word=short
    [[ $2 == "$3" ]] && word=ok
    figure "$1" "${2:-nothing}" "=$3" "$word"
}

# The value, or what is no number, compared with a limit by awk.
held() {
    local word
    word=$(awk -v value="$2" -v limit="$4" \
        "BEGIN { print (value + 0 == value && value $3 limit) ? \"ok\" : \"short\" }")
    figure "$1" "${2:-nothing}" "$3$4" "$word"
}

at_least() {
    held "$1" "$2" '>=' "$3"
}

at_most() {
    held "$1" "$2" '<=' "$3"
}

skip() {
    echo "$1 - - skip ($2)"
}

# The command must succeed, and within ten minutes.
works() {
    local name=$1 code=0
    shift
    limited 600 "$@" >"$RUN/last" 2>&1 || code=$?
    equal "$name" "exit:$code" exit:0
    ((code == 0)) || sed "s/^/# $name: /" "$RUN/last" | tail -5 >&2
}

# The command must fail of its own accord.
refused() {
    local name=$1 code=0
    shift
    limited 30 "$@" >"$RUN/last" 2>&1 || code=$?
    if ((code == 0 || code == 124 || code >= 128)); then
        figure "$name" "exit:$code" refused short
        sed "s/^/# $name: /" "$RUN/last" | tail -5 >&2
    else
        figure "$name" refused =refused ok
    fi
}

limited() {
    local seconds=$1
    shift
    # `timeout` knows programs only.
    if [[ $(type -t "$1") == function ]]; then
        "$@"
    else
        timeout "$seconds" "$@"
    fi
}

is_there() {
    command -v "$1" >/dev/null
}

median() {
    sort -g | awk '{ all[NR] = $1 } END { if (NR) print (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2 }'
}

ratio() {
    awk -v one="$1" -v other="$2" 'BEGIN { if (other > 0) printf "%.3f", one / other }'
}

now() {
    date +%s.%N
}

since() {
    awk -v begun="$1" -v now="$(now)" 'BEGIN { printf "%.4f", now - begun }'
}

# --- what is checked

prepare() {
    local work
    "$HERE/setup" serve || exit 1
    if [[ -z ${MELV:-} ]]; then
        cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked -p melv-cli || exit 1
        MELV=${CARGO_TARGET_DIR:-$ROOT/target}/release/melv
    fi
    MELV=$(realpath "$MELV") || exit 1
    CORPUS=${MELV_CORPUS:-${XDG_CACHE_HOME:-$HOME/.cache}/melv/corpus}
    [[ -e $CORPUS/complete ]] || CORPUS=$("$HERE/corpus/build" | tail -1) || exit 1
    WORK=${MELV_WORK:-/var/tmp/melv-check}
    mkdir -p "$WORK" && work=$(realpath "$WORK") && WORK=$work || exit 1
    # Paths of sockets are short.
    RUN=$(mktemp -d "${TMPDIR:-/tmp}/mserve-XXXXXX") || exit 1
    trap 'stop_all; rm -rf "$RUN"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    STORE=$WORK/eight
    make_store
}

# All eight disks.
make_store() {
    local name
    [[ ! -e $WORK/eight.made ]] || return 0
    rm -rf "$STORE"
    for name in "${NAMES[@]}"; do
        "$MELV" --store "$STORE" -q import "$CORPUS/$name.raw" --name "$name" || exit 1
    done
    touch "$WORK/eight.made"
}

raw() {
    echo "$CORPUS/$1.raw"
}

uri() {
    # uri SOCKET [EXPORT]
    echo "nbd+unix:///${2:-}?socket=$1"
}

# Offset and length of the longest piece of a raw disk that is data.
longest_data() {
    qemu-img map -f raw --output=json "$1" |
        jq -r 'map(select(.data)) | max_by(.length) | "\(.start) \(.length)"'
}

data_bytes() {
    # data_bytes FILE-OR-URI
    qemu-img map -f raw --output=json "$1" | jq 'map(select(.data) | .length) | add // 0'
}

sha256_of() {
    local sum
    [[ -e $WORK/$1.sha256 && $WORK/$1.sha256 -nt $(raw "$1") ]] ||
        sha256sum <"$(raw "$1")" >"$WORK/$1.sha256"
    read -r sum _ <"$WORK/$1.sha256"
    echo "$sum"
}

# --- processes

# Runs in the background until `stop`; sets STARTED.
start() {
    "$@" &
    STARTED=$!
    CHILDREN+=("$STARTED")
}

stop() {
    local pid=$1 kept=() child
    kill "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
    for child in "${CHILDREN[@]}"; do
        [[ $child == "$pid" ]] || kept+=("$child")
    done
    CHILDREN=("${kept[@]}")
}

stop_all() {
    local pid
    for pid in "${CHILDREN[@]}"; do
        stop "$pid"
    done
}

wait_until() {
    # wait_until SECONDS COMMAND...
    local tries=$(($1 * 50))
    shift
    until "$@"; do
        ((tries-- > 0)) || return 1
        sleep 0.02
    done
}

# A server of $STORE; sets SERVER, SERVER_LOG and SERVER_URIS. Arguments: those of `melv serve`.
serve() {
    SERVER_LOG=$(mktemp "$RUN/server-XXXX")
    start "$MELV" --store "$STORE" --json --progress none serve --stats "$@" \
        >"$SERVER_LOG.out" 2>"$SERVER_LOG"
    SERVER=$STARTED
    if ! wait_until 20 test -s "$SERVER_LOG.out"; then
        echo "check-serve: melv serve $* did not begin: $(cat "$SERVER_LOG")" >&2
        exit 1
    fi
    mapfile -t SERVER_URIS < <(jq -r '.uris[]' "$SERVER_LOG.out")
}

# The server's statistics, as JSON.
statistics() {
    local before
    before=$(wc -l <"$SERVER_LOG")
    kill -USR1 "$SERVER"
    wait_until 5 longer_than "$SERVER_LOG" "$before"
    grep '^{"requests"' "$SERVER_LOG" | tail -1
}

longer_than() {
    (($(wc -l <"$1") > $2))
}
