/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen cannot express: static inline functions, macros, constants
 * behind casts, per-CPU variables. Each function calls the kernel's function or
 * macro of the same name, after the prefix; no logic lives here.
 */
#ifndef DM_OVERLAYBD_HELPERS_H
#define DM_OVERLAYBD_HELPERS_H

#include <linux/bio.h>
#include <linux/blk_types.h>
#include <linux/device-mapper.h>
#include <linux/mempool.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/workqueue.h>
#include <asm/local.h>

/* Constants behind casts or shifts. */
static const blk_mode_t DM_OVERLAYBD_BLK_OPEN_READ = BLK_OPEN_READ;
static const blk_status_t DM_OVERLAYBD_BLK_STS_IOERR = BLK_STS_IOERR;
static const blk_status_t DM_OVERLAYBD_BLK_STS_AGAIN = BLK_STS_AGAIN;
static const blk_status_t DM_OVERLAYBD_BLK_STS_NOTSUPP = BLK_STS_NOTSUPP;
static const blk_flags_t DM_OVERLAYBD_BLK_FLAG_MISALIGNED = BLK_FLAG_MISALIGNED;
static const blk_features_t DM_OVERLAYBD_BLK_FEAT_POLL = BLK_FEAT_POLL;
static const blk_opf_t DM_OVERLAYBD_REQ_SYNC = REQ_SYNC;
static const blk_opf_t DM_OVERLAYBD_REQ_META = REQ_META;
static const blk_opf_t DM_OVERLAYBD_REQ_PRIO = REQ_PRIO;
static const blk_opf_t DM_OVERLAYBD_REQ_IDLE = REQ_IDLE;
static const blk_opf_t DM_OVERLAYBD_REQ_RAHEAD = REQ_RAHEAD;
static const blk_opf_t DM_OVERLAYBD_REQ_NOWAIT = REQ_NOWAIT;
static const u64 DM_OVERLAYBD_DM_TARGET_NOWAIT = DM_TARGET_NOWAIT;
static const int DM_OVERLAYBD_DM_MAPIO_SUBMITTED = DM_MAPIO_SUBMITTED;
static const int DM_OVERLAYBD_DM_MAPIO_REMAPPED = DM_MAPIO_REMAPPED;
static const int DM_OVERLAYBD_DM_MAPIO_KILL = DM_MAPIO_KILL;
static const gfp_t DM_OVERLAYBD_GFP_NOIO = GFP_NOIO;
static const gfp_t DM_OVERLAYBD_GFP_NOWAIT = GFP_NOWAIT;
static const gfp_t DM_OVERLAYBD_GFP_KERNEL = GFP_KERNEL;
static const gfp_t DM_OVERLAYBD_GFP_KERNEL_ACCOUNT = GFP_KERNEL_ACCOUNT;
static const gfp_t DM_OVERLAYBD___GFP_NOWARN = __GFP_NOWARN;
static const gfp_t DM_OVERLAYBD___GFP_NORETRY = __GFP_NORETRY;
static const gfp_t DM_OVERLAYBD___GFP_NOMEMALLOC = __GFP_NOMEMALLOC;
static const gfp_t DM_OVERLAYBD___GFP_RETRY_MAYFAIL = __GFP_RETRY_MAYFAIL;
static const unsigned long DM_OVERLAYBD_PAGE_SIZE = PAGE_SIZE;
static const unsigned long DM_OVERLAYBD_THREAD_SIZE = THREAD_SIZE;

/*
 * Where C has the fields that Rust reads. bindgen places the fields of some
 * structures differently (task_struct): bindings.rs compares.
 */
#define DM_OVERLAYBD_SIZEOF(type)                                              \
	static const size_t DM_OVERLAYBD_SIZEOF_##type = sizeof(struct type)
#define DM_OVERLAYBD_OFFSET(type, field)                                       \
	static const size_t DM_OVERLAYBD_OFFSET_##type##_##field =             \
		offsetof(struct type, field)
DM_OVERLAYBD_SIZEOF(bio);
DM_OVERLAYBD_OFFSET(bio, bi_next);
DM_OVERLAYBD_OFFSET(bio, bi_opf);
DM_OVERLAYBD_OFFSET(bio, bi_ioprio);
DM_OVERLAYBD_OFFSET(bio, bi_status);
DM_OVERLAYBD_OFFSET(bio, bi_iter);
DM_OVERLAYBD_OFFSET(bio, bi_end_io);
DM_OVERLAYBD_OFFSET(bio, bi_private);
DM_OVERLAYBD_OFFSET(bio, bi_io_vec);
DM_OVERLAYBD_SIZEOF(bio_vec);
DM_OVERLAYBD_OFFSET(bio_vec, bv_len);
DM_OVERLAYBD_SIZEOF(bvec_iter);
DM_OVERLAYBD_OFFSET(bvec_iter, bi_sector);
DM_OVERLAYBD_OFFSET(bvec_iter, bi_size);
DM_OVERLAYBD_SIZEOF(work_struct);
DM_OVERLAYBD_SIZEOF(spinlock);
DM_OVERLAYBD_SIZEOF(dm_target);
DM_OVERLAYBD_OFFSET(dm_target, table);
DM_OVERLAYBD_OFFSET(dm_target, type);
DM_OVERLAYBD_OFFSET(dm_target, len);
DM_OVERLAYBD_OFFSET(dm_target, private);
DM_OVERLAYBD_OFFSET(dm_target, error);
DM_OVERLAYBD_OFFSET(dm_target, per_io_data_size);
DM_OVERLAYBD_SIZEOF(dm_dev);
DM_OVERLAYBD_OFFSET(dm_dev, bdev);
DM_OVERLAYBD_OFFSET(dm_dev, name);
DM_OVERLAYBD_SIZEOF(target_type);
DM_OVERLAYBD_SIZEOF(queue_limits);
DM_OVERLAYBD_OFFSET(queue_limits, max_hw_sectors);
DM_OVERLAYBD_OFFSET(queue_limits, max_sectors);
DM_OVERLAYBD_OFFSET(queue_limits, logical_block_size);
DM_OVERLAYBD_OFFSET(queue_limits, physical_block_size);
DM_OVERLAYBD_OFFSET(queue_limits, io_min);
DM_OVERLAYBD_OFFSET(queue_limits, io_opt);
DM_OVERLAYBD_OFFSET(queue_limits, alignment_offset);
DM_OVERLAYBD_OFFSET(queue_limits, chunk_sectors);
DM_OVERLAYBD_OFFSET(queue_limits, flags);

/* bio, block device */
enum req_op dm_overlaybd_bio_op(const struct bio *bio);
void dm_overlaybd_bio_set_dev(struct bio *bio, struct block_device *bdev);
struct bio_vec dm_overlaybd_mp_bvec_iter_bvec(const struct bio_vec *bvec,
					      struct bvec_iter iter);
void *dm_overlaybd_bvec_virt(struct bio_vec *bvec);
void dm_overlaybd_bio_advance_iter(const struct bio *bio,
				   struct bvec_iter *iter, unsigned int bytes);
void dm_overlaybd_zero_fill_bio(struct bio *bio);
u64 dm_overlaybd_bdev_nr_bytes(struct block_device *bdev);
unsigned int dm_overlaybd_bdev_logical_block_size(struct block_device *bdev);

/* device-mapper */
sector_t dm_overlaybd_dm_target_offset(const struct dm_target *ti,
				       sector_t sector);
void dm_overlaybd_DMERR(const char *device, const char *target,
			const char *text, int len);
void dm_overlaybd_DMERR_LIMIT(const char *device, const char *target,
			      const char *text, int len);

/* memory */
void *dm_overlaybd_kmalloc(size_t size, gfp_t flags);
void *dm_overlaybd_kvmalloc(size_t size, gfp_t flags);
void *dm_overlaybd_alloc_pages_exact(size_t size, gfp_t gfp_mask);
mempool_t *dm_overlaybd_mempool_create(int min_nr, mempool_alloc_t *alloc_fn,
				       mempool_free_t *free_fn,
				       void *pool_data);
mempool_t *dm_overlaybd_mempool_create_kmalloc_pool(int min_nr, size_t size);
void *dm_overlaybd_mempool_alloc(mempool_t *pool, gfp_t flags);
unsigned long dm_overlaybd_totalram_pages(void);
void *dm_overlaybd_kasan_reset_tag(const void *addr);

/* counters */
local_t __percpu *dm_overlaybd_alloc_percpu_local(void);
void dm_overlaybd_local_add(long i, local_t __percpu *l);
long dm_overlaybd_local_read(local_t __percpu *l, unsigned int cpu);
unsigned int dm_overlaybd_nr_cpu_ids(void);
bool dm_overlaybd_cpu_possible(unsigned int cpu);

/* locks, workqueues */
void dm_overlaybd_spin_lock_init(spinlock_t *lock);
unsigned long dm_overlaybd_spin_lock_irqsave(spinlock_t *lock);
void dm_overlaybd_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);
struct workqueue_struct *dm_overlaybd_alloc_workqueue(const char *name,
						      unsigned int flags,
						      int max_active);
/*
 * One for each kind of queue: lockdep tells work items apart by where INIT_WORK
 * stands, and takes an item that runs in threads and in softirqs for a mistake.
 */
void dm_overlaybd_INIT_WORK(struct work_struct *work, work_func_t func);
void dm_overlaybd_INIT_WORK_softirq(struct work_struct *work, work_func_t func);
bool dm_overlaybd_queue_work(struct workqueue_struct *wq,
			     struct work_struct *work);

/* the running task, its stack, its CPU */
bool dm_overlaybd_in_task(void);
bool dm_overlaybd_irqs_disabled(void);
bool dm_overlaybd_fatal_signal_pending(struct task_struct *task);
bool dm_overlaybd_object_is_on_stack(const void *obj);
void *dm_overlaybd_task_stack_page(const struct task_struct *task);
unsigned int dm_overlaybd_raw_smp_processor_id(void);
unsigned int dm_overlaybd_num_online_cpus(void);
unsigned int dm_overlaybd_num_possible_cpus(void);

/* checksums: an inline function in some kernels */
u32 dm_overlaybd_crc32c(u32 seed, const void *bytes, size_t len);

/* ZSTD: a kernel without it has a workspace bound of 0 */
size_t dm_overlaybd_zstd_dctx_workspace_bound(void);
void *dm_overlaybd_zstd_init_dctx(void *workspace, size_t size);
size_t dm_overlaybd_zstd_decompress_dctx(void *dctx, void *dst,
					 size_t dst_capacity, const void *src,
					 size_t src_size);
bool dm_overlaybd_zstd_is_error(size_t code);

#endif
