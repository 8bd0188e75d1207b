#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c from the Unicode Character Database.

usage: tools/gen_unicode.py [folder] > src/text/unicode_tables.c
folder: where UnicodeData.txt and its companions lie (Debian: apt install unicode-data, /usr/share/unicode).
"""
import os
import re
import sys

CATEGORIES = "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co".split()
FOLDER = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/unicode"


def lines(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        for line in f:
            line = line.split("#")[0].strip()
            if line:
                yield [field.strip() for field in line.split(";")]


def property_ranges(name, value):
    """Sorted, merged [first, last] of every line whose second field is `value`."""
    found = []
    for fields in lines(name):
        if fields[1] == value:
            ends = [int(x, 16) for x in fields[0].split("..")]
            found.append([ends[0], ends[-1]])
    merged = []
    for first, last in sorted(found):
        if merged and merged[-1][1] + 1 == first:
            merged[-1][1] = last
        else:
            merged.append([first, last])
    return merged


def read_data():
    category, combining, decomposition = {}, {}, {}
    first = None
    for fields in lines("UnicodeData.txt"):
        code = int(fields[0], 16)
        if fields[1].endswith(", First>"):
            first = code
            continue
        for c in range(first if first is not None else code, code + 1):
            category[c] = CATEGORIES.index(fields[2])
        first = None
        if fields[3] != "0":
            combining[code] = int(fields[3])
        if fields[5]:
            compatible = fields[5].startswith("<")
            text = re.sub(r"<[^>]*>", "", fields[5])
            decomposition[code] = (compatible, [int(x, 16) for x in text.split()])
    return category, combining, decomposition


def runs(values, default):
    """[(first code point, value)] of each run of equal values, over all of Unicode."""
    out, last = [], None
    for c in range(0x110000):
        v = values.get(c, default)
        if v != last:
            out.append((c, v))
            last = v
    return out


def fold_steps():
    """Simple case folding as (first, count, stride, delta): code points first, first + stride, ... map to themselves + delta."""
    folds = {int(f[0], 16): int(f[2], 16) - int(f[0], 16) for f in lines("CaseFolding.txt") if f[1] in "CS"}
    todo, out = sorted(folds), []
    while todo:
        best = []
        for stride in (1, 2):
            chain, c = [], todo[0]
            while folds.get(c) == folds[todo[0]] and c in todo[: 2 * len(chain) + 4]:
                chain.append(c)
                c += stride
            if len(chain) > len(best):
                best, step = chain, stride
        out.append((best[0], len(best), step, folds[best[0]]))
        taken = set(best)
        todo = [c for c in todo if c not in taken]
    return out


def emit(kind, name, values, fmt="%d"):
    print("const %s %s[%d] = {" % (kind, name, len(values)))
    row = "   "
    for v in values:
        text = " " + (fmt % v) + ","
        if len(row) + len(text) > 118:
            print(row)
            row = "   "
        row += text
    print(row)
    print("};\nconst uint32_t %s_count = %d;\n" % (name, len(values)))


def main():
    category, combining, decomposition = read_data()
    excluded = set()
    for first, last in property_ranges("DerivedNormalizationProps.txt", "Full_Composition_Exclusion"):
        excluded.update(range(first, last + 1))
    with open(os.path.join(FOLDER, "PropList.txt"), encoding="utf-8") as f:
        version = re.search(r"-([0-9.]+)\.txt", f.readline()).group(1)
    print("/* unicode_tables.c: Unicode %s, made by tools/gen_unicode.py; change that, not this. unicode.h says what is what. */" % version)
    print('#include "text/unicode_tables.h"\n')
    emit("uint32_t", "dp_unicode_category_runs", [c << 5 | v for c, v in runs(category, 0)], "0x%X")
    emit("uint32_t", "dp_unicode_combining_runs", [c << 8 | v for c, v in runs(combining, 0)], "0x%X")
    keys, codes = [], []
    for c in sorted(decomposition):
        compatible, text = decomposition[c]
        keys.append(c << 1 | compatible)
        keys.append(len(codes) << 8 | len(text))
        codes += text
    emit("uint32_t", "dp_unicode_decomposition_keys", keys, "0x%X")
    emit("uint32_t", "dp_unicode_decomposition_codes", codes, "0x%X")
    pairs = sorted((t[0], t[1], c) for c, (k, t) in decomposition.items() if not k and len(t) == 2 and c not in excluded)
    emit("uint32_t", "dp_unicode_compositions", [x for pair in pairs for x in pair], "0x%X")
    emit("int32_t", "dp_unicode_folds", [x for step in fold_steps() for x in step])
    emit("uint32_t", "dp_unicode_spaces", [x for r in property_ranges("PropList.txt", "White_Space") for x in r], "0x%X")
    emit("uint32_t", "dp_unicode_han", [x for r in property_ranges("Scripts.txt", "Han") for x in r], "0x%X")


main()
