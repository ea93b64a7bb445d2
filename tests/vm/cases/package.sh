#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# On one of Debian's kernels the module is a package. dpkg has installed it and finds its files as
# they were packed, modprobe loads the module by its name, and a table that names a target loads it
# by itself. The package can be removed without a trace and installed again. A package for another
# kernel is refused.
#
# timeout: 120
# only: stock
# module: none
. /overlaybd/tests/vm/lib.sh

command -v dpkg-query >/dev/null || skip "the kernel is not one of Debian's, the module no package"
release=$(uname -r)
package=dm-overlaybd-modules-$release
file=$(echo /overlaybd/*.deb)
loaded() {
	grep -q '^dm_overlaybd ' /proc/modules
}

expect_eq "state" "$(dpkg-query -W -f '${db:Status-Abbrev}' "$package")" "ii "
expect_eq "what dpkg --verify finds" "$(dpkg --verify "$package")" ""
expect_eq "module" "$MODULE" "/lib/modules/$release/updates/dm-overlaybd.ko"
case $(modinfo -F vermagic dm-overlaybd) in
"$release "*) ;;
*) fail "the module is for $(modinfo -F vermagic dm-overlaybd)" ;;
esac

expect_ok modprobe dm-overlaybd block_cache_kib=64
expect_eq "targets" "$(dmsetup targets | grep -c -E '^(zfile_target|lsmt_target) ')" 2
expect_ok rmmod dm-overlaybd

note "a table loads the module"
for target in zfile_target lsmt_target; do
	expect_fail dmsetup create unasked -r --table "0 8 $target /dev/ram0 8192"
	loaded || fail "$target has loaded no module: $fail_out"
	expect_ok rmmod dm-overlaybd
done

note "a package for a kernel that is not installed"
dpkg-deb -R "$file" "$CASE_TMP/other"
sed -i "s/$release/1.2.3-other/g; s/^Version: .*/Version: 1/" "$CASE_TMP/other/DEBIAN/control"
rm -r "$CASE_TMP/other/usr/share"
mv "$CASE_TMP/other/usr/lib/modules/$release" "$CASE_TMP/other/usr/lib/modules/1.2.3-other"
sed -i "s|$release|1.2.3-other|g" "$CASE_TMP"/other/DEBIAN/p*
rm "$CASE_TMP/other/DEBIAN/md5sums"
expect_ok dpkg-deb -Znone -b "$CASE_TMP/other" "$CASE_TMP/other.deb"
expect_fail dpkg -i "$CASE_TMP/other.deb"
case $fail_out in
*"depends on linux-image-1.2.3-other"*"linux-image-1.2.3-other is not installed"*) ;;
*) fail "dpkg says of a package for another kernel: $fail_out" ;;
esac
expect_ok dpkg -r dm-overlaybd-modules-1.2.3-other
[ ! -e /usr/lib/modules/1.2.3-other ] || fail "it leaves $(find /usr/lib/modules/1.2.3-other)"

note "removing it"
expect_ok dpkg -P "$package"
[ ! -e "$MODULE" ] || fail "the module is still there"
expect_eq "what dpkg knows" "$(dpkg-query -l "$package" 2>/dev/null || true)" ""
expect_eq "what depmod knows" \
	"$(grep -c overlaybd "/usr/lib/modules/$release"/modules.* | grep -v ':0$' || true)" ""
expect_fail modprobe dm-overlaybd
! loaded || fail "it has been loaded"

note "and again"
expect_ok dpkg -i "$file"
expect_ok modprobe dm-overlaybd
report "$(dpkg-query -W -f '${Package} ${Version}' "$package")"
