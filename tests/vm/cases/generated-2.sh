#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The second half of the 2,000 generated images: see generated-1.
#
# timeout: 400
. /overlaybd/tests/vm/lib.sh

generated 1 1000 1000
