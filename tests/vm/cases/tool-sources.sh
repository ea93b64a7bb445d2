#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup opens an image by the snapshotter's config, by an OCI layout, and by a manifest in
# a content store. Each holds the right bytes. `verify` checks the digests of blobs, `open` their
# sizes; a missing layer is named.
#
# timeout: 240
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt,lsmt/fs2_lz4_4k.zlsmt,lsmt/fs3_lz4_4k.zlsmt
# shellcheck disable=SC2086
set -- $layers
set -- "$2" "$4" "$6" "$8"

# opens ARGS...: opens the image, compares and closes it.
opens() {
	open_image image "$@"
	holds /dev/mapper/image "$want" "$CASE_TMP/$want"
	close_image image
	nothing_left "close of $*"
}

# Paths in the config are relative to its folder.
mkdir -p "$CASE_TMP/cri/3" "$CASE_TMP/cri/0"
cp "$2" "$CASE_TMP/cri/0/overlaybd.commit"
config=$CASE_TMP/cri/3/config.v1.json
cat >"$config" <<-JSON
{"repoBlobUrl": "https://registry.example/v2/x/blobs",
 "lowers": [
  {"file": "$1"},
  {"dir": "../0", "digest": "sha256:$(sha256_of "$2")", "size": $(stat -c %s "$2")},
  {"file": "../link"},
  {"file": "$4", "dir": ""}],
 "upper": {}, "resultFile": "../3/init-debug.log", "unknown": [1]}
JSON
ln -s "$3" "$CASE_TMP/cri/link"
opens --config "$config"
cd "$CASE_TMP/cri" || fail "no folder"
opens --config 3/config.v1.json
cd /
expect_ok overlaybdsetup verify --config "$config"
rm "$CASE_TMP/cri/0/overlaybd.commit"
refuses 4 "layer 2 of 4" open image --config "$config"
expect_ok grep -q "sha256:$(sha256_of "$2")" "$CASE_TMP/said"
sed -i 's|"upper": {}|"upper": {"index": "a.idx", "data": "a.data"}|' "$config"
refuses 1 "upper" open image --config "$config"
expect_ok grep -q -e --writable "$CASE_TMP/said"

oci_layout "$CASE_TMP/oci" v1 "$@"
opens --oci "$CASE_TMP/oci"
opens --oci "$CASE_TMP/oci:v1"
opens --oci "$CASE_TMP/oci" --manifest "$manifest"
refuses 1 "no image \"v2\"" open image --oci "$CASE_TMP/oci:v2"
expect_ok overlaybdsetup verify --oci "$CASE_TMP/oci"
# A content store as that of containerd: blobs alone.
rm "$CASE_TMP/oci/index.json" "$CASE_TMP/oci/oci-layout"
opens --oci "$CASE_TMP/oci" --manifest "$manifest"

# A blob with other content of the same size: only its digest differs.
blob=$(find "$CASE_TMP/oci/blobs/sha256" -size +1000k | sed 's|.*/||' | head -n 1)
printf 'x' | dd of="$CASE_TMP/oci/blobs/sha256/$blob" bs=1 seek=100 conv=notrunc 2>/dev/null
finds "digest" --oci "$CASE_TMP/oci" --manifest "$manifest"
# A truncated blob: its size differs.
truncate -s -512 "$CASE_TMP/oci/blobs/sha256/$blob"
refuses 1 "bytes, should have" open image --oci "$CASE_TMP/oci" --manifest "$manifest"
rm "$CASE_TMP/oci/blobs/sha256/$blob"
refuses 4 "$blob" open image --oci "$CASE_TMP/oci" --manifest "$manifest"
