/*
 * Code that no loaded object holds: written at run time into an anonymous page, as compilers at run
 * time do. It computes for quanta and is never interrupted, nor are functions of the program that
 * it calls: nobody knows what it holds. And system calls made by the program's own instructions,
 * around which it is interrupted at every one of them.
 */
#include "storm.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

typedef uint64_t (*generated_fn)(uint64_t rounds, uint64_t (*call)(uint64_t));

static generated_fn generated;

#if defined(__x86_64__)
/*
 * push rbx; push r12; push r13; mov rbx, rdi; mov r12, rsi; xor eax, eax
 * loop: lea rax, [rax + 2 * rax + 1]; dec rbx; jnz loop
 * test r12, r12; jz end; mov rdi, rax; call r12
 * end: pop r13; pop r12; pop rbx; ret
 */
static const unsigned char code[] = {0x53, 0x41, 0x54, 0x41, 0x55, 0x48, 0x89, 0xfb, 0x49, 0x89,
                                     0xf4, 0x31, 0xc0, 0x48, 0x8d, 0x44, 0x40, 0x01, 0x48, 0xff,
                                     0xcb, 0x75, 0xf6, 0x4d, 0x85, 0xe4, 0x74, 0x06, 0x48, 0x89,
                                     0xc7, 0x41, 0xff, 0xd4, 0x41, 0x5d, 0x41, 0x5c, 0x5b, 0xc3};
#elif defined(__aarch64__)
/*
 * stp x29, x30, [sp, -16]!; mov x29, sp; mov x2, 0; mov x3, x1
 * loop: add x2, x2, x2, lsl 1; add x2, x2, 1; subs x0, x0, 1; b.ne loop
 * mov x0, x2; cbz x3, end; blr x3; end: ldp x29, x30, [sp], 16; ret
 */
static const uint32_t code[] = {0xa9bf7bfd, 0x910003fd, 0xd2800002, 0xaa0103e3, 0x8b020442,
                                0x91000442, 0xf1000400, 0x54ffffa1, 0xaa0203e0, 0xb4000043,
                                0xd63f0060, 0xa8c17bfd, 0xd65f03c0};
#endif

static uint64_t tripled(uint64_t rounds)
{
    uint64_t x = 0;

    for (uint64_t i = 0; i < rounds; i++)
        x = 3 * x + 1;
    return x;
}

static uint64_t called(uint64_t x)
{
    for (int i = 0; i < 50000; i++)
        x = x * 0x9e3779b97f4a7c15u + 1;
    return x;
}

static int calls_generated(struct storm_player *player)
{
    for (; !storm_over(); player->rounds++) {
        uint64_t rounds = 100000 + player->rounds % 1000, wanted = tripled(rounds), got;
        bool calls = player->rounds & 1;

        if (calls) {
            wanted = called(wanted);
            got = generated(rounds, called);
        } else {
            storm_enter("generated code");
            got = generated(rounds, NULL);
            storm_leave();
        }
        STORM_CHECK(got == wanted, "%#llx, not %#llx", (unsigned long long)got,
                    (unsigned long long)wanted);
        for (int i = 0; i < 20; i++)
            storm_compute(&player->random);
    }
    return 0;
}

/* Does not write errno: what comes back is the kernel's answer, or what an interruption made of it.
 */
static inline long call_kernel(long number, long a, long b, long c)
{
    long result;

#if defined(__x86_64__)
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;

    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    result = x0;
#else
    result = syscall(number, a, b, c);
    if (result < 0)
        result = -errno;
#endif
    return result;
}

static int calls_kernel(struct storm_player *player)
{
    char buffer[64];
    int pipe_ends[2];

    STORM_CHECK(!pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK), "%s", strerror(errno));
    for (; !storm_over(); player->rounds++) {
        uint64_t number = player->rounds, got = 0;
        long n;

        for (int i = 0; i < 200; i++) {
            STORM_CHECK(call_kernel(SYS_getpid, 0, 0, 0) == getpid(), "another process");
            n = call_kernel(SYS_read, pipe_ends[0], (long)buffer, sizeof buffer);
            STORM_CHECK(n == -EAGAIN, "%ld", n);
            n = call_kernel(SYS_write, pipe_ends[1], (long)&number, sizeof number);
            STORM_CHECK(n == sizeof number, "%ld", n);
            n = call_kernel(SYS_read, pipe_ends[0], (long)&got, sizeof got);
            STORM_CHECK(n == sizeof number && got == number, "%ld", n);
            number++;
        }
    }
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return 0;
}

static const char *missing(const struct gyre_preempt_counts *counts)
{
    return counts->refused[GYRE_REFUSED_LIBRARY] ? NULL : "no tick in generated code";
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"generated", calls_generated, 4},
                                              {"system calls", calls_kernel, 4}};

#if defined(__x86_64__) || defined(__aarch64__)
    generated = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    STORM_CHECK((void *)generated != MAP_FAILED, "%s", strerror(errno));
    memcpy((void *)generated, code, sizeof code);
    __builtin___clear_cache((char *)generated, (char *)generated + sizeof code);
    if (mprotect((void *)generated, 4096, PROT_READ | PROT_EXEC)) {
        printf("no page may be executed here: %s\n", strerror(errno));
        return 77;
    }
    STORM_CHECK(generated(10, NULL) == tripled(10), "not the code that was meant");
    storm_settings.missing = missing;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
#else
    (void)argc;
    (void)argv;
    return 77;
#endif
}
