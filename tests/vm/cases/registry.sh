#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What cases with a registry build on: the registry takes an image and returns it, whole and in
# ranges; nbdkit serves a blob of it, which the kernel attaches as a block device; reads of that
# fail while the registry is down, and are right again after it; it refuses wrong credentials; the
# network can be slow. The case does not run overlaybdsetup.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh
. /overlaybd/tests/vm/registry.sh

# status_of URL ARGS...: sets $status to that of a request, $answer to a file with its body.
answer=$CASE_TMP/body
status_of() {
	so_url=$1
	shift
	status=$(curl -sS -o "$answer" -w '%{http_code}' "$@" "$so_url") ||
		fail "no answer: $so_url"
}

# starts, took: sets $took to the time since the first, in hundredths of a second.
starts() {
	read -r began _ </proc/uptime
}
took() {
	read -r now _ </proc/uptime
	took=$((${now%.*}${now#*.} - ${began%.*}${began#*.}))
}

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt,lsmt/fs2_lz4_4k.zlsmt,lsmt/fs3_lz4_4k.zlsmt
# shellcheck disable=SC2086
set -- $layers
oci_layout "$CASE_TMP/oci" v1 "$2" "$4" "$6" "$8"
blobs=$CASE_TMP/oci/blobs/sha256
digest=$(find "$blobs" -size +1000k | sed 's|.*/||' | head -n 1)
blob=$blobs/$digest
bytes=$(stat -c %s "$blob")

# The registry and the image.
starts
registry_start
took
start=$took
push_layout "$CASE_TMP/oci" some/image 1
url=http://$registry/v2/some/image
status_of "$url/manifests/1" -H 'Accept: application/vnd.oci.image.manifest.v1+json'
expect_eq "status of the manifest" "$status" 200
expect_ok cmp "$answer" "$blobs/${manifest#sha256:}"
for file in "$blobs"/*; do
	[ "${file##*/}" != "${manifest#sha256:}" ] || continue
	status_of "$url/blobs/sha256:${file##*/}"
	expect_eq "status of a blob" "$status" 200
	expect_ok cmp "$answer" "$file"
done
starts
status_of "$url/blobs/sha256:$digest"
took
fast=$took
status_of "$url/blobs/sha256:$digest" -r 70001-270000
expect_eq "status of a range" "$status" 206
tail -c +70002 "$blob" | head -c 200000 >"$CASE_TMP/range"
expect_ok cmp "$answer" "$CASE_TMP/range"
status_of "$url/manifests/2"
expect_eq "status of no image" "$status" 404
[ "$(requests "GET /v2/some/image/blobs/sha256:$digest ")" -ge 2 ] ||
	fail "the log lacks requests: $(tail -n 3 "$registry_log")"

# nbdkit and the kernel's driver. A name instead of the address must do as well.
for filter in log truncate delay rate stats error retry retry-request; do
	expect_ok nbdkit --dump-plugin --filter="$filter" curl
done
undo_add eventually 10 rmmod nbd
expect_ok modprobe nbd
[ -b /dev/nbd0 ] || fail "there is no /dev/nbd0"
nbdkit -f -r -U "$CASE_TMP/socket" --filter=log --filter=truncate curl \
	"url=http://localhost:5000/v2/some/image/blobs/sha256:$digest" round-up=4096 \
	"logfile=$CASE_TMP/nbdkit.log" >"$CASE_TMP/nbdkit" 2>&1 &
nbdkit=$!
undo_add kill $nbdkit
eventually 60 test -S "$CASE_TMP/socket"
expect_ok nbd-client -unix "$CASE_TMP/socket" /dev/nbd0 -readonly
undo_add nbd-client -d /dev/nbd0
expect_eq "size of the device" "$(bytes_of /dev/nbd0)" $(((bytes + 4095) / 4096 * 4096))
read_device() {
	dd if=/dev/nbd0 iflag=direct bs=64k >"$CASE_TMP/read"
}
expect_ok read_device
expect_ok cmp -n "$bytes" "$CASE_TMP/read" "$blob"
expect_ok grep -q ' Read ' "$CASE_TMP/nbdkit.log"

# The registry goes away, and comes back.
registry_stop
expect_eio read_device
registry_again
expect_ok read_device
expect_ok cmp -n "$bytes" "$CASE_TMP/read" "$blob"

# The network is slow: a new connection and an answer, each there and back, take 400 ms.
slow_network 100 8mbit
starts
status_of "http://$registry/v2/"
took
slow=$took
[ $slow -ge 40 ] || fail "with a slow network an answer takes $slow hundredths of a second"
# A megabyte a second.
slow_network 1 8mbit
starts
status_of "$url/blobs/sha256:$digest"
took
expect_ok cmp "$answer" "$blob"
[ $((took * 12000)) -ge "$bytes" ] ||
	fail "at a megabyte a second $bytes bytes take $took hundredths of a second"
limited=$took

# The registry goes away under load: the blob would take ten seconds.
slow_network 1 1mbit
rm "$CASE_TMP/read"
read_device >"$CASE_TMP/dd" 2>&1 &
reader=$!
eventually 60 test -s "$CASE_TMP/read"
registry_stop
! wait $reader || fail "the blob was read without a registry"
expect_ok grep -q 'Input/output error' "$CASE_TMP/dd"
fast_network
! tc qdisc show dev lo | grep -q netem || fail "the network is still slow"
nbd-client -d /dev/nbd0 >/dev/null
undo_drop nbd-client -d /dev/nbd0
kill $nbdkit
undo_drop kill $nbdkit
wait $nbdkit || fail "nbdkit has failed: $(cat "$CASE_TMP/nbdkit")"

# Credentials.
registry_start 5001 auth
url=http://$registry/v2/some/image
status_of "$url/manifests/1"
expect_eq "status without credentials" "$status" 401
status_of "$url/manifests/1" -u reader:wrong
expect_eq "status with a wrong password" "$status" 401
status_of "$url/blobs/sha256:$digest" -u reader:right
expect_eq "status with the right one" "$status" 200
expect_ok cmp "$answer" "$blob"
push_layout "$CASE_TMP/oci" other/image 2
status_of "http://$registry/v2/other/image/manifests/2" -u reader:right \
	-H 'Accept: application/vnd.oci.image.manifest.v1+json'
expect_eq "status of the second image" "$status" 200
registry_stop
report "in hundredths of a second: start $start; an answer 200 ms away $slow;" \
	"$bytes bytes $limited at a megabyte a second, else $fast"
