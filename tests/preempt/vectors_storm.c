/*
 * Arithmetic that is interrupted in its middle gives what it gives uninterrupted: each kernel keeps
 * as many registers of its unit as there are alive over a loop of a few quanta, and its sum was
 * computed once before anything could interrupt it. SSE, AVX, AVX-512, MMX and x87 where the
 * processor has them, beside each other on the same workers, so that each finds the others' values
 * in what is not restored.
 */
#include "storm.h"

typedef double double2 __attribute__((vector_size(16)));
typedef double double4 __attribute__((vector_size(32)));
typedef uint32_t word8 __attribute__((vector_size(32)));
typedef double double8 __attribute__((vector_size(64)));
typedef uint64_t word8_512 __attribute__((vector_size(64)));

enum { ROUNDS = 60000, SEEDS = 4 };

/* Twelve chains of a type: more than a compiler keeps elsewhere than in registers. */
#define CHAINS(type, step)                                                                         \
    type a = x, b = x + 1, c = x + 2, d = x + 3, e = x + 4, f = x + 5;                             \
    type g = x + 6, h = x + 7, i = x + 8, j = x + 9, k = x + 10, l = x + 11;                       \
    for (int n = 0; n < ROUNDS; n++) {                                                             \
        step(a, b);                                                                                \
        step(b, c);                                                                                \
        step(c, d);                                                                                \
        step(d, e);                                                                                \
        step(e, f);                                                                                \
        step(f, g);                                                                                \
        step(g, h);                                                                                \
        step(h, i);                                                                                \
        step(i, j);                                                                                \
        step(j, k);                                                                                \
        step(k, l);                                                                                \
        step(l, a);                                                                                \
    }                                                                                              \
    type sum = a + b + c + d + e + f + g + h + i + j + k + l

/* Stays finite, and each bit matters. */
#define STEP_FLOAT(p, q)   p = p * 0.75 + q * 0.25 + 1.0 / (p * p + 2.0)
#define STEP_INTEGER(p, q) p = (p ^ (q << 7) ^ (q >> 3)) * 0x9e3779b1u + 1

static uint64_t hash(const void *data, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < size; i++)
        h = (h ^ ((const unsigned char *)data)[i]) * 0x100000001b3u;
    return h;
}

static __attribute__((noinline)) uint64_t doubles(uint64_t seed)
{
    double x = (double)seed;
    CHAINS(double, STEP_FLOAT);
    return hash(&sum, sizeof sum);
}

static __attribute__((noinline)) uint64_t pairs(uint64_t seed)
{
    double2 x = {(double)seed, (double)seed + 0.5};
    CHAINS(double2, STEP_FLOAT);
    return hash(&sum, sizeof sum);
}

/* Rounds differently from a double: a spill through 64 bits, or a lost control word, shows. */
static __attribute__((noinline)) uint64_t long_doubles(uint64_t seed)
{
    long double a = (long double)seed + 1, b = a + 1, c = a + 2, d = a + 3;

    for (int n = 0; n < ROUNDS * 2; n++) {
        a = a * 0.75L + b * 0.25L + 1.0L / (c * c + 2.0L);
        b = b * 0.75L + c * 0.25L + 1.0L / (d * d + 2.0L);
        c = c * 0.75L + d * 0.25L + 1.0L / (a * a + 2.0L);
        d = d * 0.75L + a * 0.25L + 1.0L / (b * b + 2.0L);
    }
    a = a + b + c + d;
    return hash(&a, 10);
}

#if defined(__x86_64__)
__attribute__((noinline, target("avx,fma"))) static uint64_t quads(uint64_t seed)
{
    double4 x = {(double)seed, (double)seed + 0.25, (double)seed + 0.5, (double)seed + 0.75};
    CHAINS(double4, STEP_FLOAT);
    return hash(&sum, sizeof sum);
}

__attribute__((noinline, target("avx2"))) static uint64_t words(uint64_t seed)
{
    word8 x = {(uint32_t)seed, 1, 2, 3, 4, 5, 6, 7};
    CHAINS(word8, STEP_INTEGER);
    return hash(&sum, sizeof sum);
}

__attribute__((noinline, target("avx512f,avx512dq,avx512vl,avx512bw"))) static uint64_t
wide_doubles(uint64_t seed)
{
    double8 x = {(double)seed, 1, 2, 3, 4, 5, 6, 7};
    CHAINS(double8, STEP_FLOAT);
    return hash(&sum, sizeof sum);
}

/* Masks are registers too: the comparisons live in them. */
#define STEP_MASKED(p, q)                                                                          \
    do {                                                                                           \
        word8_512 greater = (word8_512)(p > q);                                                    \
        p = (((p ^ (q >> 5)) & greater) | ((p + q) & ~greater)) * 0x9e3779b97f4a7c15u + 1;         \
    } while (0)
__attribute__((noinline, target("avx512f,avx512dq,avx512vl,avx512bw"))) static uint64_t
wide_words(uint64_t seed)
{
    word8_512 x = {seed, 1, 2, 3, 4, 5, 6, 7};
    CHAINS(word8_512, STEP_MASKED);
    return hash(&sum, sizeof sum);
}

/* MMX is the x87 stack by another name: full of values, tags and all, when it is interrupted. */
static __attribute__((noinline)) uint64_t mmx(uint64_t seed)
{
    uint64_t sum = seed, one = 0x0001000300050007u;

    __asm__ volatile(
        "movq %0, %%mm0\n\tmovq %1, %%mm1\n\tmovq %%mm0, %%mm2\n\tmovq %%mm1, %%mm3\n\t"
        "movq %%mm0, %%mm4\n\tmovq %%mm1, %%mm5\n\tmovq %%mm0, %%mm6\n\t"
        "movq %%mm1, %%mm7\n"
        "1:\tpaddw %%mm1, %%mm0\n\tpxor %%mm0, %%mm2\n\tpaddd %%mm2, %%mm3\n\t"
        "pxor %%mm3, %%mm4\n\tpmullw %%mm1, %%mm5\n\tpaddb %%mm5, %%mm6\n\t"
        "pxor %%mm6, %%mm7\n\tpaddd %%mm7, %%mm0\n\tpaddw %%mm4, %%mm5\n\t"
        "decl %2\n\tjnz 1b\n\t"
        "pxor %%mm7, %%mm6\n\tpaddd %%mm5, %%mm6\n\tpaddd %%mm4, %%mm6\n\t"
        "paddd %%mm3, %%mm6\n\tpaddd %%mm2, %%mm6\n\tpaddd %%mm0, %%mm6\n\t"
        "movq %%mm6, %0\n\temms"
        : "+m"(sum)
        : "m"(one), "r"(ROUNDS * 4)
        : "memory", "cc", "mm0", "mm1", "mm2", "mm3", "mm4", "mm5", "mm6", "mm7");
    return sum;
}
#endif

static struct kernel {
    const char *name;
    uint64_t (*compute)(uint64_t seed);
    uint64_t wanted[SEEDS];
    _Atomic(unsigned long) rounds;
} kernels[8];
static unsigned kernel_count;

static void add(bool there, const char *name, uint64_t (*compute)(uint64_t))
{
    struct kernel *kernel = &kernels[kernel_count];

    if (!there) {
        printf("%s: not on this processor\n", name);
        return;
    }
    kernel_count++;
    kernel->name = name;
    kernel->compute = compute;
    for (uint64_t seed = 0; seed < SEEDS; seed++)
        kernel->wanted[seed] = compute(seed);
}

static int compute(struct storm_player *player)
{
    struct kernel *kernel = &kernels[player->index % kernel_count];
    uint64_t seed = player->index / kernel_count % SEEDS;

    do {
        uint64_t got = kernel->compute(seed);

        STORM_CHECK(got == kernel->wanted[seed], "%s of %llu: %llx, not %llx", kernel->name,
                    (unsigned long long)seed, (unsigned long long)got,
                    (unsigned long long)kernel->wanted[seed]);
        kernel->rounds++;
        player->rounds++;
    } while (!storm_over());
    return 0;
}

static void after(const struct gyre_preempt_counts *counts)
{
    (void)counts;
    for (unsigned i = 0; i < kernel_count; i++)
        STORM_CHECK(kernels[i].rounds > 0, "no %s", kernels[i].name);
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"compute", compute, 24}};

    add(true, "double", doubles);
    add(true, "128 bits", pairs);
    add(true, "long double", long_doubles);
#if defined(__x86_64__)
    add(true, "MMX", mmx);
    add(__builtin_cpu_supports("avx") && __builtin_cpu_supports("fma"), "AVX", quads);
    add(__builtin_cpu_supports("avx2"), "AVX2", words);
    add(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"),
        "AVX-512", wide_doubles);
    add(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"),
        "AVX-512 masks", wide_words);
#endif
    storm_settings.after = after;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
