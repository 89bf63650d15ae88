# Sourced by benches/check-serve: the README's recipes, taken out of the README.
# shellcheck shell=bash disable=SC2153

# block LANGUAGE WORD: the README's code block in that language that has the word in it.
block() {
    awk -v language="$1" -v word="$2" '
        /^```/ { if (inside && index(text, word)) { printf "%s", text; exit } inside = $0 == "```" language; text = ""; next }
        inside { text = text $0 "\n" }' "$ROOT/README.md"
}

check_recipes() {
    recipe_systemd
    recipe_libvirt
}

# The units, in a machine of systemd's own: a container that has this system's /usr and nothing else.
recipe_systemd() {
    local folder=$RUN/units name found=$RUN/units/found
    if ((EUID != 0)) || ! is_there systemd-nspawn; then
        skip systemd_units "no systemd-nspawn, or not root"
        return
    fi
    mkdir -p "$folder"
    block ini '[Socket]' >"$folder/melv.socket"
    block ini '[Service]' >"$folder/melv.service"
    cp "$HERE/serve/units-check" "$folder/check"
    printf '[Unit]\nSuccessAction=exit\nFailureAction=exit\n[Service]\nType=oneshot\nExecStart=/bin/bash /check/check\n' \
        >"$folder/check.service"
    # What a unit does not name it must not need: the store is there and the command, and no home.
    timeout 300 systemd-nspawn -q -D / --volatile=yes --register=no --keep-unit --private-network --machine=melv-check \
        --bind="$folder:/check" --bind="$STORE:/srv/melv" --tmpfs=/usr/local/bin --bind-ro="$MELV:/usr/local/bin/melv" \
        --bind-ro="$folder/melv.socket:/etc/systemd/system/melv.socket" \
        --bind-ro="$folder/melv.service:/etc/systemd/system/melv.service" \
        --bind-ro="$folder/check.service:/etc/systemd/system/check.service" \
        -b systemd.firstboot=no systemd.unit=check.service </dev/null >"$RUN/container.log" 2>&1
    [[ -s $found ]] || tail -20 "$RUN/container.log" >&2
    for name in "units_socket:660 libvirt-qemu" units_before:inactive units_listed:8 units_after:active \
        "units_sha256:$(sha256_of nginx)" units_statistics:yes units_stopped:inactive; do
        equal "${name%%:*}" "$(sed -n "s/^${name%%:*} //p" "$found" 2>/dev/null)" "${name#*:}"
    done
}

# The disks, in a machine of libvirt's that boots from the one that can be written to.
recipe_libvirt() {
    local folder=$RUN/libvirt socket=$RUN/libvirt/nbd.sock console=$RUN/libvirt/console
    if ! is_there virsh || ! is_there libvirtd; then
        skip libvirt_disks "no libvirt"
        return
    fi
    mkdir -p "$folder"
    serve -v --socket "$socket" --socket-mode 0666
    # The README's names for ours.
    local ours="s,/run/melv/nbd.sock,$socket,g; s,web:v1,nginx,g; s,web%3Av1,nginx,g; s,/var/lib/libvirt/images/web.qcow2,$folder/web.qcow2,g"
    works libvirt_layer bash -c "$(tr '\n' ' ' <"$ROOT/README.md" | grep -o 'qemu-img create[^`]*web.qcow2`, and this disk' |
        sed "s/\`.*//; $ours")"
    /usr/bin/python3 "$HERE/serve/boot.py" --take-out "$(raw nginx)" "$folder"
    {
        printf '<domain type="qemu"><name>melv-check</name><memory unit="MiB">1024</memory><vcpu>1</vcpu>\n'
        printf '<os><type arch="x86_64" machine="pc">hvm</type><kernel>%s</kernel><initrd>%s</initrd>\n' \
            "$folder/vmlinuz" "$folder/initrd"
        printf '<cmdline>root=/dev/vda rw console=ttyS0</cmdline></os><features><acpi/></features><devices>\n'
        block xml "type='qcow2'" | sed "$ours"
        block xml '<readonly/>' | sed "$ours; s/'vda'/'vdb'/"
        printf '<serial type="file"><source path="%s"/></serial></devices></domain>\n' "$console"
    } >"$folder/domain.xml"
    # libvirt's sessions are for users who are not root.
    if ((EUID == 0)); then
        chmod 711 "$RUN"
        chown -R 65534:65534 "$folder"
    fi
    works libvirt_schema virt-xml-validate "$folder/domain.xml" domain
    works libvirt_create virsh_of "$folder" create "$folder/domain.xml"
    # What is begun in the background, for where this is interrupted.
    CHILDREN+=("$(cat "$folder/libvirt/libvirtd.pid")" "$(cat "$folder/libvirt/qemu/run/melv-check.pid")")
    wait_until 900 logged_in_or_gone "$folder" "$console"
    if grep -q ' login: ' "$console"; then
        figure libvirt_boot_to_login_prompt yes =yes ok
    else
        figure libvirt_boot_to_login_prompt no =yes short
    fi
    equal libvirt_disks "$(virsh_of "$folder" domblklist melv-check | grep -c 'vd[ab]')" 2
    equal libvirt_read_only "$(virsh_of "$folder" dumpxml melv-check | grep -c '<readonly/>')" 1
    at_least libvirt_clients "$(grep -c 'a client opened an export' "$SERVER_LOG")" 2
    equal libvirt_errors "$(statistics | jq .errors)" 0
    virsh_of "$folder" destroy melv-check >/dev/null
    kill "$(cat "$folder/libvirt/libvirtd.pid")"
    stop "$SERVER"
}

logged_in_or_gone() {
    grep -q ' login: ' "$2" || ! kill -0 "$(cat "$1/libvirt/qemu/run/melv-check.pid")"
} 2>/dev/null

# A libvirt of this check's own, which ends when nobody asks it for anything.
virsh_of() {
    local folder=$1
    shift
    local as=(env)
    ((EUID != 0)) || as=(setpriv --reuid=65534 --regid=65534 --clear-groups env)
    timeout 120 "${as[@]}" HOME="$folder" XDG_RUNTIME_DIR="$folder" XDG_CONFIG_HOME="$folder" XDG_CACHE_HOME="$folder" \
        XDG_DATA_HOME="$folder" virsh -q -c qemu:///session "$@"
}
