# Sourced by benches/check-serve: speed beside other servers, in turn, medians of $RUNS pairs.
# shellcheck shell=bash disable=SC2153

# A server of somebody else's at socket $RUN/peer, begun again if it is gone: nbdkit 1.32 sometimes aborts when
# a client leaves (raw_send_socket: Assertion `sock >= 0').
PEER='' PEER_COMMAND=()
peer() {
    [[ -z $PEER ]] || ! kill -0 "$PEER" 2>/dev/null || return 0
    rm -f "$RUN/peer"
    start "${PEER_COMMAND[@]}" 2>/dev/null
    PEER=$STARTED
    wait_until 20 test -S "$RUN/peer"
}

peer_is() {
    PEER_COMMAND=("$@")
    PEER=''
    peer
}

# Reads a second of fio at a depth, from a log of offsets.
fio_iops() {
    local uri=$1 depth=$2 log=$3
    fio --name=r --ioengine=nbd --uri="$uri" --rw=randread --bs=4k --iodepth="$depth" --read_iolog="$log" \
        --filename=nbd --output-format=json --output="$RUN/fio.json" >/dev/null 2>&1
    jq '.jobs[0].read.iops' "$RUN/fio.json" 2>/dev/null
}

copy_seconds() {
    local begun
    begun=$(now)
    nbdcopy "$1" null: && since "$begun"
}

# paired NAME BETTER LEAST COMMAND OURS THEIRS [ARGUMENT...]: the command with either URI, in turn; the first
# pair does not count. BETTER says which of ours and theirs is over the other in the ratio: `more` is
# better, or `less`. Prints both medians, and the median of the ratios, which must be LEAST.
paired() {
    local name=$1 better=$2 least=$3 command=$4 ours=$5 theirs=$6 run one other
    shift 6
    : >"$RUN/ours"
    : >"$RUN/theirs"
    : >"$RUN/ratios"
    for ((run = 0; run <= RUNS; run++)); do
        one=$("$command" "$ours" "$@")
        peer
        other=$("$command" "$theirs" "$@")
        # An aborted peer gives no figure: the pair does not count.
        [[ $run -gt 0 && -n $one && -n $other ]] || continue
        echo "$one" >>"$RUN/ours"
        echo "$other" >>"$RUN/theirs"
        if [[ $better == more ]]; then ratio "$one" "$other"; else ratio "$other" "$one"; fi |
            sed 's/$/\n/' >>"$RUN/ratios"
    done
    sed -i '/^$/d' "$RUN/ratios"
    shown "${name}_ours" "$(median <"$RUN/ours")"
    shown "${name}_theirs" "$(median <"$RUN/theirs")"
    shown "${name}_runs" "$(wc -l <"$RUN/ratios")"
    at_least "${name}_times_theirs" "$(median <"$RUN/ratios")" "$least"
}

offsets() {
    [[ -e $RUN/log-$1 ]] || /usr/bin/python3 "$HERE/serve/offsets.py" "$(raw nginx)" "$1" 1 >"$RUN/log-$1"
    echo "$RUN/log-$1"
}

check_hot() {
    local socket=$RUN/hot here dense=$WORK/dense.raw kept=$STORE
    here=$(uri "$socket" nginx)
    serve --socket "$socket" --cache 2GiB
    peer_is nbdkit -f -r --unix "$RUN/peer" file "$(raw nginx)"
    nbdcopy "$here" null:
    cat "$(raw nginx)" >/dev/null
    paired hot_depth_1_iops more 0.95 fio_iops "$here" "$(uri "$RUN/peer")" 1 "$(offsets 40000)"
    paired hot_depth_16_iops more 0.95 fio_iops "$here" "$(uri "$RUN/peer")" 16 "$(offsets 200000)"
    paired hot_copy_nginx_seconds less 1 copy_seconds "$here" "$(uri "$RUN/peer")"
    stop "$PEER"
    stop "$SERVER"

    # 899 MiB without a hole, so that both send every byte.
    if [[ ! -e $WORK/dense.made ]]; then
        /usr/bin/python3 "$HERE/serve/dense.py" "$dense" $((899 * MIB)) "$(raw postgresql)" "$(raw nodejs)"
        rm -rf "$WORK/dense"
        "$MELV" --store "$WORK/dense" -q import "$dense" --name dense
        touch "$WORK/dense.made"
    fi
    cat "$dense" >/dev/null
    STORE=$WORK/dense
    serve --socket "$socket" --cache 2GiB
    here=$(uri "$socket" dense)
    works hot_copy_899_mib_equal qemu-img compare -f raw -F raw "$here" "$dense"
    peer_is nbdkit -f -r --unix "$RUN/peer" file "$dense"
    paired hot_copy_899_mib_seconds less 1 copy_seconds "$here" "$(uri "$RUN/peer")"
    stop "$PEER"
    stop "$SERVER"
    STORE=$kept
}

# As `fio_iops`, from a server that has just begun and has the cache that it has by default, so that nothing
# is decoded yet; `ours` for our URI says so.
fio_fresh_iops() {
    if [[ $1 != ours ]]; then
        fio_iops "$@"
        return
    fi
    # shellcheck disable=SC2016  # $uri is for the server's shell
    "$MELV" --store "$STORE" --progress none serve nginx --run 'exec fio --name=r --ioengine=nbd --uri="$uri" \
        --rw=randread --bs=4k --iodepth='"$2"' --read_iolog='"$3"' --filename=nbd --output-format=json \
        --output='"$RUN/fio.json" >/dev/null 2>&1
    jq '.jobs[0].read.iops' "$RUN/fio.json" 2>/dev/null
}

make_qcow2() {
    [[ $WORK/nginx.qcow2 -nt $(raw nginx) ]] ||
        qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "$(raw nginx)" "$WORK/nginx.qcow2" || exit 1
}

# What must be decoded. Two ways to see it: a server that has just begun, whose cache fills as it goes
# (fresh), and one whose cache of a mebibyte holds next to nothing, so that every read decodes (uncached).
# The files are in the page cache for both.
check_cold() {
    local socket=$RUN/cold qcow2=$WORK/nginx.qcow2 here before after
    here=$(uri "$socket" nginx)
    make_qcow2
    cat "$qcow2" "$STORE"/packs/* >/dev/null
    peer_is qemu-nbd -r -t -e 8 -f qcow2 -k "$RUN/peer" "$qcow2"
    paired cold_fresh_depth_16_iops more 4 fio_fresh_iops ours "$(uri "$RUN/peer")" 16 "$(offsets 20000)"
    paired cold_fresh_depth_1_iops more 0 fio_fresh_iops ours "$(uri "$RUN/peer")" 1 "$(offsets 20000)"
    serve --socket "$socket" --cache 1MiB
    before=$(statistics)
    fio_iops "$here" 16 "$(offsets 20000)" >/dev/null
    after=$(statistics)
    shown cold_uncached_decodes_per_request "$(ratio \
        $(($(jq .decodes <<<"$after") - $(jq .decodes <<<"$before"))) \
        $(($(jq .requests <<<"$after") - $(jq .requests <<<"$before"))))"
    paired cold_uncached_depth_16_iops more 4 fio_iops "$here" "$(uri "$RUN/peer")" 16 "$(offsets 20000)"
    paired cold_uncached_depth_1_iops more 0 fio_iops "$here" "$(uri "$RUN/peer")" 1 "$(offsets 20000)"
    stop "$SERVER"
    stop "$PEER"
}
