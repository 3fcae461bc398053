// Blocks of prefill and generation: warm-up, then repetitions until the interval is narrow.
#include "job_parts.h"

#include <math.h>
#include <stdlib.h>

double aq_spread(const uint64_t *values, size_t n) {
    // Student's t, 97.5%, by degrees of freedom 1..30; 1.96 is close enough beyond.
    static const double t[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
                               2.201,  2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
                               2.080,  2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042};
    if (n < 2) return (double)INFINITY;
    double mean = 0, sum = 0;
    for (size_t i = 0; i < n; i++) mean += (double)values[i] / (double)n;
    for (size_t i = 0; i < n; i++) sum += ((double)values[i] - mean) * ((double)values[i] - mean);
    double quantile = n - 1 <= sizeof t / sizeof *t ? t[n - 2] : 1.96;
    return mean > 0 ? quantile * sqrt(sum / (double)(n - 1)) / sqrt((double)n) / mean : (double)INFINITY;
}

void aq_job_add_ns(struct aq_text *t, const char *key, const uint64_t *ns, size_t n) {
    aq_json_key(t, key);
    aq_text_printf(t, "[");
    for (size_t i = 0; i < n; i++) aq_text_printf(t, "%s%llu", i ? "," : "", (unsigned long long)ns[i]);
    aq_text_printf(t, "]");
}

// Fixed pseudo-random ids (xorshift), the same for every pack and repetition.
static void fill_ids(int32_t *ids, size_t n, size_t vocab) {
    uint64_t x = 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        ids[i] = (int32_t)((x >> 33) % vocab);
    }
}

// One repetition: `prompt` tokens in chunks and the logits of the last one, or `generate` single steps with logits.
static bool repetition(struct aq_running *job, enum aq_block_kind kind, const int32_t *ids, uint64_t *ns,
                       struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    size_t total = kind == AQ_PREFILL ? plan->prompt : plan->generate;
    size_t step = kind == AQ_PREFILL ? aq_session_chunk(job->session) : 1;
    aq_session_reset(job->session);
    uint64_t start = aq_now_ns();
    for (size_t at = 0; at < total; at += step) {
        size_t count = aq_min(step, total - at);
        enum aq_pass pass = kind == AQ_GENERATE ? AQ_GENERATED : at + count == total ? AQ_PROMPT_END : AQ_PROMPT;
        if (!aq_session_forward(job->session, ids + at, count, pass, err)) return false;
        if (kind == AQ_GENERATE || at + count == total) aq_session_logits(job->session, count - 1, 1);
    }
    *ns = aq_now_ns() - start;
    return true;
}

struct series {
    uint64_t *ns, *warmup;
    size_t count, warmups;
    int32_t *ids;
};

static bool journal_time(struct aq_running *job, const char *event, uint32_t block, size_t index, uint64_t ns,
                         size_t tokens, struct aq_error *err) {
    struct aq_text t = {0};
    aq_json_kv_int(&t, "block", block);
    aq_json_kv_int(&t, "index", (int64_t)index);
    aq_json_kv_int(&t, "ns", (int64_t)ns);
    if (tokens) aq_json_kv_int(&t, "tokens", (int64_t)tokens);
    bool ok = aq_journal_event(&job->journal, event, &t, false);
    aq_text_free(&t);
    if (!ok) *err = job->journal.error;
    return ok;
}

// Warm-up until the time stops falling, then min..max repetitions until the interval is narrow.
static bool measure(struct aq_running *job, const struct aq_plan_block *block, struct series *s, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    size_t tokens = block->kind == AQ_PREFILL ? plan->prompt : plan->generate;
    uint64_t ns;
    while (s->warmups < plan->warmup_max) {
        if (!repetition(job, block->kind, s->ids, &ns, err) ||
            !journal_time(job, "warmup", block->index, s->warmups, ns, 0, err))
            return false;
        s->warmup[s->warmups++] = ns;
        if (s->warmups > 1 && ns >= s->warmup[s->warmups - 2]) break;
    }
    while (s->count < block->max) {
        if (s->count >= block->min && aq_spread(s->ns, s->count) <= plan->target_spread) break;
        if (!repetition(job, block->kind, s->ids, &ns, err) ||
            !journal_time(job, "sample", block->index, s->count, ns, tokens, err))
            return false;
        s->ns[s->count++] = ns;
    }
    return true;
}

bool aq_job_timing_block(struct aq_running *job, const struct aq_plan_block *block, struct aq_text *result,
                         struct aq_block_done *done, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    size_t tokens = block->kind == AQ_PREFILL ? plan->prompt : plan->generate;
    struct series s = {calloc(block->max, sizeof *s.ns), calloc(plan->warmup_max + 1, sizeof *s.warmup), 0, 0,
                       calloc(tokens, sizeof *s.ids)};
    bool ok = s.ns && s.warmup && s.ids;
    if (!ok) aq_fail(err, "memory", "out of memory for samples");
    if (ok) {
        fill_ids(s.ids, tokens, job->model.vocab);
        ok = measure(job, block, &s, err);
    }
    if (ok) {
        aq_json_kv_int(result, "tokens", (int64_t)tokens);
        aq_job_add_ns(result, "ns", s.ns, s.count);
        aq_job_add_ns(result, "warmup_ns", s.warmup, s.warmups);
        if (job->model.prune != AQ_PRUNE_NONE) { // every repetition runs the same rows
            done->row_share = aq_session_row_share(job->session);
            aq_json_kv_number(result, "row_share", done->row_share);
        }
        done->repetitions = s.count;
    }
    free(s.ns);
    free(s.warmup);
    free(s.ids);
    return ok;
}
