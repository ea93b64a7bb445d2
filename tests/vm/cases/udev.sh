#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# With udevd, as on a host, the device of an image is found: dmsetup waits for its link in
# /dev/mapper, udev finds the file system on it, and nothing keeps the device from being removed. A
# program runs in a container whose root is on it. Without udevd dmsetup creates a node again.
#
# timeout: 120
# only: stock
. /overlaybd/tests/vm/lib.sh

file=zfile/ext4_lz4_64k_crc.zf

property() {
	udevadm info --query=property "--property=$1" --value "/dev/mapper/$2"
}

original_of $file
expect_eq "the length of the original" "$(stat -c %s "$original")" "$of_payload_bytes"

udev_start
zfile_of image $file
[ -L /dev/mapper/image ] || fail "udev has made no link in /dev/mapper"
expect_eq "the target of the link" "$(readlink -f /dev/mapper/image)" \
	"/dev/$(dmsetup info -c --noheadings -o blkdevname image)"
expect_eq "the name that udev knows" "$(property DM_NAME image)" image
expect_eq "the file system that udev has found" "$(property ID_FS_TYPE image)" ext4
[ -L "/dev/disk/by-uuid/$(property ID_FS_UUID image)" ] || fail "there is no link by UUID"
dm_create linear "0 8 linear /dev/mapper/image 0"
dm_remove linear
[ ! -e /dev/mapper/linear ] || fail "the link has not gone with the device"

mount_ro /dev/mapper/image "$CASE_TMP/image"
mkdir -p "$CASE_TMP/root/bin"
cp /usr/bin/busybox "$CASE_TMP/root/bin"
said=$(run_container "$CASE_TMP/root" /bin/busybox sh -c 'echo "a \"word\" \\ of process $$"')
run_container "$CASE_TMP/root" /bin/busybox true
case $container:$said in
crun:'a "word" \ of process 1' | chroot:'a "word" \ of process '[0-9]*) ;;
*) fail "in the container of $container a program says: $said" ;;
esac
expect_fail run_container "$CASE_TMP/root" /bin/busybox false

unmount "$CASE_TMP/image"
udev_stop
dm_create linear "0 8 linear /dev/mapper/image 0"
[ ! -L /dev/mapper/linear ] || fail "udev has made a link, though it has ended"
[ -b /dev/mapper/linear ] || fail "dmsetup has made no node"
report "a container by $container"
