#include "job.h"

#include "board.h"
#include "control.h"
#include "forward.h"
#include "sha256.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOGIT_ROWS = 64 };

struct job {
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

static bool stopping(struct job *job) {
    return atomic_load(&job->control.stop);
}

static void add_ns(struct aq_text *t, const char *key, const uint64_t *ns, size_t n) {
    aq_json_key(t, key);
    aq_text_printf(t, "[");
    for (size_t i = 0; i < n; i++) aq_text_printf(t, "%s%llu", i ? "," : "", (unsigned long long)ns[i]);
    aq_text_printf(t, "]");
}

static bool store_path(struct job *job, char *path, size_t size, const char *sha256, struct aq_error *err) {
    if (job->options->store ? aq_path(path, size, "%s/%s", job->options->store, sha256)
                            : aq_path(path, size, "%s/store/%s", job->options->root, sha256))
        return true;
    return aq_fail(err, "root", "store path is too long");
}

static bool verify(struct job *job, const char *sha256, char *path, size_t size, struct aq_error *err) {
    char found[65];
    if (!store_path(job, path, size, sha256, err) || !aq_sha256_file(path, found, err)) return false;
    if (strcmp(found, sha256) == 0) return true;
    return aq_fail(err, "artifact-corrupt", "%s has SHA-256 %s; push it again", path, found);
}

static void unload(struct job *job) {
    aq_session_free(job->session);
    job->session = NULL;
    if (job->loaded >= 0) aq_model_free(&job->model);
    job->loaded = -1;
}

// Makes `pack` the loaded one. load_ms is the time to map and pack it, without hashing; 0 when it was loaded before.
static bool load(struct job *job, uint32_t pack, struct aq_error *err) {
    char path[4096];
    job->load_ms = 0;
    if (job->loaded == (int64_t)pack) return true;
    unload(job);
    const char *sha256 = job->plan->packs[pack].sha256;
    if (!job->verified[pack]) {
        if (!verify(job, sha256, path, sizeof path, err)) return false;
        job->verified[pack] = 1;
    } else if (!store_path(job, path, sizeof path, sha256, err)) {
        return false;
    }
    uint64_t start = aq_now_ns();
    if (!aq_model_load(&job->model, path, job->kernels, err)) return false;
    job->loaded = pack;
    job->session = aq_session_create(&job->model, job->pool, job->plan->context, job->plan->ubatch, LOGIT_ROWS,
                                     &job->control.stop, err);
    if (!job->session) {
        unload(job);
        return false;
    }
    job->load_ms = (aq_now_ns() - start) / 1000000;
    return true;
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
static bool repetition(struct job *job, enum aq_block_kind kind, const int32_t *ids, uint64_t *ns,
                       struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    size_t total = kind == AQ_PREFILL ? plan->prompt : plan->generate;
    size_t step = kind == AQ_PREFILL ? aq_min(plan->ubatch, plan->context) : 1;
    aq_session_reset(job->session);
    uint64_t start = aq_now_ns();
    for (size_t at = 0; at < total; at += step) {
        size_t count = aq_min(step, total - at);
        if (!aq_session_forward(job->session, ids + at, count, err)) return false;
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

static bool journal_time(struct job *job, const char *event, uint32_t block, size_t index, uint64_t ns, size_t tokens,
                         struct aq_error *err) {
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
static bool measure(struct job *job, const struct aq_plan_block *block, struct series *s, struct aq_error *err) {
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

static bool timing_block(struct job *job, const struct aq_plan_block *block, struct aq_text *result,
                         size_t *repetitions, struct aq_error *err) {
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
        add_ns(result, "ns", s.ns, s.count);
        add_ns(result, "warmup_ns", s.warmup, s.warmups);
        *repetitions = s.count;
    }
    free(s.ns);
    free(s.warmup);
    free(s.ids);
    return ok;
}

// Scores one window into nll[targets]; returns the sum in *sum.
static bool score_window(struct job *job, uint64_t window, int32_t *ids, float *nll, double *sum,
                         struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    uint32_t n = plan->window, targets = aq_window_targets(plan->convention, n), first = n - targets - 1;
    memcpy(ids, job->tokens.ids + window * n, n * sizeof *ids);
    if (plan->convention == AQ_LLAMA_CPP && job->tokens.adds_bos) ids[0] = job->tokens.bos;
    aq_session_reset(job->session);
    *sum = 0;
    size_t step = aq_min(plan->ubatch, plan->context);
    // Row r predicts id r + 1; rows first..n-2 are scored.
    for (size_t at = 0; at + 1 < n; at += step) {
        size_t count = aq_min(step, n - at);
        if (!aq_session_forward(job->session, ids + at, count, err)) return false;
        size_t last = aq_min(at + count, (size_t)n - 1);
        for (size_t row = aq_max(at, first); row < last;) {
            size_t rows = aq_min(last - row, LOGIT_ROWS);
            double out[LOGIT_ROWS];
            aq_session_logits(job->session, row - at, rows);
            aq_session_nll(job->session, ids + row + 1, rows, out);
            for (size_t i = 0; i < rows; i++) {
                if (!isfinite(out[i])) return aq_fail(err, "not-finite", "the model gives no finite probability");
                nll[row - first + i] = (float)out[i];
                *sum += out[i];
            }
            row += rows;
        }
    }
    return true;
}

static bool score_windows(struct job *job, const struct aq_plan_block *block, float *nll, uint64_t *ns,
                          struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    uint32_t targets = aq_window_targets(plan->convention, plan->window);
    int32_t *ids = malloc(plan->window * sizeof *ids);
    if (!ids) return aq_fail(err, "memory", "out of memory for a window");
    bool ok = true;
    for (uint64_t w = 0; ok && w < plan->windows; w++) {
        double sum;
        uint64_t start = aq_now_ns();
        ok = score_window(job, plan->first_window + w, ids, nll + w * targets, &sum, err);
        if (!ok) break;
        ns[w] = aq_now_ns() - start;
        struct aq_text t = {0};
        aq_json_kv_int(&t, "block", block->index);
        aq_json_kv_int(&t, "window", (int64_t)(plan->first_window + w));
        aq_json_kv_int(&t, "targets", targets);
        aq_json_key(&t, "nll_sum");
        aq_text_printf(&t, "%.17g", sum);
        ok = aq_journal_event(&job->journal, "window", &t, false);
        if (!ok) *err = job->journal.error;
        aq_text_free(&t);
    }
    free(ids);
    return ok;
}

static bool read_tokens(struct job *job, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    char path[4096];
    if (!job->have_tokens) {
        if (!verify(job, plan->tokens, path, sizeof path, err) || !aq_tokens_read(&job->tokens, path, err))
            return false;
        job->have_tokens = true;
    }
    if (job->tokens.vocab > job->model.vocab)
        return aq_fail(err, "tokens", "the token file is for a vocabulary of %u, the model has %zu", job->tokens.vocab,
                       job->model.vocab);
    uint64_t available = job->tokens.count / plan->window;
    if (plan->first_window + plan->windows > available)
        return aq_fail(err, "tokens", "windows %llu to %llu asked for, the text has %llu of %u ids",
                       (unsigned long long)plan->first_window,
                       (unsigned long long)(plan->first_window + plan->windows - 1), (unsigned long long)available,
                       plan->window);
    return true;
}

static bool perplexity_block(struct job *job, const struct aq_plan_block *block, struct aq_text *result,
                             char nll_name[32], char nll_sha256[65], struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    char path[4200];
    if (!read_tokens(job, err)) return false;
    uint32_t targets = aq_window_targets(plan->convention, plan->window);
    size_t bytes;
    if (!aq_mul(plan->windows, targets * sizeof(float), &bytes)) return aq_fail(err, "memory", "too many windows");
    float *nll = malloc(bytes);
    uint64_t *ns = calloc(plan->windows, sizeof *ns);
    bool ok = nll && ns;
    if (!ok) aq_fail(err, "memory", "out of memory for the results of %llu windows", (unsigned long long)plan->windows);
    ok = ok && score_windows(job, block, nll, ns, err);
    if (ok) {
        snprintf(nll_name, 32, "nll-%u.f32", block->index);
        ok = aq_path(path, sizeof path, "%s/%s", job->folder, nll_name) && aq_replace_file(path, nll, bytes, err);
    }
    if (ok) {
        struct aq_sha256 hash; // every supported target is little-endian
        aq_sha256_init(&hash);
        aq_sha256_add(&hash, nll, bytes);
        aq_sha256_end(&hash, nll_sha256);
        aq_json_kv_string(result, "convention", plan->convention == AQ_GPTQ ? "gptq" : "llama.cpp");
        aq_json_kv_int(result, "n", plan->window);
        aq_json_kv_int(result, "first", (int64_t)plan->first_window);
        aq_json_kv_int(result, "windows", (int64_t)plan->windows);
        aq_json_kv_int(result, "targets", targets);
        aq_json_kv_string(result, "nll_file", nll_name);
        aq_json_kv_string(result, "nll_sha256", nll_sha256);
        add_ns(result, "ns", ns, plan->windows);
    }
    free(nll);
    free(ns);
    return ok;
}

static void block_head(struct aq_text *t, const struct aq_plan *plan, const struct aq_plan_block *block,
                       const char *state) {
    aq_json_kv_int(t, "block", block->index);
    aq_json_kv_string(t, "pack", plan->packs[block->pack].name);
    aq_json_kv_string(t, "pack_sha256", plan->packs[block->pack].sha256);
    aq_json_kv_string(t, "kind", aq_block_kind_name(block->kind));
    aq_json_kv_string(t, "state", state);
}

static void add_bytes(struct aq_text *t, const char *key, int64_t bytes) {
    if (bytes >= 0)
        aq_json_kv_int(t, key, bytes);
    else
        aq_json_kv_string(t, key, NULL);
}

static bool run_block(struct job *job, const struct aq_plan_block *block, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    if (!load(job, block->pack, err)) return false;
    aq_peak_reset(NULL);
    struct aq_text event = {0}, entry = {0};
    aq_json_kv_int(&event, "block", block->index);
    aq_json_kv_string(&event, "state", "started");
    aq_json_kv_string(&event, "pack", plan->packs[block->pack].name);
    aq_json_kv_string(&event, "kind", aq_block_kind_name(block->kind));
    aq_json_kv_int(&event, "load_ms", (int64_t)job->load_ms);
    bool ok = aq_journal_event(&job->journal, "block", &event, true);
    if (!ok) *err = job->journal.error;

    char nll_name[32] = "", nll_sha256[65] = "";
    size_t repetitions = 1;
    block_head(&entry, plan, block, "done");
    ok = ok && (block->kind == AQ_PERPLEXITY ? perplexity_block(job, block, &entry, nll_name, nll_sha256, err)
                                             : timing_block(job, block, &entry, &repetitions, err));
    int64_t peak = aq_peak_rss(NULL);
    if (ok) {
        add_bytes(&entry, "peak_rss", peak);
        aq_json_kv_int(&entry, "load_ms", (int64_t)job->load_ms);
        aq_text_printf(&job->blocks, "%s\n  {%s}", job->blocks.length ? "," : "", entry.data);
        aq_text_clear(&event);
        aq_json_kv_int(&event, "block", block->index);
        aq_json_kv_string(&event, "state", "done");
        aq_json_kv_int(&event, "repetitions", (int64_t)repetitions);
        add_bytes(&event, "peak_rss", peak);
        aq_json_kv_string(&event, "nll_file", nll_name[0] ? nll_name : NULL);
        aq_json_kv_string(&event, "nll_sha256", nll_sha256[0] ? nll_sha256 : NULL);
        ok = aq_journal_event(&job->journal, "block", &event, true);
        if (!ok) *err = job->journal.error;
    }
    aq_text_free(&event);
    aq_text_free(&entry);
    return ok;
}

static void run_blocks(struct job *job) {
    const struct aq_plan *plan = job->plan;
    for (size_t i = 0; i < plan->block_count && !stopping(job) && !job->journal.broken; i++) {
        const struct aq_plan_block *block = &plan->blocks[i];
        struct aq_error err = {0};
        if (run_block(job, block, &err)) {
            job->done++;
            continue;
        }
        if (strcmp(err.code, "stopped") == 0) return;
        job->failed++;
        aq_journal_error(&job->journal, &err, block->index);
        struct aq_text entry = {0};
        block_head(&entry, plan, block, "failed");
        aq_json_kv_string(&entry, "code", err.code);
        aq_json_kv_string(&entry, "message", err.message);
        if (!entry.failed) aq_text_printf(&job->blocks, "%s\n  {%s}", job->blocks.length ? "," : "", entry.data);
        aq_text_free(&entry);
    }
}

static bool write_result(struct job *job, const char *status, struct aq_error *err) {
    char path[4200];
    struct aq_text t = {0};
    aq_text_printf(&t, "{");
    aq_json_kv_int(&t, "format", 1);
    aq_json_kv_string(&t, "attempt", job->plan->attempt);
    aq_json_kv_string(&t, "status", status);
    aq_json_kv_string(&t, "engine", AQ_VERSION);
    aq_json_kv_string(&t, "build", AQ_BUILD);
    aq_json_kv_string(&t, "isa", job->kernels ? job->kernels->isa : NULL);
    aq_json_kv_string(&t, "boot_id", job->boot);
    aq_json_key(&t, "blocks");
    aq_text_printf(&t, "[%s]}\n", job->blocks.data ? job->blocks.data : "");
    bool ok = !t.failed && !job->blocks.failed;
    if (!ok) aq_fail(err, "memory", "out of memory while writing the result");
    ok =
        ok && aq_path(path, sizeof path, "%s/result.json", job->folder) && aq_replace_file(path, t.data, t.length, err);
    aq_text_free(&t);
    return ok;
}

static void journal_job(struct job *job) {
    struct aq_owner owner = {0};
    struct aq_error ignored;
    aq_owner_read(job->options->root, &owner, &ignored);
    struct aq_text t = {0};
    aq_json_kv_int(&t, "format", 1);
    aq_json_kv_string(&t, "attempt", job->plan->attempt);
    aq_json_kv_string(&t, "cluster", owner.present ? owner.cluster : NULL);
    aq_json_kv_int(&t, "epoch", (int64_t)owner.epoch);
    aq_json_kv_string(&t, "engine", AQ_VERSION);
    aq_json_kv_string(&t, "build", AQ_BUILD);
    aq_json_kv_string(&t, "isa", job->kernels ? job->kernels->isa : NULL);
    aq_json_kv_int(&t, "threads", job->plan->threads);
    aq_json_kv_string(&t, "boot_id", job->boot);
    aq_json_kv_int(&t, "unix_ms", (int64_t)aq_unix_ms());
    aq_journal_event(&job->journal, "job", &t, true);
    aq_text_free(&t);
}

static int finish(struct job *job) {
    struct aq_error err = {0};
    const char *status = stopping(job) && job->done + job->failed < job->plan->block_count ? "stopped"
                         : job->done && !job->journal.broken                               ? "done"
                                                                                           : "failed";
    if (!write_result(job, status, &err)) {
        aq_journal_error(&job->journal, &err, -1);
        status = "failed";
    }
    struct aq_text t = {0};
    aq_json_kv_string(&t, "status", status);
    if (!aq_journal_event(&job->journal, "end", &t, true)) {
        fprintf(stderr, "aqengine: %s\n", job->journal.error.message);
        status = "failed";
    }
    aq_text_free(&t);
    return status[0] == 'd' ? AQ_OK : status[0] == 's' ? AQ_STOPPED : AQ_FAILED;
}

int aq_job_run(const struct aq_job_options *options, const struct aq_plan *plan) {
    char path[4200];
    struct aq_error err = {0};
    struct job *job = calloc(1, sizeof *job);
    if (!job) {
        fprintf(stderr, "aqengine: out of memory\n");
        return AQ_FAILED;
    }
    job->options = options;
    job->plan = plan;
    job->loaded = -1;
    aq_boot_id(NULL, job->boot);
    aq_control_block_signals();
    if (!aq_path(job->folder, sizeof job->folder, "%s/jobs/%s", options->root, options->job) ||
        !aq_path(path, sizeof path, "%s/events.jsonl", job->folder) ||
        !aq_journal_open(&job->journal, path, options->echo, &err)) {
        fprintf(stderr, "aqengine: %s\n", err.code[0] ? err.message : "root path is too long");
        free(job);
        return AQ_FAILED;
    }
    job->kernels = aq_kernels_select(plan->isa, &err);
    journal_job(job);
    bool ready = job->kernels && aq_control_start(&job->control, &job->journal, job->folder, plan->telemetry_ms, &err);
    if (ready) {
        job->pool = aq_pool_create(plan->threads, plan->cpu_count ? plan->cpus : NULL, plan->cpu_count, &err);
        ready = job->pool != NULL;
    }
    if (ready)
        run_blocks(job);
    else
        aq_journal_error(&job->journal, &err, -1);
    unload(job);
    aq_pool_destroy(job->pool);
    aq_control_end(&job->control);
    int code = finish(job);
    aq_tokens_free(&job->tokens);
    aq_journal_close(&job->journal);
    aq_text_free(&job->blocks);
    free(job);
    return code;
}
