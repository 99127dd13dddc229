#define _GNU_SOURCE
#include "json.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "errors.h"
#include "utf8.h"

#define DEEPEST 256             /* lists and objects in each other */
#define LARGEST (64 << 20)      /* bytes of a text */
#define LONGEST_NUMBER 400      /* characters */

typedef struct {
    Bump *memory;
    const unsigned char *begin, *at, *end;
    const char *what;
    locale_t c; /* for numbers, whatever the process's locale is */
    JsonMember *stack; /* the items of all lists and objects that are not at their end yet */
    size_t top, room;
} Parser;

static int value(Parser *p, Json *to, int depth);

static int wrong(const Parser *p, const char *why) {
    return fail_damaged("%s is no JSON that this version reads, at byte %zu: %s", p->what,
                        (size_t)(p->at - p->begin), why);
}

static int next_is(Parser *p, unsigned char character) {
    if (p->at == p->end || *p->at != character) return 0;
    p->at++;
    return 1;
}

static void skip_space(Parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t')) p->at++;
}

static int word(Parser *p, const char *letters, Json *to, JsonKind kind) {
    size_t length = strlen(letters);
    if ((size_t)(p->end - p->at) < length || memcmp(p->at, letters, length))
        return wrong(p, "a value is expected");
    p->at += length;
    to->kind = kind;
    return 0;
}

/* ---- numbers ------------------------------------------------------------------------------------ */

static int digits(Parser *p) {
    const unsigned char *from = p->at;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9') p->at++;
    return p->at > from;
}

static int number(Parser *p, Json *to) {
    char copy[LONGEST_NUMBER + 1];
    const unsigned char *from = p->at;
    int whole = 1;
    next_is(p, '-');
    if (!next_is(p, '0') && !digits(p)) return wrong(p, "a number has no digits");
    if (next_is(p, '.')) {
        whole = 0;
        if (!digits(p)) return wrong(p, "a number has no digits after its point");
    }
    if (next_is(p, 'e') || next_is(p, 'E')) {
        whole = 0;
        if (!next_is(p, '+')) next_is(p, '-');
        if (!digits(p)) return wrong(p, "a number has no digits in its exponent");
    }
    size_t length = (size_t)(p->at - from);
    if (length > LONGEST_NUMBER) return wrong(p, "a number is too long");
    memcpy(copy, from, length);
    copy[length] = 0;
    errno = 0;
    if (whole) {
        to->kind = JSON_INTEGER;
        to->integer = strtoll(copy, NULL, 10);
        return errno ? wrong(p, "a whole number takes more than 64 bits") : 0;
    }
    to->kind = JSON_REAL;
    to->real = strtod_l(copy, NULL, p->c);
    return isfinite(to->real) ? 0 : wrong(p, "a number is too large");
}

/* ---- texts -------------------------------------------------------------------------------------- */

static int four_digits(Parser *p) {
    int code = 0;
    for (int i = 0; i < 4; i++) {
        if (p->at == p->end) return -1;
        unsigned char c = *p->at++, low = c | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (digit < 0) return -1;
        code = code << 4 | digit;
    }
    return code;
}

/* A character of `\uXXXX`, or of two of them, into at most 4 bytes; how many, or -1. */
static int escaped_code(Parser *p, char *to) {
    int code = four_digits(p);
    if (code >= 0xd800 && code < 0xdc00) {
        int second = next_is(p, '\\') && next_is(p, 'u') ? four_digits(p) : -1;
        if (second < 0xdc00 || second > 0xdfff) return -1;
        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
    } else if (code <= 0 || (code >= 0xdc00 && code < 0xe000)) {
        return -1;
    }
    int bytes = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (int i = bytes - 1; i > 0; i--, code >>= 6) to[i] = (char)(0x80 | (code & 0x3f));
    to[0] = (char)(lead[bytes] | code);
    return bytes;
}

static int escape(Parser *p, char *to) {
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (p->at == p->end) return -1;
    unsigned char name = *p->at++;
    if (name == 'u') return escaped_code(p, to);
    const char *found = name ? strchr(names, name) : NULL;
    if (!found) return -1;
    *to = meant[found - names];
    return 1;
}

/* A text, from after its first quote on: no longer than it is written. */
static int text(Parser *p, const char **to, size_t *count) {
    const unsigned char *quote = p->at;
    while (quote < p->end && *quote != '"') quote += *quote == '\\' ? 2 : 1;
    if (quote >= p->end) return wrong(p, "a text has no end");
    char *out = bump_new(p->memory, (size_t)(quote - p->at) + 1, 1);
    if (!out) return -1;
    *to = out;
    while (p->at < quote) {
        if (*p->at == '\\') {
            p->at++;
            int bytes = escape(p, out);
            if (bytes < 0) return wrong(p, "a text has an escape that stands for no character");
            out += bytes;
            continue;
        }
        size_t bytes = utf8_length(p->at, (size_t)(quote - p->at));
        if (bytes == 0 || *p->at < 0x20) return wrong(p, "a text has bytes that are no character");
        memcpy(out, p->at, bytes);
        out += bytes;
        p->at += bytes;
    }
    *count = (size_t)(out - *to);
    p->at = quote + 1;
    return 0;
}

/* ---- lists and objects -------------------------------------------------------------------------- */

static int push(Parser *p, const JsonMember *member) {
    if (p->top == p->room) {
        size_t room = p->room ? 2 * p->room : 256;
        JsonMember *stack = realloc(p->stack, room * sizeof *stack);
        if (!stack) return fail_memory(room * sizeof *stack, p->what);
        p->stack = stack;
        p->room = room;
    }
    p->stack[p->top++] = *member;
    return 0;
}

static int by_name(const void *one, const void *other) {
    return strcmp(((const JsonMember *)one)->name, ((const JsonMember *)other)->name);
}

/* What was pushed from `base` on becomes the items of a list. */
static int end_list(Parser *p, Json *to, size_t base) {
    size_t count = p->top - base;
    Json *items = bump_new(p->memory, count, sizeof *items);
    if (!items) return -1;
    for (size_t i = 0; i < count; i++) items[i] = p->stack[base + i].value;
    to->items = items;
    to->count = count;
    p->top = base;
    return 0;
}

static int end_object(Parser *p, Json *to, size_t base) {
    size_t count = p->top - base;
    JsonMember *members = bump_new(p->memory, count, sizeof *members);
    if (!members) return -1;
    if (count) memcpy(members, p->stack + base, count * sizeof *members);
    if (count) qsort(members, count, sizeof *members, by_name);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(members[i - 1].name, members[i].name)) return wrong(p, "an object has a name twice");
    to->members = members;
    to->count = count;
    p->top = base;
    return 0;
}

static int list_or_object(Parser *p, Json *to, int depth) {
    int object = *p->at++ == '{';
    unsigned char close = object ? '}' : ']';
    size_t base = p->top;
    if (depth == DEEPEST) return wrong(p, "lists and objects are too deep in each other");
    to->kind = object ? JSON_OBJECT : JSON_LIST;
    skip_space(p);
    if (next_is(p, close)) return object ? end_object(p, to, base) : end_list(p, to, base);
    for (;;) {
        JsonMember member = {0};
        size_t length;
        skip_space(p);
        if (object) {
            if (!next_is(p, '"')) return wrong(p, "a name is expected");
            if (text(p, &member.name, &length)) return -1;
            skip_space(p);
            if (!next_is(p, ':')) return wrong(p, "':' is expected");
        }
        if (value(p, &member.value, depth + 1) || push(p, &member)) return -1;
        skip_space(p);
        if (next_is(p, close)) return object ? end_object(p, to, base) : end_list(p, to, base);
        if (!next_is(p, ',')) return wrong(p, "',' is expected");
    }
}

static int value(Parser *p, Json *to, int depth) {
    skip_space(p);
    if (p->at == p->end) return wrong(p, "it ends too early");
    switch (*p->at) {
    case '{':
    case '[': return list_or_object(p, to, depth);
    case '"':
        p->at++;
        to->kind = JSON_TEXT;
        return text(p, &to->text, &to->count);
    case 't': return word(p, "true", to, JSON_TRUE);
    case 'f': return word(p, "false", to, JSON_FALSE);
    case 'n': return word(p, "null", to, JSON_NULL);
    default: return number(p, to);
    }
}

const Json *json_parse(Bump *memory, const void *from, size_t size, const char *what) {
    if (size > LARGEST) {
        fail_damaged("%s has %zu bytes, and %d are allowed", what, size, LARGEST);
        return NULL;
    }
    Parser p = {memory, from, from, (const unsigned char *)from + size, what, 0, NULL, 0, 0};
    Json *to = bump_new(memory, 1, sizeof *to);
    if (!to) return NULL;
    p.c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    int failed = !p.c ? fail_memory(0, what) : value(&p, to, 0);
    skip_space(&p);
    if (!failed && p.at != p.end) failed = wrong(&p, "something follows its end");
    if (p.c) freelocale(p.c);
    free(p.stack);
    return failed ? NULL : to;
}

/* ---- values ------------------------------------------------------------------------------------- */

const Json *json_get(const Json *object, const char *name) {
    if (!object || object->kind != JSON_OBJECT) return NULL;
    size_t low = 0, high = object->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, object->members[middle].name);
        if (order == 0) return &object->members[middle].value;
        if (order < 0) high = middle; else low = middle + 1;
    }
    return NULL;
}

const char *json_text(const Json *value) { return value && value->kind == JSON_TEXT ? value->text : NULL; }

const Json *json_items(const Json *value, size_t *count) {
    int list = value && value->kind == JSON_LIST;
    *count = list ? value->count : 0;
    return list ? value->items : NULL;
}

int64_t json_count(const Json *value) {
    return value && value->kind == JSON_INTEGER && value->integer >= 0 ? value->integer : -1;
}

int json_real(const Json *value, double *real) {
    if (!value || (value->kind != JSON_INTEGER && value->kind != JSON_REAL)) return -1;
    *real = value->kind == JSON_REAL ? value->real : (double)value->integer;
    return 0;
}

int json_flag(const Json *value) {
    return !value || value->kind == JSON_FALSE ? 0 : value->kind == JSON_TRUE ? 1 : -1;
}

int json_equal(const Json *one, const Json *other) {
    if (one->kind != other->kind || one->count != other->count) return 0;
    switch (one->kind) {
    case JSON_INTEGER: return one->integer == other->integer;
    case JSON_REAL: return !memcmp(&one->real, &other->real, sizeof one->real);
    case JSON_TEXT: return !memcmp(one->text, other->text, one->count);
    case JSON_LIST:
        for (size_t i = 0; i < one->count; i++)
            if (!json_equal(&one->items[i], &other->items[i])) return 0;
        return 1;
    case JSON_OBJECT:
        for (size_t i = 0; i < one->count; i++) {
            const JsonMember *mine = &one->members[i], *theirs = &other->members[i];
            if (strcmp(mine->name, theirs->name) || !json_equal(&mine->value, &theirs->value)) return 0;
        }
        return 1;
    default: return 1;
    }
}
