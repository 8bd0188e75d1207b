/* tokenizer_pre.c: the pre-tokenizers of byte-level vocabularies that GGUF knows only by name (tokenizer.ggml.pre), as the
 * patterns that the models' own tokenizer.json has. The order matters where two names share their patterns: the first
 * that fits is written. */
#include "text/tokenizer_parts.h"

#define LLAMA3 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r" \
    "\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN2 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+" \
    "|\\s+(?!\\S)|\\s+"
#define QWEN35 \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" \
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TEKKEN \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}" \
    "]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" \
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT4O \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|" \
    "'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'r" \
    "e|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define KIMI \
    "[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{" \
    "M}&&[^\\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\" \
    "p{Han}]]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p" \
    "{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define DEEPSEEK3 \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S" \
    "}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
#define CASED                                                                                                                                                                                                                                                                                 \
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼ"                                                                  \
    "ιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀" \
    "-𞥃]+"
#define BAILING \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(" \
    "?!\\S)|\\s+"
#define SEED \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s" \
    "+(?!\\S)|\\s+"
#define BLOOM \
    " ?[^(\\s|.,!?…。，、।۔،)]+"
#define KANJI3 \
    "[一-龥぀-ゟ゠-ヿ]+"
#define CJK \
    "[一-龥ࠀ-一가-퟿]+"
#define WIDE_MARKS \
    "\\s?[!-/:-~！-／：-～‘-‟　-。]+"

static const dp_known_pre KNOWN[] = {
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
     .patterns = {LLAMA3}, .ignore_merges = true},
    {.names = {"smaug-bpe", "dbrx", "glm4", "chatglm-bpe"},
     .patterns = {LLAMA3}},
    {.names = {"qwen2", "deepseek-r1-qwen", "megrez", "kormo", "f2llmv2"},
     .patterns = {QWEN2}, .nfc = true},
    {.names = {"stablelm2", "hunyuan", "solar-open", "grok-2"},
     .patterns = {QWEN2}},
    {.names = {"qwen35"},
     .patterns = {QWEN35}, .nfc = true},
    {.names = {"tekken"},
     .patterns = {TEKKEN}, .ignore_merges = true},
    {.names = {"gpt-4o", "llama4", "minimax-m2"},
     .patterns = {GPT4O}},
    {.names = {"deepseek-v3", "hunyuan-dense", "joyai-llm"},
     .patterns = {"\\p{N}{1,3}", KANJI3, DEEPSEEK3}},
    {.names = {"deepseek-llm"},
     .patterns = {"[\r\n]", CASED, WIDE_MARKS, "\\s+$", CJK, "\\p{N}+"}},
    {.names = {"deepseek-coder"},
     .patterns = {"[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"}},
    {.names = {"kimi-k2"},
     .patterns = {KIMI}},
    {.names = {"bailingmoe", "bailingmoe2", "llada-moe"},
     .patterns = {BAILING}},
    {.names = {"seed-coder"},
     .patterns = {SEED}},
    {.names = {"refact", "starcoder", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"},
     .patterns = {"\\p{N}", DP_GPT2_PATTERN}},
    {.names = {"falcon"},
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", DP_GPT2_PATTERN, "[0-9][0-9][0-9]"}},
    {.names = {"gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling",
               "gigachat", "a.x-4.0", "mellum", "modern-bert"},
     .patterns = {DP_GPT2_PATTERN}},
    {.names = {"bloom", "poro-chat", "gpt3-finnish"},
     .patterns = {BLOOM}},
    {.names = {"viking"},
     .patterns = {BLOOM, "\\p{N}"}},
    {.names = {"default"},
     .patterns = {"[\\p{P}\\$\\+<=>\\^~\\|]+", DP_GPT2_PATTERN, "\\p{N}+", "[0-9][0-9][0-9]"}},
};

const dp_known_pre *dp_known_pre_find(const char *name) {
    for (size_t i = 0; i < DP_COUNT(KNOWN); i++)
        for (size_t k = 0; k < DP_COUNT(KNOWN[i].names) && KNOWN[i].names[k]; k++)
            if (strcmp(KNOWN[i].names[k], name) == 0) return &KNOWN[i];
    return NULL;
}

static bool same_patterns(const dp_known_pre *known, const dp_text_steps *steps) {
    size_t count = 0;
    while (count < DP_COUNT(known->patterns) && known->patterns[count]) count++;
    if (steps->count != count + 1 || steps->step[count].kind != DP_STEP_BYTE_LEVEL) return false;
    for (size_t i = 0; i < count; i++) {
        const dp_text_step *step = &steps->step[i];
        if (step->kind != DP_STEP_SPLIT || step->behavior != DP_SPLIT_ISOLATED || step->invert || !step->regex ||
            !dp_str_is(step->source, known->patterns[i]))
            return false;
    }
    return true;
}

/* Patterns decide; among names that share them, the one that agrees on merges, then on the normal form. */
const dp_known_pre *dp_known_pre_of(const dp_tokenizer *t) {
    const dp_known_pre *best = NULL;
    int best_score = -1;
    bool nfc = t->normalizer.count == 1 && t->normalizer.step[0].kind == DP_STEP_NORMAL_FORM;
    for (size_t i = 0; i < DP_COUNT(KNOWN); i++) {
        int score = 2 * (KNOWN[i].ignore_merges == t->bpe.ignore_merges) + (KNOWN[i].nfc == nfc);
        if (score <= best_score || !same_patterns(&KNOWN[i], &t->pre_tokenizer)) continue;
        best = &KNOWN[i];
        best_score = score;
    }
    return best;
}
