// selftest: SHA-256 by the CPU's own instructions against the plain form, and both against a published digest.
#include "commands.h"
#include "selftest.h"
#include "sha256_blocks.h"

#include <string.h>

static void digest(const uint8_t *data, size_t length, size_t piece, bool plain, char hex[65]) {
    struct aq_sha256 s;
    aq_sha256_init(&s);
    if (plain) s.blocks = aq_sha256_blocks_plain;
    for (size_t at = 0; at < length; at += piece) aq_sha256_add(&s, data + at, aq_min(piece, length - at));
    aq_sha256_end(&s, hex);
}

bool aq_selftest_sha256(struct aq_error *err) {
    enum { LENGTH = 700 };
    static const char known[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-4: "abc"
    uint8_t data[LENGTH];
    char plain[65], fast[65];
    for (size_t i = 0; i < LENGTH; i++) data[i] = (uint8_t)(i * 167 + i / 13);
    bool ok = true;
    for (int form = 0; form < 2; form++) {
        digest((const uint8_t *)"abc", 3, 3, form == 0, plain);
        ok = ok && strcmp(plain, known) == 0;
    }
    size_t lengths = 0;
    for (size_t length = 0; length <= LENGTH; length += length < 130 ? 1 : 19, lengths++) {
        digest(data, length, LENGTH, true, plain);
        for (size_t piece = 37; piece <= LENGTH; piece = piece * 4 + 1) { // several blocks at once, and parts of one
            digest(data, length, piece, false, fast);
            ok = ok && strcmp(plain, fast) == 0;
        }
    }
    struct aq_text line = {0};
    aq_text_printf(&line, "{\"event\":\"selftest\"");
    aq_json_kv_string(&line, "kernel", "sha256");
    aq_json_kv_string(&line, "isa", aq_sha256_blocks() == aq_sha256_blocks_plain ? "scalar" : "cpu");
    aq_json_kv_int(&line, "shapes", (int64_t)lengths);
    aq_json_kv_number(&line, "max_difference", ok ? 0 : 1);
    aq_json_kv_bool(&line, "ok", ok);
    aq_text_printf(&line, "}");
    bool printed = aq_print(&line) == AQ_OK;
    if (!ok) aq_fail(err, "selftest", "SHA-256 of this CPU's instructions differs from the plain form");
    return ok && printed;
}
