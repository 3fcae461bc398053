// A fixed set of threads that share out chunks of a range. Between ranges they spin briefly, then sleep.
#ifndef AQ_THREADPOOL_H
#define AQ_THREADPOOL_H

#include "util.h"

enum { AQ_MAX_THREADS = 256 };

struct aq_pool;

// cpus: NULL, or cpu_count numbers; thread i is pinned to cpus[i % cpu_count]. The caller's thread is thread 0 and is
// pinned too.
struct aq_pool *aq_pool_create(unsigned threads, const unsigned *cpus, unsigned cpu_count, struct aq_error *err);
void aq_pool_destroy(struct aq_pool *pool);
unsigned aq_pool_threads(const struct aq_pool *pool);

// Calls fn(context, first, last, thread) for chunks that cover [0, count); returns when all are done.
void aq_pool_run(struct aq_pool *pool, size_t count, size_t chunk,
                 void (*fn)(void *context, size_t first, size_t last, unsigned thread), void *context);

#endif
