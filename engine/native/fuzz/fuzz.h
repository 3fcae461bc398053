// What the fuzz targets share. A target is one LLVMFuzzerTestOneInput; build.sh links it with libFuzzer, or with
// replay.c, which runs it over files.
#ifndef AQ_FUZZ_H
#define AQ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The input as a file: a path that holds these bytes until the next call. The engine's readers take paths.
const char *fuzz_file(const uint8_t *data, size_t size);

#endif
