#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A device in use cannot be removed, but can be marked for removal with its last user. A lower
# device in use cannot be removed either. The module stays while there is a device, and can be
# unloaded after the last.
#
# timeout: 240
# only: debug
. /overlaybd/tests/vm/lib.sh

image=neg/z00_ok_trailer.zf
about malformed $image
bytes=$of_bytes
sha256=$of_content_sha256
loop_of "$IMAGES/$image"
dm_create under "0 $(sectors_of "$loop") linear $loop 0" -r
expect_eq "module references" "$(module_references)" 0
expect_ok dmsetup create z -r --table "0 129 zfile_target /dev/mapper/under $bytes"
expect_eq "module references" "$(module_references)" 1

note "in use"
exec 3</dev/mapper/z
expect_fail_with "Device or resource busy" dmsetup remove z
holds /dev/mapper/z "$sha256"
expect_fail_with "Device or resource busy" dmsetup remove under
expect_fail_with "Resource temporarily unavailable" busybox rmmod dm_overlaybd

note "deferred"
expect_ok dmsetup remove --deferred z
expect_ok dmsetup info z
expect_eq "bytes read from what is to go" "$(sha256sum <&3 | cut -d' ' -f1)" "$sha256"
exec 3<&-
eventually 10 sh -c '! dmsetup info z'
expect_eq "module references" "$(module_references)" 0

note "while reads are under way"
mkimage zfile "$CASE_TMP/made" --bytes 500224
loop_of "$CASE_TMP/made"
expect_ok dmsetup create z -r --table "0 977 zfile_target $loop $(stat -c %s "$CASE_TMP/made")"
blkcheck compare /dev/mapper/z "$CASE_TMP/made.content" --threads 2 --ready "$CASE_TMP/ready" \
	--until "$CASE_TMP/stop" --direct-only >"$CASE_TMP/out" 2>&1 &
reader=$!
eventually 20 test -e "$CASE_TMP/ready"
expect_fail dmsetup remove z
expect_ok dmsetup remove --deferred z
: >"$CASE_TMP/stop"
wait $reader || fail "$(cat "$CASE_TMP/out")"
eventually 10 sh -c '! dmsetup info z'

note "forced: later reads fail, none hangs"
expect_ok dmsetup create z -r --table "0 977 zfile_target $loop $(stat -c %s "$CASE_TMP/made")"
exec 3</dev/mapper/z
dmsetup remove --force z >/dev/null 2>&1 || true
expect_eio dd if=/dev/mapper/z of=/dev/null bs=4096 count=1 iflag=direct
exec 3<&-
expect_ok dmsetup remove z

note "an inactive table holds the module too"
dmsetup create z -r --notable
dmsetup load z -r --table "0 977 zfile_target $loop $(stat -c %s "$CASE_TMP/made")"
expect_fail rmmod dm_overlaybd
expect_ok dmsetup remove z
eventually 10 rmmod dm_overlaybd
expect_fail grep -q '^dm_overlaybd ' /proc/modules
expect_eq "targets left" "$(dmsetup targets | grep -c -E '^(zfile_target|lsmt_target) ' || true)" 0
expect_ok insmod "$MODULE"
dm_create z "0 129 zfile_target /dev/mapper/under $bytes" -r
holds /dev/mapper/z "$sha256"
