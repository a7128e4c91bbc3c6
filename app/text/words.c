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

/* A hash table with open addressing. What is compared lies in the slot, so that a look-up costs one cache miss. */
struct vocabulary {
    uint32_t mask;
    char *words; /* all words, one after the other: for the rest of long ones */
    struct slot {
        uint32_t hash;
        int32_t id;      /* 0 where the slot is free */
        int32_t length;
        int32_t start;   /* in words */
        char letters[16]; /* the first ones */
    } *slots;
};

struct counts {
    int64_t tokens;  /* words of the text */
    int64_t kept;    /* of which are left after truncation */
    int64_t unknown; /* of which are not in the vocabulary */
};

static const unsigned char KINDS[256] = {
    ['a' ... 'z'] = LETTER,  ['A' ... 'Z'] = LETTER,  ['0' ... '9'] = LETTER,
    ['\''] = APOSTROPHE, ['`'] = APOSTROPHE, ['!'] = TONE, ['?'] = TONE,
};
#define KIND_OF(c) KINDS[(unsigned char)(c)]

/* A character of a word as the vocabulary writes it. */
static unsigned char folded(unsigned char c) {
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c == '`' ? '\'' : c;
}

/* FNV-1a, a character at a time. */
static const uint32_t START = 2166136261u;
static uint32_t hashed(uint32_t hash, unsigned char c) { return (hash ^ c) * 16777619u; }

static int32_t find(const struct vocabulary *all, const char *word, int64_t length, uint32_t hash, int32_t unknown) {
    for (uint32_t at = hash & all->mask;; at = (at + 1) & all->mask) {
        const struct slot *slot = all->slots + at;
        if (!slot->id) return unknown;
        if (slot->hash != hash || slot->length != length) continue;
        const char *known = length > (int64_t)sizeof slot->letters ? all->words + slot->start : slot->letters;
        int64_t i = 0;
        while (i < length && (unsigned char)known[i] == folded(word[i])) i++;
        if (i == length) return slot->id;
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
        struct slot slot = {START, first + i, ends[i] - at, at, ""};
        while (at < ends[i]) {
            if (at - slot.start < (int32_t)sizeof slot.letters) slot.letters[at - slot.start] = words[at];
            slot.hash = hashed(slot.hash, words[at++]);
        }
        uint32_t place = slot.hash & all->mask;
        while (all->slots[place].id) place = (place + 1) & all->mask;
        all->slots[place] = slot;
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
        uint32_t hash = START;
        if (kind == TONE) {
            hash = hashed(hash, text[at++]);
        } else if (kind == LETTER) {
            for (; at < length; at++) {
                const enum kind next = KIND_OF(text[at]);
                const int inside = next == APOSTROPHE && at + 1 < length && KIND_OF(text[at + 1]) == LETTER;
                if (next != LETTER && !inside) break;
                hash = hashed(hash, folded(text[at]));
            }
        } else {
            const int64_t skip = text[at] == '<' ? tag(text + at, length - at) : 0;
            at += skip ? skip : 1;
            continue;
        }
        ids[tokens++] = find(all, text + start, at - start, hash, unknown);
    }
    counts->tokens = tokens;
    counts->kept = tokens > most ? most : tokens;
    if (tokens > most) memmove(ids + head, ids + tokens - (most - head), (most - head) * sizeof *ids);
    counts->unknown = 0;
    for (int64_t i = 0; i < counts->kept; i++) counts->unknown += ids[i] == unknown;
}

/* Ids of the words of `count` texts, one text's behind the other's. Text i is text[ends[i - 1]] to text[ends[i] - 1].
 *
 * `ids` has room for min(length, most) numbers of each text, and for the length of the longest.
 */
EXPORT void words_encode(const struct vocabulary *all, const char *text, const int64_t *ends, int64_t count,
                         int32_t unknown, int64_t most, int64_t head, int32_t *ids, struct counts *counts) {
    for (int64_t i = 0, at = 0; i < count; at = ends[i++], ids += counts++->kept)
        encode(all, text + at, ends[i] - at, unknown, most, head, ids, counts);
}

#ifdef SOURCES /* what the library was built from; compiler.py looks for it */
EXPORT const char words_sources[] = "SOURCES=" SOURCES;
#endif
