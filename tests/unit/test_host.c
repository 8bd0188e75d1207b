/* Host: files, writers, folders, mappings, threads. */
#define _XOPEN_SOURCE 700
#include "test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/host.h"

static const char *in_folder(const char *name) {
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder(), name);
    return path;
}

/* A file of `size` bytes whose byte i is i * factor. */
static dp_status make_file(const char *path, size_t size, unsigned factor) {
    dp_writer *writer;
    TRY(dp_writer_open(path, &writer));
    unsigned char *bytes = dp_malloc(size);
    for (size_t i = 0; bytes && i < size; i++) bytes[i] = (unsigned char)(i * factor);
    dp_status status = bytes ? dp_writer_write(writer, bytes, size) : dp_no_memory(size);
    dp_free(bytes);
    if (status == DP_OK) return dp_writer_commit(writer);
    dp_writer_abandon(writer);
    return status;
}

TEST(file_reads_exactly) {
    const char *path = in_folder("reads");
    CHECK_OK(make_file(path, 1000, 3));
    dp_file *file;
    CHECK_OK(dp_file_open(path, &file));
    unsigned char bytes[16];
    dp_status good = dp_file_read(file, 984, bytes, 16);
    dp_status behind = dp_file_read(file, 985, bytes, 16);
    dp_status far = dp_file_read(file, UINT64_MAX - 3, bytes, 16);
    CHECK(dp_file_size(file) == 1000 && !strcmp(dp_file_path(file), path));
    CHECK(truncate(path, 990) == 0);
    dp_status shrunk = dp_file_read(file, 984, bytes, 16);
    dp_file_close(file);
    CHECK(good == DP_OK && bytes[0] == (unsigned char)(984 * 3));
    CHECK(behind == DP_E_FORMAT && far == DP_E_FORMAT && shrunk == DP_E_FORMAT);
    CHECK(strstr(dp_error_message(), "truncated"));
}

TEST(file_refuses_what_is_no_file) {
    dp_file *file;
    CHECK_FAILS(dp_file_open(in_folder("absent"), &file), DP_E_NOT_FOUND, "absent");
    CHECK_FAILS(dp_file_open(test_folder(), &file), DP_E_IO, "folder");
    CHECK_FAILS(dp_file_open("/dev/null", &file), DP_E_IO, "regular file");
}

TEST(file_load_keeps_to_its_limit) {
    const char *path = in_folder("loads");
    CHECK_OK(make_file(path, 100, 1));
    char *data;
    size_t size;
    CHECK_FAILS(dp_file_load(path, 99, &data, &size), DP_E_FORMAT, "at most 99");
    CHECK_OK(dp_file_load(path, 100, &data, &size));
    bool same = size == 100 && data[99] == 99 && data[100] == 0;
    dp_free(data);
    CHECK(same);
}

TEST(writer_is_all_or_nothing) {
    const char *path = in_folder("out/new");
    dp_writer *writer;
    CHECK_FAILS(dp_writer_open(path, &writer), DP_E_NOT_FOUND, "out/new");
    CHECK_OK(dp_folder_make(in_folder("out")));
    CHECK_OK(dp_writer_open(path, &writer));
    CHECK_OK(dp_writer_write(writer, "old", 3));
    CHECK(dp_path_what(path) == DP_PATH_NONE);
    dp_writer_abandon(writer);
    dp_buf names = {0};
    CHECK_OK(dp_folder_list(in_folder("out"), &names));
    CHECK(names.size == 0);
    CHECK_OK(dp_writer_open(path, &writer));
    CHECK_OK(dp_writer_write_at(writer, 6, "new", 3));
    CHECK_OK(dp_writer_write(writer, "one", 3));
    CHECK_OK(dp_writer_write(writer, "two", 3));
    CHECK_OK(dp_writer_commit(writer));
    CHECK_OK(dp_folder_list(in_folder("out"), &names));
    bool alone = names.data && !strcmp(names.data, "new\n");
    dp_buf_free(&names);
    CHECK(alone);
    char *data;
    CHECK_OK(dp_file_load(path, 100, &data, NULL));
    bool same = !strcmp(data, "onetwonew");
    dp_free(data);
    CHECK(same);
}

TEST(writer_reports_what_the_system_refuses) {
    dp_writer *writer;
    CHECK_OK(dp_writer_open(in_folder("huge"), &writer));
    dp_status status = dp_writer_write_at(writer, INT64_MAX - 4, "x", 8);
    CHECK(status == DP_E_ARG);
    struct rlimit usual, small;
    getrlimit(RLIMIT_FSIZE, &usual);
    small = usual;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN); /* a write past the limit then fails instead */
    setrlimit(RLIMIT_FSIZE, &small);
    status = dp_writer_write_at(writer, 8192, "x", 1);
    setrlimit(RLIMIT_FSIZE, &usual);
    dp_writer_abandon(writer);
    CHECK(status == DP_E_IO || status == DP_E_DISK_FULL);
    CHECK(strstr(dp_error_message(), "huge") && dp_path_what(in_folder("huge")) == DP_PATH_NONE);
}

/* What may not be looked at is not the same as what is not there. */
TEST(hidden_paths_say_why) {
    dp_path_kind kind = DP_PATH_NONE;
    CHECK_OK(dp_folder_make(in_folder("locked")));
    CHECK_OK(make_file(in_folder("locked/in"), 1, 1));
    CHECK(chmod(in_folder("locked"), 0) == 0);
    bool root = geteuid() == 0;
    if (root && seteuid(65534) != 0) abort();
    dp_path_kind locked = dp_path_what(in_folder("locked/in"));
    dp_status status = dp_path_find(in_folder("locked/in"), &kind);
    bool explained = strstr(dp_error_message(), "locked/in: cannot examine it: Permission denied");
    if (root && seteuid(0) != 0) abort();
    CHECK(locked == DP_PATH_HIDDEN && status == DP_E_IO && explained && kind == DP_PATH_NONE);
    CHECK(chmod(in_folder("locked"), 0700) == 0);
    CHECK_OK(dp_path_find(in_folder("locked/in"), &kind));
    CHECK(kind == DP_PATH_FILE);
    CHECK(symlink("circle", in_folder("circle")) == 0);
    CHECK_FAILS(dp_path_find(in_folder("circle"), NULL), DP_E_IO, "circle: cannot examine it");
    CHECK_FAILS(dp_path_find(in_folder("locked/none"), NULL), DP_E_NOT_FOUND, "none: no such file or folder");
}

TEST(folders_are_made_listed_removed) {
    CHECK_OK(dp_folder_make(in_folder("a/b//c/")));
    CHECK_OK(dp_folder_make(in_folder("a/b")));
    CHECK_OK(make_file(in_folder("a/z"), 1, 1));
    CHECK_OK(make_file(in_folder("a/.hidden"), 1, 1));
    CHECK_OK(make_file(in_folder("kept"), 1, 1));
    CHECK(symlink("../kept", in_folder("a/b/link")) == 0);
    dp_buf names = {0};
    CHECK_OK(dp_folder_list(in_folder("a"), &names));
    bool sorted = !strcmp(names.data, ".hidden\nb\nz\n");
    dp_buf_free(&names);
    CHECK(sorted);
    CHECK_FAILS(dp_folder_make(in_folder("kept/x")), DP_E_IO, "kept");
    CHECK(dp_path_what(in_folder("a")) == DP_PATH_FOLDER && dp_path_what(in_folder("a/z")) == DP_PATH_FILE);
    CHECK_OK(dp_folder_remove(in_folder("a")));
    CHECK_OK(dp_folder_remove(in_folder("a")));
    CHECK(dp_path_what(in_folder("a")) == DP_PATH_NONE && dp_path_what(in_folder("kept")) == DP_PATH_FILE);
    CHECK_OK(dp_path_rename(in_folder("kept"), in_folder("moved")));
    CHECK_OK(dp_path_remove(in_folder("moved")));
    CHECK_FAILS(dp_path_remove(in_folder("moved")), DP_E_NOT_FOUND, "moved");
    CHECK_FAILS(dp_path_rename(in_folder("moved"), in_folder("kept")), DP_E_NOT_FOUND, "moved");
    CHECK_FAILS(dp_folder_list(in_folder("a"), &names), DP_E_NOT_FOUND, "a");
}

TEST(paths_join_with_one_slash) {
    static const char *const cases[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < DP_COUNT(cases); i++) {
        char *path = dp_path_join(cases[i][0], cases[i][1]);
        bool same = path && !strcmp(path, cases[i][2]);
        dp_free(path);
        CHECK(same);
    }
    uint64_t total;
    CHECK(dp_path_free_space(in_folder("absent/below"), &total) > 0 && total >= dp_path_free_space(in_folder("absent"), NULL));
}

TEST(mapping_joins_pieces) {
    size_t page = dp_host_page_size();
    dp_file *a, *b;
    CHECK_OK(make_file(in_folder("map_a"), 3 * page, 1));
    CHECK_OK(make_file(in_folder("map_b"), 2 * page, 7));
    CHECK_OK(dp_file_open(in_folder("map_a"), &a));
    CHECK_OK(dp_file_open(in_folder("map_b"), &b));
    dp_piece pieces[] = {{a, page + 5, 2 * page - 5}, {b, page, 9}};
    dp_mapping mapping;
    CHECK_OK(dp_host_map(pieces, 2, &mapping));
    const unsigned char *bytes = mapping.data;
    CHECK(bytes[0] == 5 && bytes[2 * page - 5] == (unsigned char)(page * 7) &&
          bytes[2 * page + 3] == (unsigned char)((page + 8) * 7));
    dp_host_advise(bytes, 2 * page, DP_ADVICE_WILL_NEED);
    dp_host_advise(bytes, 2 * page, DP_ADVICE_DONT_NEED);
    CHECK(bytes[0] == 5);
    dp_host_unmap(&mapping);
    CHECK(!mapping.data);
    dp_piece uneven[] = {{a, 0, 5}, {b, 0, page}}, behind = {a, 2 * page, page + 1}, huge = {a, page, UINT64_MAX - 5},
             empty = {a, 0, 0};
    CHECK_FAILS(dp_host_map(uneven, 2, &mapping), DP_E_UNSUPPORTED, "page");
    CHECK_FAILS(dp_host_map(&behind, 1, &mapping), DP_E_FORMAT, "truncated");
    CHECK_FAILS(dp_host_map(&huge, 1, &mapping), DP_E_FORMAT, "truncated");
    CHECK_FAILS(dp_host_map(&empty, 1, &mapping), DP_E_UNSUPPORTED, "map_a");
    CHECK_FAILS(dp_host_map(NULL, 0, &mapping), DP_E_ARG, "no pieces");
    dp_file_close(a);
    dp_file_close(b);
}

TEST(machine_facts_are_sane) {
    CHECK(dp_host_cpu_count() >= 1 && dp_host_cpu_count() <= sysconf(_SC_NPROCESSORS_ONLN));
    CHECK(dp_host_memory_total() > (16u << 20) && dp_host_memory_peak() > 100000 &&
          dp_host_memory_peak() < dp_host_memory_total());
    double start = dp_host_seconds();
    CHECK(dp_host_seconds() >= start && dp_host_unix_time() > 1700000000);
}

typedef struct relay {
    dp_mutex *mutex;
    dp_cond *cond;
    int turn, count;
} relay;

static void take_turns(void *user) {
    relay *r = user;
    dp_mutex_lock(r->mutex);
    int mine = r->count++;
    while (r->turn != mine) dp_cond_wait(r->cond, r->mutex);
    r->turn++;
    dp_cond_broadcast(r->cond);
    dp_mutex_unlock(r->mutex);
}

TEST(threads_wait_for_each_other) {
    relay r = {.turn = -1};
    CHECK_OK(dp_mutex_new(&r.mutex));
    CHECK_OK(dp_cond_new(&r.cond));
    dp_thread *threads[4];
    for (size_t i = 0; i < 4; i++) CHECK_OK(dp_thread_start(take_turns, &r, &threads[i]));
    dp_thread_yield();
    dp_mutex_lock(r.mutex);
    r.turn = 0;
    dp_cond_broadcast(r.cond);
    dp_mutex_unlock(r.mutex);
    for (size_t i = 0; i < 4; i++) dp_thread_join(threads[i]);
    dp_cond_free(r.cond);
    dp_mutex_free(r.mutex);
    CHECK(r.turn == 4);
}

static dp_status use_files(void *user) {
    dp_buf names = {0};
    dp_file *file = NULL;
    char *data = NULL;
    dp_status status = make_file(user, 10, 1);
    if (status == DP_OK) status = dp_file_open(user, &file);
    if (status == DP_OK) status = dp_file_load(user, 10, &data, NULL);
    if (status == DP_OK) status = dp_folder_list(test_folder(), &names);
    dp_file_close(file);
    dp_free(data);
    dp_buf_free(&names);
    if (status == DP_OK) status = dp_folder_remove(user);
    return status;
}

TEST(host_survives_failing_allocations) {
    static char path[256];
    snprintf(path, sizeof path, "%s/alloc", test_folder());
    CHECK(test_failing_allocations(use_files, path) > 8);
}

TEST(a_claim_keeps_others_out) {
    dp_claim *first, *second;
    char lock[300];
    snprintf(lock, sizeof lock, "%s/.x.lock", test_folder());
    CHECK_OK(dp_claim_take(lock, "x", &first));
    CHECK_FAILS(dp_claim_take(lock, "x", &second), DP_E_ARG, "x: another program is writing it now");
    dp_claim_release(first);
    CHECK(dp_path_what(lock) == DP_PATH_NONE);
    CHECK_OK(dp_claim_take(lock, "x", &second));
    dp_claim_release(second);
    snprintf(lock, sizeof lock, "%s/none/.x.lock", test_folder());
    CHECK_FAILS(dp_claim_take(lock, "x", &first), DP_E_IO, "x: cannot be written: No such file");
}

TEST(a_folder_is_no_file_to_write) {
    dp_writer *writer;
    CHECK_FAILS(dp_writer_open(test_folder(), &writer), DP_E_ARG, "is a folder, expected the name of a file");
    CHECK_FAILS(dp_writer_open("", &writer), DP_E_ARG, "an empty name");
}

TEST_MAIN()
