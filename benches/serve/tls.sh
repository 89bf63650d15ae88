# Sourced by benches/check-serve: who is let in over TLS, and who is not.
# shellcheck shell=bash disable=SC2153

# certificates FOLDER NAME: an authority, a server of this machine and a client, as QEMU names them.
certificates() {
    local folder=$1
    mkdir -p "$folder/server" "$folder/client"
    printf 'cn = %s\nca\ncert_signing_key\n' "$2" >"$folder/ca.info"
    printf 'cn = localhost\ndns_name = localhost\nip_address = 127.0.0.1\ntls_www_server\n%s\n%s\n' \
        encryption_key signing_key >"$folder/server.info"
    printf 'cn = client\ntls_www_client\nencryption_key\nsigning_key\n' >"$folder/client.info"
    {
        certtool --generate-privkey --key-type=rsa --bits=3072 --outfile "$folder/ca-key.pem"
        certtool --generate-self-signed --load-privkey "$folder/ca-key.pem" \
            --template "$folder/ca.info" --outfile "$folder/ca-cert.pem"
        local role
        for role in server client; do
            certtool --generate-privkey --key-type=rsa --bits=3072 --outfile "$folder/$role/$role-key.pem"
            certtool --generate-certificate --load-ca-certificate "$folder/ca-cert.pem" \
                --load-ca-privkey "$folder/ca-key.pem" --load-privkey "$folder/$role/$role-key.pem" \
                --template "$folder/$role.info" --outfile "$folder/$role/$role-cert.pem"
            cp "$folder/ca-cert.pem" "$folder/$role/"
        done
    } 2>"$folder/certtool.log" || {
        cat "$folder/certtool.log" >&2
        exit 1
    }
}

# qemu_tls CERTIFICATES ADDRESS-OPTIONS: qemu-img through TLS.
qemu_tls() {
    qemu-img compare -q --object "tls-creds-x509,id=tls0,dir=$1,endpoint=client" --image-opts \
        "driver=raw,file.driver=nbd,file.export=nginx,$2,file.tls-creds=tls0,file.tls-hostname=localhost" \
        "driver=raw,file.driver=file,file.filename=$(raw nginx)"
}

check_tls() {
    local good=$RUN/pki other=$RUN/other socket=$RUN/tls tcp plain qemu_tcp
    certificates "$good" "melv check"
    certificates "$other" "somebody else"
    # Somebody who trusts our server, but whose certificate is of another authority.
    mkdir "$RUN/stranger" "$RUN/nobody"
    cp "$other/client/client-cert.pem" "$other/client/client-key.pem" "$good/ca-cert.pem" "$RUN/stranger"
    cp "$good/ca-cert.pem" "$RUN/nobody"

    serve --socket "$socket" --listen localhost:0 --tls require --tls-certificates "$good/server"
    tcp=$(printf '%s\n' "${SERVER_URIS[@]}" | sed -n 's,^nbds://[^/]*:\([0-9]*\)/.*,\1,p')
    qemu_tcp="file.server.type=inet,file.server.host=localhost,file.server.port=$tcp"
    tls_clients tls_tcp "nbds://localhost:$tcp/nginx" '?'
    tls_clients tls_unix "nbds+unix:///nginx?socket=$socket" '&'
    works tls_tcp_qemu_img qemu_tls "$good/client" "$qemu_tcp"
    works tls_unix_qemu_img qemu_tls "$good/client" "file.server.type=unix,file.server.path=$socket"
    refused tls_tcp_qemu_img_other_authority qemu_tls "$RUN/stranger" "$qemu_tcp"
    for plain in "nbd://localhost:$tcp/nginx" "nbd+unix:///nginx?socket=$socket"; do
        refused "tls_required_${plain%%:*}_nbdinfo_plain" nbdinfo "$plain"
        refused "tls_required_${plain%%:*}_nbdcopy_plain" nbdcopy "$plain" null:
        refused "tls_required_${plain%%:*}_list_plain" nbdinfo --list "$plain"
        refused "tls_required_${plain%%:*}_qemu_img_plain" qemu-img info "$plain"
    done
    # Those who were refused took nothing from the others.
    works tls_still_serves nbdinfo "nbds://localhost:$tcp/nginx?tls-certificates=$good/client"
    stop "$SERVER"

    serve --socket "$socket" --tls on --tls-certificates "$good/server"
    works tls_on_serves_tls nbdcopy "nbds+unix:///nginx?socket=$socket&tls-certificates=$good/client" null:
    works tls_on_serves_plain nbdcopy "nbd+unix:///nginx?socket=$socket" null:
    refused tls_on_other_authority nbdinfo "nbds+unix:///nginx?socket=$socket&tls-certificates=$RUN/stranger"
    stop "$SERVER"

    serve --socket "$socket" --tls-certificates "$good/server" --tls-any-client
    works tls_any_client_without_certificate \
        nbdinfo "nbds+unix:///nginx?socket=$socket&tls-certificates=$RUN/nobody"
    refused tls_is_required_by_default nbdinfo "nbd+unix:///nginx?socket=$socket"
    stop "$SERVER"
    refused tls_tcp_without_tls_is_refused "$MELV" --store "$STORE" serve --listen 127.0.0.1:0
}

# tls_clients NAME URI SEPARATOR: libnbd's clients.
tls_clients() {
    local name=$1 with="$2$3tls-certificates=" sum
    works "${name}_nbdinfo" nbdinfo "$with$RUN/pki/client"
    read -r sum _ < <(nbdcopy "$with$RUN/pki/client" - | sha256sum)
    equal "${name}_nbdcopy_sha256" "$sum" "$(sha256_of nginx)"
    refused "${name}_nbdinfo_other_authority" nbdinfo "$with$RUN/stranger"
    refused "${name}_nbdcopy_other_authority" nbdcopy "$with$RUN/stranger" null:
    refused "${name}_nbdinfo_no_certificate" nbdinfo "$with$RUN/nobody"
    refused "${name}_nbdcopy_no_certificate" nbdcopy "$with$RUN/nobody" null:
}
