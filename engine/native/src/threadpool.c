#include "threadpool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Pauses before a thread sleeps: some 20 to 60 microseconds, longer than the gap between two products.
enum { SPIN = 2000 };

struct worker {
    struct aq_pool *pool;
    unsigned index;
    pthread_t thread;
};

// A thread's part of a range.
struct share {
    _Alignas(64) atomic_size_t next; // first index nobody took yet
    size_t end;
};

struct aq_pool {
    unsigned threads, started;
    bool pinned;
    unsigned cpu_count;
    unsigned cpus[AQ_MAX_THREADS];
    struct worker workers[AQ_MAX_THREADS];

    // One range at a time: written before `epoch` is raised, read after it is seen. Each thread has a share in one
    // piece, because memory streams faster in long runs than in pieces that alternate between threads; who is done
    // helps the others.
    void (*fn)(void *, size_t, size_t, unsigned);
    void *context;
    size_t chunk;
    struct share shares[AQ_MAX_THREADS];
    _Alignas(64) atomic_uint epoch;      // counts ranges
    _Alignas(64) atomic_uint unfinished; // workers still in this range
    atomic_uint sleepers;
    atomic_bool ending;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
    bool waiting; // the caller sleeps on `done`
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("isb" ::: "memory"); // `yield` is a no-op on most cores
#endif
}

static void pin(const struct aq_pool *pool, unsigned index) {
    if (!pool->pinned) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(pool->cpus[index % pool->cpu_count], &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void take_chunks(struct aq_pool *pool, unsigned thread) {
    for (unsigned i = 0; i < pool->threads; i++) {
        struct share *share = &pool->shares[(thread + i) % pool->threads];
        for (;;) {
            size_t first = atomic_fetch_add_explicit(&share->next, pool->chunk, memory_order_relaxed);
            if (first >= share->end) break;
            pool->fn(pool->context, first, aq_min(first + pool->chunk, share->end), thread);
        }
    }
}

static void *work(void *argument) {
    struct worker *w = argument;
    struct aq_pool *pool = w->pool;
    pin(pool, w->index);
    unsigned seen = 0;
    for (;;) {
        for (unsigned i = 0; i < SPIN && atomic_load_explicit(&pool->epoch, memory_order_acquire) == seen; i++) relax();
        if (atomic_load_explicit(&pool->epoch, memory_order_acquire) == seen) {
            pthread_mutex_lock(&pool->mutex);
            atomic_fetch_add(&pool->sleepers, 1);
            while (atomic_load(&pool->epoch) == seen) pthread_cond_wait(&pool->work, &pool->mutex);
            atomic_fetch_sub(&pool->sleepers, 1);
            pthread_mutex_unlock(&pool->mutex);
        }
        seen++;
        if (atomic_load(&pool->ending)) return NULL;
        take_chunks(pool, w->index);
        if (atomic_fetch_sub(&pool->unfinished, 1) == 1) {
            pthread_mutex_lock(&pool->mutex);
            if (pool->waiting) pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

static void publish(struct aq_pool *pool) {
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->sleepers)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
    }
}

void aq_pool_run(struct aq_pool *pool, size_t count, size_t chunk,
                 void (*fn)(void *context, size_t first, size_t last, unsigned thread), void *context) {
    if (count == 0) return;
    chunk = aq_max(chunk, 1);
    if (pool->threads == 1 || count <= chunk) {
        fn(context, 0, count, 0);
        return;
    }
    pool->fn = fn;
    pool->context = context;
    pool->chunk = chunk;
    for (unsigned t = 0; t < pool->threads; t++) {
        atomic_store_explicit(&pool->shares[t].next, count / pool->threads * t + aq_min(t, count % pool->threads),
                              memory_order_relaxed);
        pool->shares[t].end = count / pool->threads * (t + 1) + aq_min(t + 1, count % pool->threads);
    }
    atomic_store(&pool->unfinished, pool->threads - 1);
    publish(pool);
    take_chunks(pool, 0);
    for (unsigned i = 0; i < SPIN && atomic_load_explicit(&pool->unfinished, memory_order_acquire); i++) relax();
    if (atomic_load(&pool->unfinished)) {
        pthread_mutex_lock(&pool->mutex);
        pool->waiting = true;
        while (atomic_load(&pool->unfinished)) pthread_cond_wait(&pool->done, &pool->mutex);
        pool->waiting = false;
        pthread_mutex_unlock(&pool->mutex);
    }
}

unsigned aq_pool_threads(const struct aq_pool *pool) {
    return pool->threads;
}

struct aq_pool *aq_pool_create(unsigned threads, const unsigned *cpus, unsigned cpu_count, struct aq_error *err) {
    if (threads < 1 || threads > AQ_MAX_THREADS || cpu_count > AQ_MAX_THREADS) {
        aq_fail(err, "threads", "%u threads asked for; 1 to %d are possible", threads, AQ_MAX_THREADS);
        return NULL;
    }
    void *memory = NULL;
    if (posix_memalign(&memory, 64, sizeof(struct aq_pool)) != 0) {
        aq_fail(err, "memory", "out of memory for the thread pool");
        return NULL;
    }
    memset(memory, 0, sizeof(struct aq_pool));
    struct aq_pool *pool = memory;
    pool->threads = threads;
    pool->pinned = cpus && cpu_count;
    pool->cpu_count = cpu_count;
    if (pool->pinned) memcpy(pool->cpus, cpus, cpu_count * sizeof *cpus);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    pin(pool, 0);
    for (unsigned i = 1; i < threads; i++) {
        struct worker *w = &pool->workers[i];
        w->pool = pool;
        w->index = i;
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            aq_fail(err, "threads", "cannot start thread %u of %u", i + 1, threads);
            aq_pool_destroy(pool);
            return NULL;
        }
        pool->started = i;
    }
    return pool;
}

void aq_pool_destroy(struct aq_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->ending, true);
    publish(pool);
    for (unsigned i = 1; i <= pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    free(pool);
}
