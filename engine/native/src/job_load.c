// Packs and token files of a job: found by hash in the store, checked once, one pack loaded at a time.
#include "job_parts.h"

#include "sha256.h"

#include <string.h>

static bool store_path(struct aq_running *job, char *path, size_t size, const char *sha256, struct aq_error *err) {
    if (job->options->store ? aq_path(path, size, "%s/%s", job->options->store, sha256)
                            : aq_path(path, size, "%s/store/%s", job->options->root, sha256))
        return true;
    return aq_fail(err, "root", "store path is too long");
}

bool aq_job_verify(struct aq_running *job, const char *sha256, char *path, size_t size, struct aq_error *err) {
    char found[65];
    if (!store_path(job, path, size, sha256, err) || !aq_sha256_file(path, found, err)) return false;
    if (strcmp(found, sha256) == 0) return true;
    return aq_fail(err, "artifact-corrupt", "%s has SHA-256 %s; push it again", path, found);
}

void aq_job_unload(struct aq_running *job) {
    aq_session_free(job->session);
    job->session = NULL;
    if (job->loaded >= 0) aq_model_free(&job->model);
    job->loaded = -1;
}

bool aq_job_load(struct aq_running *job, uint32_t pack, struct aq_error *err) {
    char path[4096];
    job->load_ms = 0;
    if (job->loaded == (int64_t)pack) return true;
    aq_job_unload(job);
    const char *sha256 = job->plan->packs[pack].sha256;
    if (!job->verified[pack]) {
        if (!aq_job_verify(job, sha256, path, sizeof path, err)) return false;
        job->verified[pack] = 1;
    } else if (!store_path(job, path, sizeof path, sha256, err)) {
        return false;
    }
    uint64_t start = aq_now_ns();
    if (!aq_model_load(&job->model, path, job->kernels, job->pool, err)) return false;
    job->loaded = pack;
    job->session = aq_session_create(&job->model, job->pool, job->plan->context, job->plan->ubatch, AQ_JOB_LOGIT_ROWS,
                                     &job->control.stop, err);
    if (!job->session) {
        aq_job_unload(job);
        return false;
    }
    job->load_ms = (aq_now_ns() - start) / 1000000;
    return true;
}
