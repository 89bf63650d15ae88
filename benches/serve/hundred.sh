# Sourced by benches/check-serve: a hundred images of one base, all served at once.
# shellcheck shell=bash disable=SC2153

readonly CACHE_MIB=64

resident_mib() {
    awk '/^VmHWM:/ { print $2 / 1024 }' "/proc/$SERVER/status"
}

check_hundred() {
    local socket=$RUN/hundred kept=$STORE program wrong way name got want once=0
    program=${CARGO_TARGET_DIR:-$ROOT/target}/release/hundred_images
    if [[ ! -e $WORK/hundred.made ]]; then
        [[ -x $program ]] ||
            cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked -p melv-benches || exit 1
        rm -rf "$WORK/hundred"
        "$program" make "$WORK/hundred" "$(raw base)" 100 >"$RUN/made" || exit 1
        touch "$WORK/hundred.made"
    fi
    STORE=$WORK/hundred
    serve --socket "$socket" --cache ${CACHE_MIB}MiB
    shown hundred_start_mib "$(resident_mib)"
    equal hundred_exports "$(nbdinfo --list --json "$(uri "$socket")" | jq '.exports | length')" 101
    # One client that holds all of them open to the end, and eight more at a time that read all there is.
    start env SOCKET="$socket" /usr/bin/python3 "$HERE/serve/hold.py" >"$RUN/held"
    local holder=$STARTED
    wait_until 60 grep -q held "$RUN/held"
    equal hundred_held_open "$(cut -d ' ' -f 2 "$RUN/held")" 100
    shown hundred_opened_mib "$(resident_mib)"
    wrong=$(seq 0 99 | xargs -P 8 -I @ sh -c "nbdcopy '$(uri "$socket" image-@)' null: || echo @" | wc -l)
    equal hundred_copies_failed "$wrong" 0
    kill -0 "$holder" 2>/dev/null && figure hundred_holder_alive yes =yes ok
    equal hundred_errors "$(statistics | jq .errors)" 0
    shown hundred_decoded_gib "$(statistics | jq '.decoded_bytes / 1073741824')"
    at_most hundred_cache_mib "$(statistics | jq '.cache_bytes / 1048576')" $CACHE_MIB
    at_most hundred_resident_mib "$(resident_mib)" $((CACHE_MIB + 64))
    stop "$holder"
    stop "$SERVER"

    # What ten of them have in common, on an empty cache that holds all of it: read one after the other, then
    # by ten clients at the same time.
    export SOCKET=$socket OFFSETS=$RUN/offsets
    serve --socket "$socket" --cache ${CACHE_MIB}MiB
    SERVER=$SERVER LOG=$SERVER_LOG nbd_shell shared.py
    stop "$SERVER"
    for way in in_turn at_once; do
        serve --socket "$socket" --cache ${CACHE_MIB}MiB
        while read -r name got want; do
            equal "hundred_shared_$name" "$got" "$want"
            [[ $name == in_turn_decodes_of_one ]] && once=$got
        done < <(SERVER=$SERVER LOG=$SERVER_LOG WAY=$way ONCE=$once nbd_shell shared.py)
        stop "$SERVER"
    done
    unset SOCKET OFFSETS
    STORE=$kept
}
