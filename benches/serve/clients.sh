# Sourced by benches/check-serve: clients that others wrote, as they come.
# shellcheck shell=bash disable=SC2153

# Python of the system, which has libnbd's module; another may come first.
# Prints `name got want` lines, also where it fails.
nbd_shell() {
    PATH=/usr/bin:$PATH nbdsh -n -c - <"$HERE/serve/$1" || echo "${1%.py} exit:$? exit:0"
}

check_clients() {
    local socket=$RUN/clients disk size
    disk=$(raw nginx) size=$(stat -c %s "$(raw nginx)")
    serve --socket "$socket"
    local here
    here=$(uri "$socket" nginx)
    qemu_clients
    libnbd_clients
    nbdsh_clients
    other_clients
    stop "$SERVER"
    extended_headers
    activation
}

qemu_clients() {
    local out=$RUN/out.raw offset length
    equal qemu_img_info_size "$(qemu-img info -f raw --output=json "$here" | jq '."virtual-size"')" "$size"
    equal qemu_img_map_data_bytes "$(data_bytes "$here")" "$(data_bytes "$disk")"
    # Strict: also that no hole is data and no data a hole.
    works qemu_img_compare_strict qemu-img compare -s -f raw -F raw "$here" "$disk"
    works qemu_img_convert qemu-img convert -f raw -O raw "$here" "$out"
    works qemu_img_convert_equal cmp "$out" "$disk"
    rm -f "$out"
    works qemu_img_convert_qcow2 qemu-img convert -f raw -O qcow2 "$here" "$out"
    works qemu_img_convert_qcow2_equal qemu-img compare -f qcow2 -F raw "$out" "$disk"
    rm -f "$out"
    works qemu_img_dd qemu-img dd -f raw -O raw bs=1M count=64 "if=$here" "of=$out"
    works qemu_img_dd_equal cmp -n $((64 * MIB)) "$out" "$disk"
    works qemu_img_bench qemu-img bench -f raw -c 2000 -d 16 -s 4096 "$here"
    read -r offset length < <(longest_data "$disk")
    # Dumps of odd ranges, some over an end of the data.
    local commands=(-c "read -v $((offset + 511)) 8193" -c "read -v $((offset + length - 512)) 4096"
        -c "read -v 0 65536" -c "read -v $((size - 777)) 777")
    equal qemu_io_dumps_equal \
        "$(qemu-io -r -f raw "${commands[@]}" "$here" | grep '^[0-9a-f]*:' | sha256sum)" \
        "$(qemu-io -r -f raw "${commands[@]}" "$disk" | grep '^[0-9a-f]*:' | sha256sum)"
    works qemu_io_aio qemu-io -r -f raw -c "aio_read -q $offset 1M" -c "aio_read -q 0 64k" -c aio_flush "$here"
    refused qemu_io_write_refused qemu-io -f raw -c "write 0 4096" "$here"
    # Each of QEMU's own layers on top of ours.
    start qemu-storage-daemon --blockdev "driver=nbd,node-name=n,read-only=on,server.type=unix,server.path=$socket,export=nginx" \
        --nbd-server "addr.type=unix,addr.path=$RUN/qsd" --export type=nbd,id=e,node-name=n,name=again
    local daemon=$STARTED
    wait_until 10 test -S "$RUN/qsd"
    works qemu_storage_daemon_compare qemu-img compare -f raw -F raw "$(uri "$RUN/qsd" again)" "$disk"
    stop "$daemon"
}

libnbd_clients() {
    local sum name
    equal nbdinfo_size "$(nbdinfo --size "$here")" "$size"
    equal nbdinfo_list_exports "$(nbdinfo --list --json "$(uri "$socket")" | jq '.exports | length')" 8
    nbdinfo --json "$here" >"$RUN/info.json"
    equal nbdinfo_json_read_only "$(jq '.exports[0].is_read_only' "$RUN/info.json")" true
    equal nbdinfo_json_protocol "$(jq -r '.protocol' "$RUN/info.json")" newstyle-fixed
    equal nbdinfo_json_structured "$(jq -r '.structured' "$RUN/info.json")" true
    equal nbdinfo_json_contexts "$(jq -c '.exports[0].contexts' "$RUN/info.json")" \
        '["base:allocation","x-melv:depth"]'
    equal nbdinfo_json_preferred "$(jq '.exports[0].block_size_preferred' "$RUN/info.json")" 32768
    works nbdinfo_is_read_only nbdinfo --is read-only "$here"
    refused nbdinfo_is_rotational nbdinfo --is rotational "$here"
    works nbdinfo_is_structured nbdinfo --is structured-reply "$here"
    for name in cache df fua flush multi-conn read; do
        works "nbdinfo_can_$name" nbdinfo --can "$name" "$here"
    done
    for name in fast-zero trim write zero; do
        refused "nbdinfo_cannot_$name" nbdinfo --can "$name" "$here"
    done
    equal nbdinfo_map_data_bytes \
        "$(nbdinfo --map "$here" --json | jq 'map(select(.type == 0) | .length) | add')" "$(data_bytes "$disk")"
    equal nbdinfo_map_all_bytes "$(nbdinfo --map "$here" --json | jq 'map(.length) | add')" "$size"
    equal nbdinfo_depth_all_bytes \
        "$(nbdinfo --map=x-melv:depth "$here" --json | jq 'map(.length) | add')" "$size"
    refused nbdinfo_unknown_export nbdinfo "$(uri "$socket" no-such-image)"
    for name in "" "--connections=1 --requests=1" "--connections=4 --requests=64" --synchronous \
        "--request-size=33554432" "--request-size=4096" "--no-extents" "--allocated"; do
        # shellcheck disable=SC2086  # options
        read -r sum _ < <(nbdcopy $name "$here" - | sha256sum)
        equal "nbdcopy${name//[^a-z0-9]/_}_sha256" "$sum" "$(sha256_of nginx)"
    done
    works nbdcopy_to_file nbdcopy --connections=4 --requests=64 "$here" "$RUN/out.raw"
    works nbdcopy_to_file_equal cmp "$RUN/out.raw" "$disk"
    equal nbdcopy_to_file_is_sparse "$(data_bytes "$RUN/out.raw")" "$(data_bytes "$disk")"
    rm -f "$RUN/out.raw"
    if ! is_there nbdfuse || [[ ! -c /dev/fuse ]]; then
        skip nbdfuse "no nbdfuse or no /dev/fuse"
        return
    fi
    mkdir -p "$RUN/fuse"
    start nbdfuse -r "$RUN/fuse/disk" "$here"
    local mounted=$STARTED
    if wait_until 10 test -f "$RUN/fuse/disk"; then
        works nbdfuse_equal cmp "$RUN/fuse/disk" "$disk"
    else
        equal nbdfuse mounted=no mounted=yes
    fi
    fusermount3 -u "$RUN/fuse" 2>/dev/null
    stop "$mounted"
}

nbdsh_clients() {
    local name got want
    # shellcheck disable=SC2030,SC2031
    while read -r name got want; do
        equal "nbdsh_$name" "$got" "$want"
    done < <(SOCKET=$socket EXPORT=nginx DISK=$disk nbd_shell nbdsh_checks.py)
}

other_clients() {
    local proxy=$RUN/proxy pattern=$RUN/pattern.raw engine names
    start nbdkit -f -r --unix "$proxy" nbd "uri=$here"
    local kit=$STARTED
    wait_until 10 test -S "$proxy"
    works nbdkit_nbd_compare qemu-img compare -s -f raw -F raw "$(uri "$proxy")" "$disk"
    stop "$kit"
    rm -f "$proxy"
    start nbdkit -f -r --unix "$proxy" nbd "uri=$here" shared=true
    kit=$STARTED
    wait_until 10 test -S "$proxy"
    works nbdkit_nbd_shared_compare qemu-img compare -f raw -F raw "$(uri "$proxy")" "$disk"
    stop "$kit"

    # What fio wrote into a disk, fio verifies through us: checksums in every block.
    fio --name=w --filename="$pattern" --rw=write --bs=16k --size=64M --verify=crc32c --do_verify=0 --verify_state_save=0 \
        --output="$RUN/fio" || cat "$RUN/fio" >&2
    rm -rf "$RUN/pattern"
    "$MELV" --store "$RUN/pattern" -q import "$pattern" --name pattern
    engine=$STORE
    STORE=$RUN/pattern
    local main=$SERVER log=$SERVER_LOG
    serve --socket "$RUN/pattern.s"
    works fio_verify_sequential fio --name=v --ioengine=nbd --uri="$(uri "$RUN/pattern.s" pattern)" --rw=read \
        --bs=16k --size=64M --iodepth=16 --verify=crc32c --verify_fatal=1 --verify_state_save=0
    works fio_verify_random fio --name=v --ioengine=nbd --uri="$(uri "$RUN/pattern.s" pattern)" --rw=randread \
        --bs=16k --size=64M --iodepth=32 --verify=crc32c --verify_fatal=1 --verify_state_save=0
    stop "$SERVER"
    STORE=$engine SERVER=$main SERVER_LOG=$log
    rm -f "$pattern"

    # Debian's nbd-client lists over TCP only.
    serve --listen 127.0.0.1:0 --insecure
    local port=${SERVER_URIS[0]##*:}
    names=$(nbd-client -l 127.0.0.1 "${port%%/*}" 2>&1 | grep -c ':latest')
    equal nbd_client_list "$names" 8
    works nbdinfo_tcp nbdinfo "${SERVER_URIS[0]}nginx"
    stop "$SERVER"
    SERVER=$main SERVER_LOG=$log
}

# QEMU from 8.2 on asks for extended headers. That it gets them shows where it asks for the status of
# more than 4 GiB at once, and is told it in 64 bits.
extended_headers() {
    local version trace=$RUN/trace kept=$STORE
    version=$(qemu-img --version | sed -n 's/^qemu-img version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    # shellcheck disable=SC2086
    if ! printf '%s %s\n' $version | awk '{ exit !($1 > 8 || $1 == 8 && $2 >= 2) }'; then
        skip extended_headers "QEMU $version is older than 8.2"
        return
    fi
    truncate -s 6G "$RUN/wide.raw"
    dd if=/dev/urandom of="$RUN/wide.raw" bs=1M count=3 seek=5500 conv=notrunc status=none
    rm -rf "$RUN/wide"
    "$MELV" --store "$RUN/wide" -q import "$RUN/wide.raw" --name wide
    STORE=$RUN/wide
    serve --socket "$RUN/wide.s"
    qemu-img --trace 'nbd_*' map -f raw --output=json "$(uri "$RUN/wide.s" wide)" 2>"$trace" |
        jq -c 'map(select(.data) | [.start, .length])' >"$RUN/wide.map"
    if [[ $(cat "$RUN/wide.map") != '[[5767168000,3145728]]' && ! -s $trace ]]; then
        skip extended_headers "this qemu-img does not trace"
    else
        equal extended_headers_agreed \
            "$(grep -c 'Received option reply 11 (extended headers), type 1 (ack)' "$trace")" 1
        equal extended_headers_status_of_bytes \
            "$(sed -n 's/.*from = 0, .len = \([0-9]*\),.*(block status).*/\1/p' "$trace" | head -1)" $((6 << 30))
        at_least extended_headers_status_replies "$(grep -c 'block status (64-bit)' "$trace")" 3
        equal extended_headers_map "$(cat "$RUN/wide.map")" '[[5767168000,3145728]]'
    fi
    works extended_headers_compare qemu-img compare -s -f raw -F raw "$(uri "$RUN/wide.s" wide)" "$RUN/wide.raw"
    stop "$SERVER"
    STORE=$kept
    rm -rf "$RUN/wide" "$RUN/wide.raw"
}

# A server that others start: libnbd as systemd would, on standard input, and the other way about.
activation() {
    # shellcheck disable=SC2016  # $uri is for the server's shell
    local command=("$MELV" --store "$STORE" -q serve nginx) run='qemu-img compare -f raw -F raw "$uri" '
    works activated_by_libnbd nbdcopy -- [ "${command[@]}" ] null:
    works on_stdio_nbdsh env PATH="/usr/bin:$PATH" nbdsh \
        -c "h.connect_command('''$(printf '%s\n' "${command[@]}" --stdio)'''.split('\n'))" \
        -c "assert h.get_size() == $size and len(h.pread(65536, 0)) == 65536"
    # What a client writes to standard output is its own.
    local sum
    read -r sum _ < <(nbdcopy -- [ "${command[@]}" ] - | sha256sum)
    equal activated_output_sha256 "$sum" "$(sha256_of nginx)"
    # shellcheck disable=SC2016
    read -r sum _ < <("${command[@]}" --run 'nbdcopy "$uri" -' | sha256sum)
    equal run_output_sha256 "$sum" "$(sha256_of nginx)"
    works run_with_uri "${command[@]}" --run "$run$disk"
    refused run_gives_exit_code "${command[@]}" --run 'exit 3'
    if is_there systemd-socket-activate; then
        start systemd-socket-activate -l "$RUN/activated" "${command[@]}" 2>"$RUN/activated.log"
        local activated=$STARTED
        wait_until 10 test -S "$RUN/activated"
        works activated_by_systemd nbdinfo "$(uri "$RUN/activated")"
        stop "$activated"
    else
        skip activated_by_systemd "no systemd-socket-activate"
    fi
}
