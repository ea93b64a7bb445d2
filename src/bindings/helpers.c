// SPDX-License-Identifier: GPL-2.0
/*
 * Function bodies for static inlines and macros of the kernel's headers, one
 * call each; see helpers.h. The wrapped function's own contract says what each
 * may be called with.
 */
#include "helpers.h"

#include <linux/blkdev.h>
#include <linux/cpumask.h>
#include <linux/crc32.h>
#include <linux/gfp.h>
#include <linux/kasan.h>
#include <linux/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/zstd.h>

#define DM_MSG_PREFIX "overlaybd"

#ifdef CONFIG_HIGHMEM
#error "dm-overlaybd reaches the pages of a bio through the direct map"
#endif

enum req_op dm_overlaybd_bio_op(const struct bio *bio)
{
	return bio_op(bio);
}

void dm_overlaybd_bio_set_dev(struct bio *bio, struct block_device *bdev)
{
	bio_set_dev(bio, bdev);
}

struct bio_vec dm_overlaybd_mp_bvec_iter_bvec(const struct bio_vec *bvec,
					      struct bvec_iter iter)
{
	return mp_bvec_iter_bvec(bvec, iter);
}

void *dm_overlaybd_bvec_virt(struct bio_vec *bvec)
{
	return bvec_virt(bvec);
}

void dm_overlaybd_bio_advance_iter(const struct bio *bio,
				   struct bvec_iter *iter, unsigned int bytes)
{
	bio_advance_iter(bio, iter, bytes);
}

void dm_overlaybd_zero_fill_bio(struct bio *bio)
{
	zero_fill_bio(bio);
}

u64 dm_overlaybd_bdev_nr_bytes(struct block_device *bdev)
{
	return bdev_nr_bytes(bdev);
}

unsigned int dm_overlaybd_bdev_logical_block_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

sector_t dm_overlaybd_dm_target_offset(const struct dm_target *ti,
				       sector_t sector)
{
	return dm_target_offset(ti, sector);
}

void dm_overlaybd_DMERR(const char *device, const char *target,
			const char *text, int len)
{
	DMERR("%s: %s: %.*s", device, target, len, text);
}

void dm_overlaybd_DMERR_LIMIT(const char *device, const char *target,
			      const char *text, int len)
{
	DMERR_LIMIT("%s: %s: %.*s", device, target, len, text);
}

void *dm_overlaybd_kmalloc(size_t size, gfp_t flags)
{
	return kmalloc(size, flags);
}

void *dm_overlaybd_kvmalloc(size_t size, gfp_t flags)
{
	return kvmalloc(size, flags);
}

void *dm_overlaybd_alloc_pages_exact(size_t size, gfp_t gfp_mask)
{
	return alloc_pages_exact(size, gfp_mask);
}

mempool_t *dm_overlaybd_mempool_create(int min_nr, mempool_alloc_t *alloc_fn,
				       mempool_free_t *free_fn,
				       void *pool_data)
{
	return mempool_create(min_nr, alloc_fn, free_fn, pool_data);
}

mempool_t *dm_overlaybd_mempool_create_kmalloc_pool(int min_nr, size_t size)
{
	return mempool_create_kmalloc_pool(min_nr, size);
}

void *dm_overlaybd_mempool_alloc(mempool_t *pool, gfp_t flags)
{
	return mempool_alloc(pool, flags);
}

unsigned long dm_overlaybd_totalram_pages(void)
{
	return totalram_pages();
}

void *dm_overlaybd_kasan_reset_tag(const void *addr)
{
	return kasan_reset_tag(addr);
}

local_t __percpu *dm_overlaybd_alloc_percpu_local(void)
{
	return alloc_percpu(local_t);
}

void dm_overlaybd_local_add(long i, local_t __percpu *l)
{
	local_add(i, get_cpu_ptr(l));
	put_cpu_ptr(l);
}

long dm_overlaybd_local_read(local_t __percpu *l, unsigned int cpu)
{
	return local_read(per_cpu_ptr(l, cpu));
}

unsigned int dm_overlaybd_nr_cpu_ids(void)
{
	return nr_cpu_ids;
}

bool dm_overlaybd_cpu_possible(unsigned int cpu)
{
	return cpu_possible(cpu);
}

void dm_overlaybd_spin_lock_init(spinlock_t *lock)
{
	spin_lock_init(lock);
}

unsigned long dm_overlaybd_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

void dm_overlaybd_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

struct workqueue_struct *dm_overlaybd_alloc_workqueue(const char *name,
						      unsigned int flags,
						      int max_active)
{
	return alloc_workqueue("%s", flags, max_active, name);
}

void dm_overlaybd_INIT_WORK(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

void dm_overlaybd_INIT_WORK_softirq(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

bool dm_overlaybd_queue_work(struct workqueue_struct *wq,
			     struct work_struct *work)
{
	return queue_work(wq, work);
}

bool dm_overlaybd_in_task(void)
{
	return in_task();
}

bool dm_overlaybd_irqs_disabled(void)
{
	return irqs_disabled();
}

bool dm_overlaybd_fatal_signal_pending(struct task_struct *task)
{
	return fatal_signal_pending(task);
}

bool dm_overlaybd_object_is_on_stack(const void *obj)
{
	return object_is_on_stack(obj);
}

void *dm_overlaybd_task_stack_page(const struct task_struct *task)
{
	return task_stack_page(task);
}

unsigned int dm_overlaybd_raw_smp_processor_id(void)
{
	return raw_smp_processor_id();
}

unsigned int dm_overlaybd_num_online_cpus(void)
{
	return num_online_cpus();
}

unsigned int dm_overlaybd_num_possible_cpus(void)
{
	return num_possible_cpus();
}

u32 dm_overlaybd_crc32c(u32 seed, const void *bytes, size_t len)
{
	return crc32c(seed, bytes, len);
}

#if IS_REACHABLE(CONFIG_ZSTD_DECOMPRESS)
size_t dm_overlaybd_zstd_dctx_workspace_bound(void)
{
	return zstd_dctx_workspace_bound();
}

void *dm_overlaybd_zstd_init_dctx(void *workspace, size_t size)
{
	return zstd_init_dctx(workspace, size);
}

size_t dm_overlaybd_zstd_decompress_dctx(void *dctx, void *dst,
					 size_t dst_capacity, const void *src,
					 size_t src_size)
{
	return zstd_decompress_dctx(dctx, dst, dst_capacity, src, src_size);
}

bool dm_overlaybd_zstd_is_error(size_t code)
{
	return zstd_is_error(code);
}
#else
size_t dm_overlaybd_zstd_dctx_workspace_bound(void)
{
	return 0;
}

void *dm_overlaybd_zstd_init_dctx(void *workspace, size_t size)
{
	return NULL;
}

size_t dm_overlaybd_zstd_decompress_dctx(void *dctx, void *dst,
					 size_t dst_capacity, const void *src,
					 size_t src_size)
{
	return 0;
}

bool dm_overlaybd_zstd_is_error(size_t code)
{
	return true;
}
#endif
