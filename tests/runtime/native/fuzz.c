/* Opens, makes contexts of, and runs damaged artefacts, all of whose checksums are right.
 *
 *     fuzz ARTEFACT SCRATCH FIRST COUNT
 *
 * Damage number N is the same in every run. A file that is run has its code and its extents as they were:
 * code is code, and reads what it was made to read. SCRATCH is where files are written. Prints how many were
 * opened and run. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "artefact.h"
#include "sha256.h"
#include "sparsegen.h"

#define MOST_SECTIONS 1024
#define MOST_TOKENS 65536
#define LARGEST_RUN ((size_t)16 << 20) /* bytes of an input or output */

void __sanitizer_set_death_callback(void (*callback)(void));

/* ---- chance ------------------------------------------------------------------------------------- */

static uint64_t state;

static uint64_t chance(uint64_t below) {
    state += 0x9e3779b97f4a7c15u;
    uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return below ? (z ^ z >> 31) % below : 0;
}

/* ---- bytes -------------------------------------------------------------------------------------- */

typedef struct { char *data; size_t size; } Bytes;

static Bytes copy_of(const void *data, size_t size) {
    Bytes copy = {malloc(size + 1), size};
    if (size) memcpy(copy.data, data, size);
    copy.data[size] = 0;
    return copy;
}

/* Puts `by` in place of `length` bytes at `at`. */
static void replace(Bytes *bytes, size_t at, size_t length, const char *by, size_t by_length) {
    Bytes made = {malloc(bytes->size - length + by_length + 1), bytes->size - length + by_length};
    memcpy(made.data, bytes->data, at);
    memcpy(made.data + at, by, by_length);
    memcpy(made.data + at + by_length, bytes->data + at + length, bytes->size - at - length);
    made.data[made.size] = 0;
    free(bytes->data);
    *bytes = made;
}

static void append(Bytes *bytes, const void *more, size_t size) {
    bytes->data = realloc(bytes->data, bytes->size + size + 1);
    memcpy(bytes->data + bytes->size, more, size);
    bytes->size += size;
    bytes->data[bytes->size] = 0;
}

static void append_text(Bytes *bytes, const char *text) { append(bytes, text, strlen(text)); }

static void flip_bits(Bytes *bytes) {
    for (uint64_t i = 0, count = 1 + chance(4); bytes->size && i < count; i++)
        bytes->data[chance(bytes->size)] ^= (char)(1 << chance(8));
}

/* ---- JSON, as text ------------------------------------------------------------------------------ */

typedef struct {
    size_t at, length;
    char kind;
} Token; /* '0' for a number, '"' for a text, '[' or '{' for all of one */

static Token tokens[MOST_TOKENS];

/* The values of a text of JSON; lists and objects as a whole, too. */
static size_t find_tokens(const Bytes *text) {
    size_t count = 0, depth = 0, open[300];
    for (size_t at = 0; at < text->size && count < MOST_TOKENS; at++) {
        char c = text->data[at];
        size_t end = at + 1;
        if (c == '"') {
            while (end < text->size && text->data[end] != '"') end += text->data[end] == '\\' ? 2 : 1;
            if (end >= text->size) break;
            tokens[count++] = (Token){at, end + 1 - at, '"'};
            at = end;
        } else if ((c >= '0' && c <= '9') || c == '-') {
            while (end < text->size && strchr("0123456789+-.eE", text->data[end])) end++;
            tokens[count++] = (Token){at, end - at, '0'};
            at = end - 1;
        } else if ((c == '[' || c == '{') && depth < 300) {
            open[depth++] = count;
            tokens[count++] = (Token){at, 1, c};
        } else if ((c == ']' || c == '}') && depth > 0) {
            Token *whole = &tokens[open[--depth]];
            whole->length = at + 1 - whole->at;
        }
    }
    return count;
}

static void edge_number(Bytes *text, Token token) {
    static const char *const edges[] = {
        "0", "1", "-1", "2", "3", "16", "17", "63", "64", "65", "255", "4095", "4096", "65536", "2147483647",
        "2147483648", "4294967295", "4294967296", "70368744177664", "1099511627776", "4611686018427387904",
        "9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551616", "1e308",
        "1e999", "0.5", "-0", "00", "1.", "null", "true", "\"1\"", "[]", "{}", "[[]]"};
    char number[32];
    long long was = strtoll(text->data + token.at, NULL, 10);
    uint64_t pick = chance(2 * sizeof edges / sizeof *edges);
    const char *by = number;
    if (pick < sizeof edges / sizeof *edges) by = edges[pick];
    else {
        const long long near[] = {was + 1, was - 1, was * 2, was / 2, was + 64, was - 64, was + 4096, -was};
        snprintf(number, sizeof number, "%lld", near[chance(8)]);
    }
    replace(text, token.at, token.length, by, strlen(by));
}

/* Another value of the same kind in its place; or both change places, where one is not in the other. */
static void other_value(Bytes *text, Token one, size_t count) {
    Token other = one;
    for (int tries = 0; tries < 50; tries++) {
        other = tokens[chance(count)];
        if (other.kind == one.kind && other.at != one.at) break;
    }
    Bytes mine = copy_of(text->data + one.at, one.length),
          theirs = copy_of(text->data + other.at, other.length);
    int apart = one.at + one.length <= other.at || other.at + other.length <= one.at;
    int both = apart && chance(2);
    if (both && other.at > one.at) replace(text, other.at, other.length, mine.data, mine.size);
    replace(text, one.at, one.length, theirs.data, theirs.size);
    if (both && other.at < one.at) replace(text, other.at, other.length, mine.data, mine.size);
    free(mine.data);
    free(theirs.data);
}

static void damage_json(Bytes *text) {
    size_t count = find_tokens(text);
    if (!count) return;
    Token token = tokens[chance(count)];
    for (int tries = 0; tries < 3 && token.kind != '0'; tries++)
        token = tokens[chance(count)]; /* most are numbers */
    switch (chance(12)) {
    case 0: replace(text, token.at, token.length, "", 0); return;
    case 1: replace(text, token.at, 0, text->data + token.at, chance(token.length + 1)); return;
    case 2: flip_bits(text); return;
    case 3: replace(text, token.at, token.length, chance(2) ? "null" : "[{}]", 4); return;
    case 4: case 5: case 6: other_value(text, token, count); return;
    default:
        if (token.kind == '0') edge_number(text, token);
        else other_value(text, token, count);
    }
}

/* ---- artefacts ---------------------------------------------------------------------------------- */

/* An artefact in parts: sections, in the order of the file, and the text of the manifest. */
typedef struct { const char *name; char shape[64]; const char *dtype; Bytes data; } Part;
static struct { Part parts[MOST_SECTIONS]; size_t count; Bytes manifest; } file;
static Artefact whole;

static void take_apart(void) {
    const Json *header = json_parse(&whole.memory, whole.map + 8, *(uint64_t *)whole.map, "the header");
    const Json *manifest = json_get(json_get(header, "__metadata__"), "manifest");
    file.count = 0;
    for (size_t i = 0; i < whole.count && i < MOST_SECTIONS; i++) {
        const Section *from = &whole.sections[i];
        Part *part = &file.parts[file.count++];
        *part = (Part){.name = from->name,
                       .dtype = from->dtype->stored,
                       .data = copy_of(from->data, from->bytes)};
        snprintf(part->shape, sizeof part->shape, "%zu", from->bytes / from->dtype->bytes);
    }
    file.manifest = copy_of(manifest->text, manifest->count);
}

static void hexadecimal(const Bytes *bytes, char to[65]) {
    unsigned char digest[32];
    sha256(bytes->data, bytes->size, digest);
    for (int i = 0; i < 32; i++) snprintf(to + 2 * i, 3, "%02x", digest[i]);
}

/* The manifest says of a part what it is now. */
static void sum_again(const Bytes *before, const Bytes *now) {
    char old[65], made[65];
    hexadecimal(before, old);
    hexadecimal(now, made);
    char *at = file.manifest.data, *end = at + file.manifest.size;
    for (; (at = memmem(at, (size_t)(end - at), old, 64)); at += 64) memcpy(at, made, 64);
}

static void append_escaped(Bytes *to, const Bytes *text) {
    Bytes escaped = {malloc(6 * text->size + 1), 0};
    for (size_t i = 0; i < text->size; i++) {
        unsigned char c = (unsigned char)text->data[i];
        if (c == '"' || c == '\\') escaped.data[escaped.size++] = '\\';
        if (c < 0x20) escaped.size += (size_t)sprintf(escaped.data + escaped.size, "\\u%04x", c);
        else escaped.data[escaped.size++] = (char)c;
    }
    append_text(to, "\"");
    append(to, escaped.data, escaped.size);
    append_text(to, "\"");
    free(escaped.data);
}

static Bytes header_of(int damaged) {
    Bytes header = {0};
    char line[400], sum[65];
    size_t at = 0, pads = 0;
    hexadecimal(&file.manifest, sum);
    append_text(&header, "{\"__metadata__\": {\"format\": \"sparsegen\", \"schema\": \"1\", \"manifest\": ");
    append_escaped(&header, &file.manifest);
    snprintf(line, sizeof line, ", \"manifest_sha256\": \"%s\"}", sum);
    append_text(&header, line);
    for (size_t i = 0; i < file.count; i++) {
        const Part *part = &file.parts[i];
        size_t multiple = part->data.size >= 4096 ? 4096 : 64,
               padding = (multiple - at % multiple) % multiple;
        if (padding) {
            snprintf(line, sizeof line,
                     ", \"pad/%zu\": {\"dtype\": \"U8\", \"shape\": [%zu], \"data_offsets\": [%zu, %zu]}",
                     pads++, padding, at, at + padding);
            append_text(&header, line);
        }
        at += padding;
        snprintf(line, sizeof line,
                 ", \"%.100s\": {\"dtype\": \"%s\", \"shape\": [%s], \"data_offsets\": [%zu, %zu]}",
                 part->name, part->dtype, part->shape, at, at + part->data.size);
        append_text(&header, line);
        at += part->data.size;
    }
    append_text(&header, "}");
    if (damaged) damage_json(&header);
    while ((header.size + 8) % 4096) append_text(&header, " ");
    return header;
}

static Bytes put_together(int damaged_header) {
    Bytes header = header_of(damaged_header), all = {0};
    uint64_t length = header.size;
    append(&all, &length, sizeof length);
    append(&all, header.data, header.size);
    size_t begin = all.size;
    for (size_t i = 0; i < file.count; i++) {
        size_t multiple = file.parts[i].data.size >= 4096 ? 4096 : 64;
        static const char zeros[4096];
        append(&all, zeros, (multiple - (all.size - begin) % multiple) % multiple);
        append(&all, file.parts[i].data.data, file.parts[i].data.size);
    }
    free(header.data);
    return all;
}

/* ---- damage ------------------------------------------------------------------------------------- */

static int of_kind(const Part *part, const char *kind) { return !strncmp(part->name, kind, strlen(kind)); }

static Part *some_part(const char *kind) {
    for (int tries = 0; tries < 200; tries++) {
        Part *part = &file.parts[chance(file.count)];
        if (of_kind(part, kind)) return part;
    }
    return &file.parts[0];
}

static void damage_part(const char *kind, void (*damage)(Bytes *)) {
    Part *part = some_part(kind);
    Bytes before = copy_of(part->data.data, part->data.size);
    damage(&part->data);
    if (part->dtype[0] == 'U' && part->dtype[1] == '8')
        snprintf(part->shape, sizeof part->shape, "%zu", part->data.size);
    sum_again(&before, &part->data);
    free(before.data);
}

static void resize(Bytes *bytes) {
    size_t size = chance(2) ? chance(bytes->size + 1) : bytes->size + chance(5000);
    bytes->data = realloc(bytes->data, size + 1);
    if (size > bytes->size) memset(bytes->data + bytes->size, (int)chance(256), size - bytes->size);
    bytes->size = size;
}

static void exchange_parts(void) {
    Part *one = &file.parts[chance(file.count)], *other = &file.parts[chance(file.count)], kept = *one;
    const char *name = one->name;
    int names = (int)chance(3);
    *one = *other;
    *other = kept;
    if (names == 0) return; /* reordered alone */
    other->name = one->name;
    one->name = name;
}

/* Returns whether code and extents are as they were. */
static int damage(int *header) {
    switch (chance(16)) {
    case 0: *header = 1; return 1;
    case 1: case 2: damage_json(&file.manifest); return 1;
    case 3: damage_part("weights/", flip_bits); return 1;
    case 4: damage_part("weights/", resize); return 1;
    case 5: exchange_parts(); return 1;
    case 6: damage_part("extents/", damage_json); return 0;
    case 7: damage_part("code/", flip_bits); return 0;
    case 8: damage_part("code/", resize); return 0;
    default: damage_part("plan/", damage_json); return 1;
    }
}

/* Damage of the file as a whole, which no sum is made right for. */
static void damage_bytes(Bytes *bytes) {
    switch (chance(4)) {
    case 0: bytes->size = chance(bytes->size); return;
    case 1: resize(bytes); return;
    case 2: for (int i = 0; i < 8; i++) if (chance(3) == 0) bytes->data[i] = (char)chance(256); return;
    default: flip_bits(bytes);
    }
}

/* ---- use ---------------------------------------------------------------------------------------- */

/* Memory that ends where no other is, but for what a multiple of 64 takes; NULL for too much. */
static void *guarded(size_t bytes, void **map, size_t *mapped) {
    if (bytes > LARGEST_RUN) return NULL;
    *mapped = (bytes + 8191) / 4096 * 4096;
    *map = mmap(NULL, *mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *end = (char *)*map + *mapped - 4096;
    mprotect(end, 4096, PROT_NONE);
    return (void *)((uintptr_t)(end - bytes) & ~(uintptr_t)63);
}

static int run(const sparsegen_model *model, int variant, sparsegen_context *context) {
    void *memory[2][64] = {{0}}, *maps[128];
    size_t sizes[128], count = 0;
    int inputs = sparsegen_inputs(model, variant), outputs = sparsegen_outputs(model, variant), ok = 1,
        status = 0;
    for (int i = 0; i < inputs + outputs && ok; i++) {
        int is_output = i >= inputs, at = is_output ? i - inputs : i;
        sparsegen_tensor tensor;
        if (at >= 64) return 0;
        (is_output ? sparsegen_output : sparsegen_input)(model, variant, at, &tensor);
        memory[is_output][at] = guarded(tensor.bytes, &maps[count], &sizes[count]);
        ok = memory[is_output][at] != NULL;
        count += (size_t)ok;
    }
    for (int times = 0; ok && times < 2; times++)
        status |= sparsegen_run(context, (const void *const *)memory[0], memory[1]);
    while (count--) munmap(maps[count], sizes[count]);
    return ok && !status;
}

static int opened, made, ran;

static void use(const char *path, int may_run) {
    sparsegen_options options = {sizeof options, (int)chance(3), (int)chance(2)};
    sparsegen_model *model = sparsegen_open(path, &options);
    if (!model) return;
    opened++;
    for (int variant = 0; variant < sparsegen_variants(model); variant++) {
        sparsegen_context *context = sparsegen_context_new(model, variant), *second;
        if (!context) continue;
        made++;
        if (may_run) ran += run(model, variant, context);
        second = sparsegen_context_new(model, variant);
        sparsegen_context_free(context);
        if (may_run && second) run(model, variant, second);
        sparsegen_context_free(second);
    }
    sparsegen_close(model);
}

static long long number;

static void tell_number(void) { fprintf(stderr, "damage number %lld\n", number); }

static void one(const char *path) {
    int may_run = 1, damaged_header = 0, as_a_whole;
    state = (uint64_t)number;
    take_apart();
    as_a_whole = chance(8) == 0;
    for (uint64_t i = 0, count = 1 + chance(3); !as_a_whole && i < count; i++)
        may_run &= damage(&damaged_header);
    Bytes all = put_together(damaged_header);
    if (as_a_whole) damage_bytes(&all);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(all.data, 1, all.size, out) != all.size || fclose(out)) exit(2);
    use(path, may_run);
    free(all.data);
    free(file.manifest.data);
    for (size_t i = 0; i < file.count; i++) free(file.parts[i].data.data);
}

int main(int count, char **arguments) {
    if (count != 5 || artefact_open(&whole, arguments[1], 1)) {
        fprintf(stderr, "%s\n", sparsegen_last_error());
        return 2;
    }
    __sanitizer_set_death_callback(tell_number);
    long long first = atoll(arguments[3]), end = first + atoll(arguments[4]);
    for (number = first; number < end; number++) one(arguments[2]);
    artefact_close(&whole);
    printf("%d opened, %d contexts, %d ran\n", opened, made, ran);
    return 0;
}
