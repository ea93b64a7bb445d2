#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# `open --mount` mounts the file system, and `close` unmounts what `open` mounted and nothing else.
# A device in use is not closed, and the message names the user; with --deferred the device goes
# with its last user, and all devices below it too. A journal that needs a replay is ignored.
#
# timeout: 240
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt
mnt="$CASE_TMP/a folder"
mkdir "$mnt" "$CASE_TMP/other"

# shellcheck disable=SC2086
open_image image $layers --mount "$mnt"
expect_ok is_mounted "$mnt"
files=$(find "$mnt" -type f | wc -l)
[ "$files" -gt 3 ] || fail "only $files files"
expect_fail touch "$mnt/new"
expect_ok grep -q 'ext4 /dev/mapper/image ro' /proc/self/mountinfo
close_image image
nothing_left "close of a mount"

# A file on the mount is open.
# shellcheck disable=SC2086
open_image image $layers --mount "$mnt"
find "$mnt" -type f >"$CASE_TMP/files"
read -r file <"$CASE_TMP/files"
sleep 1000 9<"$file" &
user=$!
refuses 5 "cannot unmount $mnt: Device or resource busy" close image
kill $user
wait $user || true
close_image image

# Another mount is not `open`'s.
# shellcheck disable=SC2086
open_image image $layers --mount "$mnt"
mount -o ro /dev/mapper/image "$CASE_TMP/other"
refuses 5 "in use: mounted on $CASE_TMP/other;" close image
expect_ok is_mounted "$CASE_TMP/other"
# It is closed completely or not at all.
expect_ok is_mounted "$mnt"
sleep 1000 9</dev/mapper/image &
user=$!
umount "$CASE_TMP/other"
refuses 5 "in use: open in a process" close image
expect_ok is_mounted "$mnt"
kill $user
wait $user || true
mount -o ro /dev/mapper/image "$CASE_TMP/other"
umount "$CASE_TMP/other"
close_image image

# A process has the device open; the device goes with the process.
# shellcheck disable=SC2086
open_image image $layers
sleep 1000 9</dev/mapper/image &
user=$!
refuses 5 "in use: open in a process" close image
close_image image --deferred
expect_ok grep -q . /dev/mapper/image
kill $user
wait $user || true
eventually 10 sh -c '! dmsetup ls | grep -q -e image -e overlaybd-'
nothing_left "deferred close"

# Below another device.
# shellcheck disable=SC2086
open_image image $layers
dm_create above "0 8 linear /dev/mapper/image 0" -r
refuses 5 "in use: below above" close image
dm_remove above
close_image image

# A journal that needs a replay: the image is the content of a device while it is mounted for
# writing.
mkimage split "$CASE_TMP/clean" --content "$ROOTFS" --layers 2 --seed 1 >/dev/null
open_image image --layer "$CASE_TMP/clean.0" --layer "$CASE_TMP/clean.1" \
	--writable "$CASE_TMP/store" --mount "$mnt"
echo new >"$mnt/new"
sync
dd if=/dev/mapper/image of="$CASE_TMP/dirty" bs=1M 2>/dev/null
close_image image
mkimage split "$CASE_TMP/dirty" --content "$CASE_TMP/dirty" --layers 2 --seed 1 >/dev/null
open_image image --layer "$CASE_TMP/dirty.0" --layer "$CASE_TMP/dirty.1"
expect_fail mount -t ext4 -o ro /dev/mapper/image "$CASE_TMP/other"
close_image image
open_image image --layer "$CASE_TMP/dirty.0" --layer "$CASE_TMP/dirty.1" --mount "$mnt"
expect_ok grep -q 'ext4 /dev/mapper/image ro,.*norecovery' /proc/self/mountinfo
[ "$(find "$mnt" | wc -l)" -gt 3 ] || fail "nothing in the file system"
close_image image
nothing_left
report "$files files"
