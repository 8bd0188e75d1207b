/* SHA-256 and BLAKE3 against published vectors and digests of other implementations. */
#include "test.h"

#include "base/blake3.h"
#include "base/hash.h"
#include "base/sha256.h"

typedef struct vector {
    size_t size; /* of the input 0, 1, 2, ..., 250, 0, 1, ... */
    const char *digest;
} vector;

enum { PATTERN = 102400 };
static uint8_t pattern[PATTERN];

static void fill_pattern(void) {
    for (size_t i = 0; i < PATTERN; i++) pattern[i] = (uint8_t)(i % 251);
}

/* ---- SHA-256 ---- */

static const vector sha256_vectors[] = {
    {1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
    {3, "ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc"},
    {55, "463eb28e72f82e0a96c0a4cc53690c571281131f672aa229e0d45ae59b598b59"},
    {56, "da2ae4d6b36748f2a318f23e7ab1dfdf45acdc9d049bd80e59de82a60895f562"},
    {57, "2fe741af801cc238602ac0ec6a7b0c3a8a87c7fc7d7f02a3fe03d1c12eac4d8f"},
    {63, "29af2686fd53374a36b0846694cc342177e428d1647515f078784d69cdb9e488"},
    {64, "fdeab9acf3710362bd2658cdc9a29e8f9c757fcf9811603a8c447cd1d9151108"},
    {65, "4bfd2c8b6f1eec7a2afeb48b934ee4b2694182027e6d0fc075074f2fabb31781"},
    {119, "da18797ed7c3a777f0847f429724a2d8cd5138e6ed2895c3fa1a6d39d18f7ec6"},
    {120, "f52b23db1fbb6ded89ef42a23ce0c8922c45f25c50b568a93bf1c075420bbb7c"},
    {127, "92ca0fa6651ee2f97b884b7246a562fa71250fedefe5ebf270d31c546bfea976"},
    {128, "471fb943aa23c511f6f72f8d1652d9c880cfa392ad80503120547703e56a2be5"},
    {129, "5099c6a56203f9687f7d33f4bfdf576d31dc91f6b695ecea38b2770c87631135"},
    {1000, "4e4c294b331f7a2099a379bec34b9f9fc03dc46ab465d998f4d683da53487e6d"},
    {65537, "237356e18b503616912abb8ffaed3a72591e397d4ac294c4637917d48a3f529d"},
};

static void sha256_pieces(const uint8_t *data, size_t size, size_t piece, char hex[65]) {
    dp_sha256 hash;
    uint8_t digest[32];
    dp_sha256_init(&hash);
    for (size_t at = 0; at < size; at += piece) dp_sha256_update(&hash, data + at, DP_MIN(piece, size - at));
    dp_sha256_final(&hash, digest);
    dp_digest_hex(digest, hex);
}

static void check_sha256(void) {
    static const struct {
        const char *text, *digest;
    } published[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    char hex[65];
    for (size_t i = 0; i < DP_COUNT(published); i++) {
        dp_sha256_hex(published[i].text, strlen(published[i].text), hex);
        CHECK_MSG(strcmp(hex, published[i].digest) == 0, "\"%s\": %s", published[i].text, hex);
    }
    fill_pattern();
    for (size_t i = 0; i < DP_COUNT(sha256_vectors); i++) {
        dp_sha256_hex(pattern, sha256_vectors[i].size, hex);
        CHECK_MSG(strcmp(hex, sha256_vectors[i].digest) == 0, "%zu bytes: %s", sha256_vectors[i].size, hex);
    }
}

TEST(sha256_of_published_vectors) { check_sha256(); }

TEST(sha256_portable_code_agrees) {
    dp_sha256_use_portable(true);
    check_sha256();
    dp_sha256_use_portable(false);
}

TEST(sha256_of_a_million_letters) {
    uint8_t letters[1000];
    memset(letters, 'a', sizeof letters);
    dp_sha256 hash;
    uint8_t digest[32];
    char hex[65];
    dp_sha256_init(&hash);
    for (int i = 0; i < 1000; i++) dp_sha256_update(&hash, letters, sizeof letters);
    dp_sha256_final(&hash, digest);
    dp_digest_hex(digest, hex);
    CHECK_MSG(strcmp(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0") == 0, "%s", hex);
}

TEST(sha256_does_not_depend_on_the_pieces) {
    static const size_t pieces[] = {1, 3, 31, 63, 64, 65, 127, 128, 1000, 4096};
    char whole[65], hex[65];
    fill_pattern();
    dp_sha256_hex(pattern + 1, 5000, whole);
    for (size_t i = 0; i < DP_COUNT(pieces); i++) {
        sha256_pieces(pattern + 1, 5000, pieces[i], hex);
        CHECK_MSG(strcmp(hex, whole) == 0, "pieces of %zu: %s", pieces[i], hex);
    }
}

TEST(sha256_takes_empty_pieces) {
    dp_sha256 hash;
    uint8_t digest[32];
    char hex[65];
    dp_sha256_init(&hash);
    dp_sha256_update(&hash, NULL, 0);
    dp_sha256_update(&hash, "ab", 2);
    dp_sha256_update(&hash, NULL, 0);
    dp_sha256_update(&hash, "c", 1);
    dp_sha256_final(&hash, digest);
    dp_digest_hex(digest, hex);
    CHECK(strncmp(hex, "ba7816bf8f01cfea", 16) == 0);
}

/* ---- BLAKE3: the official test pattern, digests of another implementation ---- */

static const vector blake3_vectors[] = {
    {0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
    {1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"},
    {2, "7b7015bb92cf0b318037702a6cdd81dee41224f734684c2c122cd6359cb1ee63"},
    {3, "e1be4d7a8ab5560aa4199eea339849ba8e293d55ca0a81006726d184519e647f"},
    {63, "e9bc37a594daad83be9470df7f7b3798297c3d834ce80ba85d6e207627b7db7b"},
    {64, "4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98"},
    {65, "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee"},
    {127, "d81293fda863f008c09e92fc382a81f5a0b4a1251cba1634016a0f86a6bd640d"},
    {128, "f17e570564b26578c33bb7f44643f539624b05df1a76c81f30acd548c44b45ef"},
    {129, "683aaae9f3c5ba37eaaf072aed0f9e30bac0865137bae68b1fde4ca2aebdcb12"},
    {1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"},
    {1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"},
    {1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"},
    {2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a"},
    {2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030"},
    {3072, "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2"},
    {3073, "7124b49501012f81cc7f11ca069ec9226cecb8a2c850cfe644e327d22d3e1cd3"},
    {4096, "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969"},
    {4097, "9b4052b38f1c5fc8b1f9ff7ac7b27cd242487b3d890d15c96a1c25b8aa0fb995"},
    {5120, "9cadc15fed8b5d854562b26a9536d9707cadeda9b143978f319ab34230535833"},
    {5121, "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff"},
    {6144, "3e2e5b74e048f3add6d21faab3f83aa44d3b2278afb83b80b3c35164ebeca205"},
    {7168, "61da957ec2499a95d6b8023e2b0e604ec7f6b50e80a9678b89d2628e99ada77a"},
    {8192, "aae792484c8efe4f19e2ca7d371d8c467ffb10748d8a5a1ae579948f718a2a63"},
    {8193, "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b"},
    {16384, "f875d6646de28985646f34ee13be9a576fd515f76b5b0a26bb324735041ddde4"},
    {31744, "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47"},
    {65537, "7c99f9840a73dfcb6e5bfe4ff6d1558acab7e015640790c26411818bdbe17eca"},
    {102400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"},
};

TEST(blake3_of_published_vectors) {
    char hex[65];
    fill_pattern();
    for (size_t i = 0; i < DP_COUNT(blake3_vectors); i++) {
        dp_blake3_hex(pattern, blake3_vectors[i].size, hex);
        CHECK_MSG(strcmp(hex, blake3_vectors[i].digest) == 0, "%zu bytes: %s", blake3_vectors[i].size, hex);
    }
}

TEST(blake3_does_not_depend_on_the_pieces) {
    static const size_t pieces[] = {1, 63, 64, 65, 1023, 1024, 1025, 3000, 40000};
    fill_pattern();
    for (size_t i = 0; i < DP_COUNT(pieces); i++) {
        dp_blake3 hash;
        uint8_t digest[32];
        char hex[65];
        dp_blake3_init(&hash);
        for (size_t at = 0; at < 31744; at += pieces[i]) {
            dp_blake3_update(&hash, pattern + at, DP_MIN(pieces[i], 31744 - at));
        }
        dp_blake3_final(&hash, digest);
        dp_digest_hex(digest, hex);
        CHECK_MSG(strncmp(hex, "62b6960e1a44bcc1", 16) == 0, "pieces of %zu: %s", pieces[i], hex);
    }
}

TEST_MAIN()
