#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup and a registry that goes away while images of it are open. Reads fail after the
# time that `open` was told, and succeed again once it is back; a device can be closed meanwhile.
# Killed fetchers are reported and closed, a killed nbdkit is started again. Nothing is left: no
# process, no folder, no device.
#
# timeout: 600
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh
. /overlaybd/tests/vm/registry.sh

no_nbdkit() {
	[ -z "$(processes nbdkit)" ]
}

two_images
mkimage split "$CASE_TMP/layer" --content "$ROOTFS" --layers 2 --seed 4 >/dev/null
oci_layout "$CASE_TMP/root" v1 "$CASE_TMP/layer.0" "$CASE_TMP/layer.1"
rm "$CASE_TMP"/layer.*
push_layout "$CASE_TMP/root" root 1

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

# They are killed while a read waits for them, with --force and with a mount.
open_image two --registry "$registry/two:1" --insecure
# shellcheck disable=SC2046
kill -STOP $(processes fetch-blob)
read_two >"$CASE_TMP/dd" &
reader=$!
eventually 30 under_way two 1
# shellcheck disable=SC2046
kill -9 $(processes fetch-blob)
refuses 5 "in use" close two
close_image two --force
! wait $reader || fail "the reader has not failed"
expect_ok grep -q "Input/output error" "$CASE_TMP/dd"
all_gone "close while a read waited for a killed fetcher"
open_image root --registry "$registry/root:1" --insecure --mount "$CASE_TMP/mnt"
# A process that waits for a folder or an inode cannot be killed.
expect_ok head -c 1 "$CASE_TMP/mnt/bin/busybox"
# shellcheck disable=SC2046
kill -STOP $(processes fetch-blob)
cat "$CASE_TMP/mnt/bin/busybox" >/dev/null &
reader=$!
eventually 30 under_way root 1
kill -9 $reader
! wait $reader || fail "the reader was not killed"
# shellcheck disable=SC2046
kill -9 $(processes fetch-blob)
eventually 30 fetchers 0
close_image root
all_gone "close of a mount with a killed fetcher"

registry_stop
report "a read fails after $waited s, $retries retries; close while one waits takes $closed s," \
	"with a mount $unmounted s"
