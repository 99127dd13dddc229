/* json.c, for tests: texts are read, and told again. */
#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "errors.h"
#include "sparsegen.h"

#pragma GCC visibility push(default)

static char *tell(const Json *value, char *to, char *end);

static char *tell_text(const char *text, char *to, char *end) {
    to += snprintf(to, (size_t)(end - to), "\"");
    for (; *text; text++) to += snprintf(to, (size_t)(end - to), "%02x", (unsigned char)*text);
    return to + snprintf(to, (size_t)(end - to), "\"");
}

/* As JSON, but texts in hexadecimal. */
static char *tell(const Json *value, char *to, char *end) {
    static const char *const words[] = {"null", "false", "true"};
    int object = value->kind == JSON_OBJECT;
    switch (value->kind) {
    case JSON_INTEGER: return to + snprintf(to, (size_t)(end - to), "%" PRId64, value->integer);
    case JSON_REAL: return to + snprintf(to, (size_t)(end - to), "%.17e", value->real);
    case JSON_TEXT: return tell_text(value->text, to, end);
    case JSON_LIST:
    case JSON_OBJECT: break;
    default: return to + snprintf(to, (size_t)(end - to), "%s", words[value->kind]);
    }
    to += snprintf(to, (size_t)(end - to), object ? "{" : "[");
    for (size_t i = 0; i < value->count; i++) {
        if (i) to += snprintf(to, (size_t)(end - to), ",");
        if (object) {
            to = tell_text(value->members[i].name, to, end);
            to += snprintf(to, (size_t)(end - to), ":");
            if (json_get(value, value->members[i].name) != &value->members[i].value) return to;
        }
        to = tell(object ? &value->members[i].value : &value->items[i], to, end);
    }
    return to + snprintf(to, (size_t)(end - to), object ? "}" : "]");
}

/* What a text is, into `to`; -1 with sparsegen_last_error where it is none. */
int test_json(const char *text, size_t size, char *to, size_t room) {
    Bump memory = {0};
    errors_about(NULL);
    const Json *value = json_parse(&memory, text, size, "the text");
    if (value) tell(value, to, to + room);
    bump_free(&memory);
    return value ? 0 : -1;
}
