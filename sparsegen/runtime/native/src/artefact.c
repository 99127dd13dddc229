#include "artefact.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "sha256.h"
#include "team.h"

#define PAGE 4096
#define LINE 64
#define DIGEST 32
#define MOST_EXTENTS 64
#define SCHEMA "1"

typedef unsigned char Digest[DIGEST];

/* ---- the file ----------------------------------------------------------------------------------- */

static int map_file(Artefact *artefact, const char *path) {
    struct stat about;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe would wait for a writer */
    if (file < 0)
        return fail("the file cannot be opened (%s); give one that sparsegen wrote", strerror(errno));
    int failed = 0;
    if (fstat(file, &about)) failed = fail("the file cannot be read (%s)", strerror(errno));
    else if (!S_ISREG(about.st_mode)) failed = fail("this is no regular file; give one that sparsegen wrote");
    else if (about.st_size < 8) failed = fail("the file is empty or cut short; write it again");
    else {
        artefact->size = (size_t)about.st_size;
        artefact->map = mmap(NULL, artefact->size, PROT_READ, MAP_PRIVATE, file, 0);
        if (artefact->map == MAP_FAILED) {
            artefact->map = NULL;
            failed = fail("the file cannot be mapped (%s)", strerror(errno));
        }
    }
    close(file);
    return failed;
}

/* The header, and where the data begins; NULL with a message where the file has none. */
static const Json *read_header(Artefact *artefact, size_t *data) {
    uint64_t length;
    memcpy(&length, artefact->map, sizeof length);
    if (length > artefact->size - 8 || artefact->map[8] != '{') {
        fail("this is no file that sparsegen wrote, or it is cut short; give one, or write it again");
        return NULL;
    }
    *data = 8 + (size_t)length;
    if (*data % PAGE) {
        fail_damaged("its data begin at byte %zu, which is no multiple of %d", *data, PAGE);
        return NULL;
    }
    return json_parse(&artefact->memory, artefact->map + 8, (size_t)length, "the header");
}

/* ---- tensors ------------------------------------------------------------------------------------ */

static int is_padding(const char *name) { return !strncmp(name, "pad/", 4); }

static int tensor_bytes(const Json *shape, const Dtype *dtype, size_t *bytes) {
    size_t rank;
    const Json *extents = json_items(shape, &rank);
    if (!extents || rank > MOST_EXTENTS) return -1;
    *bytes = dtype->bytes;
    for (size_t i = 0; i < rank; i++) {
        int64_t extent = json_count(&extents[i]);
        if (extent < 0 || __builtin_mul_overflow(*bytes, (size_t)extent, bytes)) return -1;
    }
    return 0;
}

static int read_tensor(Section *to, const JsonMember *tensor, const unsigned char *data, size_t size) {
    size_t count, bytes;
    const char *name = tensor->name;
    const Json *offsets = json_items(json_get(&tensor->value, "data_offsets"), &count);
    const Dtype *dtype = dtype_stored(json_text(json_get(&tensor->value, "dtype")));
    if (!dtype)
        return fail_damaged("tensor '%.80s' has no type, or one that this version does not know", name);
    if (count != 2) return fail_damaged("tensor '%.80s' has no data_offsets", name);
    int64_t begin = json_count(&offsets[0]), end = json_count(&offsets[1]);
    if (begin < 0 || end < begin || (uint64_t)end > size)
        return fail_damaged("tensor '%.80s' lies outside of the %zu bytes of data", name, size);
    if (tensor_bytes(json_get(&tensor->value, "shape"), dtype, &bytes) || bytes != (size_t)(end - begin))
        return fail_damaged("tensor '%.80s' has %zu bytes, and another number by its shape", name,
                            (size_t)(end - begin));
    if (!is_padding(name) && (begin % LINE || (bytes >= PAGE && begin % PAGE)))
        return fail_damaged("tensor '%.80s' begins at byte %zu, which is no multiple of %d", name,
                            (size_t)begin, bytes >= PAGE ? PAGE : LINE);
    *to = (Section){name, data + begin, bytes, dtype, NULL};
    return 0;
}

static int by_place(const void *one, const void *other) {
    const Section *a = one, *b = other;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

static int by_name(const void *one, const void *other) {
    return strcmp(((const Section *)one)->name, ((const Section *)other)->name);
}

/* The sections of a header, which have to be all of the data, one after the other. */
static int read_sections(Artefact *artefact, const Json *header, size_t data) {
    const unsigned char *begin = artefact->map + data, *end = begin;
    size_t size = artefact->size - data, count = 0;
    artefact->sections = bump_new(&artefact->memory, header->count, sizeof(Section));
    if (!artefact->sections) return -1;
    for (size_t i = 0; i < header->count; i++) {
        const JsonMember *tensor = &header->members[i];
        if (!strcmp(tensor->name, "__metadata__")) continue;
        if (read_tensor(&artefact->sections[count++], tensor, begin, size)) return -1;
    }
    qsort(artefact->sections, count, sizeof(Section), by_place);
    for (size_t i = 0; i < count; i++) {
        const Section *section = &artefact->sections[i];
        if (section->data != end)
            return fail_damaged("tensor '%.80s' does not begin where the one before it ends", section->name);
        end += section->bytes;
        if (!is_padding(section->name)) artefact->sections[artefact->count++] = *section;
    }
    if (end != begin + size)
        return fail_damaged("%zu bytes of data belong to nothing", size - (size_t)(end - begin));
    qsort(artefact->sections, artefact->count, sizeof(Section), by_name);
    return 0;
}

Section *artefact_section(const Artefact *artefact, const char *name) {
    Section key = {.name = name};
    if (!name || !artefact->count) return NULL;
    return bsearch(&key, artefact->sections, artefact->count, sizeof key, by_name);
}

/* ---- checksums ---------------------------------------------------------------------------------- */

int digest_from_text(const char *text, unsigned char digest[DIGEST]) {
    if (!text || strlen(text) != 2 * DIGEST) return -1;
    for (int i = 0; i < 2 * DIGEST; i++) {
        int c = text[i], digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return -1;
        digest[i / 2] = (unsigned char)(i % 2 ? digest[i / 2] | digit : digit << 4);
    }
    return 0;
}

typedef struct {
    const Artefact *artefact;
    const Json *sums;
    int verify;
    size_t next; /* section that no thread has taken yet */
    size_t wrong; /* the first one that is not as its sum says */
} Summing;

static int always_checked(const char *name) {
    return !strncmp(name, "plan/", 5) || !strncmp(name, "code/", 5) || !strncmp(name, "extents/", 8);
}

static int sum_is_right(const Summing *summing, const Section *section) {
    Digest told, found;
    if (digest_from_text(json_text(json_get(summing->sums, section->name)), told)) return 0;
    if (!summing->verify && !always_checked(section->name)) return 1;
    sha256(section->data, section->bytes, found);
    return !memcmp(told, found, DIGEST);
}

static void sum_work(void *pointer, int index, int count) {
    (void)index, (void)count;
    Summing *summing = pointer;
    for (;;) {
        size_t at = __atomic_fetch_add(&summing->next, 1, __ATOMIC_RELAXED);
        if (at >= summing->artefact->count) return;
        if (sum_is_right(summing, &summing->artefact->sections[at])) continue;
        size_t before = __atomic_load_n(&summing->wrong, __ATOMIC_RELAXED);
        while (at < before && !__atomic_compare_exchange_n(&summing->wrong, &before, at, 0, __ATOMIC_RELAXED,
                                                           __ATOMIC_RELAXED)) {}
    }
}

static int check_sums(const Artefact *artefact, int verify) {
    const Json *sums = json_get(artefact->manifest, "sha256");
    Summing summing = {artefact, sums, verify, 0, artefact->count};
    if (!sums || sums->kind != JSON_OBJECT || sums->count != artefact->count)
        return fail_damaged("it has not one checksum for each section");
    if (verify) together(sum_work, &summing); else sum_work(&summing, 0, 1);
    if (summing.wrong == artefact->count) return 0;
    return fail_damaged("section '%.80s' is not what its checksum says",
                        artefact->sections[summing.wrong].name);
}

/* ---- the manifest ------------------------------------------------------------------------------- */

static int read_manifest(Artefact *artefact, const Json *metadata) {
    const Json *manifest = json_get(metadata, "manifest");
    const char *format = json_text(json_get(metadata, "format")),
               *schema = json_text(json_get(metadata, "schema"));
    Digest told, found;
    if (!format || strcmp(format, "sparsegen"))
        return fail("this is a safetensors file of something else; give one that sparsegen wrote");
    if (!schema || strcmp(schema, SCHEMA))
        return fail("the file has schema '%.20s', and this version reads " SCHEMA
                    "; read it with the version of sparsegen-runtime that goes with it, or write it again",
                    schema ? schema : "");
    if (!json_text(manifest)) return fail_damaged("it has no manifest");
    if (digest_from_text(json_text(json_get(metadata, "manifest_sha256")), told))
        return fail_damaged("its manifest has no checksum");
    sha256(manifest->text, manifest->count, found);
    if (memcmp(told, found, DIGEST)) return fail_damaged("its manifest is not what its checksum says");
    artefact->manifest = json_parse(&artefact->memory, manifest->text, manifest->count, "the manifest");
    return artefact->manifest ? 0 : -1;
}

int artefact_open(Artefact *artefact, const char *path, int verify) {
    size_t data = 0;
    *artefact = (Artefact){0};
    if (map_file(artefact, path)) return -1;
    const Json *header = read_header(artefact, &data);
    if (!header) return -1;
    if (read_manifest(artefact, json_get(header, "__metadata__"))) return -1;
    if (read_sections(artefact, header, data)) return -1;
    return check_sums(artefact, verify);
}

void artefact_close(Artefact *artefact) {
    if (artefact->map) munmap(artefact->map, artefact->size);
    bump_free(&artefact->memory);
    *artefact = (Artefact){0};
}
