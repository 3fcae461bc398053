// Runs a target over files and folders of files, without libFuzzer: `./bench test` replays the corpora with it.
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int one(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat st;
    if (!file || stat(path, &st) != 0) {
        fprintf(stderr, "cannot read %s\n", path);
        return 0;
    }
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, file) != size) abort();
    fclose(file);
    fprintf(stderr, "%s\n", path); // the last line names the file when this crashes
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

int main(int count, char **paths) {
    int done = 0;
    for (int i = 1; i < count; i++) {
        DIR *folder = opendir(paths[i]);
        if (!folder) {
            done += one(paths[i]);
            continue;
        }
        for (struct dirent *entry; (entry = readdir(folder));) {
            char path[4096];
            if (entry->d_name[0] == '.') continue;
            if (snprintf(path, sizeof path, "%s/%s", paths[i], entry->d_name) < (int)sizeof path) done += one(path);
        }
        closedir(folder);
    }
    printf("%d inputs\n", done);
    return done == 0;
}
