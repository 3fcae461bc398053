// Blocks of windows that are scored token by token.
#include "job_parts.h"

#include "sha256.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Scores one window into nll[targets] and says in stayed[targets] which predicting rows went through all layers;
// returns the sum of the NLLs in *sum.
static bool score_window(struct aq_running *job, uint64_t window, int32_t *ids, float *nll, uint8_t *stayed,
                         double *sum, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    uint32_t n = plan->window, targets = aq_window_targets(plan->convention, n), first = n - targets - 1;
    memcpy(ids, job->tokens.ids + window * n, n * sizeof *ids);
    if (plan->convention == AQ_LLAMA_CPP && job->tokens.adds_bos) ids[0] = job->tokens.bos;
    aq_session_reset(job->session);
    *sum = 0;
    size_t step = aq_session_chunk(job->session);
    // Row r predicts id r + 1; rows first..n-2 are scored.
    for (size_t at = 0; at + 1 < n; at += step) {
        size_t count = aq_min(step, n - at);
        enum aq_pass pass = at + count == n ? AQ_PROMPT_END : AQ_PROMPT;
        if (!aq_session_forward(job->session, ids + at, count, pass, err)) return false;
        size_t last = aq_min(at + count, (size_t)n - 1);
        for (size_t row = aq_max(at, first); row < last;) {
            size_t rows = aq_min(last - row, AQ_JOB_LOGIT_ROWS);
            double out[AQ_JOB_LOGIT_ROWS];
            aq_session_logits(job->session, row - at, rows);
            aq_session_nll(job->session, ids + row + 1, rows, out);
            for (size_t i = 0; i < rows; i++) {
                if (!isfinite(out[i])) return aq_fail(err, "not-finite", "the model gives no finite probability");
                nll[row - first + i] = (float)out[i];
                stayed[row - first + i] = aq_session_stayed(job->session, row - at + i);
                *sum += out[i];
            }
            row += rows;
        }
    }
    return true;
}

static bool score_windows(struct aq_running *job, const struct aq_plan_block *block, float *nll, uint8_t *stayed,
                          uint64_t *ns, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    uint32_t targets = aq_window_targets(plan->convention, plan->window);
    int32_t *ids = malloc(plan->window * sizeof *ids);
    if (!ids) return aq_fail(err, "memory", "out of memory for a window");
    bool ok = true;
    for (uint64_t w = 0; ok && w < plan->windows; w++) {
        double sum;
        uint64_t start = aq_now_ns();
        ok = score_window(job, plan->first_window + w, ids, nll + w * targets, stayed + w * targets, &sum, err);
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

static bool read_tokens(struct aq_running *job, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    char path[4096];
    if (!job->have_tokens) {
        if (!aq_job_verify(job, plan->tokens, path, sizeof path, err) || !aq_tokens_read(&job->tokens, path, err))
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

// One file a block: nll-7.f32. Its name and hash go into `file` and the entry of result.json.
static bool write_file(struct aq_running *job, const struct aq_plan_block *block, const char *kind,
                       const char *extension, const void *data, size_t bytes, struct aq_block_file *file,
                       struct aq_text *result, struct aq_error *err) {
    char path[4200], key[32], name[32];
    snprintf(name, sizeof name, "%s-%u.%s", kind, block->index, extension);
    if (!aq_path(path, sizeof path, "%s/%s", job->folder, name)) return aq_fail(err, "root", "root path is too long");
    if (!aq_replace_file(path, data, bytes, err)) return false;
    struct aq_sha256 hash; // every supported target is little-endian
    aq_sha256_init(&hash);
    aq_sha256_add(&hash, data, bytes);
    aq_sha256_end(&hash, file->sha256);
    memcpy(file->name, name, sizeof name);
    snprintf(key, sizeof key, "%s_file", kind);
    aq_json_kv_string(result, key, name);
    snprintf(key, sizeof key, "%s_sha256", kind);
    aq_json_kv_string(result, key, file->sha256);
    return true;
}

bool aq_job_perplexity_block(struct aq_running *job, const struct aq_plan_block *block, struct aq_text *result,
                             struct aq_block_done *done, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    if (!read_tokens(job, err)) return false;
    uint32_t targets = aq_window_targets(plan->convention, plan->window);
    size_t bytes;
    if (!aq_mul(plan->windows, targets * sizeof(float), &bytes)) return aq_fail(err, "memory", "too many windows");
    float *nll = malloc(bytes);
    uint8_t *stayed = malloc(bytes / sizeof(float));
    uint64_t *ns = calloc(plan->windows, sizeof *ns);
    bool ok = nll && stayed && ns;
    if (!ok) aq_fail(err, "memory", "out of memory for the results of %llu windows", (unsigned long long)plan->windows);
    ok = ok && score_windows(job, block, nll, stayed, ns, err);
    if (ok) {
        aq_json_kv_string(result, "convention", plan->convention == AQ_GPTQ ? "gptq" : "llama.cpp");
        aq_json_kv_int(result, "n", plan->window);
        aq_json_kv_int(result, "first", (int64_t)plan->first_window);
        aq_json_kv_int(result, "windows", (int64_t)plan->windows);
        aq_json_kv_int(result, "targets", targets);
        ok = write_file(job, block, "nll", "f32", nll, bytes, &done->nll, result, err);
    }
    if (ok && job->model.prune != AQ_PRUNE_NONE)
        ok = write_file(job, block, "survivors", "u8", stayed, bytes / sizeof(float), &done->survivors, result, err);
    if (ok) aq_job_add_ns(result, "ns", ns, plan->windows);
    free(nll);
    free(stayed);
    free(ns);
    return ok;
}
