/* JSON, read strictly: UTF-8, no names twice in an object, no characters of value 0, whole numbers within
 * int64. */
#ifndef SPARSEGEN_JSON_H
#define SPARSEGEN_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "bump.h"

typedef enum {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_INTEGER,
    JSON_REAL,
    JSON_TEXT,
    JSON_LIST,
    JSON_OBJECT
} JsonKind;

typedef struct Json Json;
typedef struct JsonMember JsonMember;

/* A value; `count` are the bytes of a text, which a zero ends, items of a list, members of an object. */
struct Json {
    JsonKind kind;
    size_t count;
    union {
        int64_t integer;
        double real;
        const char *text;
        const Json *items;
        const JsonMember *members; /* in the order of their names */
    };
};

struct JsonMember {
    const char *name;
    Json value;
};

/* The value that a text is; NULL where it is none, with a message that calls it `what`. */
const Json *json_parse(Bump *memory, const void *text, size_t size, const char *what);

/* The member of a name; NULL where there is none, and where the value is no object or NULL. */
const Json *json_get(const Json *object, const char *name);

/* Its text, or NULL where it is no text; its items and their number, none where it is no list. */
const char *json_text(const Json *value);
const Json *json_items(const Json *value, size_t *count);

/* A whole number that is not negative, or -1 where the value is no such number. */
int64_t json_count(const Json *value);

/* A number of any kind; returns 0, or -1 where the value is none. */
int json_real(const Json *value, double *real);

/* Whether it is true; where the value is neither true nor false, nor NULL, -1. */
int json_flag(const Json *value);

/* Whether two values are the same. */
int json_equal(const Json *one, const Json *other);

#endif
