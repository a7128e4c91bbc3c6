/* Token ids of texts in one pass: what preprocessing.py (version 1) or preprocessing2.py (version 2) and the vocabulary's
 * dictionary do, several times as fast. tests/text hold them equal.
 *
 * A text is UTF-8 in which only letters and digits are not ASCII; of version 1, ASCII altogether. A word is a run of
 * letters and digits, in which single apostrophes may stand; ! and ? are words of their own; HTML tags and everything
 * else separate. What version 2 does beyond that stands in its module.
 */
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_TAG 200 /* characters between a tag's name and its end; see _TAG in preprocessing.py */

enum kind { SEPARATOR, LETTER, APOSTROPHE, TONE };

/* The first letters of a word, zeros behind the end of a short one: most words are compared and hashed as two numbers. */
enum { FIRST = 16 };
struct letters {
    uint64_t half[2];
};

/* A hash table with open addressing. What is compared lies in the slot, so that a look-up costs one cache miss. It has no
 * pointers, so that processes can share it wherever they have it. Behind the slots stand all words, one after the other:
 * for the rest of long ones.
 */
struct vocabulary {
    uint32_t mask;
    int32_t version; /* of the preprocessing */
    int32_t foreign; /* ids from here on are of words that other languages use more than English does */
    int32_t special[13]; /* ids of the tokens of version 2, in the order of enum special; fills the cache line */
    struct slot {
        struct letters letters;
        int32_t id;      /* 0 where the slot is free */
        int32_t length;
        int32_t start;   /* in the words */
        int32_t padding; /* a slot does not cross a cache line */
    } slots[];
};

static const char *words_of(const struct vocabulary *all) {
    return (const char *)(all->slots + all->mask + 1);
}

struct counts {
    int64_t tokens;  /* of the text */
    int64_t kept;    /* of which are left after truncation */
    int64_t words;   /* what has letters: of the whole text; of version 1, all tokens that are kept */
    int64_t unknown; /* of which are not in the vocabulary */
    int64_t foreign; /* of which are more of other languages */
};

enum special { LINK, USER, NUMBER, SMILE, FROWN, WRY, HEART, BROKEN_HEART, NOT, SPECIALS };

enum {
    MAX_WORD = 128,  /* bytes of a word that may be in a vocabulary of version 2 */
    MAX_PIECE = 10,  /* letters of a piece of an unknown word */
    MAX_PIECES = 4   /* into which an unknown word may be cut */
};

static const unsigned char KINDS[256] = {
    ['a' ... 'z'] = LETTER,  ['A' ... 'Z'] = LETTER,  ['0' ... '9'] = LETTER,
    ['\''] = APOSTROPHE,    ['`'] = APOSTROPHE,      ['!'] = TONE, ['?'] = TONE,
    [0x80 ... 0xff] = LETTER,
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

/* `folded` of eight characters at a time; those that are not ASCII stay. */
static uint64_t folded_half(uint64_t eight) {
    const uint64_t ones = UINT64_C(0x0101010101010101), high = ones * 0x80;
    const uint64_t low = eight & ~high, ascii = ~eight & high;
    const uint64_t upper = (low + ones * (0x80 - 'A')) & ~(low + ones * (0x7f - 'Z')) & ascii;
    const uint64_t backtick = ~((low ^ ones * '`') + ones * 0x7f) & ascii;
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
        const char *known = words_of(all) + slot->start;
        int64_t i = FIRST;
        while (i < length && (unsigned char)known[i] == folded(word[i])) i++;
        if (i >= length) return slot->id;
    }
}

static uint32_t slots_for(int32_t count) {
    uint32_t slots = 16;
    while (slots < 2 * (uint32_t)count) slots *= 2;
    return slots;
}

/* Bytes that a vocabulary of `count` words needs, which have `length` bytes together. */
EXPORT int64_t words_size(int32_t count, int64_t length) {
    return sizeof(struct vocabulary) + (int64_t)slots_for(count) * sizeof(struct slot) + length;
}

/* Makes a vocabulary of `count` different words in so many bytes of zeros, which begin with a cache line.
 *
 * Word i is words[ends[i - 1]] to words[ends[i] - 1] and has the id ids[i], which other words may have too. `special`
 * holds the ids of the tokens of version 2; ids from `foreign` on are of foreign words.
 */
EXPORT void words_make(struct vocabulary *all, const char *words, const int32_t *ends, const int32_t *ids,
                       int32_t count, int32_t version, const int32_t *special, int32_t foreign) {
    const int64_t size = count ? ends[count - 1] : 0;
    all->mask = slots_for(count) - 1;
    all->version = version;
    all->foreign = foreign;
    memcpy(all->special, special, SPECIALS * sizeof *special);
    memcpy((char *)words_of(all), words, size);
    for (int32_t i = 0, at = 0; i < count; i++) {
        const int32_t length = ends[i] - at;
        const struct letters letters = letters_of(words + at, length, size - at);
        uint32_t place = hash_of(letters, length) & all->mask;
        while (all->slots[place].id) place = (place + 1) & all->mask;
        all->slots[place] = (struct slot){letters, ids[i], length, at, 0};
        at = ends[i];
    }
}

/* Length of the HTML tag that starts here, 0 where none does. */
static int64_t tag(const char *text, int64_t left) {
    int64_t at = left > 1 && text[1] == '/' ? 2 : 1;
    if (at >= left || folded(text[at]) < 'a' || folded(text[at]) > 'z') return 0;
    at++;
    for (int64_t most = at + MAX_TAG; at < left && at <= most; at++) {
        if (text[at] == '>') return at + 1;
        if (text[at] == '<' || at == most) return 0;
    }
    return 0;
}

/* Length of the run of letters, digits and single inner apostrophes that starts here. */
static int64_t run(const char *text, int64_t left) {
    int64_t at = 1;
    for (; at < left; at++) {
        const enum kind next = KIND_OF(text[at]);
        const int inside = next == APOSTROPHE && at + 1 < left && KIND_OF(text[at + 1]) == LETTER;
        if (next != LETTER && !inside) break;
    }
    return at;
}

/* Version 1: ids of a text's words, and how many there are. */
static int64_t scan1(const struct vocabulary *all, const char *text, int64_t length, int32_t unknown, int32_t *ids) {
    int64_t tokens = 0;
    for (int64_t at = 0; at < length;) {
        const enum kind kind = KIND_OF(text[at]);
        const int64_t start = at;
        if (kind == TONE) {
            at++;
        } else if (kind == LETTER) {
            at += run(text + at, length - at);
        } else {
            const int64_t skip = text[at] == '<' ? tag(text + at, length - at) : 0;
            at += skip ? skip : 1;
            continue;
        }
        ids[tokens++] = find(all, text + start, at - start, length - start, unknown);
    }
    return tokens;
}

static int is_letter_at(const char *text, int64_t at, int64_t length) {
    return at >= 0 && at < length && KIND_OF(text[at]) == LETTER;
}

/* Length of the emoticon that starts here, 0 where none does; says which. */
static int64_t emoticon(const char *text, int64_t at, int64_t length, enum special *which) {
    int64_t next = at + 1;
    if (text[at] == '<') {
        const int broken = next < length && text[next] == '/';
        next += broken;
        *which = broken ? BROKEN_HEART : HEART;
        return next < length && text[next] == '3' && !is_letter_at(text, next + 1, length) ? next + 1 - at : 0;
    }
    const int behind_word = is_letter_at(text, at - 1, length);
    if (text[at] == '=' && behind_word) return 0;
    if (next < length && KIND_OF(text[next]) == APOSTROPHE) next++;
    if (next < length && (text[next] == '-' || text[next] == '^')) next++;
    if (next >= length) return 0;
    const char mouth = text[next++];
    switch (mouth) {
    case ')': case ']': case '}': *which = SMILE; break;
    case '(': case '[': case '{': *which = FROWN; break;
    case '/': case '\\': case '|':
        if (next < length && text[next] == '/') return 0;
        *which = WRY;
        return is_letter_at(text, next, length) ? 0 : next - at;
    default:
        if ((folded(mouth) != 'd' && folded(mouth) != 'p') || behind_word) return 0;
        *which = SMILE;
        return is_letter_at(text, next, length) ? 0 : next - at;
    }
    while (next < length && text[next] == mouth) next++;
    return is_letter_at(text, next, length) ? 0 : next - at;
}

/* Length of the link that starts here, 0 where none does. */
static int64_t link(const char *text, int64_t left) {
    static const char *const STARTS[] = {"https://", "http://", "www."};
    for (int i = 0; i < 3; i++) {
        int64_t at = 0;
        while (STARTS[i][at] && at < left && folded(text[at]) == STARTS[i][at]) at++;
        if (STARTS[i][at]) continue;
        const int64_t start = at;
        while (at < left && (unsigned char)text[at] > ' ' && text[at] != '<' && text[at] != '>' && text[at] != '"') at++;
        if (at > start) return at;
    }
    return 0;
}

/* A word in lower case, with each letter at most `most` times in a row; its length, 0 where it is too long. */
static int64_t fold(const char *word, int64_t length, int most, char *to) {
    int64_t size = 0;
    int times = 0;
    for (int64_t i = 0; i < length; i++) {
        const char c = folded(word[i]);
        times = size && to[size - 1] == c && c >= 'a' && c <= 'z' ? times + 1 : 1;
        if (times > most) continue;
        if (size == MAX_WORD) return 0;
        to[size++] = c;
    }
    return size;
}

/* Ids of the pieces of an unknown word in lower case, and how many there are: 0 where it cannot be cut. */
static int64_t cut(const struct vocabulary *all, const char *word, int64_t length, int32_t *ids) {
    char piece[1 + MAX_PIECE + FIRST] = "+";
    int64_t count = 0;
    for (int64_t at = 0; at < length;) {
        int64_t size = length - at < MAX_PIECE ? length - at : MAX_PIECE;
        if (count == MAX_PIECES) return 0;
        memcpy(piece + 1, word + at, size);
        while (size && !(ids[count] = find(all, piece, size + 1, sizeof piece, 0))) size--;
        if (!size) return 0;
        count++;
        at += size;
    }
    return count;
}

/* Ids of a part of a word without an apostrophe, and how many there are. */
static int64_t part_ids(const struct vocabulary *all, const char *part, int64_t length, int64_t left, int32_t unknown,
                        int32_t *ids, struct counts *counts) {
    int digits = 1, ascii = 1, longest = 1, times = 0, letters = 1;
    for (int64_t i = 0; i < length; i++) {
        const unsigned char c = folded(part[i]);
        const int digit = c >= '0' && c <= '9';
        times = i && !digit && c < 0x80 && c == folded(part[i - 1]) ? times + 1 : 1;
        if (times > longest) longest = times;
        digits &= digit;
        letters &= !digit;
        ascii &= c < 0x80;
    }
    if (digits) {
        const int short_one = length == 1 || (length == 2 && part[0] == '1' && part[1] == '0');
        ids[0] = short_one ? find(all, part, length, left, unknown) : all->special[NUMBER];
        return 1;
    }
    counts->words++;
    char lower[MAX_WORD + FIRST], shorter[MAX_WORD + FIRST];
    int64_t size = length;
    if (longest > 2 || length > MAX_WORD) {
        size = fold(part, length, 2, lower);
        ids[0] = size ? find(all, lower, size, size, 0) : 0;
    } else {
        ids[0] = find(all, part, length, left, 0);
    }
    if (!ids[0] && size && longest > 1) {
        const int64_t single = fold(part, length, 1, shorter);
        ids[0] = find(all, shorter, single, single, 0);
    }
    if (ids[0]) {
        counts->foreign += ids[0] >= all->foreign;
        return 1;
    }
    counts->unknown++;
    if (size && ascii && letters) {
        const int64_t pieces = cut(all, lower, fold(part, length, 2, lower), ids);
        if (pieces) return pieces;
    }
    ids[0] = unknown;
    return 1;
}

/* What stands before a missing or present n't at the end of a word: its length, or that of the whole word. */
static int64_t before_not(const char *word, int64_t length) {
    static const char *const BARE[] = {"dont", "doesnt", "didnt", "isnt", "arent", "wasnt", "werent", "cant", "couldnt",
                                       "wont", "wouldnt", "shouldnt", "havent", "hasnt", "hadnt", "aint"};
    if (length < 3 || folded(word[length - 1]) != 't') return length;
    if (KIND_OF(word[length - 2]) == APOSTROPHE && folded(word[length - 3]) == 'n') return length - 3;
    if (length < 4 || length > 8 || folded(word[length - 2]) != 'n') return length;
    for (unsigned i = 0; i < sizeof BARE / sizeof *BARE; i++) {
        int64_t at = 0;
        while (at < length && BARE[i][at] && BARE[i][at] == folded(word[at])) at++;
        if (at == length && !BARE[i][at]) return length - 2;
    }
    return length;
}

/* Version 2: ids of a text's tokens, and how many there are. */
static int64_t scan2(const struct vocabulary *all, const char *text, int64_t length, int32_t unknown, int32_t *ids,
                     struct counts *counts) {
    int64_t tokens = 0;
    for (int64_t at = 0; at < length;) {
        const unsigned char c = text[at];
        enum special which = LINK;
        int64_t skip = 0;
        switch (KIND_OF(c)) {
        case TONE:
            ids[tokens++] = find(all, text + at, 1, length - at, unknown);
            at++;
            continue;
        case LETTER:
            if ((c | 0x20) == 'h' || (c | 0x20) == 'w') skip = link(text + at, length - at);
            if (!skip) {
                const int64_t size = run(text + at, length - at), end = at + size;
                const int64_t words = at + before_not(text + at, size);
                while (at < words) {
                    int64_t stop = at;
                    while (stop < words && KIND_OF(text[stop]) != APOSTROPHE) stop++;
                    if (stop > at)
                        tokens += part_ids(all, text + at, stop - at, length - at, unknown, ids + tokens, counts);
                    at = stop + 1;
                }
                if (words < end) {
                    ids[tokens++] = all->special[NOT];
                    counts->words++;
                    counts->unknown += all->special[NOT] == unknown;
                }
                at = end;
                continue;
            }
            break;
        default:
            if (c == '<') {
                skip = tag(text + at, length - at);
                if (skip) {
                    at += skip;
                    continue;
                }
            }
            if (c == ':' || c == ';' || c == '=' || c == '<') {
                skip = emoticon(text, at, length, &which);
            } else if (c == '@' && !is_letter_at(text, at - 1, length)) {
                which = USER;
                skip = 1;
                while (at + skip < length && ((unsigned char)text[at + skip] < 0x80)
                       && (is_letter_at(text, at + skip, length) || text[at + skip] == '_'))
                    skip++;
                if (skip == 1) skip = 0;
            }
        }
        if (skip) ids[tokens++] = all->special[which];
        at += skip ? skip : 1;
    }
    return tokens;
}

/* Ids of a text's tokens, of which the first `head` and the last `most - head` are kept where there are more than `most`.
 *
 * `ids` has room for `length` numbers.
 */
static void encode(const struct vocabulary *all, const char *text, int64_t length, int32_t unknown, int64_t most,
                   int64_t head, int32_t *ids, struct counts *counts) {
    *counts = (struct counts){0, 0, 0, 0, 0};
    const int64_t tokens = all->version == 1 ? scan1(all, text, length, unknown, ids)
                                             : scan2(all, text, length, unknown, ids, counts);
    counts->tokens = tokens;
    counts->kept = tokens > most ? most : tokens;
    if (tokens > most) memmove(ids + head, ids + tokens - (most - head), (most - head) * sizeof *ids);
    if (all->version != 1) return;
    counts->words = counts->kept;
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
