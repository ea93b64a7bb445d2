#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup with udev: the device and those below it have their links when `open` ends. udev
# has probed the device and none of those below, and `close` leaves no link. A store opens and
# closes there as well.
#
# timeout: 240
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt

property() {
	udevadm info --query=property "--property=$1" --value "/dev/mapper/$2"
}

udev_start
# shellcheck disable=SC2086
open_image image $layers
[ -L /dev/mapper/image ] || fail "there is no link: $(ls -l /dev/mapper)"
expect_eq "file system" "$(property ID_FS_TYPE image)" ext4
[ -L "/dev/disk/by-id/dm-name-image" ] || fail "there is no link by name"
hidden=0
for name in $(dmsetup ls | awk '/^overlaybd-/ { print $1 }'); do
	[ -L "/dev/mapper/$name" ] || fail "there is no link of $name"
	expect_eq "what udev knows of $name" "$(property ID_FS_TYPE "$name")" ""
	expect_eq "mark of $name" "$(property DM_UDEV_DISABLE_DISK_RULES_FLAG "$name")" 1
	[ ! -e "/dev/disk/by-id/dm-name-$name" ] || fail "$name is among the disks"
	hidden=$((hidden + 1))
done
[ $hidden -ge 2 ] || fail "only $hidden devices below"
holds /dev/mapper/image "$want" "$CASE_TMP/$want"
close_image image
nothing_left
[ ! -e /dev/mapper/image ] || fail "the link is still there"
expect_eq "links" "$(find /dev/mapper -type l)" ""

mkdir "$CASE_TMP/mnt"
for n in 1 2 3; do
	# shellcheck disable=SC2086
	open_image vm $layers --writable "$CASE_TMP/store:1M" --mount "$CASE_TMP/mnt"
	close_image vm
	nothing_left "round $n"
done
# Interrupted while udev runs.
for n in 3 6 9; do
	# shellcheck disable=SC2086
	! OVERLAYBDSETUP_FAULT=term:$n overlaybdsetup open vm $layers >"$CASE_TMP/said" 2>&1 ||
		fail "term:$n has no effect"
	nothing_left "term:$n"
done
# No udev cookie, a semaphore, is left.
expect_eq "semaphores" "$(awk 'NR > 1' /proc/sysvipc/sem)" ""
udev_stop
report "$hidden devices below, not looked into"
