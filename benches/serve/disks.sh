# Sourced by benches/check-serve: every disk, equal through NBD.
# shellcheck shell=bash disable=SC2153

check_disks() {
    local socket=$RUN/disks name here mine theirs compared=0 summed=0 mapped=0 same
    serve --socket "$socket"
    for name in "${NAMES[@]}"; do
        here=$(uri "$socket" "$name")
        qemu-img compare -q -f raw -F raw "$here" "$(raw "$name")" && compared=$((compared + 1))
        read -r same _ < <(nbdcopy "$here" - | sha256sum)
        [[ $same == "$(sha256_of "$name")" ]] && summed=$((summed + 1))
        mine=$(nbdinfo --map "$here" --json | jq 'map(select(.type == 0) | .length) | add // 0')
        theirs=$(data_bytes "$(raw "$name")")
        shown "${name}_map_data_bytes" "$mine"
        if [[ $mine == "$theirs" ]]; then
            mapped=$((mapped + 1))
        else
            explain_map "$name" "$mine" "$theirs"
        fi
    done
    equal disks_equal_by_qemu_img $compared 8
    equal disks_equal_by_sha256 $summed 8
    equal disks_with_equal_map_totals $mapped 8
    stop "$SERVER"
}

# A raw file may have blocks of zeros that take space; in melv's map they are holes. What the file
# says is data, less those, must be what melv says.
explain_map() {
    local zeros
    zeros=$(/usr/bin/python3 "$HERE/serve/zeros.py" "$(raw "$1")")
    shown "${1}_raw_data_bytes" "$3"
    shown "${1}_raw_data_bytes_of_zero_blocks" "$zeros"
    equal "${1}_map_and_zero_blocks" $(($2 + zeros)) "$3"
    (($2 + zeros == $3)) && mapped=$((mapped + 1))
}
