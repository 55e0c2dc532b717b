/* The processes of proof.c's scenarios, and the verdicts; see proof.h. */
#include "proof.h"

#include <gyre.h>

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Milliseconds. Who is right may be slow; who goes wrong has until then to do it. */
enum { LOOK = 300, LIMIT = 30000 };

struct proof_shared *proof_shared;

bool proof_intruded(void)
{
    return atomic_load(&proof_shared->intruded);
}

bool proof_was_refused(const struct scenario *scenario)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};

    gyre_preempt_count(&counts);
    if (scenario->refusal >= 0 && !counts.refused[scenario->refusal]) {
        dprintf(STDERR_FILENO, "was not refused %s\n",
                gyre_refusal_name((enum gyre_refusal)scenario->refusal));
        return false;
    }
    if (proof_intruded() != (scenario->refusal < 0)) {
        dprintf(STDERR_FILENO, "was %sinterrupted\n", proof_intruded() ? "" : "not ");
        return false;
    }
    return true;
}

static bool has_hung(const struct scenario *scenario, unsigned without, int elapsed)
{
    return elapsed >= LIMIT || (without && scenario->then & HANGS && proof_intruded());
}

static enum outcome await(pid_t pid, const struct scenario *scenario, unsigned without)
{
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    int status = 0, elapsed = 0;
    bool hung = ended.fd < 0;

    while (!hung && poll(&ended, 1, LOOK) == 0) {
        elapsed += LOOK;
        hung = has_hung(scenario, without, elapsed);
    }
    if (hung)
        kill(pid, SIGKILL);
    close(ended.fd);
    waitpid(pid, &status, 0);
    if (hung)
        return HANGS;
    if (!WIFEXITED(status))
        return CRASHES;
    return WEXITSTATUS(status) ? WRONG : FINE;
}

static enum outcome run(const struct scenario *scenario, unsigned without, FILE *output)
{
    struct rlimit none = {0, 0};
    pid_t pid;

    atomic_store(&proof_shared->inside, false);
    atomic_store(&proof_shared->intruded, false);
    pid = fork();
    if (pid < 0)
        abort();
    if (pid == 0) {
        dup2(fileno(output), STDOUT_FILENO);
        dup2(fileno(output), STDERR_FILENO);
        setrlimit(RLIMIT_CORE, &none);
        proof_child(scenario, without);
    }
    return await(pid, scenario, without);
}

static const char *outcome_name(enum outcome outcome)
{
    switch (outcome) {
    case FINE:
        return "fine";
    case WRONG:
        return "wrong";
    case CRASHES:
        return "crashes";
    default:
        return "hangs";
    }
}

static void show(FILE *output)
{
    int c;

    rewind(output);
    while ((c = getc(output)) != EOF)
        putchar(c);
}

static bool prove(const struct scenario *scenario)
{
    FILE *with_output = tmpfile(), *without_output = tmpfile();
    enum outcome with, without;
    bool proven;

    if (!with_output || !without_output)
        abort();
    with = run(scenario, 0, with_output);
    without = run(scenario, scenario->without, without_output);
    /* Where it crashes it may have done so before anybody else ran. */
    proven = with == FINE && without & scenario->then &&
             (scenario->refusal < 0 || without == CRASHES || proof_intruded());
    printf("%-24s with: %s; without: %s%s\n", scenario->name, outcome_name(with),
           outcome_name(without), proven ? "" : " - NOT PROVEN");
    if (!proven)
        show(with != FINE ? with_output : without_output);
    fclose(with_output);
    fclose(without_output);
    return proven;
}

static int copy_mode(void *mode)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};

    gyre_preempt_count(&counts);
    strncpy(mode, counts.mode, 127);
    return 0;
}

/* In a child: gyre_run in this process would leave its mark on those to come. */
static void find_mode(char *mode)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(gyre_run(copy_mode, mode) ? 1 : 0);
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status)
        abort();
}

static bool is_possible(const struct scenario *scenario)
{
    return scenario->refusal != GYRE_REFUSED_STATE || __builtin_cpu_supports("avx");
}

int proof(const struct scenario *scenarios, size_t count, const char *name)
{
    struct {
        struct proof_shared shared;
        char mode[128];
    } *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned failed = 0;
    bool uncounted;

    if (page == MAP_FAILED)
        abort();
    setvbuf(stdout, NULL, _IOLBF, 0);
    proof_shared = &page->shared;
    find_mode(page->mode);
    printf("%s\n", page->mode);
    uncounted = strstr(page->mode, "libgyre-preempt") != NULL;
    if (!uncounted && strcmp(page->mode, "asynchronous"))
        return 77;
    for (size_t i = 0; i < count; i++) {
        if (scenarios[i].cooperative != uncounted || (name && strcmp(name, scenarios[i].name)))
            continue;
        if (is_possible(&scenarios[i]))
            failed += !prove(&scenarios[i]);
        else
            printf("%-24s not on this processor\n", scenarios[i].name);
    }
    return failed ? 1 : 0;
}
