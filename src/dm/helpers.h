/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C functions and constants for what bindgen cannot express: static inline
 * functions, macros, and constants behind casts. No logic lives here.
 */
#ifndef DM_OVERLAYBD_HELPERS_H
#define DM_OVERLAYBD_HELPERS_H

#include <linux/bio.h>
#include <linux/blk_types.h>
#include <linux/device-mapper.h>
#include <linux/mempool.h>
#include <linux/workqueue.h>

/* Constants that hide behind casts or shifts. */
static const blk_mode_t DM_OVERLAYBD_BLK_OPEN_READ = BLK_OPEN_READ;
static const blk_status_t DM_OVERLAYBD_BLK_STS_IOERR = BLK_STS_IOERR;
static const blk_flags_t DM_OVERLAYBD_FLAG_MISALIGNED = BLK_FLAG_MISALIGNED;
static const u64 DM_OVERLAYBD_TARGET_NOWAIT = DM_TARGET_NOWAIT;
static const int DM_OVERLAYBD_MAPIO_SUBMITTED = DM_MAPIO_SUBMITTED;
static const int DM_OVERLAYBD_MAPIO_REMAPPED = DM_MAPIO_REMAPPED;
static const int DM_OVERLAYBD_MAPIO_KILL = DM_MAPIO_KILL;

/* bio and its segments */
bool dm_overlaybd_bio_is_read(const struct bio *bio);
blk_opf_t dm_overlaybd_lower_read_opf(const struct bio *upper);
void dm_overlaybd_bio_set_dev(struct bio *bio, struct block_device *bdev);
void *dm_overlaybd_bio_segment(const struct bio *bio,
			       const struct bvec_iter *iter, unsigned int *len);
void dm_overlaybd_bio_advance_iter(const struct bio *bio,
				   struct bvec_iter *iter, unsigned int bytes);
void dm_overlaybd_zero_fill_bio(struct bio *bio);

/* dm targets and their lower devices */
sector_t dm_overlaybd_target_offset(const struct dm_target *ti, sector_t sector);
u64 dm_overlaybd_bdev_bytes(struct block_device *bdev);
unsigned int dm_overlaybd_bdev_lbs(struct block_device *bdev);
bool dm_overlaybd_killed(void);

/* memory and work */
void *dm_overlaybd_kmalloc_nowait(size_t bytes);
mempool_t *dm_overlaybd_mempool_create(int min_nr, size_t bytes);
void *dm_overlaybd_mempool_alloc(mempool_t *pool);
void dm_overlaybd_kfree(void *p);
void *dm_overlaybd_kvmalloc(size_t bytes);
void dm_overlaybd_kvfree(void *p);
u64 dm_overlaybd_total_memory(void);
struct workqueue_struct *dm_overlaybd_workqueue_create(void);
void dm_overlaybd_init_work(struct work_struct *work, work_func_t func);
bool dm_overlaybd_queue_work(struct workqueue_struct *wq,
			     struct work_struct *work);
bool dm_overlaybd_on_task_stack(void);
bool dm_overlaybd_half_of_stack_left(void);
int dm_overlaybd_nesting_add(int levels);
bool dm_overlaybd_may_work_here(void);
const void *dm_overlaybd_reader(const struct bio *bio);
bool dm_overlaybd_is_task(const void *task);
unsigned int dm_overlaybd_this_cpu(void);
unsigned int dm_overlaybd_next_cpu(unsigned int cpu);
unsigned long dm_overlaybd_jiffies(void);
unsigned int dm_overlaybd_waiting_bytes(void);
void dm_overlaybd_flush_workqueue(struct workqueue_struct *wq);

void dm_overlaybd_spin_lock_init(spinlock_t *lock);
unsigned long dm_overlaybd_spin_lock_irqsave(spinlock_t *lock);
void dm_overlaybd_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);

/* checksums: an inline function in some kernels */
u32 dm_overlaybd_crc32c(u32 seed, const void *bytes, size_t len);

/* ZSTD; a bound of 0 says that the kernel has none */
size_t dm_overlaybd_zstd_workspace_bound(void);
void *dm_overlaybd_zstd_init(void *workspace, size_t bytes);
size_t dm_overlaybd_zstd_decompress(void *context, void *out, size_t room,
				    const void *frame, size_t len);
bool dm_overlaybd_zstd_is_error(size_t code);
unsigned int dm_overlaybd_online_cpus(void);
unsigned int dm_overlaybd_possible_cpus(void);

/* log */
void dm_overlaybd_log_error(const char *device, const char *target,
			    const char *text, int len);
void dm_overlaybd_log_error_limited(const char *device, const char *target,
				    const char *text, int len);

#endif
