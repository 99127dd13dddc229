/* Text in UTF-8. */
#ifndef SPARSEGEN_UTF8_H
#define SPARSEGEN_UTF8_H

#include <stddef.h>

/* Bytes of the character that `text` begins with, of `size` bytes; 0 where that is none: cut short, longer
 * than it has to be, a surrogate, or past the last character there is. */
static inline size_t utf8_length(const unsigned char *text, size_t size) {
    if (size == 0) return 0;
    unsigned char first = text[0];
    if (first < 0x80) return 1;
    size_t length = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3
                    : first >= 0xf0 && first < 0xf5 ? 4 : 0;
    if (length == 0 || length > size) return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f)) return 0;
    if ((first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f)) return 0;
    return length;
}

#endif
