#include "errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sparsegen.h"
#include "export.h"
#include "utf8.h"

#define LONGEST 1024

static __thread char message[LONGEST];
static __thread char file[LONGEST / 2];
static __thread int gave_null; /* the message tells why a handle is NULL */

EXPORTED const char *sparsegen_last_error(void) { return message; }

void errors_about(const char *path) { snprintf(file, sizeof file, "%s", path ? path : ""); }

/* The file's name goes before what was written from `at` on, and all becomes text that can be shown. */
static int finish(void) {
    unsigned char *text = (unsigned char *)message, *end = text + strlen(message);
    while (text < end) {
        size_t length = utf8_length(text, (size_t)(end - text));
        if (length == 0 || *text < 0x20 || *text == 0x7f) *text = '?';
        text += length ? length : 1;
    }
    gave_null = 0;
    return -1;
}

/* Writes the file's name and what goes before the message; returns where that goes. */
static size_t begin(const char *before) {
    int length = snprintf(message, LONGEST, "%s%s%s", file, *file ? ": " : "", before);
    return length < LONGEST ? (size_t)length : LONGEST - 1;
}

int fail(const char *format, ...) {
    va_list values;
    size_t at = begin("");
    va_start(values, format);
    vsnprintf(message + at, LONGEST - at, format, values);
    va_end(values);
    return finish();
}

int fail_damaged(const char *format, ...) {
    static const char advice[] = "; write the file again";
    va_list values;
    size_t at = begin("the file is damaged: "), room = LONGEST - sizeof advice;
    va_start(values, format);
    vsnprintf(message + at, room > at ? room - at : 1, format, values);
    va_end(values);
    strcat(message, advice);
    return finish();
}

void errors_made(int handle) { gave_null = !handle; }

int fail_null(const char *kind, const char *maker) {
    if (gave_null) return -1;
    errors_about(NULL);
    return fail("the %s is NULL; give one that %s returned", kind, maker);
}

int fail_memory(size_t bytes, const char *use) {
    return fail("no memory is left for %zu bytes of %s; free some, or raise the process's limit (ulimit -v)",
                bytes, use);
}
