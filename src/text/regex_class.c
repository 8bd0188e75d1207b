/* regex_class.c: membership in a regex's character classes. ASCII is answered from a bitmap by the matcher. */
#include "text/regex_program.h"
#include "text/unicode.h"

static bool has_plain(const dp_regex *regex, const dp_rx_class *set, uint32_t c) {
    const uint32_t *range = set->range_count ? regex->ranges + 2 * (size_t)set->range : NULL;
    for (uint32_t i = 0; i < set->range_count; i++)
        if (c >= range[2 * i] && c <= range[2 * i + 1]) return true;
    if (set->categories && (set->categories >> dp_unicode_category(c) & 1)) return true;
    if (set->space || set->not_space) {
        if (dp_unicode_is_space(c) ? set->space : set->not_space) return true;
    }
    return (set->han || set->not_han) && (dp_unicode_is_han(c) ? set->han : set->not_han);
}

bool dp_rx_class_has(const dp_regex *regex, const dp_rx_class *set, uint32_t c) {
    for (;;) {
        bool has = has_plain(regex, set, c);
        if (!has && set->fold) {
            uint32_t folded = dp_unicode_fold(c);
            has =
                has_plain(regex, set, folded) || (folded >= 'a' && folded <= 'z' && has_plain(regex, set, folded - 32));
        }
        if (has == set->negated) return false;
        if (set->both < 0) return true;
        set = &regex->classes[set->both];
    }
}

void dp_rx_class_finish(const dp_regex *regex, dp_rx_class *set) {
    set->ascii[0] = set->ascii[1] = 0;
    for (uint32_t c = 0; c < 128; c++)
        if (dp_rx_class_has(regex, set, c)) set->ascii[c >> 6] |= (uint64_t)1 << (c & 63);
}

unsigned dp_rx_lead_byte(uint32_t c) {
    return c < 0x80 ? c : c < 0x800 ? 0xC0 | c >> 6 : c < 0x10000 ? 0xE0 | c >> 12 : 0xF0 | (c >> 18 & 7);
}

void dp_rx_class_first(const dp_regex *regex, const dp_rx_class *set, bool first[256]) {
    for (uint32_t c = 0; c < 128; c++)
        if (set->ascii[c >> 6] >> (c & 63) & 1) first[c] = true;
    bool only_ranges =
        !(set->negated || set->fold || set->categories || set->space || set->not_space || set->han || set->not_han);
    if (!only_ranges) {
        for (int b = 0x80; b < 256; b++) first[b] = true;
        return;
    }
    const uint32_t *range = set->range_count ? regex->ranges + 2 * (size_t)set->range : NULL;
    for (uint32_t i = 0; i < set->range_count; i++)
        for (unsigned b = dp_rx_lead_byte(DP_MAX(range[2 * i], 0x80)); b <= dp_rx_lead_byte(range[2 * i + 1]); b++)
            if (b >= 0x80) first[b] = true;
}
