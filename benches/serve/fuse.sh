# Sourced by benches/check-serve: images as files, beside a file system that does nothing.
# shellcheck shell=bash disable=SC2153

# Mounts $STORE at $RUN/images; further arguments are those of `melv mount`.
mount_images() {
    mkdir -p "$RUN/images"
    start "$MELV" --store "$STORE" -q mount "$RUN/images" --foreground "$@"
    MOUNTED=$STARTED
    wait_until 20 findmnt -n "$RUN/images" >/dev/null
}

unmount_images() {
    "$MELV" -q umount "$RUN/images"
    wait "$MOUNTED" 2>/dev/null
}

check_fuse() {
    local name equal=0 clean=0 device kind
    mount_images --cache 2GiB
    for name in "${NAMES[@]}"; do
        cmp -s "$RUN/images/$name/latest.raw" "$(raw "$name")" && equal=$((equal + 1))
    done
    equal fuse_disks_equal $equal 8
    for name in apart-ext4 apart-xfs; do
        device=$(losetup -r -f --show --direct-io=on "$RUN/images/$name/latest.raw")
        kind=${name#apart-}
        mkdir -p "$RUN/loop"
        works "fuse_${kind}_mounted" mount -r -t "$kind" -o "$(no_replay "$kind")" "$device" "$RUN/loop"
        works "fuse_${kind}_files_read" tar -cf /dev/null -C "$RUN/loop" .
        umount "$RUN/loop"
        if [[ $kind == ext4 ]]; then e2fsck -fn "$device"; else xfs_repair -n "$device"; fi >"$RUN/last" 2>&1 &&
            clean=$((clean + 1))
        losetup -d "$device"
    done
    equal fuse_file_systems_clean $clean 2
    fuse_speed
    unmount_images
}

no_replay() {
    if [[ $1 == xfs ]]; then echo norecovery; else echo noload; fi
}

# Reads a second that go past the page cache, of the disk's longest piece of data, by one thread.
fuse_iops() {
    local file=$1 size=$2
    fio --name=r --ioengine=psync --direct=1 --filename="$file" --rw=randread --bs="$size" --offset="$FUSE_START" \
        --size="$FUSE_LEN" --randseed=7 --time_based --runtime=2 --output-format=json --output="$RUN/fio.json" \
        >/dev/null 2>&1
    jq '.jobs[0].read.iops' "$RUN/fio.json" 2>/dev/null
}

fuse_speed() {
    local program=${CARGO_TARGET_DIR:-$ROOT/target}/release/bare_fuse bare=$RUN/bare mine
    mine=$RUN/images/nginx/latest.raw
    [[ -x $program ]] ||
        cargo build --manifest-path "$ROOT/Cargo.toml" --release --locked -p melv-benches --bins || exit 1
    mkdir -p "$bare"
    start "$program" "$bare" "$(stat -c %s "$(raw nginx)")"
    local server=$STARTED
    wait_until 20 findmnt -n "$bare" >/dev/null
    read -r FUSE_START FUSE_LEN < <(longest_data "$(raw nginx)")
    FUSE_LEN=$((FUSE_LEN / MIB * MIB))
    # What is read is decoded before.
    dd if="$mine" of=/dev/null bs=1M iflag=direct 2>/dev/null
    PEER_COMMAND=(true) PEER=$server
    paired fuse_4k_iops more 0.9 fuse_iops "$mine" "$bare/disk" 4k
    paired fuse_1m_iops more 0.75 fuse_iops "$mine" "$bare/disk" 1m
    umount "$bare"
    stop "$server"
    PEER=''
}
