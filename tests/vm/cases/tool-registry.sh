#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup opens images in a registry, whose layers are fetched when they are read. They hold
# the right bytes; less than a blob is fetched where less is read; a cache and a record are used by
# the next open. Two images share the layers they have in common. Layers that are files here are not
# fetched. Wrong credentials, images that are not there and blobs that are other ones are refused.
# Nothing is left: no process, no folder, no device.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh
. /overlaybd/tests/vm/registry.sh

# is_still: whether nothing is fetched for a second.
is_still() {
	is_before=$(layer_field fetched_bytes image)
	sleep 1
	[ "$(layer_field fetched_bytes image)" = "$is_before" ]
}

two_images
blob_bytes=$(find "$CASE_TMP/oci/blobs/sha256" -size +8k -exec stat -c %s {} + |
	awk '{ sum += $1 } END { print sum }')
image="--registry $registry/some/image:1 --insecure"

# The whole content, through a device for each layer.
# shellcheck disable=SC2086
open_image image $image
opened=$(layer_field fetched_bytes image)
holds /dev/mapper/image "$whole" "$CASE_TMP/content"
overlaybdsetup status image --json >"$CASE_TMP/json"
expect_eq "layers with a fetcher" "$(processes fetch-blob | wc -l)" 4
fetched=$(layer_field fetched_bytes image)
[ "$fetched" -le "$blob_bytes" ] || fail "$fetched bytes fetched of $blob_bytes"
[ "$opened" -lt "$fetched" ] || fail "open has fetched $opened bytes, the whole image $fetched"
expect_eq "failed reads" "$(layer_field failed_reads image)" 0
for pid in $(processes fetch-blob) $(processes nbdkit); do
	expect_eq "what the OOM killer counts" "$(cat "/proc/$pid/oom_score_adj")" -999
done
expect_ok grep -q "blobs/sha256:" "$CASE_TMP/json"
close_image image
all_gone "close"

# The same through a cache: the second time, nothing is fetched that was read before.
cache=$CASE_TMP/cache
for turn in first second; do
	# shellcheck disable=SC2086
	open_image image $image --cache "$cache"
	holds /dev/mapper/image "$whole" "$CASE_TMP/content"
	eval "$turn=$(layer_field fetched_bytes image)"
	close_image image
	all_gone "close with a cache"
done
[ "$first" -gt 0 ] || fail "nothing was fetched into the cache"
expect_eq "bytes fetched with a cache" "$second" 0
expect_eq "blobs in the cache" "$(overlaybdsetup cache ls "$cache" | grep -c unused)" 4
# What a crash left in the cache is fetched again.
for data in "$cache/insecure-http-$registry"/sha256/*/data; do
	printf 'x' | dd of="$data" bs=1 seek=70000 conv=notrunc 2>/dev/null
done
# shellcheck disable=SC2086
open_image image $image --cache "$cache"
holds /dev/mapper/image "$whole" "$CASE_TMP/content"
[ "$(layer_field fetched_bytes image)" -gt 0 ] || fail "a damaged cache was used"
expect_eq "what is pruned in use" "$(overlaybdsetup cache prune "$cache")" ""
close_image image

eventually 30 nothing_remote
expect_eq "what is pruned" "$(overlaybdsetup cache prune "$cache" | wc -l)" 4
expect_eq "what is left" "$(overlaybdsetup cache ls "$cache")" ""

# What was read is recorded, and prefetched by the next open without a read.
# shellcheck disable=SC2086
open_image image $image
dd if=/dev/mapper/image of=/dev/null bs=64k count=20 skip=16 iflag=direct 2>/dev/null
overlaybdsetup record image >"$CASE_TMP/record"
close_image image
# shellcheck disable=SC2086
open_image image $image --prefetch "$CASE_TMP/record"
eventually 60 is_still
before=$(layer_field fetched_bytes image)
[ "$before" -gt $((opened + 500000)) ] || fail "only $before bytes were prefetched"
dd if=/dev/mapper/image of=/dev/null bs=64k count=20 skip=16 iflag=direct 2>/dev/null
expect_eq "bytes fetched after a prefetch" "$(layer_field fetched_bytes image)" "$before"
close_image image
refuses 1 "" open image --registry "$registry/some/image:1" --insecure --prefetch "$CASE_TMP/json"

# Layers that are files here are not fetched.
# shellcheck disable=SC2086
open_image image $image --blobs "$CASE_TMP/oci"
expect_eq "fetchers of an image that is here" "$(processes fetch-blob)" ""
close_image image

# Layers in common.
# shellcheck disable=SC2086
open_image image $image
open_image two --registry "$registry/two:1" --insecure --timeout 3
eventually 30 fetchers 4
holds /dev/mapper/two "$lower" "$CASE_TMP/lower"
close_image image
eventually 30 fetchers 2
echo 3 >/proc/sys/vm/drop_caches
holds /dev/mapper/two "$lower" "$CASE_TMP/lower"
close_image two
all_gone "close of two images"

read_two() {
	dd if=/dev/mapper/two iflag=direct bs=64k of="$CASE_TMP/read" 2>&1
}

# What is refused.
refuses 4 "" open image --registry "$registry/some/image:none" --insecure
refuses 4 "" open image --registry "$registry/none:1" --insecure
refuses 1 "only files can be read" table --registry "$registry/two:1"
expect_ok overlaybdsetup verify --registry "$registry/two:1" --insecure
# A blob that is another one under its digest: of another size, and of the same.
data=$CASE_TMP/registry/docker/registry/v2/blobs/sha256
digest=$(find "$CASE_TMP/two/blobs/sha256" -size +1000k | sed 's|.*/||' | head -n 1)
stored=$data/$(echo "$digest" | cut -c 1-2)/$digest/data
cp "$stored" "$CASE_TMP/right"
truncate -s -512 "$stored"
refuses 1 "bytes, should have" open image --registry "$registry/two:1" --insecure
cp "$CASE_TMP/right" "$stored"
dd if=/dev/urandom of="$stored" bs=4096 seek=50 count=20 conv=notrunc 2>/dev/null
open_image two --registry "$registry/two:1" --insecure
expect_eio read_two
close_image two
finds "digest" --registry "$registry/two:1" --insecure
cp "$CASE_TMP/right" "$stored"
registry_stop
all_gone "a registry that changes"

# Credentials.
registry_start 5001 auth
push_layout "$CASE_TMP/two" two 1
refuses 2 "" open two --registry "$registry/two:1" --insecure
auth=$(printf 'reader:wrong' | base64)
printf '{"auths": {"%s": {"auth": "%s"}}}' "$registry" "$auth" >"$CASE_TMP/auth.json"
export REGISTRY_AUTH_FILE="$CASE_TMP/auth.json"
refuses 2 "" open two --registry "$registry/two:1" --insecure
auth=$(printf 'reader:right' | base64)
printf '{"auths": {"%s": {"auth": "%s"}}}' "$registry" "$auth" >"$CASE_TMP/auth.json"
open_image two --registry "$registry/two:1" --insecure
holds /dev/mapper/two "$lower" "$CASE_TMP/lower"
close_image two
registry_stop
all_gone "the end"
report "of $blob_bytes bytes, open fetches $opened, reading all $fetched"
