/* Names, against a server that answers by a script: well, badly, late or not at all. */
#include "../io/harness.h"
#include "dns.h"
#include "net/address.h"
#include "net/resolver.h"

#include <gyre/resolve.h>

#include <net/if.h>
#include <sys/resource.h>

enum rule_number {
    ONE_SILENT_FIRST = 0,
    SILENT_A = 1,
    V4_AAAA = 2,
    SERVFAIL = 3,
};

static const struct dns_rule rules[] = {
    [ONE_SILENT_FIRST] = {"second-try.test", DNS_A, DNS_ADDRESSES, "192.0.2.9", 0, 0, 1},
    [SILENT_A] = {"silent.test", DNS_A, DNS_SILENT, ""},
    [V4_AAAA] = {"v4.test", DNS_AAAA, DNS_EMPTY, ""},
    [SERVFAIL] = {"servfail.test", 0, DNS_RCODE, "2"},
    {"second-try.test", DNS_A, DNS_SILENT, ""},
    {"silent.test", 0, DNS_SILENT, ""},
    {"v4.test", DNS_A, DNS_ADDRESSES, "192.0.2.1 192.0.2.2"},
    {"v6.test", 0, DNS_ADDRESSES, "2001:db8::1"},
    {"both.test", 0, DNS_ADDRESSES, "192.0.2.1 2001:db8::1"},
    {"half.test", DNS_A, DNS_ADDRESSES, "192.0.2.3"},
    {"half.test", DNS_AAAA, DNS_RCODE, "2"},
    {"refused.test", 0, DNS_RCODE, "5"},
    {"notimp.test", 0, DNS_RCODE, "4"},
    {"empty.test", 0, DNS_EMPTY, ""},
    {"truncated.test", 0, DNS_TRUNCATED, "192.0.2.4 2001:db8::4"},
    {"ends.test", 0, DNS_TCP_ENDS, ""},
    {"many.test", 0, DNS_MANY, "3000"},
    {"wrong-id.test", 0, DNS_WRONG_ID, "192.0.2.66"},
    {"wrong-question.test", 0, DNS_WRONG_QUESTION, "192.0.2.66"},
    {"garbage.test", 0, DNS_GARBAGE, "192.0.2.66"},
    {"short.test", 0, DNS_SHORT, "192.0.2.66"},
    {"cut.test", 0, DNS_CUT, "192.0.2.66 2001:db8::66"},
    {"alias.test", 0, DNS_CNAME, "alias-2.test"},
    {"alias-2.test", 0, DNS_CNAME, "alias-3.test"},
    {"alias-3.test", 0, DNS_CNAME, "both.test"},
    {"loop.test", 0, DNS_CNAME, "loop-2.test"},
    {"loop-2.test", 0, DNS_CNAME, "loop.test"},
    {"dangling.test", 0, DNS_CNAME, "nowhere.test"},
    {"slow.test", 0, DNS_ADDRESSES, "192.0.2.5", 200},
    {"first-silent.test", 0, DNS_SILENT, "", 0, 1},
    {"first-silent.test", 0, DNS_ADDRESSES, "192.0.2.6"},
    {"first-fails.test", 0, DNS_RCODE, "2", 0, 1},
    {"first-fails.test", 0, DNS_ADDRESSES, "192.0.2.7"},
    {"host.b.test", 0, DNS_ADDRESSES, "192.0.2.8"},
    {"split.a.test", DNS_A, DNS_ADDRESSES, "192.0.2.10"},
    {"split.a.test", 0, DNS_EMPTY, ""},
    {"split.b.test", 0, DNS_ADDRESSES, "192.0.2.11 2001:db8::11"},
    {"dotted.name", 0, DNS_ADDRESSES, "192.0.2.12"},
    {"dotted.name.a.test", 0, DNS_ADDRESSES, "192.0.2.13"},
    {"known.test", 0, DNS_ADDRESSES, "192.0.2.14"},
    {"1.2.0.192.in-addr.arpa", 0, DNS_PTR, "one.test"},
    {"2.2.0.192.in-addr.arpa", 0, DNS_PTR, "not a name.test"},
    {"3.2.0.192.in-addr.arpa", 0, DNS_EMPTY, ""},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", 0, DNS_PTR,
     "six.test"},
    {"text.test", DNS_TXT_TYPE, DNS_TXT, "v=spf1 -all"},
    {"text.b.test", DNS_TXT_TYPE, DNS_TXT, "found by search"},
    {0}};

static const char plain[] = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\nsearch .\n";
static const char searching[] =
    "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n# a comment\nsearch a.test b.test.\n";

#define RESOLVING(name, resolv_conf, hosts)                                                        \
    static int body_##name(void *unused_);                                                         \
    static int run_##name(void *unused_)                                                           \
    {                                                                                              \
        int result_ = body_##name(unused_);                                                        \
        dns_await_end_of_connections();                                                            \
        return result_;                                                                            \
    }                                                                                              \
    Test(resolve, name)                                                                            \
    {                                                                                              \
        dns_start(rules, resolv_conf, hosts);                                                      \
        run_on_each(run_##name);                                                                   \
        dns_stop();                                                                                \
    }                                                                                              \
    static int body_##name(__attribute__((unused)) void *unused_)

/* The addresses as text, or the error's number. */
static const char *look_up(const char *host, enum gyre_family family, char text[512])
{
    struct gyre_addresses addresses = {77, NULL};
    int error = gyre_resolve(host, 80, family, &addresses);
    size_t used = 0;

    *text = 0;
    if (error) {
        EXPECT_EQ(addresses.count, 77);
        snprintf(text, 512, "%s", strerrorname_np(-error));
        return text;
    }
    EXPECT(addresses.count > 0);
    for (size_t i = 0; i < addresses.count && used < 400; i++) {
        char one[GYRE_ADDRESS_SIZE];

        EXPECT(gyre_address_format(&addresses.list[i].storage, one, sizeof one) > 0);
        used += (size_t)snprintf(text + used, 512 - used, "%s%s", used ? " " : "", one);
    }
    gyre_addresses_free(&addresses);
    gyre_addresses_free(&addresses);
    return text;
}

#define EXPECT_FOUND(host, family, wanted)                                                         \
    do {                                                                                           \
        char text_[512];                                                                           \
        const char *found_ = look_up(host, family, text_);                                         \
        if (strcmp(found_, wanted)) {                                                              \
            fprintf(stderr, "%s:%d: %s: %s, not %s\n", __FILE__, __LINE__, host, found_, wanted);  \
            atomic_fetch_add(&failed_expectations, 1);                                             \
        }                                                                                          \
    } while (0)

/* --- answers ---------------------------------------------------------------------------------- */

RESOLVING(addresses_come_in_the_order_of_the_answer, plain, "")
{
    EXPECT_FOUND("v4.test", GYRE_FAMILY_ANY, "192.0.2.1:80 192.0.2.2:80");
    EXPECT_FOUND("v4.test.", GYRE_FAMILY_V4, "192.0.2.1:80 192.0.2.2:80");
    EXPECT_FOUND("V4.Test", GYRE_FAMILY_V4, "192.0.2.1:80 192.0.2.2:80");
    EXPECT_FOUND("v4.test", GYRE_FAMILY_V6, "ENODATA");
    EXPECT_FOUND("v6.test", GYRE_FAMILY_ANY, "[2001:db8::1]:80");
    EXPECT_FOUND("v6.test", GYRE_FAMILY_V6, "[2001:db8::1]:80");
    EXPECT_FOUND("v6.test", GYRE_FAMILY_V4, "ENODATA");
    return 0;
}

RESOLVING(only_the_family_asked_for_is_asked, plain, "")
{
    int before = dns_asked(V4_AAAA);

    EXPECT_FOUND("v4.test", GYRE_FAMILY_V4, "192.0.2.1:80 192.0.2.2:80");
    EXPECT_EQ(dns_asked(V4_AAAA), before);
    EXPECT_FOUND("v4.test", GYRE_FAMILY_ANY, "192.0.2.1:80 192.0.2.2:80");
    EXPECT_EQ(dns_asked(V4_AAAA), before + 1);
    return 0;
}

RESOLVING(both_families_are_found, plain, "")
{
    struct gyre_addresses addresses;

    EXPECT_EQ(gyre_resolve("both.test", 1, GYRE_FAMILY_ANY, &addresses), 0);
    EXPECT_EQ(addresses.count, 2);
    EXPECT(addresses.list[0].storage.ss_family != addresses.list[1].storage.ss_family);
    gyre_addresses_free(&addresses);
    return 0;
}

RESOLVING(what_is_not_there_is_told_from_what_is_not_known, plain, "")
{
    EXPECT_FOUND("nothing.test", GYRE_FAMILY_ANY, "ENOENT");
    EXPECT_FOUND("empty.test", GYRE_FAMILY_ANY, "ENODATA");
    EXPECT_FOUND("servfail.test", GYRE_FAMILY_ANY, "EAGAIN");
    EXPECT_FOUND("refused.test", GYRE_FAMILY_ANY, "EAGAIN");
    EXPECT_FOUND("notimp.test", GYRE_FAMILY_V4, "EAGAIN");
    EXPECT_FOUND("half.test", GYRE_FAMILY_ANY, "192.0.2.3:80");
    EXPECT_FOUND("cut.test", GYRE_FAMILY_ANY, "EBADMSG");
    EXPECT_FOUND("cut.test", GYRE_FAMILY_V4, "EBADMSG");
    return 0;
}

RESOLVING(aliases_are_followed, plain, "")
{
    EXPECT_FOUND("alias.test", GYRE_FAMILY_V4, "192.0.2.1:80");
    EXPECT_FOUND("alias.test", GYRE_FAMILY_V6, "[2001:db8::1]:80");
    EXPECT_FOUND("loop.test", GYRE_FAMILY_ANY, "ENODATA");
    EXPECT_FOUND("dangling.test", GYRE_FAMILY_ANY, "ENODATA");
    return 0;
}

RESOLVING(what_is_cut_short_is_asked_by_tcp, plain, "")
{
    struct gyre_addresses addresses;
    int before = atomic_load(&dns.tcp_questions);

    EXPECT_FOUND("truncated.test", GYRE_FAMILY_V4, "192.0.2.4:80");
    EXPECT_EQ(atomic_load(&dns.tcp_questions), before + 1);
    EXPECT_FOUND("truncated.test", GYRE_FAMILY_V6, "[2001:db8::4]:80");
    EXPECT_EQ(gyre_resolve("many.test", 80, GYRE_FAMILY_ANY, &addresses), 0);
    EXPECT_EQ(addresses.count, 3000);
    gyre_addresses_free(&addresses);
    EXPECT_FOUND("ends.test", GYRE_FAMILY_V4, "EAGAIN");
    return 0;
}

RESOLVING(use_vc_asks_by_tcp_at_once, "nameserver 127.0.0.1\noptions use-vc timeout:1\n", "")
{
    int before = atomic_load(&dns.questions);

    EXPECT_FOUND("v4.test", GYRE_FAMILY_V4, "192.0.2.1:80 192.0.2.2:80");
    EXPECT_EQ(atomic_load(&dns.questions), before);
    return 0;
}

/* --- servers that don't do their work ----------------------------------------------------------
 */

static int times_out(void *host)
{
    EXPECT_FOUND((const char *)host, GYRE_FAMILY_V4, "ETIMEDOUT");
    EXPECT_EQ(gyre_context_error(), 0);
    return 0;
}

RESOLVING(bad_answers_are_as_none, plain, "")
{
    static char *const hosts[] = {"wrong-id.test", "wrong-question.test", "garbage.test",
                                  "silent.test"};
    GYRE_NURSERY(group);

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++)
        gyre_group_go(&group, times_out, hosts[i]);
    EXPECT_EQ(gyre_group_wait(&group), 0);
    return 0;
}

RESOLVING(short_datagrams_do_no_harm, plain, "")
{
    char text[512];

    look_up("short.test", GYRE_FAMILY_V4, text);
    EXPECT(!strcmp(text, "ETIMEDOUT") || !strcmp(text, "EAGAIN"));
    return 0;
}

RESOLVING(a_lost_question_is_asked_again, "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n",
          "")
{
    atomic_store(&dns.asked[ONE_SILENT_FIRST], 0);
    EXPECT_FOUND("second-try.test", GYRE_FAMILY_V4, "192.0.2.9:80");
    return 0;
}

static const char two_servers[] = "nameserver 127.0.0.1\nnameserver 127.0.0.2\n"
                                  "options timeout:1 attempts:1\n";

RESOLVING(the_second_server_is_asked_when_the_first_is_silent, two_servers, "")
{
    EXPECT_FOUND("first-silent.test", GYRE_FAMILY_V4, "192.0.2.6:80");
    EXPECT_FOUND("first-fails.test", GYRE_FAMILY_V4, "192.0.2.7:80");
    EXPECT_FOUND("servfail.test", GYRE_FAMILY_V4, "EAGAIN");
    return 0;
}

RESOLVING(nobody_listens, "nameserver 127.0.0.3\noptions timeout:1 attempts:1\n", "")
{
    EXPECT_FOUND("v4.test", GYRE_FAMILY_ANY, "EAGAIN");
    return 0;
}

RESOLVING(the_second_server_is_asked_where_nobody_listens,
          "nameserver 127.0.0.3\nnameserver 127.0.0.1\noptions timeout:1 attempts:1\n", "")
{
    EXPECT_FOUND("v4.test", GYRE_FAMILY_ANY, "192.0.2.1:80 192.0.2.2:80");
    return 0;
}

RESOLVING(a_slow_server_is_waited_for, plain, "")
{
    EXPECT_FOUND("slow.test", GYRE_FAMILY_V4, "192.0.2.5:80");
    return 0;
}

/* --- contexts --------------------------------------------------------------------------------- */

RESOLVING(the_context_ends_it, plain, "")
{
    unsigned char *answer = NULL;
    size_t size = 0;
    int64_t start = gyre_now();

    GYRE_TIMEOUT(30 * GYRE_MILLISECOND);
    EXPECT_FOUND("silent.test", GYRE_FAMILY_ANY, "ETIMEDOUT");
    EXPECT_EQ(gyre_context_error(), -ETIMEDOUT);
    EXPECT(gyre_now() - start < 900 * GYRE_MILLISECOND);
    /* at entry, where nothing would be waited for */
    EXPECT_FOUND("127.0.0.1", GYRE_FAMILY_ANY, "ETIMEDOUT");
    EXPECT_EQ(gyre_resolve_query("v4.test", 1, &answer, &size), -ETIMEDOUT);
    EXPECT(!answer && !size);
    return 0;
}

static int is_cancelled(void *unused)
{
    (void)unused;
    EXPECT_FOUND("silent.test", GYRE_FAMILY_ANY, "ECANCELED");
    return 0;
}

RESOLVING(cancelled_while_the_server_thinks, plain, "")
{
    int before = dns_asked(SILENT_A);
    GYRE_NURSERY(group);

    for (int i = 0; i < 20; i++)
        gyre_group_go(&group, is_cancelled, NULL);
    while (dns_asked(SILENT_A) < before + 20)
        gyre_sleep(GYRE_MILLISECOND);
    gyre_group_cancel(&group);
    gyre_group_wait(&group);
    EXPECT_FOUND("v4.test", GYRE_FAMILY_V4, "192.0.2.1:80 192.0.2.2:80");
    return 0;
}

static int is_cancelled_somewhere(void *unused)
{
    char text[512];

    (void)unused;
    look_up("v4.test", GYRE_FAMILY_ANY, text);
    EXPECT(!strcmp(text, "ECANCELED") || !strcmp(text, "192.0.2.1:80 192.0.2.2:80"));
    return 0;
}

RESOLVING(cancelled_at_any_moment, plain, "")
{
    for (int i = 0; i < 100; i++) {
        GYRE_NURSERY(group);

        gyre_resolver_look();
        for (int j = 0; j < 4; j++)
            gyre_group_go(&group, is_cancelled_somewhere, NULL);
        gyre_sleep(i * 20 * GYRE_MICROSECOND);
        gyre_group_cancel(&group);
        gyre_group_wait(&group);
    }
    return 0;
}

/* --- search ----------------------------------------------------------------------------------- */

RESOLVING(the_search_list_is_gone_through, searching, "")
{
    EXPECT_FOUND("host", GYRE_FAMILY_V4, "192.0.2.8:80");
    EXPECT_FOUND("host.", GYRE_FAMILY_V4, "ENOENT");
    EXPECT_FOUND("dotted.name", GYRE_FAMILY_V4, "192.0.2.12:80");
    EXPECT_FOUND("v4.test", GYRE_FAMILY_ANY, "192.0.2.1:80 192.0.2.2:80");
    EXPECT_FOUND("nothing", GYRE_FAMILY_ANY, "ENOENT");
    return 0;
}

RESOLVING(addresses_of_two_hosts_are_not_mixed, searching, "")
{
    EXPECT_FOUND("split", GYRE_FAMILY_ANY, "192.0.2.10:80");
    return 0;
}

RESOLVING(ndots_says_what_is_tried_first,
          "nameserver 127.0.0.1\ndomain a.test\noptions ndots:2 timeout:1\n", "")
{
    EXPECT_FOUND("dotted.name", GYRE_FAMILY_V4, "192.0.2.13:80");
    EXPECT_FOUND("dotted.name.", GYRE_FAMILY_V4, "192.0.2.12:80");
    return 0;
}

static int by_variables(void *unused)
{
    (void)unused;
    EXPECT_FOUND("host", GYRE_FAMILY_V4, "ENOENT");
    EXPECT_FOUND("dotted.name", GYRE_FAMILY_V4, "192.0.2.13:80");
    return 0;
}

Test(resolve, variables_go_before_the_file)
{
    dns_start(rules, searching, "");
    setenv("LOCALDOMAIN", "nowhere.test a.test", 1);
    setenv("RES_OPTIONS", "ndots:2", 1);
    run_on_each(by_variables);
    dns_stop();
}

/* --- files ------------------------------------------------------------------------------------ */

static const char hosts_file[] = "# comment\n"
                                 "192.0.2.100 Known.test alias # and a comment\n"
                                 "2001:db8::100\tknown.test\n"
                                 "192.0.2.101 known.test.\r\n"
                                 "not-an-address known.test\n"
                                 "192.0.2.102\n"
                                 "fe80::1%lo zoned\n"
                                 "\n"
                                 "192.0.2.103 only4 v6.test\n"
                                 "192.0.2.104 last";

RESOLVING(the_hosts_file_goes_first, plain, hosts_file)
{
    struct gyre_addresses addresses;

    EXPECT_FOUND("known.test", GYRE_FAMILY_V4, "192.0.2.100:80 192.0.2.101:80");
    EXPECT_FOUND("KNOWN.test.", GYRE_FAMILY_V6, "[2001:db8::100]:80");
    EXPECT_EQ(gyre_resolve("known.test", 80, GYRE_FAMILY_ANY, &addresses), 0);
    EXPECT_EQ(addresses.count, 3);
    gyre_addresses_free(&addresses);
    EXPECT_FOUND("alias", GYRE_FAMILY_ANY, "192.0.2.100:80");
    EXPECT_FOUND("last", GYRE_FAMILY_ANY, "192.0.2.104:80");
    EXPECT_FOUND("only4", GYRE_FAMILY_V6, "ENODATA");
    /* of the other family the servers may know more */
    EXPECT_FOUND("v6.test", GYRE_FAMILY_V6, "[2001:db8::1]:80");
    EXPECT_FOUND("v6.test", GYRE_FAMILY_ANY, "192.0.2.103:80");
    if (if_nametoindex("lo") == 1)
        EXPECT_FOUND("zoned", GYRE_FAMILY_ANY, "[fe80::1%1]:80");
    return 0;
}

RESOLVING(nsswitch_tells_the_order, plain, "192.0.2.100 known.test v4.test filed.test\n")
{
    EXPECT_FOUND("known.test", GYRE_FAMILY_V4, "192.0.2.100:80");
    dns_write("GYRE_NSSWITCH", "passwd: files\nhosts:\tmdns4 dns [!UNAVAIL=return] files # no\n");
    gyre_resolver_look();
    EXPECT_FOUND("known.test", GYRE_FAMILY_V4, "192.0.2.14:80");
    EXPECT_FOUND("filed.test", GYRE_FAMILY_V4, "192.0.2.100:80");
    dns_write("GYRE_NSSWITCH", "hosts: files mymachines\n");
    gyre_resolver_look();
    EXPECT_FOUND("known.test", GYRE_FAMILY_V4, "192.0.2.100:80");
    EXPECT_FOUND("both.test", GYRE_FAMILY_V4, "ENOENT");
    dns_write("GYRE_NSSWITCH", "hosts: files dns\n");
    gyre_resolver_look();
    return 0;
}

RESOLVING(files_that_changed_are_read_again, plain, "192.0.2.100 first\n")
{
    dns_write("GYRE_HOSTS", "192.0.2.100 first\n");
    gyre_resolver_look();
    EXPECT_FOUND("first", GYRE_FAMILY_ANY, "192.0.2.100:80");
    dns_write("GYRE_HOSTS", "192.0.2.200 first and another\n");
    EXPECT_FOUND("first", GYRE_FAMILY_ANY, "192.0.2.100:80");
    gyre_resolver_look();
    EXPECT_FOUND("first", GYRE_FAMILY_ANY, "192.0.2.200:80");
    dns_write("GYRE_RESOLV_CONF", "nameserver 127.0.0.1\nsearch b.test\noptions timeout:1\n");
    gyre_resolver_look();
    EXPECT_FOUND("host", GYRE_FAMILY_ANY, "192.0.2.8:80");
    dns_write("GYRE_RESOLV_CONF", plain);
    gyre_resolver_look();
    EXPECT_FOUND("host", GYRE_FAMILY_ANY, "ENOENT");
    return 0;
}

static int known(void *unused)
{
    (void)unused;
    EXPECT_FOUND("localhost", GYRE_FAMILY_V4, "127.0.0.1:80");
    EXPECT_FOUND("v4.test", GYRE_FAMILY_V4, "192.0.2.1:80 192.0.2.2:80");
    return 0;
}

Test(resolve, files_may_be_missing)
{
    dns_start(rules, plain, "");
    setenv("GYRE_HOSTS", "/nonexistent/hosts", 1);
    setenv("GYRE_NSSWITCH", "/nonexistent/nsswitch.conf", 1);
    run_on_each(known);
    dns_stop();
}

Test(resolve, a_large_hosts_file)
{
    size_t size = 1 << 21, used = 0;
    char *text = malloc(size);

    for (int i = 0; i < 50000; i++)
        used += (size_t)sprintf(text + used, "10.0.%d.%d name-%d.example\n", i >> 8, i & 255, i);
    strcpy(text + used, "192.0.2.1 v4.test\n192.0.2.2 v4.test\n");
    dns_start(rules, plain, text);
    run_on_each(known);
    dns_stop();
    free(text);
}

/* --- what needs no lookup ----------------------------------------------------------------------
 */

RESOLVING(literal_addresses_and_localhost, "nameserver 127.0.0.3\n", "192.0.2.1 localhost\n")
{
    EXPECT_FOUND("192.0.2.1", GYRE_FAMILY_ANY, "192.0.2.1:80");
    EXPECT_FOUND("192.0.2.1", GYRE_FAMILY_V6, "ENODATA");
    EXPECT_FOUND("::1", GYRE_FAMILY_ANY, "[::1]:80");
    EXPECT_FOUND("::1", GYRE_FAMILY_V4, "ENODATA");
    EXPECT_FOUND("fe80::1%7", GYRE_FAMILY_V6, "[fe80::1%7]:80");
    EXPECT_FOUND("localhost", GYRE_FAMILY_ANY, "127.0.0.1:80 [::1]:80");
    EXPECT_FOUND("LOCALHOST.", GYRE_FAMILY_V6, "[::1]:80");
    EXPECT_FOUND("a.b.localhost", GYRE_FAMILY_V4, "127.0.0.1:80");
    EXPECT_FOUND("secret.onion", GYRE_FAMILY_ANY, "ENOENT");
    EXPECT_FOUND("notlocalhost", GYRE_FAMILY_ANY, "EAGAIN");
    return 0;
}

RESOLVING(what_is_no_name_is_refused, plain, "")
{
    static const char *const wrong[] = {
        "",    ".",   "..",    ".a",        "a..b",  "a..",  "a b", "a\tb", "h\xc3\xa4user.test",
        "a/b", "a:b", "1.2.3", "256.1.1.1", "[::1]", "a\\b", "%lo", "::1%", "*.test"};
    char label[80], name[300];
    struct gyre_addresses addresses;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        EXPECT_FOUND(wrong[i], GYRE_FAMILY_ANY, "EINVAL");
    memset(label, 'a', sizeof label);
    strcpy(label + 63, ".test");
    EXPECT_FOUND(label, GYRE_FAMILY_ANY, "ENOENT");
    memset(label, 'a', sizeof label);
    strcpy(label + 64, ".test");
    EXPECT_FOUND(label, GYRE_FAMILY_ANY, "EINVAL");
    for (int i = 0; i < 253; i++)
        name[i] = i % 2 ? '.' : 'a';
    name[253] = 0;
    EXPECT_FOUND(name, GYRE_FAMILY_ANY, "ENOENT");
    strcpy(name + 253, "a");
    EXPECT_FOUND(name, GYRE_FAMILY_ANY, "EINVAL");
    EXPECT_EQ(gyre_resolve(NULL, 0, GYRE_FAMILY_ANY, &addresses), -EINVAL);
    EXPECT_EQ(gyre_resolve("a", 0, GYRE_FAMILY_ANY, NULL), -EINVAL);
    EXPECT_EQ(gyre_resolve("a", 0, (enum gyre_family)5, &addresses), -EINVAL);
    return 0;
}

/* --- names of addresses, raw answers ------------------------------------------------------------
 */

static int name_of(const char *text, char *name, size_t size)
{
    struct address parsed;
    struct gyre_address address;

    EXPECT_EQ(gyre_address_of_host(text, 80, &parsed), 0);
    address.storage = parsed.storage;
    address.length = parsed.length;
    return gyre_resolve_address(&address, name, size);
}

RESOLVING(addresses_have_names, plain, "192.0.2.50 filed.test alias\n2001:db8::50 filed-6.test\n")
{
    char name[300] = "untouched";
    struct gyre_address local = {.storage.ss_family = AF_UNIX};

    EXPECT_EQ(name_of("192.0.2.1", name, 8), -ENOSPC);
    EXPECT_EQ(name_of("192.0.2.2", name, sizeof name), -EBADMSG);
    EXPECT_EQ(name_of("192.0.2.3", name, sizeof name), -ENODATA);
    EXPECT_EQ(name_of("192.0.2.4", name, sizeof name), -ENOENT);
    EXPECT_EQ(name_of("192.0.2.50", name, 10), -ENOSPC);
    EXPECT_EQ(gyre_resolve_address(&local, name, sizeof name), -EINVAL);
    EXPECT_EQ(gyre_resolve_address(NULL, name, sizeof name), -EINVAL);
    EXPECT(!strcmp(name, "untouched"));
    EXPECT_EQ(name_of("192.0.2.1", name, 9), 8);
    EXPECT(!strcmp(name, "one.test"));
    EXPECT_EQ(name_of("::ffff:192.0.2.1", name, sizeof name), 8);
    EXPECT_EQ(name_of("2001:db8::1", name, sizeof name), 8);
    EXPECT(!strcmp(name, "six.test"));
    EXPECT_EQ(name_of("192.0.2.50", name, sizeof name), 10);
    EXPECT(!strcmp(name, "filed.test"));
    EXPECT_EQ(name_of("2001:db8::50", name, sizeof name), 12);
    return 0;
}

static bool contains(const unsigned char *answer, size_t size, const char *text)
{
    return memmem(answer, size, text, strlen(text)) != NULL;
}

RESOLVING(raw_answers, searching, "192.0.2.1 text.test\n")
{
    unsigned char *answer = NULL;
    size_t size = 0;

    EXPECT_EQ(gyre_resolve_query("nothing.test", 16, &answer, &size), -ENOENT);
    EXPECT_EQ(gyre_resolve_query("empty.test", 15, &answer, &size), -ENODATA);
    EXPECT_EQ(gyre_resolve_query("servfail.test", 15, &answer, &size), -EAGAIN);
    EXPECT_EQ(gyre_resolve_query("silent.test", 15, &answer, &size), -ETIMEDOUT);
    EXPECT_EQ(gyre_resolve_query("text.test", 0, &answer, &size), -EINVAL);
    EXPECT_EQ(gyre_resolve_query("text.test", 65536, &answer, &size), -EINVAL);
    EXPECT_EQ(gyre_resolve_query("", 16, &answer, &size), -EINVAL);
    EXPECT_EQ(gyre_resolve_query("a..b", 16, &answer, &size), -EINVAL);
    EXPECT_EQ(gyre_resolve_query(NULL, 16, &answer, &size), -EINVAL);
    EXPECT_EQ(gyre_resolve_query(".", 2, &answer, &size), -ENOENT);
    EXPECT(!answer && !size);
    EXPECT_EQ(gyre_resolve_query("text.test", 16, &answer, &size), 0);
    EXPECT(contains(answer, size, "v=spf1 -all"));
    free(answer);
    EXPECT_EQ(gyre_resolve_query("text", 16, &answer, &size), 0);
    EXPECT(contains(answer, size, "found by search"));
    free(answer);
    EXPECT_EQ(gyre_resolve_query("many.test", 1, &answer, &size), 0);
    EXPECT(size > 48000);
    free(answer);
    return 0;
}

/* --- many, and want of descriptors --------------------------------------------------------------
 */

static int slow(void *unused)
{
    (void)unused;
    EXPECT_FOUND("slow.test", GYRE_FAMILY_V4, "192.0.2.5:80");
    return 0;
}

static int count_threads(void)
{
    char line[128];
    FILE *file = fopen("/proc/self/status", "re");
    int count = -1;

    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Threads: %d", &count) == 1)
            break;
    fclose(file);
    return count;
}

static int a_thousand(void *unused)
{
    int threads;
    GYRE_NURSERY(group);

    (void)unused;
    known(NULL);
    threads = count_threads();
    for (int i = 0; i < 1000; i++)
        gyre_group_go(&group, slow, NULL);
    for (int i = 0; i < 50; i++) {
        gyre_sleep(2 * GYRE_MILLISECOND);
        /* beside the helpers, of which there are four at most */
        EXPECT(count_threads() <= threads + 3);
    }
    EXPECT_EQ(gyre_group_wait(&group), 0);
    return 0;
}

Test(resolve, a_thousand_at_once)
{
    dns_start(rules, "nameserver 127.0.0.1\noptions timeout:5 attempts:3\n", "");
    cr_assert_eq(run_with_workers(5, a_thousand, NULL), 0);
    cr_assert_eq(failed_expectations, 0);
    dns_stop();
}

static int without_descriptors(void *unused)
{
    struct rlimit limit, low;
    int fd;

    known(unused);
    getrlimit(RLIMIT_NOFILE, &limit);
    fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    low = limit;
    low.rlim_cur = (rlim_t)fd;
    setrlimit(RLIMIT_NOFILE, &low);
    EXPECT_FOUND("v4.test", GYRE_FAMILY_V4, "EMFILE");
    EXPECT_FOUND("v4.test", GYRE_FAMILY_ANY, "EMFILE");
    setrlimit(RLIMIT_NOFILE, &limit);
    close(fd);
    return known(unused);
}

Test(resolve, without_descriptors)
{
    dns_start(rules, plain, "");
    run_on_each(without_descriptors);
    dns_stop();
}
