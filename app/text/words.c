/* Token ids of ASCII texts in one pass: what preprocessing.words and the vocabulary's dictionary do, several times as
 * fast. tests/text hold the two equal.
 *
 * A word is a run of letters and digits, in which single apostrophes may stand; ! and ? are words of their own; HTML
 * tags and everything else separate.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_TAG 200 /* characters between a tag's name and its end; see _TAG in preprocessing.py */

enum kind { SEPARATOR, LETTER, APOSTROPHE, TONE };

/* The first letters of a word, zeros behind the end of a short one: most words are compared and hashed as two numbers. */
enum { FIRST = 16 };
struct letters {
    uint64_t half[2];
};

/* A hash table with open addressing. What is compared lies in the slot, so that a look-up costs one cache miss. */
struct vocabulary {
    uint32_t mask;
    char *words; /* all words, one after the other: for the rest of long ones */
    struct slot {
        struct letters letters;
        int32_t id;      /* 0 where the slot is free */
        int32_t length;
        int32_t start;   /* in words */
        int32_t padding; /* a slot does not cross a cache line */
    } *slots;
};

struct counts {
    int64_t tokens;  /* words of the text */
    int64_t kept;    /* of which are left after truncation */
    int64_t unknown; /* of which are not in the vocabulary */
};

static const unsigned char KINDS[256] = {
    ['a' ... 'z'] = LETTER,  ['A' ... 'Z'] = LETTER,  ['0' ... '9'] = LETTER,
    ['\''] = APOSTROPHE,    ['`'] = APOSTROPHE,      ['!'] = TONE, ['?'] = TONE,
};
#define KIND_OF(c) KINDS[(unsigned char)(c)]

/* A character of a word as the vocabulary writes it. */
static unsigned char folded(unsigned char c) {
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c == '`' ? '\'' : c;
}

/* The first letters of a word, of which `left` bytes may be read. */
static struct letters letters_of(const char *word, int64_t length, int64_t left) {
    struct letters letters = {{0, 0}};
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__ || left < FIRST) {
        memcpy(&letters, word, length < FIRST ? length : FIRST);
        return letters;
    }
    memcpy(&letters, word, FIRST);
    if (length < 8) letters.half[0] &= (UINT64_C(1) << 8 * length) - 1;
    if (length <= 8) letters.half[1] = 0;
    else if (length < FIRST) letters.half[1] &= (UINT64_C(1) << 8 * (length - 8)) - 1;
    return letters;
}

/* `folded` of eight ASCII characters at a time. */
static uint64_t folded_half(uint64_t eight) {
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
    const uint64_t upper = (eight + ones * (0x80 - 'A')) & ~(eight + ones * (0x7f - 'Z')) & high;
    const uint64_t backtick = ~((eight ^ ones * '`') + ones * 0x7f) & high;
    return (eight | upper >> 2) ^ (backtick >> 7) * ('`' ^ '\'');
}

static uint32_t hash_of(struct letters letters, int64_t length) {
    const uint64_t product = (letters.half[0] ^ length) * UINT64_C(0x9e3779b97f4a7c15)
                             + letters.half[1] * UINT64_C(0xc2b2ae3d27d4eb4f);
    return (uint32_t)(product >> 32) ^ (uint32_t)(product >> 15);
}

/* Id of a word, of which `left` bytes may be read. */
static int32_t find(const struct vocabulary *all, const char *word, int64_t length, int64_t left, int32_t unknown) {
    struct letters letters = letters_of(word, length, left);
    letters.half[0] = folded_half(letters.half[0]);
    letters.half[1] = folded_half(letters.half[1]);
    for (uint32_t at = hash_of(letters, length) & all->mask;; at = (at + 1) & all->mask) {
        const struct slot *slot = all->slots + at;
        if (!slot->id) return unknown;
        if (slot->letters.half[0] != letters.half[0] || slot->letters.half[1] != letters.half[1]) continue;
        if (slot->length != length) continue;
        const char *known = all->words + slot->start;
        int64_t i = FIRST;
        while (i < length && (unsigned char)known[i] == folded(word[i])) i++;
        if (i >= length) return slot->id;
    }
}

EXPORT void words_free(struct vocabulary *all) {
    if (!all) return;
    free(all->words);
    free(all->slots);
    free(all);
}

/* A vocabulary of `count` different words with the ids from `first` on; NULL where there is no memory.
 *
 * Word i is words[ends[i - 1]] to words[ends[i] - 1].
 */
EXPORT struct vocabulary *words_new(const char *words, const int32_t *ends, int32_t count, int32_t first) {
    const int64_t size = count ? ends[count - 1] : 0;
    uint32_t slots = 16;
    while (slots < 2 * (uint32_t)count) slots *= 2;
    struct vocabulary *all = calloc(1, sizeof *all);
    if (!all) return NULL;
    *all = (struct vocabulary){slots - 1, malloc(size + 1), aligned_alloc(64, slots * sizeof *all->slots)};
    if (!all->words || !all->slots) {
        words_free(all);
        return NULL;
    }
    memcpy(all->words, words, size);
    memset(all->slots, 0, slots * sizeof *all->slots);
    for (int32_t i = 0, at = 0; i < count; i++) {
        const int32_t length = ends[i] - at;
        const struct letters letters = letters_of(words + at, length, size - at);
        uint32_t place = hash_of(letters, length) & all->mask;
        while (all->slots[place].id) place = (place + 1) & all->mask;
        all->slots[place] = (struct slot){letters, first + i, length, at, 0};
        at = ends[i];
    }
    return all;
}

/* Length of the HTML tag that starts here, 0 where none does. */
static int64_t tag(const char *text, int64_t left) {
    int64_t at = left > 1 && text[1] == '/' ? 2 : 1;
    if (at >= left || KIND_OF(text[at]) != LETTER || (text[at] >= '0' && text[at] <= '9')) return 0;
    at++;
    for (int64_t most = at + MAX_TAG; at < left && at <= most; at++) {
        if (text[at] == '>') return at + 1;
        if (text[at] == '<' || at == most) return 0;
    }
    return 0;
}

/* Ids of a text's words, of which the first `head` and the last `most - head` are kept where there are more than `most`.
 *
 * `ids` has room for `length` numbers.
 */
static void encode(const struct vocabulary *all, const char *text, int64_t length, int32_t unknown, int64_t most,
                   int64_t head, int32_t *ids, struct counts *counts) {
    int64_t tokens = 0;
    for (int64_t at = 0; at < length;) {
        const enum kind kind = KIND_OF(text[at]);
        const int64_t start = at;
        if (kind == TONE) {
            at++;
        } else if (kind == LETTER) {
            for (; at < length; at++) {
                const enum kind next = KIND_OF(text[at]);
                const int inside = next == APOSTROPHE && at + 1 < length && KIND_OF(text[at + 1]) == LETTER;
                if (next != LETTER && !inside) break;
            }
        } else {
            const int64_t skip = text[at] == '<' ? tag(text + at, length - at) : 0;
            at += skip ? skip : 1;
            continue;
        }
        ids[tokens++] = find(all, text + start, at - start, length - start, unknown);
    }
    counts->tokens = tokens;
    counts->kept = tokens > most ? most : tokens;
    if (tokens > most) memmove(ids + head, ids + tokens - (most - head), (most - head) * sizeof *ids);
    counts->unknown = 0;
    for (int64_t i = 0; i < counts->kept; i++) counts->unknown += ids[i] == unknown;
}

/* Ids of the words of `count` texts, one text's behind the other's. Text i is text[ends[i - 1]] to text[ends[i] - 1].
 *
 * `ids` has room for min(length, most) numbers of each text, of the longest for as many as it has characters.
 */
EXPORT void words_encode(const struct vocabulary *all, const char *text, const int64_t *ends, int64_t count,
                         int32_t unknown, int64_t most, int64_t head, int32_t *ids, struct counts *counts) {
    for (int64_t i = 0, at = 0; i < count; at = ends[i++], ids += counts++->kept)
        encode(all, text + at, ends[i] - at, unknown, most, head, ids, counts);
}

#ifdef SOURCES /* what the library was built from; compiler.py looks for it */
EXPORT const char words_sources[] = "SOURCES=" SOURCES;
#endif
