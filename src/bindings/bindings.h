/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads to make bindings_generated.rs. Kbuild's allowlist says
 * which items of these headers are bound; nothing is declared here.
 */
#ifndef DM_OVERLAYBD_BINDINGS_H
#define DM_OVERLAYBD_BINDINGS_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/mempool.h>
#include <linux/workqueue.h>

#include "helpers.h"

#endif
