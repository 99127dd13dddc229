/* What went wrong in the calling thread. */
#ifndef SPARSEGEN_ERRORS_H
#define SPARSEGEN_ERRORS_H

#include <stddef.h>

/* The file that messages of this thread begin with, until the next one; the text is copied. NULL: none. */
void errors_about(const char *path);

/* Keeps a message, "FILE: what is wrong; what to do", for sparsegen_last_error; returns -1. What of it is no
 * text of UTF-8, as names from a damaged file may be, or would move a terminal's cursor, becomes '?'. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2), cold));

/* For a handle of a `kind` that is NULL. Where the thread's last failure is that of the function that should
 * have given it, its message stays: it tells why there is none. `maker` is that function's name. */
int fail_null(const char *kind, const char *maker) __attribute__((cold));

/* What a function that gives handles ends with: where it gives NULL, its message stays for who goes on. */
void errors_made(int handle);

/* The same as `fail` for memory that the system does not give. */
int fail_memory(size_t bytes, const char *use) __attribute__((cold));

/* For all that only damage explains: "the file is damaged: ...; write it again". */
int fail_damaged(const char *format, ...) __attribute__((format(printf, 1, 2), cold));

#endif
