#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup opens images in a registry, whose layers are fetched when they are read. They hold
# the right bytes; less than a blob is fetched where less is read; a cache is used by the next open.
# Two images share the layers they have in common. While the registry is down, reads fail after the
# time that `open` was told, and they succeed again once it is back; a device can be closed
# meanwhile. Killed fetchers are reported and closed. Wrong credentials and images that are not
# there are refused. Nothing is left: no process, no folder, no device.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh
. /overlaybd/tests/vm/registry.sh

run=/run/overlaybdsetup/fetchers

# processes NAME: prints the pids of processes whose command line has that word.
processes() {
	for ps_file in /proc/[0-9]*/cmdline; do
		if { tr '\0' '\n' <"$ps_file"; } 2>/dev/null | grep -qx -- "$1"; then
			ps_pid=${ps_file#/proc/}
			echo "${ps_pid%/cmdline}"
		fi
	done
}

# remnants: prints what fetchers leave while they run.
remnants() {
	processes fetch-blob | sed 's/^/fetcher /'
	processes nbdkit | sed 's/^/nbdkit /'
	for rm_folder in "$run"/*; do
		[ ! -e "$rm_folder" ] || echo "folder $rm_folder"
	done
	for rm_device in /sys/block/nbd*; do
		[ ! -e "$rm_device/pid" ] || echo "device $rm_device"
	done
}
nothing_remote() {
	[ -z "$(remnants)" ]
}
# Fetchers end on their own when their device is gone.
all_gone() {
	nothing_left "$1"
	eventually 30 nothing_remote
}

no_nbdkit() {
	[ -z "$(processes nbdkit)" ]
}

# fetchers COUNT: whether as many run.
fetchers() {
	[ "$(processes fetch-blob | wc -l)" = "$1" ]
}

# is_still: whether nothing is fetched for a second.
is_still() {
	is_before=$(layer_field fetched_bytes image)
	sleep 1
	[ "$(layer_field fetched_bytes image)" = "$is_before" ]
}

# at_least COUNT KEY NAME: whether that sum is as large.
at_least() {
	[ "$(layer_field "$2" "$3")" -ge "$1" ]
}

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt,lsmt/fs2_lz4_4k.zlsmt,lsmt/fs3_lz4_4k.zlsmt
whole=$want
# shellcheck disable=SC2086
set -- $layers
oci_layout "$CASE_TMP/oci" v1 "$2" "$4" "$6" "$8"
oci_layout "$CASE_TMP/two" v1 "$2" "$4"
layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt
lower=$want
blob_bytes=$(find "$CASE_TMP/oci/blobs/sha256" -size +8k -exec stat -c %s {} + |
	awk '{ sum += $1 } END { print sum }')
registry_start
push_layout "$CASE_TMP/oci" some/image 1
push_layout "$CASE_TMP/two" two 1
mkimage split "$CASE_TMP/layer" --content "$ROOTFS" --layers 2 --seed 4 >/dev/null
oci_layout "$CASE_TMP/root" v1 "$CASE_TMP/layer.0" "$CASE_TMP/layer.1"
rm "$CASE_TMP"/layer.*
push_layout "$CASE_TMP/root" root 1
image="--registry $registry/some/image:1 --insecure"

# The whole content, through a device for each layer.
undo_add eventually 10 rmmod nbd
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

# The registry goes away. Reads wait for 3 seconds; then they fail, and later ones succeed again.
open_image two --registry "$registry/two:1" --insecure --timeout 3
read_two() {
	dd if=/dev/mapper/two iflag=direct bs=64k of="$CASE_TMP/read" 2>&1
}
registry_stop
read -r began _ </proc/uptime
expect_eio read_two
read -r ended _ </proc/uptime
waited=$((${ended%.*} - ${began%.*}))
[ $waited -ge 2 ] || fail "a read failed after $waited seconds"
[ $waited -le 30 ] || fail "a read failed only after $waited seconds"
expect_eq "state" "$(overlaybdsetup status two --json | grep -c '"failing": true')" 1
retries=$(layer_field retries two)
[ "$retries" -gt 0 ] || fail "no read was tried again"
registry_again
expect_ok read_two
expect_eq "content" "$(sha256_of "$CASE_TMP/read")" "$lower"
expect_eq "state" "$(overlaybdsetup status two --json | grep -c '"failing": true')" 0
close_image two
all_gone "close after the registry was away"

# A read under way when the registry goes away, which comes back in time.
open_image two --registry "$registry/two:1" --insecure --timeout 300
registry_stop
read_two >"$CASE_TMP/dd" &
reader=$!
eventually 60 at_least 3 retries two
registry_again
wait $reader || fail "a read that waited has failed: $(cat "$CASE_TMP/dd")"
expect_eq "content" "$(sha256_of "$CASE_TMP/read")" "$lower"
close_image two

# It is closed while reads wait, which would last five minutes.
open_image two --registry "$registry/two:1" --insecure --timeout 300
registry_stop
dd if=/dev/mapper/two of=/dev/null bs=64k >"$CASE_TMP/dd" 2>&1 &
reader=$!
eventually 60 at_least 1 retries two
refuses 5 "in use" close two
read -r began _ </proc/uptime
close_image two --force
read -r ended _ </proc/uptime
closed=$((${ended%.*} - ${began%.*}))
[ $closed -le 60 ] || fail "close has waited for $closed seconds"
! wait $reader || fail "the reader has not failed"
expect_ok grep -q "Input/output error" "$CASE_TMP/dd"
all_gone "close while a read waited"
registry_again

# The same with a file system, and without --force: its only user was killed.
mkdir "$CASE_TMP/mnt"
open_image root --registry "$registry/root:1" --insecure --timeout 300 --mount "$CASE_TMP/mnt"
registry_stop
cat "$CASE_TMP/mnt/bin/busybox" >/dev/null &
reader=$!
eventually 60 at_least 1 retries root
kill -9 $reader
! wait $reader || fail "the reader was not killed"
read -r began _ </proc/uptime
close_image root
read -r ended _ </proc/uptime
unmounted=$((${ended%.*} - ${began%.*}))
[ $unmounted -le 60 ] || fail "close of a mount has waited for $unmounted seconds"
all_gone "close of a mount after a read"
registry_again

# A writable device over an image in a registry.
open_image root --registry "$registry/root:1" --insecure --mount "$CASE_TMP/mnt" \
	--writable "$CASE_TMP/store:8M"
echo written >"$CASE_TMP/mnt/etc/name"
close_image root
open_image root --registry "$registry/root:1" --insecure --mount "$CASE_TMP/mnt" \
	--writable "$CASE_TMP/store"
expect_eq "file written before" "$(cat "$CASE_TMP/mnt/etc/name")" written
close_image root
all_gone "close of a writable device"

# A fetcher and its nbdkit are killed: reads fail, and close works.
open_image two --registry "$registry/two:1" --insecure
# shellcheck disable=SC2046
kill -9 $(processes nbdkit)
expect_ok read_two
expect_eq "content after nbdkit was killed" "$(sha256_of "$CASE_TMP/read")" "$lower"
close_image two
open_image two --registry "$registry/two:1" --insecure
# shellcheck disable=SC2046
kill -9 $(processes fetch-blob)
expect_eio read_two
close_image two
eventually 30 no_nbdkit
open_image two --registry "$registry/two:1" --insecure
holds /dev/mapper/two "$lower" "$CASE_TMP/lower"
close_image two
all_gone "close after fetchers were killed"

# What is refused.
refuses 4 "" open image --registry "$registry/some/image:none" --insecure
refuses 4 "" open image --registry "$registry/none:1" --insecure
refuses 1 "only files can be read" verify --registry "$registry/two:1"
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
report "of $blob_bytes bytes, open fetches $opened, reading all $fetched; a read fails after" \
	"$waited s, $retries retries; close while one waits takes $closed s, with a" \
	"mount $unmounted s"
