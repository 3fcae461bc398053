// A job from its first journal line to its result: the plan's blocks in order, each failing for itself.
#include "job_parts.h"

#include "board.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool stopping(struct aq_running *job) {
    return atomic_load(&job->control.stop);
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

// KIND_file and KIND_sha256, null when the block wrote none.
static void add_file(struct aq_text *t, const char *kind, const struct aq_block_file *file) {
    char key[32];
    snprintf(key, sizeof key, "%s_file", kind);
    aq_json_kv_string(t, key, file->name[0] ? file->name : NULL);
    snprintf(key, sizeof key, "%s_sha256", kind);
    aq_json_kv_string(t, key, file->name[0] ? file->sha256 : NULL);
}

static bool run_block(struct aq_running *job, const struct aq_plan_block *block, struct aq_error *err) {
    const struct aq_plan *plan = job->plan;
    if (!aq_job_load(job, block->pack, err)) return false;
    aq_peak_reset(NULL);
    struct aq_text event = {0}, entry = {0};
    aq_json_kv_int(&event, "block", block->index);
    aq_json_kv_string(&event, "state", "started");
    aq_json_kv_string(&event, "pack", plan->packs[block->pack].name);
    aq_json_kv_string(&event, "kind", aq_block_kind_name(block->kind));
    aq_json_kv_int(&event, "load_ms", (int64_t)job->load_ms);
    bool ok = aq_journal_event(&job->journal, "block", &event, true);
    if (!ok) *err = job->journal.error;

    struct aq_block_done done = {.repetitions = 1, .row_share = -1};
    block_head(&entry, plan, block, "done");
    ok = ok && (block->kind == AQ_PERPLEXITY ? aq_job_perplexity_block(job, block, &entry, &done, err)
                                             : aq_job_timing_block(job, block, &entry, &done, err));
    int64_t peak = aq_peak_rss(NULL);
    if (ok) {
        add_bytes(&entry, "peak_rss", peak);
        aq_json_kv_int(&entry, "load_ms", (int64_t)job->load_ms);
        aq_text_printf(&job->blocks, "%s\n  {%s}", job->blocks.length ? "," : "", entry.data);
        aq_text_clear(&event);
        aq_json_kv_int(&event, "block", block->index);
        aq_json_kv_string(&event, "state", "done");
        aq_json_kv_int(&event, "repetitions", (int64_t)done.repetitions);
        add_bytes(&event, "peak_rss", peak);
        add_file(&event, "nll", &done.nll);
        if (job->model.prune != AQ_PRUNE_NONE) {
            add_file(&event, "survivors", &done.survivors);
            aq_json_kv_number(&event, "row_share", done.row_share < 0 ? (double)NAN : done.row_share);
        }
        ok = aq_journal_event(&job->journal, "block", &event, true);
        if (!ok) *err = job->journal.error;
    }
    aq_text_free(&event);
    aq_text_free(&entry);
    return ok;
}

static void run_blocks(struct aq_running *job) {
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

static bool write_result(struct aq_running *job, const char *status, struct aq_error *err) {
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

static void journal_job(struct aq_running *job) {
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

static int finish(struct aq_running *job) {
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
    struct aq_running *job = calloc(1, sizeof *job);
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
    aq_job_unload(job);
    aq_pool_destroy(job->pool);
    aq_control_end(&job->control);
    int code = finish(job);
    aq_tokens_free(&job->tokens);
    aq_journal_close(&job->journal);
    aq_text_free(&job->blocks);
    free(job);
    return code;
}
