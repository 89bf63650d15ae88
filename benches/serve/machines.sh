# Sourced by benches/check-serve: machines that QEMU emulates.
# shellcheck shell=bash disable=SC2153

# A machine whose disk is ours: what it writes goes to a file of QEMU's that is thrown away.
check_boot() {
    local socket=$RUN/boot seconds
    serve --socket "$socket"
    if seconds=$(/usr/bin/python3 "$HERE/serve/boot.py" "$(raw nginx)" "$socket"); then
        figure boot_to_login_prompt yes =yes ok
        shown boot_seconds "$seconds"
    else
        figure boot_to_login_prompt no =yes short
    fi
    shown boot_requests "$(statistics | jq .requests)"
    equal boot_errors "$(statistics | jq .errors)" 0
    stop "$SERVER"
}

# A machine whose kernel has an NBD client, on two connections. Kernel and modules are those of the disk.
check_guest() {
    local tree=$RUN/tree version module file disk port sum
    disk=$(raw nginx)
    mkdir -p "$tree"/{bin,dev,proc,sys}
    version=$(debugfs -R 'ls -p /boot' "$disk" 2>/dev/null | sed -n 's,.*/vmlinuz-\([^/]*\)/.*,\1,p' | sort -V | tail -1)
    debugfs -R "dump /boot/vmlinuz-$version $RUN/vmlinuz" "$disk" 2>/dev/null
    # In the order of their needs; those that the kernel has built in are not there.
    for module in drivers/virtio/{virtio_ring,virtio,virtio_pci_modern_dev,virtio_pci_legacy_dev,virtio_pci} \
        net/core/failover drivers/net/{net_failover,virtio_net} drivers/block/nbd; do
        file=${module##*/}.ko
        debugfs -R "dump /usr/lib/modules/$version/kernel/$module.ko $tree/$file" "$disk" 2>/dev/null
        [[ ! -s $tree/$file ]] || echo "/$file" >>"$tree/modules"
    done
    cp "$(command -v busybox)" "$tree/bin/busybox"
    cp "$(command -v nbd-client)" "$tree/bin/nbd-client"
    ldd "$(command -v nbd-client)" | grep -o '/[^ ]*' | while read -r module; do
        mkdir -p "$tree/$(dirname "$module")"
        cp -L "$module" "$tree/$module"
    done
    serve -v --listen 127.0.0.1:0 --insecure
    port=${SERVER_URIS[0]##*:} port=${port%%/*}
    sed "s/PORT/$port/" "$HERE/serve/guest-init" >"$tree/init"
    chmod +x "$tree/init"
    (cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$RUN/initrd"
    timeout 1200 qemu-system-x86_64 -accel tcg -m 512 -smp 1 -nodefaults -no-user-config -no-reboot -display none \
        -serial stdio -kernel "$RUN/vmlinuz" -initrd "$RUN/initrd" -append 'console=ttyS0 panic=-1 quiet' \
        -netdev user,id=n0 -device virtio-net-pci,netdev=n0,romfile= </dev/null >"$RUN/guest.log" 2>&1
    sum=$(sed -n 's/.*guest-sha256 \([0-9a-f]\{64\}\).*/\1/p' "$RUN/guest.log")
    [[ -n $sum ]] || tail -20 "$RUN/guest.log" >&2
    equal guest_sha256 "$sum" "$(sha256_of nginx)"
    equal guest_connections "$(grep -c 'a client opened an export' "$SERVER_LOG")" 2
    equal guest_disk_read_only "$(sed -n 's/.*guest-read-only \([01]\).*/\1/p' "$RUN/guest.log")" 1
    equal guest_errors "$(statistics | jq .errors)" 0
    stop "$SERVER"
}
