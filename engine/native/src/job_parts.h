// What the parts of a running job share: job.c has its life, job_load.c packs and token files by hash, job_timing.c and
// job_perplexity.c the two kinds of blocks.
#ifndef AQ_JOB_PARTS_H
#define AQ_JOB_PARTS_H

#include "control.h"
#include "forward.h"
#include "job.h"

enum { AQ_JOB_LOGIT_ROWS = 64 };

struct aq_running {
    const struct aq_job_options *options;
    const struct aq_plan *plan;
    const struct aq_kernels *kernels;
    struct aq_journal journal;
    struct aq_control control;
    struct aq_pool *pool;
    char folder[4096], boot[64];

    // The loaded pack.
    int64_t loaded; // index in plan->packs, -1: none
    struct aq_model model;
    struct aq_session *session;
    uint64_t load_ms;
    uint8_t verified[AQ_MAX_PACKS]; // hashed once a job

    bool have_tokens;
    struct aq_tokens tokens;

    struct aq_text blocks; // entries of result.json
    size_t done, failed;
};

// Path of a stored file whose bytes have the hash `sha256`; false when it is missing or differs.
bool aq_job_verify(struct aq_running *job, const char *sha256, char *path, size_t size, struct aq_error *err);
// Makes `pack` the loaded one. load_ms is the time to map and pack it, without hashing; 0 when it was loaded before.
bool aq_job_load(struct aq_running *job, uint32_t pack, struct aq_error *err);
void aq_job_unload(struct aq_running *job);

// A file that a block wrote into the job's folder; no name: none.
struct aq_block_file {
    char name[32], sha256[65];
};

// What a block's `done` event repeats of its entry in result.json.
struct aq_block_done {
    size_t repetitions;
    double row_share; // negative: nothing leaves in this pack, or it was not asked
    struct aq_block_file nll, survivors;
};

// A block of repetitions or of windows; adds its figures to the entry of result.json.
bool aq_job_timing_block(struct aq_running *job, const struct aq_plan_block *block, struct aq_text *result,
                         struct aq_block_done *done, struct aq_error *err);
bool aq_job_perplexity_block(struct aq_running *job, const struct aq_plan_block *block, struct aq_text *result,
                             struct aq_block_done *done, struct aq_error *err);

void aq_job_add_ns(struct aq_text *t, const char *key, const uint64_t *ns, size_t n);

#endif
