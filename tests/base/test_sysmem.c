/* Sizes as text, and the memory of machines and control groups that are folders of files here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/size_text.h"
#include "base/sysmem.h"

static const uint64_t MIB = 1 << 20;

static void test_sizes_are_written(void **state)
{
    (void)state;
    static const struct {
        uint64_t n;
        const char *text;
    } cases[] = {
        {0, "0 bytes"},
        {1, "1 byte"},
        {1023, "1023 bytes"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {(uint64_t)100 << 20, "100 MiB"},
        {(uint64_t)4 << 30, "4.0 GiB"},
        {UINT64_MAX, "16384 PiB"},
    };
    char out[SIZE_TEXT_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(size_text_write(cases[i].n, out), cases[i].text);
    }
}

static void test_sizes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t n;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"4096B", 4096},
        {"4G", (uint64_t)4 << 30},
        {"4g", (uint64_t)4 << 30},
        {"4GiB", (uint64_t)4 << 30},
        {"4 gib", (uint64_t)4 << 30},
        {"4GB", 4000000000},
        {"1.5G", (uint64_t)3 << 29},
        {"0.25 MB", 250000},
        {"512M", (uint64_t)512 << 20},
        {"3k", 3072},
        {"2T", (uint64_t)2 << 40},
        {"18446744073709551615", UINT64_MAX},
        {"16777215T", (uint64_t)16777215 << 40},
    };
    static const char *const bad[] = {"",
                                      "G",
                                      "-4G",
                                      "+4G",
                                      " 4G",
                                      "4X",
                                      "4GiBs",
                                      "4Gi",
                                      "4GBB",
                                      "4  G",
                                      "0x4G",
                                      "4.5",
                                      "1e9",
                                      "inf",
                                      "nan",
                                      ".5G",
                                      "18446744073709551616",
                                      "16777216T",
                                      "99999999999T",
                                      "4G "};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t n = 7;
        if (!size_text_read(good[i].text, &n) || n != good[i].n) {
            fail_msg("\"%s\" is %llu", good[i].text, (unsigned long long)n);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t n = 7;
        if (size_text_read(bad[i], &n) || n != 7) {
            fail_msg("\"%s\" is %llu", bad[i], (unsigned long long)n);
        }
    }
}

/* ---- machines ---- */

static char root[64];

static void put(const char *path, const char *text)
{
    char full[512];
    struct error e = {0};
    snprintf(full, sizeof full, "%s%s", root, path);
    *strrchr(full, '/') = 0;
    if (!file_make_directories(full, &e)) {
        fail_msg("%s", e.message);
    }
    full[strlen(full)] = '/';
    assert_true(file_write_atomic(full, text, strlen(text), &e));
}

static void put_mib(const char *path, uint64_t mib)
{
    char text[32];
    snprintf(text, sizeof text, "%llu\n", (unsigned long long)(mib * MIB));
    put(path, text);
}

/* An empty machine of 8 GiB, of which 5 are available. */
static int begin(void **state)
{
    (void)state;
    strcpy(root, "/tmp/lllm-sysmem-XXXXXX");
    assert_non_null(mkdtemp(root));
    put("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree:          100000 kB\n"
                         "MemAvailable:    5242880 kB\nBuffers:           20000 kB\n");
    return 0;
}

static int end(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void expect(uint64_t limit_mib, uint64_t group_free_mib)
{
    struct sysmem m;
    sysmem_read(root, &m);
    assert_int_equal(m.total_bytes, 8192 * MIB);
    assert_int_equal(m.available_bytes, 5120 * MIB);
    if (!limit_mib) {
        assert_true(m.group_limit_bytes == SYSMEM_UNKNOWN);
        assert_int_equal(sysmem_free(&m), 5120 * MIB);
    } else {
        assert_int_equal(m.group_limit_bytes, limit_mib * MIB);
        assert_int_equal(m.group_free_bytes, group_free_mib * MIB);
        assert_int_equal(sysmem_free(&m), (group_free_mib < 5120 ? group_free_mib : 5120) * MIB);
    }
}

static const char mount_v2[] =
    "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw\n"
    "31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

static void test_no_groups(void **state)
{
    (void)state;
    expect(0, 0);
    put("/proc/self/cgroup", "0::/\n");
    expect(0, 0); /* it is mounted nowhere */
    put("/proc/self/mountinfo", mount_v2);
    put("/sys/fs/cgroup/memory.max", "max\n");
    expect(0, 0);
    put_mib("/sys/fs/cgroup/memory.max", 1 << 20); /* more than the machine has */
    expect(0, 0);
}

static void test_version_2(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/proc/self/mountinfo", mount_v2);
    put_mib("/sys/fs/cgroup/a/b/memory.max", 1000);
    put_mib("/sys/fs/cgroup/a/b/memory.current", 600);
    expect(1000, 400);
    /* Cached files are dropped when memory is wanted. */
    put("/sys/fs/cgroup/a/b/memory.stat", "anon 1\nfile 262144000\ninactive_file 104857600\n"
                                          "active_file 52428800\n");
    expect(1000, 550);
    /* The group above leaves less. */
    put_mib("/sys/fs/cgroup/a/memory.max", 2000);
    put_mib("/sys/fs/cgroup/a/memory.current", 1900);
    expect(2000, 100);
    put_mib("/sys/fs/cgroup/a/memory.current", 2100);
    expect(2000, 0);
    put("/sys/fs/cgroup/a/memory.max", "max\n");
    expect(1000, 550);
}

static void test_version_1(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "12:cpuset:/\n4:cpu,memory:/x\n0::/elsewhere\n");
    put("/proc/self/mountinfo", "31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                                "32 25 0:28 / /cg\\040mem rw - cgroup cgroup rw,memory\n"
                                "33 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put_mib("/cg mem/x/memory.limit_in_bytes", 3000);
    put_mib("/cg mem/x/memory.usage_in_bytes", 1000);
    put("/cg mem/x/memory.stat", "inactive_file 7\ntotal_inactive_file 209715200\n");
    expect(3000, 2200);
    put("/cg mem/memory.limit_in_bytes", "9223372036854771712\n");
    expect(3000, 2200);
    put("/cg mem/x/memory.limit_in_bytes", "9223372036854771712\n");
    expect(0, 0);
}

/* What is mounted is the container's own group, whatever it is called outside. */
static void test_containers(void **state)
{
    (void)state;
    put_mib("/sys/fs/cgroup/memory.max", 700);
    put_mib("/sys/fs/cgroup/memory.current", 100);
    put("/proc/self/cgroup", "0::/docker/abc\n");
    put("/proc/self/mountinfo",
        "31 25 0:27 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n");
    expect(700, 600);
    put_mib("/sys/fs/cgroup/in/memory.max", 500);
    put("/proc/self/cgroup", "0::/docker/abc/in\n");
    expect(500, 500);
    put("/proc/self/mountinfo", "31 25 0:27 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put("/proc/self/cgroup", "0::/../../other\n");
    expect(700, 600);
    put("/proc/self/mountinfo", "31 25 0:27 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    put("/proc/self/cgroup", "0::/docker/abc/in\n");
    expect(700, 600);
}

/* Whatever stands there. */
static void test_odd_files(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "\n",
                                        "0::",
                                        "0:",
                                        ":",
                                        "::",
                                        "0::/\\",
                                        "\\\\\\",
                                        " - cgroup2 x y",
                                        "1 2 3 / - cgroup2 x y\n"};
    struct sysmem m;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            put("/proc/self/cgroup", texts[i]);
            put("/proc/self/mountinfo", texts[k]);
            sysmem_read(root, &m);
        }
    }
    put("/proc/meminfo", "MemTotal: many kB\nMemAvailable: 18446744073709551615 kB\n");
    sysmem_read(root, &m);
    assert_true(m.total_bytes == SYSMEM_UNKNOWN);
    assert_true(sysmem_free(&m) == SYSMEM_UNKNOWN);
}

static void test_this_machine(void **state)
{
    (void)state;
    struct sysmem m;
    sysmem_read("", &m);
    if (m.total_bytes == SYSMEM_UNKNOWN) {
        skip();
    }
    assert_in_range(m.total_bytes, 16 * MIB, (uint64_t)1 << 50);
    assert_in_range(sysmem_free(&m), MIB, m.total_bytes);
}

#define WITH_ROOT(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_written),
        cmocka_unit_test(test_sizes_are_read),
        WITH_ROOT(test_no_groups),
        WITH_ROOT(test_version_2),
        WITH_ROOT(test_version_1),
        WITH_ROOT(test_containers),
        WITH_ROOT(test_odd_files),
        cmocka_unit_test(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
