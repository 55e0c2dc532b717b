/* Which canaries there are, for which processors. */
#include "preempt_canary.h"

#include <stddef.h>

#if defined(__x86_64__)

#include <cpuid.h>

enum { AVX = 1, AVX512 = 2 };

int canary_general(unsigned long rounds);
int canary_flags(unsigned long rounds);
int canary_sse(unsigned long rounds);
int canary_avx(unsigned long rounds);
int canary_avx512(unsigned long rounds);
int canary_x87(unsigned long rounds);
int canary_mmx(unsigned long rounds);
int canary_control_words(unsigned long rounds);
int canary_red_zone(unsigned long rounds);
int canary_calls(unsigned long rounds);
unsigned canary_trash_registers(unsigned features, uint32_t mxcsr, uint16_t x87);

const struct canary canaries[] = {
    {"general registers", canary_general, 0},
    {"flags", canary_flags, 0},
    {"xmm0-15", canary_sse, 0},
    {"ymm0-15", canary_avx, AVX},
    {"zmm0-31, k0-7", canary_avx512, AVX512},
    {"x87 stack", canary_x87, 0},
    {"mmx", canary_mmx, 0},
    {"control words", canary_control_words, 0},
    {"red zone", canary_red_zone, 0},
    {"prologues and epilogues", canary_calls, 0},
    {NULL, NULL, 0},
};

unsigned canary_features(void)
{
    unsigned found = 0;

    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx"))
        found |= AVX;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        found |= AVX512;
    return found;
}

const char *canary_trash(const struct fpu_control *expected)
{
    static const char *const complaints[] = {"direction or alignment flag set",
                                             "x87 stack not empty", "x87 control word", "mxcsr",
                                             "stack not aligned"};
    unsigned wrong = canary_trash_registers(canary_features(), expected->mxcsr, expected->x87);

    return wrong ? complaints[__builtin_ctz(wrong)] : NULL;
}

void canary_tidy(void)
{
    __asm__ __volatile__("emms");
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

enum { SVE = 1 };

int canary_general(unsigned long rounds);
int canary_flags(unsigned long rounds);
int canary_vector(unsigned long rounds);
int canary_sve(unsigned long rounds);
int canary_stack(unsigned long rounds);
int canary_calls(unsigned long rounds);
unsigned canary_trash_registers(uint64_t fpcr, unsigned features);

const struct canary canaries[] = {
    {"x0-x30", canary_general, 0},
    {"nzcv", canary_flags, 0},
    {"v0-v31, fpcr, fpsr", canary_vector, 0},
    {"z0-z31, p0-p15", canary_sve, SVE},
    {"stack", canary_stack, 0},
    {"prologues and epilogues", canary_calls, 0},
    {NULL, NULL, 0},
};

unsigned canary_features(void)
{
    return getauxval(AT_HWCAP) & 1 << 22 ? SVE : 0; /* HWCAP_SVE, of <asm/hwcap.h> */
}

const char *canary_trash(const struct fpu_control *expected)
{
    return canary_trash_registers(expected->fpcr, canary_features())
               ? "fpcr, fpsr, or stack not aligned"
               : NULL;
}

void canary_tidy(void)
{
}

#endif
