# Sourced by benches/check-serve: files that are far away. nbdkit's delay filter makes every read of a file take a
# millisecond more, and nbdfuse makes a file of it again.
# shellcheck shell=bash disable=SC2153

# Shows a file as one that is far away; sets FAR to its path.
far() {
    local file=$1 name=$2
    mkdir -p "$RUN/far-$name"
    start nbdkit -f -r --unix "$RUN/far-$name.sock" --filter=delay file "$file" rdelay=1ms
    wait_until 20 test -S "$RUN/far-$name.sock"
    FAR=$RUN/far-$name/disk
    # Several connections, so that reads are not one after the other.
    start nbdfuse -r -C 8 "$FAR" "$(uri "$RUN/far-$name.sock")"
    wait_until 20 test -e "$FAR"
}

check_far() {
    local bundle=$WORK/nginx.melv name
    if ! is_there nbdfuse || ! is_there fusermount3 || [[ ! -e /dev/fuse ]]; then
        skip far_depth_16_iops "no nbdfuse, or no FUSE"
        return
    fi
    make_qcow2
    [[ $bundle -nt $(raw nginx) ]] || "$MELV" --store "$STORE" -q save nginx "$bundle" || exit 1
    far "$WORK/nginx.qcow2" qcow2
    FAR_QCOW2=$FAR
    far "$bundle" bundle
    FAR_BUNDLE=$FAR
    PEER_COMMAND=(true) PEER=$BASHPID
    paired far_depth_16_iops more 1 fio_far_iops ours theirs 16 "$(offsets 4000)"
    PEER=''
    for name in qcow2 bundle; do
        fusermount3 -u "$RUN/far-$name"
    done
}

# As `fio_iops`, from a server that has just begun, of the bundle or of the qcow2: what the kernel keeps of
# a file that is far away it forgets when the file is opened.
fio_far_iops() {
    local socket=$RUN/far
    rm -f "$socket"
    if [[ $1 == ours ]]; then
        start "$MELV" --progress none serve "$FAR_BUNDLE" --socket "$socket" >/dev/null 2>&1
    else
        start qemu-nbd -r -t -e 8 -f qcow2 -k "$socket" "$FAR_QCOW2" 2>/dev/null
    fi
    local server=$STARTED
    wait_until 20 test -S "$socket"
    fio_iops "$(uri "$socket")" "$2" "$3"
    stop "$server"
}
